"""Sessions that wait for one another: seen in the server's own tables, never slept for."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg

from rescore.tests.support import one

Connection = psycopg.Connection[Any]

# Without an index the rows come as they lie in the table, unless they are sorted.
UNSORTED = "-c enable_indexscan=off -c enable_bitmapscan=off -c enable_sort=off"
BLOCKED = "SELECT cardinality(pg_blocking_pids(%s)) > 0"


@contextmanager
def stays_waiting(conn: Connection, other: Connection, statement: str) -> Iterator[None]:
    """Run a statement in another session: the block begins when it waits, and is to let it go on."""
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(other.execute, statement.encode())
        while not one(conn, BLOCKED, other.info.backend_pid):
            assert not running.done(), running.result()
        try:
            yield
        except BaseException:
            other.cancel()
            raise
        running.result(timeout=30)


@contextmanager
def waits(conn: Connection, dsn: str, statement: str, options: str = "") -> Iterator[Connection]:
    """Run a statement in a session of its own, which waits while the block begins."""
    with (
        psycopg.connect(dsn, autocommit=True, options=options) as other,
        stays_waiting(conn, other, statement),
    ):
        yield other


@contextmanager
def open_transaction(dsn: str, statement: str) -> Iterator[Connection]:
    """A transaction that has done something, and is not committed."""
    with psycopg.connect(dsn) as other:
        other.execute(statement.encode())
        yield other


def meet(conn: Connection, dsn: str, first: str, second: str) -> None:
    """Run two statements of two sessions: the second waits until the first is committed."""
    with open_transaction(dsn, first) as other, waits(conn, dsn, second):
        other.commit()


def wait_for(conn: Connection, waiter: Connection, holder: Connection) -> None:
    """Return when one session waits for the other."""
    while holder.info.backend_pid not in one(
        conn, "SELECT pg_blocking_pids(%s)", waiter.info.backend_pid
    ):
        pass


def is_free(dsn: str, statement: str) -> bool:
    """Whether nobody else holds what a statement takes."""
    with psycopg.connect(dsn, options="-c lock_timeout=50ms") as other:
        try:
            other.execute(statement.encode())
        except psycopg.errors.LockNotAvailable:
            return False
        finally:
            other.rollback()
    return True
