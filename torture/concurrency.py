"""Eight clients over a hot set of customers, while versions are published and learnt."""

from __future__ import annotations

import threading
import time
from collections import Counter
from itertools import count
from typing import Any

import psycopg

from rescore.compiler.apply import apply
from rescore.errors import Busy
from rescore.torture import jobs, shop
from rescore.torture.audit import audit
from rescore.torture.book import merged
from rescore.torture.clients import LEVELS, Client
from rescore.torture.jobs import Repeated, in_background
from rescore.torture.outcome import Outcome, Size
from rescore.torture.places import Place

CLIENTS = 8
# Definitions applied, and taken back, on however slow a machine.
FEWEST = 3


def writers(place: Place, size: Size) -> list[Outcome]:
    """Writers, publishes, sweeps, snapshots and a learner, at each isolation level by itself."""
    return [at_levels(place, size, level) for level in LEVELS]


def at_levels(place: Place, size: Size, *levels: str) -> Outcome:
    """The same with clients at these levels at the same time; all levels if none is named."""
    names = levels or tuple(LEVELS)
    dsn = place.dsn(place.shop())
    outcome = Outcome(f"writers, {', '.join(names)}")
    with psycopg.connect(dsn, autocommit=True) as conn:
        apply(conn, shop.definition(learning="rounds"))
        publisher = jobs.publishing(dsn, outcome)
        learner = Repeated(lambda: dsn, jobs.learn_on, outcome, jobs.BESIDE_SECONDS, publishes=True)
        clients = [
            Client(lambda: dsn, n, names[n % len(names)], rest=jobs.resting(publisher))
            for n in range(CLIENTS)
        ]
        acts = (jobs.sweep, jobs.log)
        beside = [Repeated(lambda: dsn, act, outcome, jobs.BESIDE_SECONDS) for act in acts]
        with in_background([publisher, learner]):
            jobs.await_ready(publisher, learner)
            with in_background([*clients, *beside]):
                jobs.go_on(outcome, size.seconds)
        outcome.note(merged([c.book for c in clients]))
        jobs.settle(conn)
        outcome.lost += audit(conn, [c.book for c in clients])
    return outcome


def changing(place: Place, size: Size) -> Outcome:
    """Apply changed definitions while clients write: no error to them, and short waits."""
    dsn = place.dsn(place.shop())
    outcome = Outcome("apply during writes")
    with psycopg.connect(dsn, autocommit=True) as conn:
        clients = [Client(lambda: dsn, seed) for seed in range(CLIENTS // 2)]
        slowest = _Slowest(dsn)
        with in_background([*clients, slowest]):
            outcome.done += _applied(conn, size)
        outcome.done |= merged([c.book for c in clients])
        outcome.done["longest insert, ms"] = round(slowest.seconds * 1000)
        outcome.lost += audit(conn, [c.book for c in clients])
    return outcome


def _applied(conn: psycopg.Connection[Any], size: Size) -> Counter[str]:
    done: Counter[str] = Counter()
    deadline = time.monotonic() + size.seconds
    for number in count():
        if number >= FEWEST and time.monotonic() > deadline:
            break
        try:
            apply(conn, shop.definition(larger_than=number), drop=True)
            apply(conn, shop.definition(), drop=True)
            done["definitions applied"] += 2
        except Busy:
            done["definitions given up"] += 1
    return done


class _Slowest:
    """Insert one event after the other, and keep the longest time one took."""

    def __init__(self, dsn: str) -> None:
        self.client = Client(lambda: dsn, CLIENTS + 1)
        self.seconds = 0.0

    def __call__(self, stop: threading.Event) -> None:
        with psycopg.connect(self.client.dsn(), autocommit=True) as conn:
            while not stop.is_set():
                began = time.monotonic()
                self.client.insert_one(conn)
                self.seconds = max(self.seconds, time.monotonic() - began)
