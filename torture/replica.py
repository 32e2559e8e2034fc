"""rescore on a subscriber: the server whose tables it watches knows nothing of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from typing import Any

import psycopg
import yaml
from psycopg import sql

from rescore.compiler.apply import apply
from rescore.compiler.definition import parse
from rescore.errors import Busy
from rescore.torture import shop
from rescore.torture.audit import audit
from rescore.torture.book import merged
from rescore.torture.clients import Client
from rescore.torture.jobs import in_background
from rescore.torture.outcome import Outcome, Size
from rescore.torture.places import INSTALLED, Place
from rescore.torture.queries import query

Connection = psycopg.Connection[Any]
# One worker applies what they write, each row with its triggers: it is the slower side.
CLIENTS = 2
# So long without any progress, on however slow a machine, and it will not come.
STUCK_SECONDS = 60
SLOT = "rescore_torture"


def subscribed(place: Place, size: Size) -> Outcome:
    """Clients write to the publisher; the subscriber counts and scores what comes."""
    outcome = Outcome("logical replica")
    publisher, subscriber = place.database(), place.database(INSTALLED)
    with (
        psycopg.connect(place.dsn(publisher), autocommit=True) as source,
        psycopg.connect(place.dsn(subscriber), autocommit=True) as target,
    ):
        _open(source, target)
        with _subscription(place, source, target, publisher):
            clients = [Client(lambda: place.dsn(publisher), n) for n in range(CLIENTS)]
            with in_background(clients):
                time.sleep(size.seconds / 8)
                shop.publish(target, seed=2)
                outcome.done["publishes"] += 1
            outcome.lost += _caught_up(source)
            outcome.done |= merged([c.book for c in clients])
            target.execute("CALL rescore.sweep('customer_profile')")
            outcome.lost += audit(target, [c.book for c in clients])
            outcome.lost += _removed(source, target, outcome)
    return outcome


def definition() -> str:
    """Return the shop's definition for tables that a subscription fills."""
    made = yaml.safe_load(shop.text())
    for event in shop.EVENTS:
        made["events"][event]["trigger"] = "replicated"
    return yaml.safe_dump(made, sort_keys=False)


def _open(source: Connection, target: Connection) -> None:
    """Tables on both sides, rows on one, rescore on the other."""
    for conn in (source, target):
        conn.execute((files("rescore.torture") / "shop.sql").read_bytes())
    source.execute(query("replica", "rows_before"))
    apply(target, parse(definition()))
    for model in shop.MODELS:
        shop.publish(target, model)


def _removed(source: Connection, target: Connection, outcome: Outcome) -> list[str]:
    """A replicated TRUNCATE takes back everything; a deleted profile row comes back whole."""
    target.execute(query("replica", "remove_profile"))
    source.execute(query("replica", "another"))
    found = _caught_up(source) + audit(target)
    source.execute(query("replica", "truncate"))
    outcome.done["replicated truncates"] += 1
    return found + _caught_up(source) + audit(target)


@contextmanager
def _subscription(
    place: Place, source: Connection, target: Connection, publisher: str
) -> Iterator[None]:
    """A publication of both tables and its subscription, which copies what is there first."""
    source.execute(query("replica", "publish"))
    # Both databases are of one cluster: a slot made by the subscription itself would wait for it.
    source.execute(query("replica", "slot"), [SLOT])
    statement = sql.SQL(
        "CREATE SUBSCRIPTION {name} CONNECTION {dsn} PUBLICATION shop"
        " WITH (create_slot = false, slot_name = {name})"
    )
    dsn = sql.Literal(place.dsn(publisher))
    with psycopg.connect(place.superuser_dsn(target.info.dbname), autocommit=True) as superuser:
        superuser.execute(statement.format(name=sql.Identifier(SLOT), dsn=dsn))
        try:
            _copied(superuser)
            yield
        finally:
            superuser.execute(sql.SQL("DROP SUBSCRIPTION {}").format(sql.Identifier(SLOT)))


def _caught_up(source: Connection) -> list[str]:
    """Wait until the subscriber has confirmed all that is committed here."""
    row = source.execute(query("standby", "position")).fetchone()
    position, found, deadline = row[0] if row else "0/0", None, 0.0
    while True:
        row = source.execute(query("replica", "confirmed"), [position, SLOT]).fetchone()
        if row and row[0]:
            return []
        if row != found:
            found, deadline = row, time.monotonic() + STUCK_SECONDS
        if time.monotonic() > deadline:
            return [f"the subscriber stays at {row}, and {position} is to come"]
        time.sleep(0.05)


def _copied(conn: Connection) -> None:
    """Wait until the subscription has copied both tables."""
    deadline = time.monotonic() + STUCK_SECONDS
    while time.monotonic() < deadline:
        row = conn.execute(query("replica", "copied")).fetchone()
        if row and row[0]:
            return
        time.sleep(0.05)
    raise Busy("the tables of the subscription were not copied")
