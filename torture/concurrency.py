"""Eight clients over a hot set of customers, while versions are published and rows swept."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import Any

import psycopg

from rescore.compiler.apply import apply
from rescore.errors import Busy
from rescore.torture import shop
from rescore.torture.audit import audit
from rescore.torture.book import merged
from rescore.torture.clients import LEVELS, Client, Job, in_background
from rescore.torture.outcome import Outcome, Size
from rescore.torture.places import Place

CLIENTS = 8
PUBLISH_SECONDS = 0.5


def writers(place: Place, size: Size) -> list[Outcome]:
    """Writers, two publishes a second and a sweep, at each isolation level by itself."""
    return [at_levels(place, size, level) for level in LEVELS]


def at_levels(place: Place, size: Size, *levels: str) -> Outcome:
    """The same with clients at these levels at the same time; all levels if none is named."""
    names = levels or tuple(LEVELS)
    dsn = place.dsn(place.shop())
    outcome = Outcome(f"writers, {', '.join(names)}")
    with psycopg.connect(dsn, autocommit=True) as conn:
        clients = [Client(lambda: dsn, n, names[n % len(names)]) for n in range(CLIENTS)]
        with in_background([*clients, publishing(dsn, outcome), sweeping(dsn, outcome)]):
            threading.Event().wait(size.seconds)
        outcome.done |= merged([c.book for c in clients])
        outcome.lost += audit(conn, [c.book for c in clients])
    return outcome


def publishing(dsn: str, outcome: Outcome) -> Job:
    """Publish a version every half second until stopped."""

    def job(stop: threading.Event) -> None:
        with psycopg.connect(dsn, autocommit=True) as conn:
            while not stop.wait(PUBLISH_SECONDS):
                shop.publish(conn, seed=outcome.done["publishes"] % 3)
                outcome.done["publishes"] += 1

    return job


def sweeping(dsn: str, outcome: Outcome) -> Job:
    """Sweep again and again until stopped."""

    def job(stop: threading.Event) -> None:
        with psycopg.connect(dsn, autocommit=True) as conn:
            while not stop.wait(0.05):
                conn.execute("CALL rescore.sweep('customer_profile', batch => 30)")
                outcome.done["sweeps"] += 1

    return job


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
    for number in range(max(3, round(size.seconds))):
        try:
            apply(conn, shop.definition(shop.extra(number)), drop=True)
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
