"""A populated database of the first release gets an outbox, and loses nothing."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import psycopg
from alembic import command
from alembic.config import Config
from psycopg import sql
from sqlalchemy import create_engine

from rescore.sql.install import install
from rescore.tests.outbox_shop import (
    MOVED,
    TABLES,
    Connection,
    definition,
    open_shop,
    order,
    reports,
    right,
)
from rescore.tests.support import define, one

COLUMNS = """
SELECT c.table_schema, c.table_name, array_agg(c.column_name::text ORDER BY c.ordinal_position)
FROM information_schema.columns AS c JOIN information_schema.tables AS t USING (table_schema, table_name)
WHERE c.table_schema IN ('rescore', 'public') AND t.table_type = 'BASE TABLE' AND table_name <> 'alembic_version'
GROUP BY 1, 2 ORDER BY table_name = 'deployments'
"""
VERSIONS = """
SELECT pg_get_functiondef(p.oid) FROM pg_proc AS p
WHERE p.pronamespace = 'rescore_compiled'::regnamespace AND p.proname ~ '^churn_v[0-9]'
"""


def test_a_populated_database_of_the_first_release(plain_dsn: str, empty_dsn: str) -> None:
    with (
        psycopg.connect(plain_dsn, autocommit=True) as source,
        psycopg.connect(empty_dsn, autocommit=True) as old,
    ):
        open_shop(source)
        source.execute(
            "INSERT INTO orders (customer_id) SELECT 1 + i % 3 FROM generate_series(0, 8) AS i"
        )
        _first_release(old, empty_dsn)
        _copy(source, old)
        before = _rows(old)
        assert one(old, "SELECT to_regclass('rescore.outbox')") is None
        report = install(empty_dsn, python_path=None)
        assert (report.before, one(old, "SELECT count(*) FROM rescore.outbox")) == ("0001", 0)
        assert _rows(old) == before
        define(old, definition(MOVED))
        order(old, 1, times=3)
        assert reports(old) == [("1", 0.3, 0.6)]
        assert right(old)


def _first_release(conn: Connection, dsn: str) -> None:
    """Make the schemas and tables as revision 0001 has them."""
    conn.execute("CREATE SCHEMA rescore; CREATE SCHEMA rescore_compiled")
    conn.execute(TABLES.encode())
    config = Config()
    config.set_main_option("script_location", str(files("rescore.migrations")))
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(dsn))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    engine.dispose()


def _copy(source: Connection, target: Connection) -> None:
    """Copy the rows of all tables that the target has, and the functions of the versions."""
    columns = one(source, "SELECT plan -> 'columns' FROM rescore.profiles")
    for name, declaration in columns.items():
        add = f'ALTER TABLE customers ADD COLUMN "{name}" {declaration}'
        target.execute(add.encode())
    for (statement,) in source.execute(VERSIONS.encode()):
        target.execute(statement.encode())
    for schema, table, names in target.execute(COLUMNS.encode()).fetchall():
        parts = sql.Identifier(schema, table), sql.SQL(", ").join(map(sql.Identifier, names))
        out = sql.SQL("COPY {} ({}) TO STDOUT (FORMAT binary)").format(*parts)
        into = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(*parts)
        with source.cursor().copy(out) as reading, target.cursor().copy(into) as writing:
            for block in reading:
                writing.write(block)


def _rows(conn: Connection) -> list[Any]:
    """Return the rows of rescore's first tables."""
    tables = {
        "profiles": "*",
        "deployments": "model, profile, score_columns, inputs, spec, engine, champion, updated_at",
        "deployment_history": "id, model, action, version, previous, at, by, reason",
    }
    asked = [f"SELECT {columns} FROM rescore.{table}" for table, columns in tables.items()]
    rows = [conn.execute(query.encode()).fetchall() for query in asked]
    versions = "SELECT model, version, artifact, linear, contract, created_at FROM rescore.models"
    return [*rows, conn.execute(versions.encode()).fetchall()]
