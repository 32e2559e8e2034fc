"""What a role, a database or a driver may set, and nothing that is counted or kept may depend on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import sql

from rescore.tests.support import one, open_profile
from rescore.trainer.database import connect

Connection = psycopg.Connection[Any]

TABLES = """
CREATE TABLE orders (customer_id bigint, at timestamptz);
CREATE TABLE plans (customer_id bigint, at timestamptz);
"""
DEFINITION = """
profile: {table: customers, key: {name: customer_id, type: bigint}, clock: session}
events: {orders: {time: at}, plans: {time: at}}
features:
  orders: {from: orders, count: true}
  plans: {from: plans, count: true}
models: {churn: {features: all}}
scores: {churn_score: {model: churn}}
"""
# In this style a moment is written with its zone's name, and India's is read as Israel's.
AMBIGUOUS = "SET DateStyle = 'SQL, DMY'; SET TimeZone = 'Asia/Kolkata'"


@pytest.fixture
def conn(dsn: str) -> Iterator[Connection]:
    with open_profile(dsn, TABLES, DEFINITION) as made:
        yield made


def test_what_a_query_has_recounted_is_not_added_in_any_date_style(conn: Connection) -> None:
    conn.execute("SET rescore.clock = '2026-01-01Z'")
    conn.execute("INSERT INTO orders VALUES (1, '2026-02-01Z')")
    conn.execute(AMBIGUOUS.encode())
    conn.execute("SET rescore.clock = '2026-03-01Z'")
    conn.execute(
        """WITH also AS (INSERT INTO plans VALUES (1, '2026-02-15Z'))
           INSERT INTO orders VALUES (1, '2026-02-15Z')"""
    )
    assert one(conn, "SELECT orders, plans FROM customers") == (2, 1)
    assert conn.execute("SELECT * FROM rescore.verify('customers')").fetchall() == []


def test_partitions_are_months_of_utc_in_any_date_style(conn: Connection) -> None:
    conn.execute(AMBIGUOUS.encode())
    conn.execute("SELECT rescore._snapshot_partition('2026-02-14Z')")
    conn.execute("SET DateStyle = ISO; SET TimeZone = 'UTC'")
    bounds = one(
        conn,
        """SELECT pg_get_expr(c.relpartbound, c.oid) FROM pg_class AS c
           WHERE c.oid = 'rescore.snapshots_2026_02'::regclass""",
    )
    assert re.findall(r"'([^']*)'", bounds) == ["2026-02-01 00:00:00+00", "2026-03-01 00:00:00+00"]


@pytest.mark.parametrize("setting", ["on", "off"])
def test_backslashes_mean_the_same_in_any_session(conn: Connection, setting: str) -> None:
    conn.execute(f"SET standard_conforming_strings = {setting}".encode())
    conn.execute("SET escape_string_warning = off")
    assert one(conn, "SELECT rescore.predict_payload('churn', '{\"orders\": 3}') IS NOT NULL")
    with pytest.raises(psycopg.Error, match="no value of feature"):
        conn.execute("SELECT rescore.predict_payload('churn', '{\"orders\": 3.5}')")
    conn.execute("INSERT INTO orders VALUES (17, '2026-02-01Z')")
    conn.execute(
        """INSERT INTO rescore.incident_log (cause, profile, sqlstate, message, context)
           VALUES ('a', 'customers', '22012', 'of 17', ''), ('b', 'customers', '22012', 'of 177', '')"""
    )
    conn.execute("SELECT rescore.forget('customers', '17')")
    left = conn.execute("SELECT message FROM rescore.incident_log").fetchall()
    assert [text for (text,) in left if re.search(r"\b17\b", text)] == []


def test_no_function_has_a_backslash_that_a_session_decides_on(conn: Connection) -> None:
    functions = conn.execute(
        r"""SELECT p.oid::regprocedure::text, p.prosrc FROM pg_proc AS p JOIN pg_language AS l ON l.oid = p.prolang
            WHERE p.pronamespace IN ('rescore'::regnamespace, 'rescore_compiled'::regnamespace)
              AND l.lanname IN ('sql', 'plpgsql') AND p.prosrc LIKE '%\\%'"""
    ).fetchall()
    escaped = re.compile(r"E'(?:[^'\\]|\\.|'')*'(?:\s*\n\s*'(?:[^'\\]|\\.|'')*')*", re.DOTALL)
    assert functions
    assert [name for name, body in functions if "\\" in escaped.sub("", body)] == []


def test_commands_read_moments_and_numbers_whatever_the_database_is_set_to(
    conn: Connection, dsn: str
) -> None:
    database = sql.Identifier(conn.info.dbname)
    for name, value in (
        ("DateStyle", "German"),
        ("IntervalStyle", "sql_standard"),
        ("extra_float_digits", "-10"),
        ("standard_conforming_strings", "off"),
    ):
        conn.execute(
            sql.SQL("ALTER DATABASE {} SET {} = {}").format(database, sql.SQL(name), value)
        )
    with connect(dsn) as made:
        row = made.execute("SELECT now(), interval '1 day 2 hours', 1/3::float8, '\\'::text")
        moment, length, third, backslash = row.fetchone() or ()
    assert isinstance(moment, datetime)
    assert (length, third, backslash) == (timedelta(days=1, hours=2), 1 / 3, "\\")
