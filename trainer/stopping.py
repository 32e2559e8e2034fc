"""Told to stop, runner and commands do not wait for what others hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from threading import Event, Thread

import psycopg

from rescore.errors import RescoreError
from rescore.trainer.database import Connection, another, one, query

LOOK_SECONDS = 0.5
"""Between two looks at whether a session waits."""
PATIENT_SECONDS = 2.0
"""What takes less than this is not told to wait."""


@contextmanager
def unblocked(conn: Connection, stop: Event) -> Iterator[None]:
    """Once told to stop, cancel what a session does whenever that waits for a lock.

    What does not wait is finished. Another session looks, opened only then; where the server takes
    no more, what waits goes on waiting.
    """
    with _beside(partial(_unblock, conn, conn.info.backend_pid, stop)):
        yield


@contextmanager
def _beside(work: Callable[[Event], None]) -> Iterator[None]:
    """Have a thread do something while the block runs; it is given what then tells it to end."""
    done = Event()
    thread = Thread(target=work, args=(done,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(2 * LOOK_SECONDS)  # no longer: a server that is gone lets nobody connect


def _unblock(conn: Connection, pid: int, stop: Event, done: Event) -> None:
    while not (stop.is_set() or done.is_set()):
        done.wait(LOOK_SECONDS)
    while not done.wait(LOOK_SECONDS):
        with suppress(RescoreError, psycopg.Error), another(conn) as looking:
            while not done.wait(LOOK_SECONDS):
                if one(looking, query("lock_waited_for"), (pid,)):
                    conn.cancel()


@contextmanager
def waits_told(conn: Connection, say: Callable[[str], None]) -> Iterator[None]:
    """Say for whom a session waits, after some seconds, and an empty text when it no longer does.

    Another session looks, opened once the block has taken seconds; without one nothing is said.
    """
    with _beside(partial(_tell_waits, conn, conn.info.backend_pid, say)):
        yield


def _tell_waits(conn: Connection, pid: int, say: Callable[[str], None], done: Event) -> None:
    if done.wait(PATIENT_SECONDS):
        return
    told = ""
    with suppress(RescoreError, psycopg.Error), another(conn) as looking:
        while not done.wait(LOOK_SECONDS):
            holder = one(looking, query("lock_holder"), (pid,))
            found = f"waits for {holder}" if holder else ""
            if found != told:
                say(found)
            told = found
