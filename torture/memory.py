"""The memory of one backend over many events and publishes, direct and behind a pooler."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg

from rescore.torture import shop
from rescore.torture.audit import audit
from rescore.torture.outcome import Outcome, Size
from rescore.torture.places import Place
from rescore.torture.pooler import pooled_dsn
from rescore.torture.programs import bouncer
from rescore.torture.queries import query

Connection = psycopg.Connection[Any]
# What may be more at the end than after a quarter: caches still filling up.
SLACK_KB = 4096
ROWS = 10


def flat(place: Place, size: Size) -> list[Outcome]:
    """One session inserts all events while another publishes: direct, and behind a pooler."""
    name = place.shop()
    made = [_watched(place, name, place.dsn(name), size, Outcome("memory of one backend"))]
    if program := bouncer():
        name, outcome = place.shop(), Outcome("memory of one backend, PgBouncer")
        with pooled_dsn(place, program, name, backends=1) as dsn:
            made.append(_watched(place, name, dsn, size, outcome))
    return made


def _watched(place: Place, name: str, dsn: str, size: Size, outcome: Outcome) -> Outcome:
    """Insert and publish in turns, and note the backend's private memory all the while."""
    # A pooler knows no prepared statements; it has one backend, which does everything.
    with (
        psycopg.connect(dsn, autocommit=True, prepare_threshold=None) as writer,
        psycopg.connect(place.dsn(name), autocommit=True) as publisher,
    ):
        row = writer.execute(query("memory", "backend")).fetchone()
        backend, every = row[0] if row else 0, size.events // size.publishes
        _insert(writer, 1)
        measured = [_private_kb(backend)]
        for number in range(size.publishes):
            _insert(writer, every)
            shop.publish(publisher, seed=number % 3)
            measured.append(_private_kb(backend))
        outcome.note({"events": every * size.publishes, "publishes": size.publishes})
        quarter, end = measured[len(measured) // 4], measured[-1]
        outcome.note({"kB at the start": measured[0], "kB after a quarter": quarter})
        outcome.note({"kB at the most": max(measured), "kB at the end": end})
        if end > quarter + SLACK_KB:
            outcome.lost.append(f"memory grew from {quarter} to {end} kB")
        publisher.execute("CALL rescore.sweep('customer_profile')")
        outcome.lost += audit(publisher)
    return outcome


def _insert(conn: Connection, events: int) -> None:
    """Insert events, half of them one by one, each statement in its own transaction."""
    ones, sets = events - events // 2, events // 2 // ROWS
    with conn.pipeline() as pipeline:
        for number in range(ones + sets):
            rows = ROWS if number >= ones else 1
            keys = [(number + row) % shop.CUSTOMERS + 1 for row in range(rows)]
            given = {"keys": keys, "amount": 1, "channel": "web", "batch": None}
            conn.execute(query("clients", "orders"), given)
            pipeline.sync()


def _private_kb(backend: int) -> int:
    """Kilobytes of a backend that are its own, as the kernel counts them."""
    lines = Path(f"/proc/{backend}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))
