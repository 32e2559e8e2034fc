"""``rescore run``: what is to be done again and again, in the foreground, one runner a database.

A job is a small class: a name, how often, and what a round of it does. The runner holds a lock of
the database while its connection lives, so that a second one says who runs or stands by; it comes
back after a lost connection, and stops between two transactions when it is told to.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from threading import Event
from typing import Protocol

from psycopg import sql

from rescore.errors import Busy
from rescore.trainer.database import Connection, connection, one, own_name, query, translated
from rescore.trainer.failing import Patience, explained, quietly
from rescore.trainer.ledger import Ledger, State
from rescore.trainer.rounds import Facts, Round, failures, postponed, sums
from rescore.trainer.run_log import entry
from rescore.trainer.stopping import unblocked
from rescore.trainer.sweep import Progress, Terms, sweep
from rescore.trainer.usage import check_interval, check_profiles, seconds

Say = Callable[[Facts], None]
Between = Callable[[Connection, Event], None]
POLL_SECONDS = 1.0
LONGEST_BACKOFF = 60.0


class Job(Protocol):
    """Something to be done every so many seconds.

    Attributes
    ----------
    name: in the log.
    every: seconds from the beginning of one round to that of the next.
    """

    @property
    def name(self) -> str: ...
    @property
    def every(self) -> float: ...

    def work(self, conn: Connection, stop: Event) -> Facts:
        """Do one round and return what the log is to say; leave off early once ``stop`` is set.

        Nothing is said of a round that returns nothing. A job may have a ``channel``: what is
        notified there makes it due at once.

        What cannot be done is raised, as RescoreError or whatever it is: it is logged, and tried
        again, ever later as long as it fails. A job may have ``patience`` with parts of a round.
        """


@dataclass(frozen=True)
class Sweeping:
    """Sweeps profiles: see :func:`rescore.trainer.sweep.sweep`.

    Attributes
    ----------
    every: seconds.
    profiles: their names; none for all there are.
    terms: of each sweep.
    jobs: sessions that sweep a profile.
    between: called between two batches, for what cannot wait for the end of a sweep.
    """

    every: float
    profiles: tuple[str, ...] = ()
    terms: Terms = field(default_factory=Terms)
    name: str = "sweep"
    between: Between | None = None
    jobs: int = 1
    patience: Patience = field(default_factory=Patience, repr=False)

    def work(self, conn: Connection, stop: Event) -> Facts:
        """Sweep each profile; one that fails does not keep the others from it."""
        known = [name for (name,) in conn.execute(query("known_profiles"))]
        told = Round(conn, "profile", self.patience, stop)
        done = told.each(self.profiles or known, lambda p: self._one(conn, p, stop))
        facts = sums(done, ("rows", "written")) | {"profiles": done}
        failed = failures("profile", done) | postponed("profile", done, self.patience)
        return facts | failed

    def _one(self, conn: Connection, profile: str, stop: Event) -> Facts:
        told = self._told(conn, stop)
        swept = sweep(conn, profile, self.terms, jobs=self.jobs, stop=stop, progress=told)
        facts: Facts = {"rows": swept.looked, "written": swept.changed}
        facts |= {"locked": swept.locked} if swept.locked else {}
        return facts | {"seconds": swept.seconds, "finished": swept.finished}

    def _told(self, conn: Connection, stop: Event) -> Progress | None:
        between = self.between
        return (lambda *_: between(conn, stop)) if between else None


def sweeping(
    dsn: str | None,
    every: str,
    profiles: Sequence[str],
    terms: Terms,
    between: Between | None = None,
    jobs: int = 1,
) -> Sweeping:
    """Return the job that sweeps, its arguments checked.

    Raises
    ------
    WrongUsage: an interval is none.
    UnknownProfile
    """
    with connection(dsn) as conn:
        check_profiles(conn, profiles)
        if terms.max_age is not None:
            check_interval(conn, terms.max_age, "--max-age")
        every_seconds = seconds(conn, every, "--every")
        return Sweeping(every_seconds, tuple(profiles), terms, between=between, jobs=jobs)


def run(
    dsn: str | None,
    jobs: Sequence[Job],
    *,
    say: Say,
    stop: Event,
    once: bool = False,
    standby: bool = False,
) -> int:
    """Do the jobs on their schedule until told to stop; return how many rounds failed.

    Parameters
    ----------
    say: is given one dictionary a round, and what happens to the connection.
    stop: once set, the transaction under way is finished and the runner returns; one that
        waits for a lock is given up.
    once: do each job once.
    standby: where another runner is at work, wait and take its place when it ends.

    Raises
    ------
    NoServer: the first connection cannot be made, or with ``once`` any is lost.
    Busy: another runner is at work in this database; DETAIL says who.
    """
    failed, backoff, plan, say = 0, 1.0, Plan(jobs), quietly(say)
    while not stop.is_set():
        try:
            with connection(dsn) as conn, unblocked(conn, stop):
                hold(conn, standby=standby, say=say, stop=stop)
                standby, backoff = True, 1.0  # after a loss another one may have come first
                for facts in _rounds(conn, plan, stop, once=once):
                    failed += "error" in facts
                    say(facts)
                return failed
        except Exception as lost:  # mostly NoServer; nothing else may end it, either
            if once or not standby:
                raise
            say(entry("connection", **explained(lost), retry=backoff))
        stop.wait(backoff)
        backoff = min(backoff * 2, LONGEST_BACKOFF)
    return failed


def hold(conn: Connection, *, standby: bool, say: Say, stop: Event) -> None:
    """Become the runner of the database; the lock goes with the connection."""
    conn.execute(query("run_name"), (own_name("rescore run"),))
    waiting = False
    while not stop.is_set() and not one(conn, query("run_lock")):
        holder, client = conn.execute(query("run_holder")).fetchone() or (None, None)
        if not standby:
            which = f", {client}" if client else ""
            raise Busy(
                "another runner is at work in this database",
                detail=f"It is {holder or 'just ending'}.",
                hint=f"Stop that `rescore run`{which}, or let this one wait with --standby.",
            )
        if not waiting:
            say(entry("standby", behind=holder))
        waiting = True
        stop.wait(POLL_SECONDS)


@dataclass
class Plan:
    """Which job is due when, by the monotonic clock; it outlives connections.

    Attributes
    ----------
    jobs: those to be done.
    due: by name.
    patience: with jobs whose whole round fails.
    ledger: what the database is told of them.
    """

    jobs: Sequence[Job]
    due: dict[str, float] = field(init=False)
    patience: Patience = field(default_factory=Patience)
    ledger: Ledger = field(init=False)

    def __post_init__(self) -> None:
        self.due = {job.name: 0.0 for job in self.jobs}
        self.ledger = Ledger(list(self.due))

    def begun(self, job: Job) -> None:
        """Say when a job that begins now is due again; what was missed is not made up for."""
        self.due[job.name] = time.monotonic() + job.every

    def ended(self, job: Job) -> None:
        """Put a job off that fails again and again."""
        self.due[job.name] = max(self.due[job.name], self.patience.until(job.name))

    def heard(self, channels: set[str]) -> None:
        """Let what was notified be done at once, unless it fails again and again."""
        for job in self.jobs:
            if channel_of(job) in channels:
                self.due[job.name] = self.patience.until(job.name)


def _rounds(conn: Connection, plan: Plan, stop: Event, *, once: bool) -> Iterator[Facts]:
    """Yield the facts of each round."""
    left = list(plan.jobs)
    _listen(conn, left)
    while left and not stop.is_set():
        job = min(left, key=lambda each: plan.due[each.name])
        if plan.due[job.name] > time.monotonic():
            _wait(conn, plan, stop)
            continue
        plan.begun(job)
        facts = do_round(conn, job, stop, plan.patience, plan.ledger)
        plan.ended(job)
        if facts is not None:
            yield facts
        if once:
            left.remove(job)


def channel_of(job: Job) -> str | None:
    """Return what makes a job due at once when it is notified."""
    return getattr(job, "channel", None)


def patience_of(job: Job) -> Patience | None:
    """Return a job's patience with the parts of its rounds."""
    return getattr(job, "patience", None)


def _listen(conn: Connection, jobs: Sequence[Job]) -> None:
    for channel in filter(None, map(channel_of, jobs)):
        conn.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))


def _wait(conn: Connection, plan: Plan, stop: Event) -> None:
    """Wait until a job is due, some of the time: it ends early by a notification, or ``stop``."""
    left = max(min(plan.due.values()) - time.monotonic(), 0.0)
    if not any(map(channel_of, plan.jobs)):
        stop.wait(left)
        return
    with translated():
        told = conn.notifies(timeout=min(left, POLL_SECONDS), stop_after=1)
        plan.heard({each.channel for each in told})


def do_round(
    conn: Connection, job: Job, stop: Event, patience: Patience, ledger: Ledger
) -> Facts | None:
    """Do one round of a job, whatever comes of it; return what the log is to say, None for nothing.

    Raises
    ------
    NoServer: the connection is lost, or could not be put back into a clean state.
    """
    started = time.monotonic()
    facts = patience.tried(conn, job.name, lambda: job.work(conn, stop), stop)
    state = State.of(job.name, patience, patience_of(job))
    facts = {**facts, **ledger.note(conn, job.name, state, stop)}
    if not facts:
        return None
    return entry(job.name, **facts, seconds=round(time.monotonic() - started, 3))
