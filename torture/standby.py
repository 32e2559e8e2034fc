"""A streaming standby: it answers, it sees a publish, and when promoted goes on, learning too."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from rescore.compiler.apply import apply
from rescore.server.account import server_account
from rescore.server.lock import make_home
from rescore.server.private import start
from rescore.torture import jobs, shop
from rescore.torture.audit import audit
from rescore.torture.book import merged
from rescore.torture.clients import Client
from rescore.torture.commands import finished
from rescore.torture.jobs import Repeated, in_background
from rescore.torture.outcome import Outcome, Size
from rescore.torture.places import Place, own_home
from rescore.torture.programs import run
from rescore.torture.queries import query

Connection = psycopg.Connection[Any]
CLIENTS = 4
HOW = ("--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast", "--no-sync")
REPLAY_SECONDS = 60
# After which the outcome of what was logged is known.
RESOLVED_SECONDS = 1.2


def promoted(place: Place, size: Size) -> Outcome:
    """Read from a standby, kill its server under load, and go on with the standby."""
    name, outcome = place.shop(), Outcome("standby, promoted")
    with psycopg.connect(place.dsn(name), autocommit=True) as conn:
        apply(conn, shop.definition(learning="rounds"))
    with _standby(place) as standby:
        where = [place]
        clients = [Client(lambda: where[-1].dsn(name), n, survives=True) for n in range(CLIENTS)]
        logging, learning = (
            Repeated(lambda: where[-1].dsn(name), act, outcome, jobs.BESIDE_SECONDS, survives=True)
            for act in (jobs.log, jobs.learn_on)
        )
        with _synchronous(place), in_background([*clients, logging]):
            with in_background([learning]):
                jobs.go_on(outcome, size.seconds)
                outcome.lost += _answers(place, standby, name, outcome)
                place.kill()
            outcome.done["servers killed"] += 1
            run("pg_ctl", "promote", "-w", "-D", "data", cwd=standby.home)
            outcome.done["standbys promoted"] += 1
            where.append(standby)
            time.sleep(size.seconds)
        outcome.note(merged([c.book for c in clients]))
        with psycopg.connect(standby.dsn(name), autocommit=True) as conn:
            outcome.lost += _runs(conn, standby.dsn(name), outcome)
            outcome.lost += _serves(conn, shop.publish(conn, seed=3))
            jobs.settle(conn)
            outcome.lost += audit(conn, [c.book for c in clients])
    return outcome


def _runs(conn: Connection, dsn: str, outcome: Outcome) -> list[str]:
    """Let `rescore run` learn what was resolved last; the audit says whether all was, and once."""
    time.sleep(RESOLVED_SECONDS)
    outcome.note(jobs.log(conn))
    conn.execute(query("standby", "request_learning"))
    before, _ = _learnt(conn)
    code = finished("run", "--once", dsn=dsn)
    learnt, left = _learnt(conn)
    outcome.note({"examples learnt by the run after": learnt - before})
    found = [f"rescore run ended with {code}"] if code else []
    return found + ([f"rescore run left {left} examples"] if left >= shop.LEARN["examples"] else [])


def _learnt(conn: Connection) -> tuple[int, int]:
    row = conn.execute(query("standby", "learnt")).fetchone()
    assert row is not None  # an aggregate of no rows is one
    return int(row[0]), int(row[1])


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
