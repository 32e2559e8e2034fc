"""The memory of one backend over many events and publishes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg

from rescore.torture import shop
from rescore.torture.audit import audit
from rescore.torture.outcome import Outcome, Size
from rescore.torture.places import Place
from rescore.torture.queries import query

Connection = psycopg.Connection[Any]
# What may be more at the end than after the first third: caches still filling up.
SLACK_KB = 4096


def flat(place: Place, size: Size) -> Outcome:
    """One session inserts all events while another publishes; its private memory stays."""
    outcome, dsn = Outcome("memory of one backend"), place.dsn(place.shop())
    with (
        psycopg.connect(dsn, autocommit=True) as writer,
        psycopg.connect(dsn, autocommit=True) as publisher,
    ):
        every, measured = size.events // size.publishes, []
        for number in range(size.publishes):
            _insert(writer, every)
            shop.publish(publisher, seed=number % 3)
            measured.append(_private_kb(writer))
        outcome.done["events"] = every * size.publishes
        outcome.done["publishes"] = size.publishes
        early, late = measured[size.publishes // 3], measured[-1]
        outcome.done["kB after a third"], outcome.done["kB at the end"] = early, late
        if late > early + SLACK_KB:
            outcome.lost.append(f"memory grew from {early} to {late} kB")
        publisher.execute("CALL rescore.sweep('customer_profile')")
        outcome.lost += audit(publisher)
    return outcome


def _insert(conn: Connection, events: int) -> None:
    """Insert single events, as an application does; without waiting for each to be answered."""
    with conn.pipeline():
        for number in range(events):
            given = {"keys": [number % shop.CUSTOMERS + 1], "amount": 1, "channel": "web"}
            conn.execute(query("clients", "orders"), {**given, "batch": None})


def _private_kb(conn: Connection) -> int:
    """Kilobytes of a backend that are its own, as the kernel counts them."""
    lines = Path(f"/proc/{conn.info.backend_pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))
