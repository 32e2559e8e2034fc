"""Told to stop, runner and commands do not wait for what others hold."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread
from types import FrameType

import psycopg

from rescore.errors import RescoreError
from rescore.trainer.database import Connection, another, one, query

LOOK_SECONDS = 0.5
"""Between two looks at whether a session waits."""


class Terminated(KeyboardInterrupt):
    """A command was told to end: what is done on Ctrl-C is done on SIGTERM, too."""


@contextmanager
def unblocked(conn: Connection, stop: Event) -> Iterator[None]:
    """Once told to stop, cancel what a session does whenever that waits for a lock.

    What does not wait is finished. Another session looks, opened only then; where the server takes
    no more, what waits goes on waiting.
    """
    done = Event()
    thread = Thread(target=_unblock, args=(conn, conn.info.backend_pid, stop, done), daemon=True)
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
def terminable() -> Iterator[Event]:
    """Raise `Terminated` on SIGTERM; yield an event that tells it afterwards."""
    ended = Event()

    def told(number: int, frame: FrameType | None) -> None:
        ended.set()
        raise Terminated

    if threading.current_thread() is not threading.main_thread():  # signals are the main thread's
        yield ended
        return
    before = signal.signal(signal.SIGTERM, told)
    try:
        yield ended
    finally:
        signal.signal(signal.SIGTERM, before)
