"""People forgotten while their events keep coming."""

from __future__ import annotations

import time
from typing import Any

import psycopg

from rescore.torture import shop
from rescore.torture.audit import audit
from rescore.torture.book import merged
from rescore.torture.clients import LEVELS, Client
from rescore.torture.jobs import in_background
from rescore.torture.outcome import Outcome, Size
from rescore.torture.places import Place
from rescore.torture.queries import query

CLIENTS = 6
PEOPLE = range(1, shop.CUSTOMERS + 1, 4)


def forgotten(place: Place, size: Size) -> Outcome:
    """Forget every fourth customer under load, at all isolation levels; rebuild; look for them."""
    dsn, outcome = place.dsn(place.shop()), Outcome("people forgotten under load")
    clients = [Client(lambda: dsn, n, LEVELS[n % len(LEVELS)]) for n in range(CLIENTS)]
    with psycopg.connect(dsn, autocommit=True) as conn:
        with in_background(clients):
            for person in PEOPLE:
                conn.execute(query("privacy", "forget"), [shop.PROFILE, str(person)])
                outcome.done["people forgotten"] += 1
                time.sleep(size.seconds / len(PEOPLE))
        conn.execute(query("privacy", "rebuild"), [shop.PROFILE])
        conn.execute("CALL rescore.sweep('customer_profile')")
        outcome.done |= merged([c.book for c in clients])
        outcome.lost += _traces(conn) + audit(conn, [c.book for c in clients])
    return outcome


def _traces(conn: psycopg.Connection[Any]) -> list[str]:
    """Rows in which somebody who was forgotten still stands."""
    people = [str(person) for person in PEOPLE]
    rows = conn.execute(query("privacy", "traces"), {"people": people}).fetchall()
    return [f"{place} still has {person}" for place, person in rows]
