"""Databases of every released revision, populated, brought to this version, also when cut short."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import psycopg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from psycopg import sql
from sqlalchemy import create_engine

from rescore.compiler.apply import apply
from rescore.sql.install import install
from rescore.torture import shop
from rescore.torture.audit import audit
from rescore.torture.book import merged
from rescore.torture.clients import Client
from rescore.torture.commands import killed, wait_alone
from rescore.torture.outcome import SHORT, Outcome, Size
from rescore.torture.places import Place
from rescore.torture.queries import query

Connection = psycopg.Connection[Any]
EVENTS = 30
WITH_OUTBOX = "0003"
# About as long as an upgrade takes: a kill needs something to fall into.
UPGRADE_SECONDS = 1.0


def upgraded(place: Place, size: Size) -> Outcome:
    """Each revision in turn: populate, cut the upgrade short, upgrade, compare, write on."""
    outcome = Outcome("upgrade")
    source = place.shop()
    with psycopg.connect(place.dsn(source), autocommit=True) as conn:
        client = Client(lambda: place.dsn(source), 0)
        for _ in range(EVENTS):
            client.act(conn)
        every = 4 if size.crashes <= SHORT.crashes else 1
        for revision in _revisions()[::every]:
            outcome.lost += [
                f"from {revision}: {line}" for line in _from(place, conn, revision, outcome)
            ]
    return outcome


def _revisions() -> list[str]:
    """Return every released revision, the oldest first."""
    config = Config()
    config.set_main_option("script_location", str(Path(str(files("rescore.migrations")))))
    return [r.revision for r in ScriptDirectory.from_config(config).walk_revisions()][::-1]


def _from(place: Place, source: Connection, revision: str, outcome: Outcome) -> Iterator[str]:
    name = place.database()
    dsn = place.dsn(name)
    with psycopg.connect(dsn, autocommit=True) as old:
        old.execute((files("rescore.torture") / "shop.sql").read_bytes())
        _make_tables(old, dsn, revision)
        _copy(source, old)
        before = _rows(old)
        yield from _cut_short(old, dsn, revision, outcome)
        install(dsn)
        outcome.done["upgrades"] += 1
        if _rows(old) != before:
            yield "definitions or models are not what they were"
        apply(old, shop.definition(), source=shop.text())
        client = Client(lambda: dsn, 50)
        for _ in range(EVENTS):
            client.act(old)
        shop.publish(old, seed=2)
        old.execute("CALL rescore.sweep('customer_profile')")
        # Before there was an outbox nothing was reported.
        yield from audit(old, [client.book], reports=revision >= WITH_OUTBOX)
        outcome.done += merged([client.book])


def _cut_short(conn: Connection, dsn: str, revision: str, outcome: Outcome) -> Iterator[str]:
    """Kill the upgrade: what is there is then still the old revision, or already the new one."""
    done = killed(conn, "install", dsn=dsn, within=UPGRADE_SECONDS)
    outcome.note({"upgrades killed": done})
    wait_alone(conn)
    row = conn.execute(query("upgrade", "revision")).fetchone()
    if not row or row[0] not in (revision, _revisions()[-1]):
        yield f"an upgrade cut short left revision {row}"


def _make_tables(conn: Connection, dsn: str, revision: str) -> None:
    """Make rescore's tables as a revision has them."""
    conn.execute(query("upgrade", "schemas"))
    config = Config()
    config.set_main_option("script_location", str(Path(str(files("rescore.migrations")))))
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(dsn))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    engine.dispose()


def _copy(source: Connection, target: Connection) -> None:
    """Copy the functions of the versions, and the rows of all tables that the target has."""
    for (statement,) in source.execute(query("upgrade", "profile_table")).fetchall():
        target.execute(statement.encode())
    for (statement,) in source.execute(query("upgrade", "versions")).fetchall():
        target.execute(statement.encode())
    for schema, table, names in target.execute(query("upgrade", "columns")).fetchall():
        parts = sql.Identifier(schema, table), sql.SQL(", ").join(map(sql.Identifier, names))
        out = sql.SQL("COPY (SELECT {1} FROM {0}) TO STDOUT (FORMAT binary)").format(*parts)
        into = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(*parts)
        with source.cursor().copy(out) as reading, target.cursor().copy(into) as writing:
            for block in reading:
                writing.write(block)
    for (statement,) in target.execute(query("upgrade", "sequences")).fetchall():
        target.execute(statement.encode())


def _rows(conn: Connection) -> list[Any]:
    return conn.execute(query("upgrade", "rows")).fetchall()
