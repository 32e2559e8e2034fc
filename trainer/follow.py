"""``rescore run --follow-clock``: the runner of a replay, which goes by moments it is told.

Whoever replays months of events cannot wait for months. With NOTIFY they tell the next moment; the
runner sets its session's ``rescore.clock``, does what is due by it, and notifies that it is there.
Schedules, snapshots, labels and learning then go by the moments told, never by the time of day.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from threading import Event

from psycopg import sql

from rescore.errors import Busy, RescoreError
from rescore.trainer.database import Connection, connection, one, query, translated
from rescore.trainer.failing import Patience, quietly
from rescore.trainer.ledger import Ledger
from rescore.trainer.rounds import Facts
from rescore.trainer.run import (
    POLL_SECONDS,
    Job,
    Say,
    channel_of,
    do_round,
    hold,
    patience_of,
)
from rescore.trainer.run_log import entry
from rescore.trainer.stopping import unblocked
from rescore.trainer.usage import WrongUsage

TOLD, REACHED = "rescore_clock", "rescore_clock_reached"
"""Channels: of the moments told, and of those the runner has reached."""
REPEAT_SECONDS = 1.0


def follow(dsn: str | None, jobs: Sequence[Job], *, say: Say, stop: Event) -> int:
    """Do at each moment told what is due by then, until told to stop; return failed rounds.

    Parameters
    ----------
    say: is given one dictionary a round.
    stop: see :func:`rescore.trainer.run.run`.

    Raises
    ------
    NoServer: the connection cannot be made, or is lost.
    Busy: another runner is at work in this database.
    """
    failed, say = 0, quietly(say)
    with connection(dsn) as conn, unblocked(conn, stop):
        hold(conn, standby=False, say=say, stop=stop)
        following = Following(conn, jobs, stop)
        while not stop.is_set():
            for facts in following.heard():
                failed += "error" in facts
                say(facts)
    return failed


class Following:
    """What is due when, by the moments told."""

    def __init__(self, conn: Connection, jobs: Sequence[Job], stop: Event) -> None:
        self._conn, self._jobs, self._stop = conn, jobs, stop
        self._due = {job.name: -math.inf for job in jobs}
        self._ledger = Ledger(list(self._due))
        self._reached = -math.inf
        # Moments come as fast as they are told: what has failed is tried at the next.
        self._patience = Patience(longest=0.0)
        for known in filter(None, map(patience_of, jobs)):
            known.longest = 0.0
        for channel in {TOLD, *filter(None, map(channel_of, jobs))}:
            conn.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))

    def heard(self) -> list[Facts]:
        """Wait a little for a moment to be told; return what was done at it."""
        with translated():
            notes = list(self._conn.notifies(timeout=POLL_SECONDS, stop_after=1))
        for job in self._jobs:
            if channel_of(job) in {note.channel for note in notes}:
                self._due[job.name] = -math.inf
        moments = [note.payload for note in notes if note.channel == TOLD]
        return [facts for moment in moments for facts in self._at(moment)]

    def _at(self, moment: str) -> list[Facts]:
        try:
            with translated():
                done = self._rounds(self._set(moment))
                if not self._stop.is_set():
                    one(self._conn, query("clock_tell"), (REACHED, moment))
        except RescoreError as error:
            if self._conn.closed:
                raise
            return [entry("clock", moment=moment, error=error.message)]
        return [{**facts, "clock": moment} for facts in done]

    def _set(self, moment: str) -> float:
        seconds = float(one(self._conn, query("clock_set"), (moment,)))
        if not math.isfinite(seconds) or seconds < self._reached:
            raise WrongUsage(
                f"the clock cannot be set to {moment}",
                detail="It goes forward only, and each moment is finite.",
            )
        self._reached = seconds
        return seconds

    def _rounds(self, now: float) -> list[Facts]:
        done = []
        for job in self._jobs:
            if self._due[job.name] <= now and not self._stop.is_set():
                self._due[job.name] = now + job.every
                done.append(self._round(job))
        return [facts for facts in done if facts is not None]

    def _round(self, job: Job) -> Facts | None:
        return do_round(self._conn, job, self._stop, self._patience, self._ledger)


def advance(conn: Connection, moment: str, patience: float = 600.0) -> None:
    """Tell the runner a moment, and wait until it has done what is due by then.

    Parameters
    ----------
    conn: in autocommit mode, and listening: see `listen`.
    moment: as PostgreSQL reads a timestamptz, with its zone.
    patience: seconds to wait at most.

    Raises
    ------
    WrongUsage: the moment is no text.
    Busy: nobody has answered.
    """
    if not isinstance(moment, str):  # the runner answers with the text it was told
        raise WrongUsage(
            f"advance to {moment!r}: {type(moment).__name__} is no text",
            detail="The runner answers with the very text it was told.",
            hint="pass text with a zone, such as moment.isoformat() or 1998-01-01 00:00+00",
        )
    until = time.monotonic() + patience
    while (left := until - time.monotonic()) > 0:
        with translated():  # told again: the runner may have been started only now
            one(conn, query("clock_tell"), (TOLD, moment))
            if _answered(conn, moment, min(left, REPEAT_SECONDS)):
                return
    raise Busy(
        f"no runner has reached {moment}",
        detail=f"{patience:g} s have passed.",
        hint="Start `rescore run --follow-clock` on this database, and look at what it says.",
    )


def _answered(conn: Connection, moment: str, patience: float) -> bool:
    until = time.monotonic() + patience
    while (left := until - time.monotonic()) > 0:
        if any(note.payload == moment for note in conn.notifies(timeout=left, stop_after=1)):
            return True
    return False


def listen(conn: Connection) -> None:
    """Let a session hear which moments the runner has reached."""
    conn.execute(sql.SQL("LISTEN {}").format(sql.Identifier(REACHED)))
