"""Processes killed under load: the server, single backends, sweeps, `install` and `apply`."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg

from rescore.compiler.apply import apply
from rescore.sql.install import install
from rescore.torture import shop
from rescore.torture.audit import audit
from rescore.torture.book import merged
from rescore.torture.clients import Client, in_background
from rescore.torture.outcome import Outcome, Size
from rescore.torture.places import Place
from rescore.torture.queries import query

Connection = psycopg.Connection[Any]
CLIENTS = 6


def server_killed(place: Place, size: Size) -> Outcome:
    """Kill the server, or one backend of it, under load, again and again."""
    name, outcome = place.shop(), Outcome("server killed under load")
    clients = [Client(lambda: place.dsn(name), seed, survives=True) for seed in range(CLIENTS)]
    with in_background([*clients, _swept(lambda: place.dsn(name), outcome)]):
        for number in range(size.crashes):
            time.sleep(min(size.seconds, 2.0))
            _crash(place, number, outcome)
        time.sleep(min(size.seconds, 2.0))
    outcome.done |= merged([c.book for c in clients])
    with psycopg.connect(place.dsn(name), autocommit=True) as conn:
        conn.execute("CALL rescore.sweep('customer_profile')")
        outcome.lost += audit(conn, [c.book for c in clients])
    return outcome


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


def _swept(dsn: Callable[[], str], outcome: Outcome) -> Callable[[threading.Event], None]:
    """Sweep again and again, through crashes."""

    def job(stop: threading.Event) -> None:
        while not stop.wait(0.1):
            with (
                suppress(psycopg.OperationalError),
                psycopg.connect(dsn(), autocommit=True) as conn,
            ):
                conn.execute("CALL rescore.sweep('customer_profile', batch => 20)")
                outcome.done["sweeps"] += 1

    return job


def cancelled(place: Place, size: Size) -> Outcome:
    """Cancel statements at random moments, and let others time out."""
    dsn, outcome = place.dsn(place.shop()), Outcome("statements cancelled")
    hurried = f"{dsn} options='-c statement_timeout=15ms'"
    clients = [
        Client(lambda n=n: hurried if n % 2 else dsn, n, survives=True)  # type: ignore[misc]
        for n in range(CLIENTS)
    ]
    with psycopg.connect(dsn, autocommit=True) as conn:
        with in_background([*clients, _swept(lambda: dsn, outcome)]):
            deadline = time.monotonic() + size.seconds
            while time.monotonic() < deadline:
                conn.execute(query("crashes", "cancel"))
                time.sleep(random.uniform(0.0, 0.02))
        outcome.done |= merged([c.book for c in clients])
        conn.execute("CALL rescore.sweep('customer_profile')")
        outcome.lost += audit(conn, [c.book for c in clients])
    return outcome


def commands_killed(place: Place, size: Size) -> Outcome:
    """Kill `install`, `apply` and `sweep` in the middle, and run them again."""
    outcome = Outcome("commands killed in the middle")
    for number in range(max(1, size.crashes // 2)):
        _install_killed(place, random.uniform(0.05, 1.5), outcome)
        _apply_killed(place, number, outcome)
    return outcome


def _install_killed(place: Place, after: float, outcome: Outcome) -> None:
    """An installation that was cut short has changed nothing, and can be begun anew."""
    name = place.database()
    outcome.done["installs killed"] += killed_after(["install", "--dsn", place.dsn(name)], after)
    with psycopg.connect(place.dsn(name), autocommit=True) as conn:
        wait_alone(conn)
        found = _objects(conn)
        install(place.dsn(name))
        # All of it is there where the command was killed between its commit and its end.
        if found not in (0, _objects(conn)):
            outcome.lost.append(f"an installation cut short left {found} objects")
    outcome.done["installs finished"] += 1


def _objects(conn: Connection) -> int:
    row = conn.execute(query("crashes", "half_installed")).fetchone()
    return int(row[0]) if row else 0


def _apply_killed(place: Place, number: int, outcome: Outcome) -> None:
    """A definition applied in part is applied in full by the next call; a sweep goes on."""
    dsn = place.dsn(place.shop())
    file = place.home / "changed.yaml"
    file.write_text(shop.text().replace("models:", f"{shop.extra(number)}models:", 1))
    client = Client(lambda: dsn, number)
    with psycopg.connect(dsn, autocommit=True) as conn:
        with in_background([client]):
            for words in (["apply", str(file)], ["sweep", shop.PROFILE, "--batch", "5"]):
                after = random.uniform(0.2, 2.0)
                outcome.done[f"{words[0]} killed"] += killed_after([*words, "--dsn", dsn], after)
                wait_alone(conn, "rescore")
        apply(conn, shop.definition(shop.extra(number)))
        conn.execute("CALL rescore.sweep('customer_profile')")
        outcome.lost += audit(conn, [client.book])


def killed_after(words: list[str], seconds: float) -> int:
    """Run a command of rescore and kill it; return 1 if it was still running."""
    command = [str(Path(sys.executable).parent / "rescore"), *words]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return 1
    return 0


def wait_alone(conn: Connection, name: str = "%") -> None:
    """Wait until the backend of a killed client has noticed."""
    for _ in range(200):
        row = conn.execute(query("crashes", "others"), [name]).fetchone()
        if row and not row[0]:
            return
        time.sleep(0.05)
