"""Events that wait in a queue, folded by a runner and by a session that are killed at it."""

from __future__ import annotations

import random
import threading
import time

import psycopg
from psycopg.conninfo import make_conninfo

from rescore.compiler.apply import apply
from rescore.torture import jobs, shop
from rescore.torture.audit import audit
from rescore.torture.book import merged
from rescore.torture.clients import LEVELS, Client
from rescore.torture.commands import killed, wait_alone
from rescore.torture.jobs import Job, Repeated, in_background
from rescore.torture.outcome import Outcome, Size
from rescore.torture.places import Place
from rescore.torture.queries import query

CLIENTS = 8
FOLDING = "torture folding"
RUNNER = ("run", "--every", "2s", "--fold-every", "50ms")


def folded(place: Place, size: Size) -> list[Outcome]:
    """Clients at each isolation level by itself, all their events queued."""
    return [at_levels(place, size, level) for level in LEVELS]


def at_levels(place: Place, size: Size, *levels: str) -> Outcome:
    """Clients at these levels at the same time, also with transactions of several statements.

    What they write is folded by a runner that is killed with -9 again and again, and by a session
    whose backend is ended; what is left at the end, by one that nobody disturbs.
    """
    names = levels or tuple(LEVELS)
    dsn = place.dsn(place.shop())
    outcome = Outcome(f"queue, {', '.join(names)}")
    with psycopg.connect(dsn, autocommit=True) as conn:
        apply(conn, shop.definition(queued=shop.EVENTS, learning="rounds"))
        publisher = jobs.publishing(dsn, outcome)
        rest = jobs.resting(publisher)
        clients = [
            Client(lambda: dsn, n, names[n % len(names)], several=True, rest=rest)
            for n in range(CLIENTS)
        ]
        folding = make_conninfo(dsn, application_name=FOLDING)
        beside: list[Job] = [
            Repeated(lambda: folding, jobs.fold, outcome, survives=True),
            _ending(dsn, outcome),
        ]
        with in_background([publisher]):
            jobs.await_ready(publisher)
            with in_background([*clients, *beside]):
                _run_and_kill(conn, dsn, outcome, size.seconds)
        outcome.note(merged([c.book for c in clients]))
        wait_alone(conn)
        jobs.settle(conn)
        outcome.lost += audit(conn, [c.book for c in clients])
    return outcome


def _run_and_kill(conn: psycopg.Connection, dsn: str, outcome: Outcome, seconds: float) -> None:
    """Let a runner fold, and kill it at that; at least once, and until the time is over."""
    deadline = time.monotonic() + seconds
    while not outcome.done["runners killed"] or time.monotonic() < deadline:
        done = killed(conn, *RUNNER, dsn=dsn, within=0.3, doing="%_fold_step%")
        outcome.note({"runners killed": done})


def _ending(dsn: str, outcome: Outcome) -> Job:
    """End the backend that folds, in the middle of a statement, several times a second."""

    def job(stop: threading.Event) -> None:
        with psycopg.connect(dsn, autocommit=True) as conn:
            while not stop.wait(random.uniform(0.1, 1.0)):
                ended = conn.execute(query("commands", "end"), [FOLDING]).fetchall()
                outcome.note({"folds ended": len(ended)})

    return job
