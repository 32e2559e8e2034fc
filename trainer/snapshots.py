"""Snapshots from outside: rounds, labels that resolve, corrections, retention; batch by batch."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from threading import Event

import psycopg

from rescore.trainer.database import Connection, one, query
from rescore.trainer.failing import Patience
from rescore.trainer.rounds import Facts, Round, failures, postponed

Progress = Callable[[int, int], None]
BATCH = 10_000
RESOLVED = 2_500
"""Labels of a transaction: looking for outcomes takes longer than logging."""
LOOK_SECONDS = 300.0
"""At most between two looks at which rounds and labels are due."""


@dataclass(frozen=True)
class Logged:
    """What a round did, and what was resolved with it.

    Attributes
    ----------
    taken: snapshots of the round, also of a part that was done before it was cut short.
    resolved: snapshots whose horizon was over.
    changed: snapshots found positive early, or whose label was corrected.
    dropped: snapshots older than the profile keeps them.
    seconds: this call took.
    finished: False when it was stopped; the next call goes on there.
    """

    taken: int
    resolved: int
    changed: int
    dropped: int
    seconds: float
    finished: bool


def log(
    conn: Connection,
    profile: str,
    *,
    rounds: bool = True,
    batch: int = BATCH,
    stop: Event | None = None,
    progress: Progress | None = None,
) -> Logged:
    """Take the round of snapshots that is due, resolve what is due, and drop what is too old.

    Parameters
    ----------
    conn: in autocommit mode: each batch is a transaction.
    rounds: take a round; False where customers are logged by the events' triggers.
    stop: once set, the batch is finished and no other begun.
    progress: called with snapshots done, and how many there will be, as far as that is known.

    Raises
    ------
    UnknownProfile
    NotSupported: no model of the profile has a label.
    NotInstalled: the profile was applied by an older version.
    DoesNotFit: what a label reads is not there; the others were told.
    """
    started, stop = time.monotonic(), stop or Event()
    taken, dropped = _take(conn, profile, rounds, batch, stop, progress)
    told = _label(conn, profile, batch, stop)
    if told.fault is not None:
        raise told.fault
    seconds = round(time.monotonic() - started, 3)
    return Logged(taken, told.resolved, told.changed, dropped, seconds, not stop.is_set())


@dataclass(frozen=True)
class Labelled:
    """What came of the labels; as for `Logged`.

    Attributes
    ----------
    fault: what could not be told, if anything.
    """

    resolved: int
    changed: int
    fault: psycopg.Error | None


def _take(
    conn: Connection,
    profile: str,
    rounds: bool,
    batch: int,
    stop: Event,
    progress: Progress | None = None,
) -> tuple[int, int]:
    """Return how many snapshots were taken, and how many dropped."""
    dropped = int(one(conn, query("snapshot_tend"), (profile,)) or 0)
    return (_round(conn, profile, batch, stop, progress) if rounds else 0), dropped


def _label(conn: Connection, profile: str, batch: int, stop: Event) -> Labelled:
    each = Each()
    resolved = each.done(_resolve(conn, profile, min(batch, RESOLVED), stop))
    checked = _checked(conn, profile, stop)
    changed = sum(each.done(_check(conn, profile, m, batch, stop)) for m in checked)
    return Labelled(resolved, changed, each.fault)


@dataclass
class Each:
    """What is done one after the other: all of it, whatever fails.

    Attributes
    ----------
    fault: what failed first, if anything did.
    """

    fault: psycopg.Error | None = None

    def done(self, steps: Iterable[int]) -> int:
        """Return the sum of the steps before one that fails, if any; raise a lost connection."""
        total = 0
        try:
            for step in steps:
                total += step
        except psycopg.OperationalError:
            raise
        except psycopg.Error as error:
            self.fault = self.fault or error
        return total


def _round(
    conn: Connection, profile: str, batch: int, stop: Event, progress: Progress | None
) -> int:
    if not one(conn, query("snapshot_begin"), (profile,)):
        return 0
    expected = int(one(conn, query("snapshot_rows"), (profile,)) or 0)
    finished, taken = False, 0
    while not finished and not stop.is_set():
        row = conn.execute(query("snapshot_step"), (profile, batch)).fetchone()
        assert row is not None
        finished, taken = row
        if progress:
            progress(taken, max(taken, expected))
    return taken


def _resolve(conn: Connection, profile: str, batch: int, stop: Event) -> Iterator[int]:
    while not stop.is_set() and (done := one(conn, query("resolve_step"), (profile, batch))):
        yield done


def _checked(conn: Connection, profile: str, stop: Event) -> list[str]:
    return [m for (m,) in conn.execute(query("check_due"), (profile,)) if not stop.is_set()]


def _check(conn: Connection, profile: str, model: str, batch: int, stop: Event) -> Iterator[int]:
    """Look for early outcomes and corrections; yield how many snapshots changed."""
    at, key, looked = None, None, batch
    while looked == batch and not stop.is_set():
        row = conn.execute(query("check_step"), (profile, model, at, key, batch)).fetchone()
        assert row is not None
        at, key, looked, changed = row
        yield changed


@dataclass(frozen=True)
class Snapshotting:
    """Logs profiles and resolves their snapshots, again and again: see :func:`log`.

    Labels that fail, and are left alone ever longer, keep no round from being taken: the two are
    parts of their own.

    Attributes
    ----------
    every: seconds between looking whether a round is due.
    profiles: their names; none for all whose definition has `snapshot`.
    """

    every: float
    profiles: tuple[str, ...] = ()
    name: str = "snapshot"
    patience: Patience = field(default_factory=Patience, repr=False)

    def work(self, conn: Connection, stop: Event) -> Facts:
        """Log each profile; one that fails does not keep the others from it."""
        known: dict[str, bool] = dict(conn.execute(query("snapshot_profiles")).fetchall())
        chosen = [p for p in known if not self.profiles or p in self.profiles]
        counted = Counter(taken=0, resolved=0, changed=0, dropped=0)
        parts = {p: partial(_taken, conn, p, known[p], stop, counted) for p in chosen}
        parts |= {f"labels of {p}": partial(_labelled, conn, p, stop, counted) for p in chosen}
        done = Round(conn, "profile", self.patience, stop).each(parts, lambda part: parts[part]())
        failed = failures("profile", done) | postponed("profile", done, self.patience)
        return {**counted, "profiles": done, **failed}


def _taken(
    conn: Connection, profile: str, rounds: bool, stop: Event, counted: Counter[str]
) -> Facts:
    taken, dropped = _take(conn, profile, rounds, BATCH, stop)
    counted.update(taken=taken, dropped=dropped)
    return {"taken": taken, "dropped": dropped, "finished": not stop.is_set()}


def _labelled(conn: Connection, profile: str, stop: Event, counted: Counter[str]) -> Facts:
    told = _label(conn, profile, BATCH, stop)
    # Also where some of it failed: of the other labels it was done.
    counted.update(resolved=told.resolved, changed=told.changed)
    if told.fault is not None:
        raise told.fault
    return {"resolved": told.resolved, "changed": told.changed, "finished": not stop.is_set()}
