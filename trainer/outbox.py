"""Reading the outbox from Python and from the command line: consumers, batches, places."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from psycopg.rows import dict_row

from rescore.errors import UnknownConsumer
from rescore.trainer.database import Connection, one, query, translated
from rescore.trainer.usage import check_interval

Rows = list[dict[str, Any]]


def consumers(conn: Connection) -> Rows:
    """Return one row per consumer: how far it is behind, and when it last read."""
    return _rows(conn, "outbox_list")


def register(conn: Connection, consumer: str, start: str = "now") -> bool:
    """Register a consumer; return whether it is new.

    Parameters
    ----------
    start: ``now`` for the rows to come, ``beginning`` for all rows kept.

    Raises
    ------
    WrongArgument: the name or the start is none.
    """
    with translated():
        return bool(one(conn, query("outbox_register"), (consumer, start)))


def read(conn: Connection, consumer: str, batch: int = 1000) -> Rows:
    """Return the next rows for a consumer, the same again until they are acknowledged.

    In a transaction, other readers of the consumer wait until it ends.

    Raises
    ------
    UnknownConsumer, ForeignPlace, WrongArgument
    """
    return _rows(conn, "outbox_read", consumer, batch)


def batches(
    conn: Connection, consumer: str, batch: int = 1000, every: float | None = None
) -> Iterator[Rows]:
    """Yield what there is to read, each batch acknowledged once the next is asked for.

    A batch is read and acknowledged in one transaction. What the caller writes over the same
    connection meanwhile is committed with it, hence done exactly once.

    Parameters
    ----------
    conn: in autocommit mode.
    every: seconds to wait for more; None to stop where there is no more.
    """
    while True:
        with conn.transaction():
            if rows := read(conn, consumer, batch):
                yield rows
                acknowledge(conn, consumer, rows[-1]["id"])
        if not rows:
            if every is None:
                return
            time.sleep(every)


def acknowledge(conn: Connection, consumer: str, position: int) -> bool:
    """Acknowledge the rows read up to this id; return whether they had not been before.

    Raises
    ------
    UnknownConsumer, ForeignPlace, WrongArgument
    """
    with translated():
        return bool(one(conn, query("outbox_ack"), (consumer, position)))


def drop(conn: Connection, consumer: str) -> None:
    """Forget a consumer and its place.

    Raises
    ------
    UnknownConsumer
    """
    with translated():
        if one(conn, query("outbox_drop"), (consumer,)):
            return
    known = ", ".join(row["consumer"] for row in consumers(conn)) or "none"
    raise UnknownConsumer(f"unknown consumer {consumer}", detail=f"Known consumers: {known}.")


def prune(conn: Connection, keep: str, *, force: bool = False) -> int:
    """Delete rows older than an interval that every consumer has acknowledged.

    Parameters
    ----------
    force: delete them whether acknowledged or not.

    Returns
    -------
    How many rows were deleted.

    Raises
    ------
    WrongUsage: `keep` is no interval above zero.
    """
    check_interval(conn, keep, "--keep")
    with translated():
        return int(one(conn, query("outbox_prune"), (keep, force)))


def _rows(conn: Connection, name: str, *values: Any) -> Rows:
    with translated(), conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query(name), values or None).fetchall()
