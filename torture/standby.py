"""A streaming standby: it answers, it sees a publish, and once promoted everything goes on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from rescore.server.account import server_account
from rescore.server.lock import make_home
from rescore.server.private import start
from rescore.torture import shop
from rescore.torture.audit import audit
from rescore.torture.book import merged
from rescore.torture.clients import Client
from rescore.torture.jobs import in_background
from rescore.torture.outcome import Outcome, Size
from rescore.torture.places import Place, own_home
from rescore.torture.programs import run
from rescore.torture.queries import query

Connection = psycopg.Connection[Any]
CLIENTS = 4
HOW = ("--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast", "--no-sync")
REPLAY_SECONDS = 60


def promoted(place: Place, size: Size) -> Outcome:
    """Read from a standby, kill its server under load, and go on with the standby."""
    name, outcome = place.shop(), Outcome("standby, promoted")
    with _standby(place) as standby:
        where = [place]
        clients = [Client(lambda: where[-1].dsn(name), n, survives=True) for n in range(CLIENTS)]
        with _synchronous(place), in_background(clients):
            time.sleep(size.seconds)
            outcome.lost += _answers(place, standby, name, outcome)
            place.kill()
            outcome.done["servers killed"] += 1
            run("pg_ctl", "promote", "-w", "-D", "data", cwd=standby.home)
            outcome.done["standbys promoted"] += 1
            where.append(standby)
            time.sleep(size.seconds)
        outcome.done |= merged([c.book for c in clients])
        with psycopg.connect(standby.dsn(name), autocommit=True) as conn:
            version = shop.publish(conn, seed=3)
            conn.execute("CALL rescore.sweep('customer_profile')")
            outcome.lost += audit(conn, [c.book for c in clients])
            outcome.lost += _serves(conn, version)
    return outcome


def _answers(place: Place, standby: Place, name: str, outcome: Outcome) -> list[str]:
    """Publish on the primary; what a standby can be asked, once it has replayed that."""
    with psycopg.connect(place.dsn(name), autocommit=True) as primary:
        version = shop.publish(primary, seed=2)
        row = primary.execute(query("standby", "position")).fetchone()
    with psycopg.connect(standby.dsn(name), autocommit=True) as conn:
        _wait_for(conn, row[0] if row else "0/0")
        found = _serves(conn, version)
        for question in ("predict", "predict_key", "predict_payload", "explain", "views"):
            answer = conn.execute(query("standby", question)).fetchone()
            outcome.done["answers of the standby"] += 1
            if not answer or answer[0] is not True:
                found.append(f"the standby answers {question} with {answer}")
    return found


def _serves(conn: Connection, version: int) -> list[str]:
    row = conn.execute(query("standby", "serving")).fetchone()
    return [] if row == (version,) else [f"version {row} serves, not {version}"]


def _wait_for(conn: Connection, position: str) -> None:
    deadline = time.monotonic() + REPLAY_SECONDS
    while time.monotonic() < deadline:
        row = conn.execute(query("standby", "replayed"), [position]).fetchone()
        if row and row[0]:
            return
        time.sleep(0.02)


@contextmanager
def _standby(place: Place) -> Iterator[Place]:
    """A standby of the place's server, streaming from it."""
    with own_home("standby") as home:
        make_home(home)
        server_account().own(home / "data")
        source = ("-h", str(place.server.socket_dir), "-p", str(place.server.port), "-U", "rescore")
        run("pg_basebackup", *source, "-D", "data", *HOW, cwd=home)
        yield Place(home, start(home, tuning="torture"), place.role)


@contextmanager
def _synchronous(place: Place) -> Iterator[None]:
    """Confirm to clients only what the standby has; afterwards the server runs alone again."""
    _set(place, "synchronous_names")
    try:
        yield
    finally:
        place.restart()
        _set(place, "asynchronous")


def _set(place: Place, name: str) -> None:
    with psycopg.connect(place.server.dsn, autocommit=True) as conn:
        conn.execute(query("standby", name))
        conn.execute(query("standby", "reload"))
