"""Bands, and the rule of what is reported, against its own words."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rescore.tests.outbox_shop import (
    BANDS,
    Connection,
    bands,
    definition,
    forget,
    open_shop,
    order,
    publish,
    reports,
    right,
)
from rescore.tests.support import define, one


@pytest.fixture
def conn(plain_dsn: str) -> Iterator[Connection]:
    with psycopg.connect(plain_dsn, autocommit=True) as made:
        yield made


def test_bands_are_kept_by_every_writer(conn: Connection) -> None:
    open_shop(conn, BANDS)
    conn.execute(
        "INSERT INTO customers (customer_id, bonus) VALUES (1, 0.0999), (2, 0.1), (3, 0.7)"
    )
    order(conn, 4, times=3)
    conn.execute("INSERT INTO customers (customer_id, active) VALUES (5, false)")
    query = "SELECT customer_id, score_band FROM customers ORDER BY 1"
    assert conn.execute(query.encode()).fetchall() == [
        (1, None), (2, "low"), (3, "high"), (4, "medium"), (5, None)
    ]  # fmt: skip
    conn.execute("UPDATE customers SET bonus = bonus + 0.6, active = true")
    assert [b for _, b in conn.execute(query.encode())] == [
        "medium",
        "high",
        "high",
        "high",
        "medium",
    ]
    publish(conn, per_order=-0.25)
    conn.execute("CALL rescore.sweep('customers')")
    assert one(conn, "SELECT score_band FROM customers WHERE customer_id = 4") is None
    assert reports(conn) == []
    define(conn, definition("bands: {some: 0, much: 0.65}"))
    assert [b for _, b in conn.execute(query.encode())] == ["much", "much", "much", None, "some"]
    assert right(conn)


def test_only_changes_of_band_are_reported(conn: Connection) -> None:
    open_shop(conn, BANDS, "outbox: {band: true}")
    order(conn, 1, times=8)
    conn.execute("UPDATE customers SET bonus = -5")
    assert bands(conn) == [
        ("1", None, "low"), ("1", "low", "medium"), ("1", "medium", "high"), ("1", "high", None)
    ]  # fmt: skip
    assert reports(conn) == [("1", None, 0.1), ("1", 0.1, 0.3), ("1", 0.3, 0.7), ("1", 0.7, -4.2)]
    conn.execute("INSERT INTO customers (customer_id) VALUES (2)")
    assert reports(conn)[4:] == [("2", None, 0.0)]
    forget(conn)
    define(conn, definition("bands: {low: 0}", "outbox: {band: true}"))
    assert bands(conn) == [("2", None, "low")]
    define(conn, definition("bands: {least: 0}", "outbox: {band: true}"))
    assert bands(conn)[1:] == [("2", "low", "least")]


def test_both_kinds_of_report_and_several_scores(conn: Connection) -> None:
    text = definition(BANDS, "outbox: {moved_by: 0.25, band: true}")
    open_shop(conn)
    define(conn, text + "  other: {model: churn, outbox: {moved_by: 0}}\n")
    order(conn, 1, times=4)
    found = conn.execute("SELECT score, new, new_band FROM rescore.outbox ORDER BY id").fetchall()
    assert [(s, round(n, 9), b) for s, n, b in found if s == "score"] == [
        ("score", 0.1, "low"), ("score", 0.3, "medium")
    ]  # fmt: skip
    assert [round(n, 9) for s, n, _ in found if s == "other"] == [0.1, 0.2, 0.3, 0.4]
    order(conn, 1, times=2)
    assert bands(conn)[-2:] == [("1", "medium", "medium"), ("1", None, None)]
    conn.execute("UPDATE customers SET bonus = bonus + 0.05")
    assert bands(conn)[-2:] == [("1", None, None), ("1", None, None)]


def test_bands_that_come_with_an_outbox_are_no_news(conn: Connection) -> None:
    open_shop(conn)
    conn.execute(
        "INSERT INTO orders (customer_id) SELECT 1 + i % 3 FROM generate_series(0, 8) AS i"
    )
    define(conn, definition(BANDS, "outbox: {band: true}"))
    assert one(conn, "SELECT min(score_band) FROM customers") == "medium"
    order(conn, 1, times=4)
    assert (reports(conn), bands(conn)) == ([("1", 0.3, 0.7)], [("1", "medium", "high")])


def test_any_name_can_be_a_bands(conn: Connection) -> None:
    names = ["it's", "50 %", '"high"', "a\\b", "%s {{ x }} $1", "größer"]
    written = ", ".join(f"{json.dumps(n)}: {i}" for i, n in enumerate(names))
    open_shop(conn, f"bands: {{{written}}}", "outbox: {band: true}")
    for bonus in range(len(names)):
        conn.execute("INSERT INTO customers (customer_id, bonus) VALUES (%s, %s)", [bonus, bonus])
    assert [new for _, _, new in bands(conn)] == names


EVIL = """
CREATE SCHEMA evil;
CREATE DOMAIN evil.text AS integer;
CREATE FUNCTION evil.abs(float8) RETURNS float8 LANGUAGE plpgsql AS $$ BEGIN RAISE 'trapped'; END $$;
CREATE FUNCTION evil.minus(float8, float8) RETURNS float8 LANGUAGE plpgsql AS $$ BEGIN RAISE 'trapped'; END $$;
CREATE FUNCTION evil.compare(float8, float8) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'trapped'; END $$;
CREATE FUNCTION evil.compare(text, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'trapped'; END $$;
CREATE OPERATOR evil.- (LEFTARG = float8, RIGHTARG = float8, FUNCTION = evil.minus);
CREATE OPERATOR evil.= (LEFTARG = float8, RIGHTARG = float8, FUNCTION = evil.compare);
CREATE OPERATOR evil.>= (LEFTARG = float8, RIGHTARG = float8, FUNCTION = evil.compare);
CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.compare);
"""


def test_a_hostile_search_path_changes_nothing(conn: Connection, plain_dsn: str) -> None:
    open_shop(conn, BANDS, "outbox: {moved_by: 0.25, band: true}")
    conn.execute(EVIL.encode())
    options = "-c search_path=evil,pg_catalog,public"
    with psycopg.connect(plain_dsn, autocommit=True, options=options) as other:
        with pytest.raises(psycopg.errors.RaiseException, match="trapped"):
            other.execute("SELECT 1.0::float8 = 1.0::float8")
        other.execute("INSERT INTO customers (customer_id) VALUES (1)")
        other.execute("UPDATE customers SET bonus = 0.2")
        other.execute("UPDATE customers SET bonus = 9")
    assert bands(conn) == [("1", None, None), ("1", None, "low"), ("1", "low", "high")]


SCORES = st.none() | st.floats(-2, 2) | st.sampled_from([0.1, 0.3, 0.7, math.inf, -math.inf])


@given(st.lists(SCORES, min_size=1, max_size=12), st.sampled_from([0.0, 0.25, 5.0]), st.booleans())
@settings(max_examples=40)
def test_reports_are_those_of_the_rule(
    walks: Connection, scores: list[Any], moved_by: float, band: bool
) -> None:
    column = {0.0: "each", 0.25: "near", 5.0: "far"}[moved_by] + ("_band" if band else "")
    walks.execute("TRUNCATE customers")
    walks.execute("INSERT INTO customers (customer_id, active) VALUES (1, false)")
    forget(walks)
    last, expected = None, []
    for score in scores:
        walks.execute(f"UPDATE customers SET {column} = %s, {column}_at = now()".encode(), [score])
        if _is_news(last, score, moved_by, band):
            expected.append((last, score))
            last = score
    query = "SELECT old, new FROM rescore.outbox WHERE score = %s ORDER BY id"
    assert walks.execute(query.encode(), [column]).fetchall() == expected


def _is_news(last: float | None, score: float | None, moved_by: float, band: bool) -> bool:
    if last is None or score is None:
        return last is not score
    changed = band and _band(last) != _band(score)
    return changed or (last != score and abs(score - last) >= moved_by)


def _band(score: float) -> int:
    return sum(score >= bound for bound in (0.1, 0.3, 0.7))


@pytest.fixture
def walks(conn: Connection) -> Connection:
    """Scores of every kind of report, over one model."""
    open_shop(conn)
    kinds = {"each": 0.0, "near": 0.25, "far": 5.0}
    lines = [f"  {n}: {{model: churn, outbox: {{moved_by: {m}}}}}\n" for n, m in kinds.items()]
    lines += [
        f"  {n}_band: {{model: churn, {BANDS}, outbox: {{moved_by: {m}, band: true}}}}\n"
        for n, m in kinds.items()
    ]
    define(conn, definition() + "".join(lines))
    return conn
