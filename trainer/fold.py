"""What waits in the queue is counted, from outside: the batches of ``CALL rescore.fold``."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Event

from rescore.errors import Busy
from rescore.trainer.database import Connection, connection, query
from rescore.trainer.failing import Patience
from rescore.trainer.rounds import Facts, Round, failures, sums
from rescore.trainer.usage import check_profiles, seconds

Progress = Callable[[int, int], None]
BATCH = 1000
MOST_MISSES = 60
RETRY_SECONDS = 0.2


@dataclass(frozen=True)
class Folded:
    """What a fold did.

    Attributes
    ----------
    rows: of the queue that were counted.
    customers: counted anew because everybody was to be.
    seconds: it took.
    finished: False when it was stopped; the next one goes on there.
    """

    rows: int
    customers: int
    seconds: float
    finished: bool


def fold(
    conn: Connection,
    profile: str,
    *,
    batch: int = BATCH,
    stop: Event | None = None,
    progress: Progress | None = None,
) -> Folded:
    """Count what waits in a profile's queue, in key order, giving way to writers.

    Parameters
    ----------
    conn: in autocommit mode: each batch is a transaction.
    batch: most rows, and most customers, of a transaction.
    stop: once set, the batch is finished and no other begun.
    progress: called with what is done, and what is known to be to do.

    Raises
    ------
    UnknownProfile, WrongArgument, Paused
    Busy: others held its rows all the time.
    """
    started, stop = time.monotonic(), stop or Event()
    rows, customers, misses, size, more = 0, 0, 0, batch, True
    while more and not stop.is_set():
        done = conn.execute(query("fold_step"), {"profile": profile, "batch": size}).fetchone()
        assert done is not None
        more, rows, customers = done[3], rows + done[0], customers + done[1]
        misses = misses + 1 if done[2] else 0
        size = max(1, size // 2) if misses else min(batch, size * 2)
        if misses > MOST_MISSES:
            raise _stayed_locked(profile)
        if progress:
            progress(rows + customers, rows + customers + more)
        stop.wait(RETRY_SECONDS if misses else 0)
    return Folded(rows, customers, round(time.monotonic() - started, 3), not more)


def _stayed_locked(profile: str) -> Busy:
    return Busy(
        f"rows of profile {profile} stayed locked",
        detail=f"{MOST_MISSES} times none was had.",
        hint="Find the long transaction in pg_stat_activity; the next fold goes on here.",
    )


@dataclass
class Folding:
    """Folds what waits, a job of ``rescore run``.

    Attributes
    ----------
    every: seconds.
    profiles: their names; none for all there are.
    """

    every: float
    profiles: tuple[str, ...] = ()
    name: str = "fold"
    patience: Patience = field(default_factory=Patience, repr=False)
    _last: float = field(default=0.0, repr=False)

    def work(self, conn: Connection, stop: Event) -> Facts:
        """Fold each profile that has something; nothing is said where none had."""
        self._last = time.monotonic()
        waiting = [name for (name,) in conn.execute(query("fold_waiting"))]
        wanted = [p for p in waiting if not self.profiles or p in self.profiles]
        told = Round(conn, "profile", self.patience, stop)
        done = told.each(wanted, lambda p: vars(fold(conn, p, stop=stop)))
        facts = sums(done, ("rows", "customers")) | failures("profile", done)
        return facts | {"profiles": done} if any(facts.values()) else {}

    def when_due(self, conn: Connection, stop: Event) -> None:
        """Fold between two batches of a job that takes longer than this one may wait."""
        if time.monotonic() - self._last >= self.every:
            self.work(conn, stop)


def folding(dsn: str | None, every: str, profiles: Sequence[str]) -> Folding:
    """Return the job that folds, its arguments checked.

    Raises
    ------
    WrongUsage: the interval is none.
    UnknownProfile
    """
    with connection(dsn) as conn:
        check_profiles(conn, profiles)
        return Folding(seconds(conn, every, "--fold-every"), tuple(profiles))
