"""Times at the edges of what PostgreSQL can hold: an event that has one spoils nothing for others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from rescore.tests.support import one, open_profile

Connection = psycopg.Connection[Any]
NOON = "2024-03-01 12:00+00"
TABLES = """
CREATE TABLE visits (customer_id bigint, at timestamptz, page text);
CREATE TABLE bills (customer_id bigint, at date, total numeric);
CREATE TABLE calls (customer_id bigint, at timestamp, minutes integer);
CREATE TABLE customers (customer_id bigint PRIMARY KEY, renews date, ends timestamp);
"""
DEFINITION = """
profile:
  table: customers
  key: {name: customer_id, type: bigint}
  clock: session
  timezone: America/Los_Angeles
events: {visits: {time: at}, bills: {time: at}, calls: {time: at}}
features:
  visits: {from: visits, count: true}
  visits_7d: {from: visits, count: true, window: 7 days}
  visits_before: {from: visits, count: true, window: 7 days, offset: 7 days}
  visits_now: {from: visits, count: true, tumbling: 1 minute}
  visits_then: {from: visits, count: true, tumbling: 1 minute, closed: true}
  visit_rate: {from: visits, count: true, half_life: 3 days}
  pages: {from: visits, last: 2, of: page, one_hot: [home]}
  rhythm: {from: visits, gap: avg}
  billed: {from: bills, sum: total}
  billed_7d: {from: bills, sum: total, window: 7 days}
  bill_gap: {from: bills, gap: last}
  calls_7d: {from: calls, count: true, window: 7 days}
  talk: {from: calls, ewma: minutes, half_life: 7 days}
  renews: {column: renews, days_until: true, missing: indicator}
  ends: {column: ends, days_until: true, missing: indicator}
models: {churn: {features: all}}
scores: {churn_score: {model: churn}}
"""
EDGES = {
    "visits": ["294276-12-31 23:59:59+00", "4714-11-24 00:00+00 BC", "9999-12-31 00:00+00"],
    "bills": ["5874897-12-31", "294276-12-31", "4714-11-24 BC", "infinity"],
    "calls": ["294276-12-31 23:59:59", "4714-11-24 00:00 BC", "-infinity"],
}


@pytest.fixture
def conn(plain_dsn: str) -> Iterator[Connection]:
    with open_profile(plain_dsn, TABLES, DEFINITION) as made:
        set_clock(made, NOON)
        yield made


def set_clock(conn: Connection, moment: str) -> None:
    conn.execute("SELECT set_config('rescore.clock', %s, false)", [moment])


def come(conn: Connection, customer: int, table: str, *times: str) -> None:
    for at in times:
        values = [customer, at]
        conn.execute(f"INSERT INTO {table} VALUES (%s, %s, '3')".encode(), values)


def right(conn: Connection) -> bool:
    """Whether the profile is right, and nothing failed on the way."""
    failed = one(conn, "SELECT count(*) FROM rescore.incident_log")
    return failed == 0 and not conn.execute("SELECT FROM rescore.verify('customers')").fetchall()


def test_an_event_at_the_edge_of_time_spoils_nothing(conn: Connection) -> None:
    recent = "2024-03-01 01:00"
    cases = [(table, edge) for table, edges in EDGES.items() for edge in edges]
    for customer, (table, edge) in enumerate(cases):
        come(conn, customer, table, edge, recent)
        rows = f"INSERT INTO {table} VALUES (%s, %s, '3'), (%s, %s, '3')"
        conn.execute(rows.encode(), [customer, recent, customer, edge])
    counted = (
        "SELECT array_agg(DISTINCT greatest(visits_7d, billed_7d / 3, calls_7d)) FROM customers"
    )
    assert one(conn, counted) == [2]
    assert right(conn)
    set_clock(conn, "2024-03-04 12:00+00")
    conn.execute("CALL rescore.sweep('customers')")
    scores = "SELECT count(rescore.predict_key('churn', customer_id)) FROM customers"
    assert one(conn, scores) == len(cases)
    assert one(conn, "SELECT rescore.rebuild('customers')") == 0
    for table in EDGES:
        conn.execute(f"DELETE FROM {table} WHERE at = %s".encode(), [recent])
    assert one(conn, counted) == [0]
    assert right(conn)


def test_times_as_far_apart_as_can_be_are_so_many_days_apart(conn: Connection) -> None:
    come(conn, 1, "visits", "4714-11-24 00:00+00 BC", "294276-12-31 00:00+00")
    set_clock(conn, "294276-12-31 12:00+00")
    conn.execute("CALL rescore.sweep('customers')")
    days = one(conn, "SELECT date '294276-12-31' - date '4714-11-24 BC'")
    assert one(conn, "SELECT rhythm FROM customers") == days
    apart = "SELECT rescore._days_after('294276-12-31 12:00+00', '4714-11-24 00:00+00 BC')"
    assert one(conn, apart) == days + 0.5
    assert right(conn)


def test_any_moment_can_be_asked_for(conn: Connection) -> None:
    for table, edges in EDGES.items():
        come(conn, 1, table, *edges, "2024-03-01 01:00")
    for at in ("-infinity", "4713-01-02 00:00+00 BC", "294276-12-31 12:00+00", "infinity"):
        score = one(conn, "SELECT rescore.predict_key('churn', 1, at => %s::timestamptz)", at)
        assert 0 <= score <= 1
        set_clock(conn, at)
        assert 0 <= one(conn, "SELECT rescore.predict_key('churn', 1)") <= 1
        if "infinity" in at:  # nothing is written: no later moment would mend it
            with pytest.raises(psycopg.Error, match=f"rescore.clock is {at}"):
                conn.execute("CALL rescore.sweep('customers')")
            continue
        conn.execute("CALL rescore.sweep('customers')")
        come(conn, 1, "visits", "2024-03-01 02:00")
        assert one(conn, "SELECT count(*) FROM rescore.incident_log") == 0


def test_a_plain_date_that_is_no_time_is_missing(conn: Connection) -> None:
    conn.execute("INSERT INTO customers VALUES (2)")
    absent = one(conn, "SELECT rescore.predict_key('churn', 2)")
    for days in ("5874897-12-31", "4714-11-24 BC", "-infinity"):
        conn.execute("UPDATE customers SET renews = %s, ends = '294276-12-31 23:59:59'", [days])
        assert one(conn, "SELECT churn_score FROM customers") == pytest.approx(absent, rel=1e-12)
        conn.execute("CALL rescore.sweep('customers')")
        assert right(conn)
