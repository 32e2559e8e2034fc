"""The server and single backends of it killed under load; statements cancelled and timed out."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from rescore.compiler.apply import apply
from rescore.torture import jobs, shop
from rescore.torture.audit import audit
from rescore.torture.book import merged
from rescore.torture.clients import Client
from rescore.torture.jobs import Repeated, in_background
from rescore.torture.outcome import Outcome, Size
from rescore.torture.places import Place
from rescore.torture.queries import query

CLIENTS = 6
# One table counted at once, one queued, scores logged and learnt from: something of everything.
CHANGES: dict[str, Any] = {"queued": ("complaints",), "learning": "rounds"}
ACTS = (jobs.sweep, jobs.fold, jobs.log, jobs.learn_on)


def server_killed(place: Place, size: Size) -> Outcome:
    """Kill the server, or one backend of it, under load, again and again."""
    name, outcome = _open(place, learning="events"), Outcome("server killed under load")
    clients = [Client(lambda: place.dsn(name), seed, survives=True) for seed in range(CLIENTS)]
    beside = [Repeated(lambda: place.dsn(name), act, outcome, survives=True) for act in ACTS]
    with in_background([*clients, *beside]):
        for number in range(size.crashes):
            time.sleep(min(size.seconds, 2.0))
            _crash(place, number, outcome)
        time.sleep(min(size.seconds, 2.0))
    outcome.note(merged([c.book for c in clients]))
    with psycopg.connect(place.dsn(name), autocommit=True) as conn:
        jobs.settle(conn)
        outcome.lost += audit(conn, [c.book for c in clients])
    return outcome


def _open(place: Place, **more: Any) -> str:
    name = place.shop()
    with psycopg.connect(place.dsn(name), autocommit=True) as conn:
        apply(conn, shop.definition(**CHANGES | more))
    return name


def _crash(place: Place, number: int, outcome: Outcome) -> None:
    if number % 3 == 2:
        _kill_one(place)
        outcome.done["backends killed"] += 1
        return
    place.kill(everything=number % 3 == 0)
    place.restart()
    outcome.done["servers killed"] += 1


def _kill_one(place: Place) -> None:
    """Kill one backend: PostgreSQL then ends all others and recovers by itself."""
    with psycopg.connect(place.server.dsn, autocommit=True) as conn:
        rows = conn.execute(query("crashes", "writers")).fetchall()
    if rows:
        with suppress(ProcessLookupError):
            os.kill(random.choice(rows)[0], signal.SIGKILL)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with suppress(psycopg.OperationalError), psycopg.connect(place.server.dsn):
            return
        time.sleep(0.05)


def cancelled(place: Place, size: Size) -> Outcome:
    """Cancel statements of any kind at random moments, and let others time out."""
    dsn, outcome = place.dsn(_open(place)), Outcome("statements cancelled")
    clients = [
        Client(_hurried(dsn, "15ms") if n % 2 else lambda: dsn, n, survives=True)
        for n in range(CLIENTS)
    ]
    acts = (*ACTS, jobs.applying(**CHANGES), jobs.publish_worth())
    beside = [Repeated(_hurried(dsn, "0", "200ms"), a, outcome, survives=True) for a in acts]
    with psycopg.connect(dsn, autocommit=True) as conn:
        with in_background([*clients, *beside]):
            deadline = time.monotonic() + size.seconds
            while time.monotonic() < deadline:
                hit = conn.execute(query("crashes", "cancel")).fetchall()
                outcome.note({"cancels sent": len(hit)})
                time.sleep(random.uniform(0.0, 0.06))
        outcome.note(merged([c.book for c in clients]))
        apply(conn, shop.definition(**CHANGES), drop=True)
        jobs.settle(conn)
        outcome.lost += audit(conn, [c.book for c in clients])
    return outcome


def _hurried(dsn: str, *timeouts: str) -> Callable[[], str]:
    """Return where to connect, each time with one of these as statement_timeout."""
    return lambda: make_conninfo(dsn, options=f"-c statement_timeout={random.choice(timeouts)}")
