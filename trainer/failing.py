"""What fails, also for a reason nobody thought of: told, and left alone for a while.

``rescore run`` is to work for months without a person. Whatever an exception is, of a job, of one
of its models, of the log or of the health file, the runner goes on; the connection is put back into
a clean state, or made again.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from select import select
from threading import Event
from typing import Any

from psycopg.errors import QueryCanceled
from psycopg.pq import TransactionStatus

from rescore.errors import Busy, NoServer, RescoreError
from rescore.trainer.database import Connection, translated

Facts = dict[str, Any]
LONGEST_SECONDS = 600.0
HELD_SECONDS = 600.0
"""After which what others hold fails: they may never let it go."""
_OPEN = (TransactionStatus.INTRANS, TransactionStatus.INERROR)


class Stopped(Exception):
    """Told to stop in the middle of a round: nothing of it is kept, the next takes it up again."""


def go_on(stop: Event) -> None:
    """Raise `Stopped` once told to stop."""
    if stop.is_set():
        raise Stopped


@contextmanager
def stoppable(stop: Event) -> Iterator[None]:
    """Raise `Stopped` for a statement that was cancelled since one was told to stop."""
    try:
        yield
    except (QueryCanceled, Busy) as error:
        cancelled = isinstance(error, QueryCanceled) or isinstance(error.__cause__, QueryCanceled)
        if cancelled and stop.is_set():
            raise Stopped from error
        raise


@dataclass(frozen=True)
class Failing:
    """Something that has failed.

    Attributes
    ----------
    error: the last time.
    times: one after the other.
    until: when it may be tried again, by the monotonic clock.
    """

    error: str
    times: int
    until: float


@dataclass
class Patience:
    """How long what has failed again and again is left alone.

    The first failure costs nothing; after the second it is left alone for as long as it took, but
    at least a second; after each further one for twice as long.

    Attributes
    ----------
    longest: seconds; 0 where everything is tried each time.
    failing: by name, what has failed when it was tried last.
    held: by name, since when others have held what it needs, by the monotonic clock.
    """

    longest: float = LONGEST_SECONDS
    failing: dict[str, Failing] = field(default_factory=dict)
    held: dict[str, float] = field(default_factory=dict)

    def until(self, name: str) -> float:
        """Return when something may be tried again, by the monotonic clock; 0 for any time."""
        known = self.failing.get(name)
        return known.until if known and self.longest else 0.0

    def waits(self, name: str) -> bool:
        """Say whether something is to be left alone for now."""
        return self.until(name) > time.monotonic()

    def failed(self, name: str, error: str, took: float) -> Facts:
        """Count a failure; return what the log is to say of it.

        Parameters
        ----------
        took: seconds until it failed.
        """
        known = self.failing.get(name)
        times = known.times + 1 if known else 1
        wait = min(max(took, 1.0) * 2.0 ** min(times - 2, 60), self.longest) if times > 1 else 0.0
        self.failing[name] = Failing(error, times, time.monotonic() + wait)
        return {"times": times, "retry": round(wait, 1)} if wait else {}

    def done(self, name: str) -> None:
        """Forget what has failed before: it went well."""
        self.failing.pop(name, None)
        self.held.pop(name, None)

    def only(self, names: Collection[str]) -> None:
        """Forget what has failed of others: what is gone, or has nothing to do, fails no longer."""
        self.failing = {name: each for name, each in self.failing.items() if name in names}
        self.held = {name: since for name, since in self.held.items() if name in names}

    def is_held(self, name: str) -> bool:
        """Say whether others hold what it needs for a while only, as they do now."""
        since = self.held.setdefault(name, time.monotonic())
        return time.monotonic() - since < HELD_SECONDS

    def tried(
        self, conn: Connection, name: str, work: Callable[[], Facts], stop: Event | None = None
    ) -> Facts:
        """Do something; return what the log is to say of it, ``error`` where it failed.

        Others that hold what it needs (`Busy`) are no failure, unless they always do; nor is what
        was cancelled once ``stop`` was set.

        Raises
        ------
        NoServer: the connection is lost, or could not be put back into a clean state.
        """
        started = time.monotonic()
        try:
            with stoppable(stop or Event()), translated():
                facts = work()
        except Stopped:
            restored(conn)
            return {}
        except Exception as error:
            restored(conn)
            told = explained(error)
            if isinstance(error, Busy) and self.is_held(name):
                return told
            return told | self.failed(name, told["error"], time.monotonic() - started)
        self.done(name)
        return facts

    def to_json(self) -> dict[str, Facts]:
        """Return JSON-able values: what fails, since how many tries, and when it is tried again."""
        now = time.monotonic()
        return {
            name: {"error": each.error, "times": each.times,
                   "retry": round(max(self.until(name) - now, 0.0), 1)}
            for name, each in self.failing.items()
        }  # fmt: skip


def explained(error: Exception) -> Facts:
    """Return an exception as the log has it; ``trace`` where nobody expected it."""
    if isinstance(error, RescoreError):
        return {"error": error.message}
    told = f"{type(error).__name__}: {error}".removesuffix(": ")
    return {"error": told, "trace": "".join(traceback.format_exception(error))}


def restored(conn: Connection) -> None:
    """Leave nothing open behind what has failed.

    Raises
    ------
    NoServer: the connection is lost, or in the middle of something that cannot be ended.
    """
    with translated():
        if conn.info.transaction_status in _OPEN:
            conn.rollback()
        if conn.closed or conn.info.transaction_status != TransactionStatus.IDLE:
            if not conn.closed:
                _cancelled(conn)  # or the server would go on with it, and keep the runner's lock
            conn.close()
            raise NoServer(
                "the connection was lost: a job has left it in the middle of a statement"
            )
        conn.execute("SELECT 1")


def _cancelled(conn: Connection, tries: int = 20) -> None:
    """Cancel what a connection is in the middle of: again, as long as that has not even begun."""
    for _ in range(tries):
        conn.cancel()
        if select([conn.fileno()], [], [], 0.1)[0]:
            return


def quietly(say: Callable[[Facts], None]) -> Callable[[Facts], None]:
    """Return what says facts, and lets be where it cannot: the disk is full, the reader gone."""

    def said(facts: Facts) -> None:
        try:
            say(facts)
        except (OSError, ValueError):  # of a stream that is closed
            return

    return said
