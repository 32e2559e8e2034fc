"""Dumps restored into empty databases: the same definitions, models and scores, and it goes on."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import psycopg

from rescore.torture import shop
from rescore.torture.audit import audit
from rescore.torture.book import merged
from rescore.torture.clients import Client
from rescore.torture.jobs import in_background
from rescore.torture.outcome import Outcome, Size
from rescore.torture.places import Place
from rescore.torture.programs import run
from rescore.torture.queries import query

Connection = psycopg.Connection[Any]
REPLICA = "-c session_replication_role=replica"
FORGOTTEN = "100"


def restored(place: Place, size: Size) -> Outcome:
    """Dump a shop, restore it each way there is, compare, and write on."""
    outcome, name = Outcome("dump and restore"), place.shop()
    clients = [Client(lambda: place.dsn(name), n) for n in range(3)]
    with in_background(clients):
        time.sleep(size.seconds)
    outcome.done |= merged([c.book for c in clients])
    with psycopg.connect(place.dsn(name), autocommit=True) as conn:
        shop.publish(conn, seed=2)
        conn.execute(query("backup", "forget"), [shop.PROFILE, FORGOTTEN])
        before = _contents(conn)
    server = ("-h", str(place.server.socket_dir), "-p", str(place.server.port), "-U", "rescore")
    folder = place.home / "run"
    run("pg_dump", *server, "-Fc", "-f", "shop.dump", name, cwd=folder)
    outcome.done["dumps"] += 1
    for way, parts in list(WAYS.items())[: size.restores]:
        target = place.database()
        for options, words in parts:
            restore = (*server, "--exit-on-error", "-d", target, *words, "shop.dump")
            run("pg_restore", *restore, cwd=folder, options=options)
        outcome.done["restores"] += 1
        outcome.lost += [f"{way}: {line}" for line in _compared(place, target, before)]
    Path(folder / "shop.dump").unlink()
    return outcome


# How a dump can be restored: settings and options of each call of pg_restore.
WAYS: dict[str, list[tuple[str, tuple[str, ...]]]] = {
    "in full": [("", ())],
    "schema, then data": [("", ("--schema-only",)), (REPLICA, ("--data-only",))],
    "in full, four jobs": [("", ("--jobs=4",))],
    "by sections": [("", (f"--section={s}",)) for s in ("pre-data", "data", "post-data")],
}


def _contents(conn: Connection) -> dict[str, list[Any]]:
    """Return all that must be the same afterwards, by what it is."""
    names = ("definitions", "models", "scores", "functions", "triggers", "grants", "sequences")
    return {name: conn.execute(query("backup", name)).fetchall() for name in names}


def _compared(place: Place, target: str, before: dict[str, list[Any]]) -> list[str]:
    """Compare a restored database with the one that was dumped, and write to it."""
    client = Client(lambda: place.dsn(target), 90)
    with psycopg.connect(place.dsn(target), autocommit=True) as conn:
        after = _contents(conn)
        found = [
            f"{name} differ: {sorted(set(before[name]) ^ set(after[name]), key=str)[:3]}"
            for name in before
            if before[name] != after[name]
        ]
        found += audit(conn)
        for _ in range(20):
            client.act(conn)
        conn.execute(query("backup", "late_event"), [FORGOTTEN])
        version = shop.publish(conn, seed=1)
        conn.execute("CALL rescore.sweep('customer_profile')")
        row = conn.execute(query("backup", "check"), [FORGOTTEN]).fetchone()
        if row != (version, 0):
            found.append(f"version and rows of the forgotten: {row}, not {(version, 0)}")
        return found + audit(conn, [client.book])
