"""Clients behind PgBouncer, where each transaction may have another backend."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from rescore.errors import NoServer
from rescore.server.account import server_account
from rescore.torture import jobs
from rescore.torture.audit import audit
from rescore.torture.book import merged
from rescore.torture.clients import Client
from rescore.torture.jobs import in_background
from rescore.torture.outcome import Outcome, Size
from rescore.torture.places import Place
from rescore.torture.programs import bouncer
from rescore.torture.queries import query

CLIENTS = 8
BACKENDS = 3
START_SECONDS = 30


def pooled(place: Place, size: Size) -> Outcome:
    """More clients than backends, versions published meanwhile; nothing stays in a backend."""
    outcome, name = Outcome("PgBouncer, transaction mode"), place.shop()
    program = bouncer()
    if program is None:
        outcome.done["not installed"] = 1
        return outcome
    with pooled_dsn(place, program, name, backends=BACKENDS) as dsn:
        clients = [Client(lambda: dsn, n, pooled=True) for n in range(CLIENTS)]
        with in_background([*clients, jobs.publishing(place.dsn(name), outcome)]):
            time.sleep(size.seconds)
        outcome.note(merged([c.book for c in clients]))
        with psycopg.connect(dsn, autocommit=True, prepare_threshold=None) as conn:
            outcome.lost += _left_behind(conn, outcome)
    with psycopg.connect(place.dsn(name), autocommit=True) as conn:
        conn.execute("CALL rescore.sweep('customer_profile')")
        outcome.lost += audit(conn, [c.book for c in clients])
    return outcome


def _left_behind(conn: psycopg.Connection, outcome: Outcome) -> list[str]:
    """Settings, locks and prepared statements that a pooled backend still holds."""
    row = conn.execute(query("pooler", "backends")).fetchone()
    outcome.done["backends"] = row[0] if row else 0
    found = [] if outcome.done["backends"] <= BACKENDS else ["more backends than the pool has"]
    for _ in range(BACKENDS):
        found += [f"left in a backend: {r[0]}" for r in conn.execute(query("pooler", "left"))]
    return found


@contextmanager
def pooled_dsn(place: Place, program: Path, name: str, *, backends: int) -> Iterator[str]:
    """PgBouncer in front of the server, in transaction mode; yields how to reach a database.

    Parameters
    ----------
    backends: so many sessions of the server for all clients.
    """
    account, folder = server_account(), place.home / "pool"
    account.own(folder)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    config = folder / "pgbouncer.ini"
    config.write_text(_settings(place, folder, port, backends))
    os.chown(config, account.uid, account.gid)
    done = account.run([program, "-d", config], cwd=folder)
    if done.returncode != 0:
        raise NoServer("PgBouncer does not start", detail=done.stderr)
    _wait_for(folder / f".s.PGSQL.{port}")
    try:
        yield make_conninfo(host=str(folder), port=port, dbname=name, user="rescore")
    finally:
        with suppress(ProcessLookupError, FileNotFoundError):
            os.kill(int((folder / "pid").read_text()), signal.SIGTERM)
        _wait_for(folder / "pid", gone=True)


def _wait_for(path: Path, *, gone: bool = False) -> None:
    """Wait until there is a file, or none: it is in the background before it listens."""
    deadline = time.monotonic() + START_SECONDS
    while path.exists() is gone and time.monotonic() < deadline:
        time.sleep(0.02)


def _settings(place: Place, folder: Path, port: int, backends: int) -> str:
    server = f"host={place.server.socket_dir} port={place.server.port} user=rescore"
    return f"""
[databases]
* = {server}
[pgbouncer]
pool_mode = transaction
default_pool_size = {backends}
auth_type = any
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir = {folder}
logfile = {folder}/log
pidfile = {folder}/pid
"""
