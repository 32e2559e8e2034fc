"""A sweep from outside: the batches of ``CALL rescore.sweep``, by one session or several."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Event
from typing import Any

import psycopg

from rescore.errors import Busy
from rescore.trainer.database import Connection, another, one, query

Progress = Callable[[int, int], None]
_Totals = tuple[bool, int, int, int]
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
    jobs: int = 1,
    restart: bool = False,
    wait: bool = False,
    stop: Event | None = None,
    progress: Progress | None = None,
) -> Swept:
    """Bring the scores of a profile to the present, going on where one cut short stopped.

    Parameters
    ----------
    conn: in autocommit mode: each batch is a transaction.
    jobs: sessions that sweep, each a part of the keys: this one, or that many opened by the
        same connection string.
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
    with ExitStack() as opened:
        sessions, pids = [conn], None
        if jobs > 1:
            sessions = [opened.enter_context(another(conn)) for _ in range(jobs)]
            pids = [one(each, query("sweep_pid")) for each in sessions]
        given = {"profile": profile, **vars(terms)}
        expected, parts = _begin(conn, given | {"restart": restart, "pids": pids}, wait, stop)
        given["rate"] = terms.rate and terms.rate / max(parts, 1)
        work = _Parts(given, expected, stop, progress)
        work.sweep(sessions[:parts])
    return work.swept(parts, time.monotonic() - started)


class _Parts:
    """The parts of a sweep, swept side by side, and what they have come to together."""

    def __init__(
        self, given: dict[str, Any], expected: int, stop: Event, progress: Progress | None
    ) -> None:
        self._given, self._expected = given, expected
        self._stop, self._failed, self._progress = stop, Event(), progress
        self._totals: dict[int, _Totals] = {}

    def sweep(self, sessions: Sequence[Connection]) -> None:
        """Sweep a part with each session; the first error ends all of them."""
        if len(sessions) > 1:
            with ThreadPoolExecutor(len(sessions)) as pool:
                self._side_by_side(sessions, pool)
        for session in sessions if len(sessions) == 1 else ():
            for totals in self._batches(session, 1):
                self._tell(1, totals)

    def swept(self, parts: int, seconds: float) -> Swept:
        """Return what the parts did, together."""
        looked, changed, locked = self._sums()
        ended = [finished for finished, *_ in self._totals.values()]
        finished = parts > 0 and len(ended) == parts and all(ended)
        return Swept(looked, changed, locked, round(seconds, 3), finished)

    def _side_by_side(self, sessions: Sequence[Connection], pool: ThreadPoolExecutor) -> None:
        # Progress is told here alone: what it calls need not know of threads.
        told: SimpleQueue[tuple[int, _Totals] | Future[None]] = SimpleQueue()

        def work(session: Connection, part: int) -> None:
            for totals in self._batches(session, part):
                told.put((part, totals))

        left = len(sessions)
        for part, session in enumerate(sessions, 1):
            pool.submit(work, session, part).add_done_callback(told.put)
        try:
            while left:
                each = told.get()
                if isinstance(each, Future):
                    each.result()
                    left -= 1
                else:
                    self._tell(*each)
        except BaseException:
            self._failed.set()  # leaving the pool waits for the batches under way
            raise

    def _batches(self, session: Connection, part: int) -> Iterator[_Totals]:
        finished, given = False, self._given | {"part": part}
        while not (finished or self._stop.is_set() or self._failed.is_set()):
            row = session.execute(query("sweep_step"), given).fetchone()
            assert row is not None
            finished, *_, pause = row
            yield row[:4]
            self._stop.wait(pause)
        if not finished:
            session.execute(query("sweep_leave"), given)

    def _tell(self, part: int, totals: _Totals) -> None:
        self._totals[part] = totals
        looked, _, _ = self._sums()
        if self._progress:
            self._progress(looked, max(self._expected, looked))

    def _sums(self) -> tuple[int, int, int]:
        _, looked, changed, locked = zip((True, 0, 0, 0), *self._totals.values(), strict=True)
        return sum(looked), sum(changed), sum(locked)


def _begin(conn: Connection, given: dict[str, Any], wait: bool, stop: Event) -> tuple[int, int]:
    """Begin: about how many rows, and how many parts; a sweep that is stopped has none."""
    while not stop.is_set():
        try:
            row = conn.execute(query("sweep_begin"), given).fetchone()
            assert row is not None
            return row[0] or 0, row[1]
        except psycopg.Error as error:
            if not wait or error.sqlstate != Busy.sqlstate:
                raise
        stop.wait(RETRY_SECONDS)
    return 0, 0
