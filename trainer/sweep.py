"""A sweep from outside: the batches of ``CALL rescore.sweep``, with progress and a clean stop."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event
from typing import Any

import psycopg

from rescore.errors import Busy
from rescore.trainer.database import Connection, query

Progress = Callable[[int, int], None]
RETRY_SECONDS = 0.5


@dataclass(frozen=True)
class Terms:
    """What a sweep sweeps for, and how fast.

    Attributes
    ----------
    max_age: interval; scores younger than this are left alone; None looks at all of them.
    batch: most rows of a transaction; None for 10,000.
    rate: most rows written a second; None for no limit.
    tolerance: a score that the clock has moved by no more than this is left alone.
    """

    max_age: str | None = None
    batch: int | None = None
    rate: float | None = None
    tolerance: float = 0.0


@dataclass(frozen=True)
class Swept:
    """What a sweep did, from its beginning, also where it had been cut short before.

    Attributes
    ----------
    looked: rows looked at.
    changed: rows written.
    locked: rows passed over since others held them all the time.
    seconds: this call took.
    finished: False when it was stopped; the next sweep goes on there.
    """

    looked: int
    changed: int
    locked: int
    seconds: float
    finished: bool


def sweep(
    conn: Connection,
    profile: str,
    terms: Terms,
    *,
    restart: bool = False,
    wait: bool = False,
    stop: Event | None = None,
    progress: Progress | None = None,
) -> Swept:
    """Bring the scores of a profile to the present, going on where one cut short stopped.

    Parameters
    ----------
    conn: in autocommit mode: each batch is a transaction.
    restart: begin anew all the same.
    wait: for another session that sweeps this profile.
    stop: once set, the batch is finished and no other begun.
    progress: called with rows looked at and rows expected.

    Raises
    ------
    UnknownProfile, WrongArgument
    Busy: another session sweeps the profile, or its table stayed locked.
    """
    started, stop = time.monotonic(), stop or Event()
    given = {"profile": profile, **vars(terms)}
    expected = _begin(conn, given | {"restart": restart}, wait, stop)
    looked, changed, locked, finished = 0, 0, 0, False
    while not finished and not stop.is_set():
        row = conn.execute(query("sweep_step"), given).fetchone()
        assert row is not None
        finished, looked, changed, locked, pause = row
        if progress:
            progress(looked, max(expected, looked))
        stop.wait(pause)
    return Swept(looked, changed, locked, round(time.monotonic() - started, 3), finished)


def _begin(conn: Connection, given: dict[str, Any], wait: bool, stop: Event) -> int:
    """Begin and return about how many rows there are; a sweep that is stopped needs none."""
    while not stop.is_set():
        try:
            row = conn.execute(query("sweep_begin"), given).fetchone()
            return int(row[0] or 0) if row else 0
        except psycopg.Error as error:
            if not wait or error.sqlstate != Busy.sqlstate:
                raise
        stop.wait(RETRY_SECONDS)
    return 0
