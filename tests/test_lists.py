"""The last values and the gaps between events: order, ties, late and coming events, cost."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import psycopg
import pytest

from rescore.errors import DoesNotFit
from rescore.tests.support import define, one, publish
from rescore.trainer import examples as ex
from rescore.trainer.split import Moment

Connection = psycopg.Connection[Any]

DEFINITION = """
profile: {table: p, key: {name: customer_id, type: bigint}, clock: session}
events: {visits: {time: at}}
features:
  last3:   {from: visits, last: 3, of: page, one_hot: [a, b], other: true, missing: indicator}
  moods:   {from: visits, last: 2, of: mood, count_of: {top: 2}, other: true}
  rhythm:  {from: visits, gap: avg, missing: indicator}
  pause:   {from: visits, gap: last, where: "page IS NOT NULL", default: 30}
labels: {churned: {none: visits, within: 1 day}}
models:
  churn: {features: {except: [moods]}}
  moody: {label: churned, features: [moods]}
scores: {churn_score: {model: churn}}
"""
SHOWN = "SELECT last3, rhythm, pause FROM p WHERE customer_id = 1"


@pytest.fixture
def conn(plain_dsn: str) -> Iterator[Connection]:
    with psycopg.connect(plain_dsn, autocommit=True) as made:
        made.execute(b"SET TimeZone = 'UTC'; CREATE TYPE mood AS ENUM ('sad', 'ok', 'glad')")
        made.execute(
            "CREATE TABLE visits (id bigserial, customer_id bigint, at timestamptz, page text, mood mood)"
        )
        define(made, DEFINITION)
        publish(made)
        made.execute("SET rescore.clock = '2024-01-20 00:00+00'")
        yield made


def visit(conn: Connection, *visits: tuple[str | None, str | None], customer: int = 1) -> None:
    """Insert visits, time and page, in one statement."""
    marks = ", ".join(["(%s, %s, %s)"] * len(visits))
    values = [x for at, page in visits for x in (customer, at, page)]
    conn.execute(f"INSERT INTO visits (customer_id, at, page) VALUES {marks}".encode(), values)


def right(conn: Connection) -> bool:
    return bool(one(conn, "SELECT count(*) = 0 FROM rescore.verify('p')"))


def test_late_and_out_of_order_events_take_their_place(conn: Connection) -> None:
    visit(conn, ("2024-01-10", "a"))
    assert one(conn, SHOWN) == (["a"], None, None)
    visit(conn, ("2024-01-12", "b"))
    assert one(conn, SHOWN) == (["b", "a"], 2, 2)
    visit(conn, ("2024-01-11", "late"))
    assert one(conn, SHOWN) == (["b", "late", "a"], 1, 1)
    visit(conn, ("2024-01-01", "later"), ("2024-01-13", "c"))
    assert one(conn, SHOWN) == (["c", "b", "late"], 3, 1)
    conn.execute("DELETE FROM visits WHERE page = 'b'")
    assert one(conn, SHOWN) == (["c", "late", "a"], 4, 2)
    conn.execute("UPDATE visits SET at = '2024-01-13 12:00' WHERE page = 'later'")
    assert one(conn, SHOWN) == (["later", "c", "late"], 3.5 / 3, 0.5)
    assert right(conn)


def test_ties_go_by_value_and_are_no_gap(conn: Connection) -> None:
    for page in ("b", "Z", "a", "ä"):
        visit(conn, ("2024-01-10", page))
    assert one(conn, SHOWN) == (["ä", "b", "a"], 0, 0)
    visit(conn, ("2024-01-10", "a"), ("2024-01-10", None), ("2024-01-11", None))
    assert one(conn, SHOWN) == (["ä", "b", "a"], 1 / 6, 0)
    assert right(conn)


def test_enums_are_ordered_as_they_are_declared(conn: Connection) -> None:
    for mood in ("ok", "glad", "sad", None):
        conn.execute(
            "INSERT INTO visits (customer_id, at, mood) VALUES (1, '2024-01-10', %s)", [mood]
        )
    assert one(conn, "SELECT moods FROM p") == ["glad", "ok"]
    assert right(conn)


def test_events_of_the_future_come_in_when_their_time_has_come(conn: Connection) -> None:
    visit(conn, ("2024-01-10", "a"), ("2024-01-30", "coming"))
    visit(conn, ("2024-01-28", "soon"))
    assert one(conn, SHOWN) == (["a"], None, None)
    conn.execute("SET rescore.clock = '2024-01-29 00:00+00'")
    live = SHOWN.replace("FROM p", "FROM rescore_compiled.p__live(1)")
    assert one(conn, SHOWN) == (["a"], None, None)
    assert one(conn, live) == (["soon", "a"], 18, 18)
    conn.execute("CALL rescore.sweep('p')")
    assert one(conn, SHOWN) == (["soon", "a"], 18, 18)
    conn.execute("SET rescore.clock = '2024-02-01 00:00+00'")
    visit(conn, ("2024-01-31", "next"))
    assert one(conn, SHOWN) == (["next", "coming", "soon"], 7, 1)
    assert right(conn)


def test_events_without_a_time_never_count(conn: Connection) -> None:
    never: list[tuple[str | None, str]] = [(None, "x"), ("infinity", "y"), ("-infinity", "z")]
    for one_of in never:
        visit(conn, one_of)
    visit(conn, *never, ("2024-01-10", "a"))
    visit(conn, ("2024-01-11", "b"))
    assert one(conn, SHOWN) == (["b", "a"], 1, 1)
    past = "SELECT last3, rhythm FROM rescore_compiled.p__as_of('2024-01-10 12:00+00')"
    assert one(conn, past) == (["a"], None)
    conn.execute("UPDATE visits SET at = '2024-01-12' WHERE at = 'infinity'")
    assert one(conn, SHOWN) == (["y", "y", "b"], 2 / 3, 0)
    assert right(conn)


def test_a_day_is_24_hours_whatever_the_session_says(conn: Connection) -> None:
    conn.execute("SET TimeZone = 'Europe/Berlin'; SET rescore.clock = '2024-05-01 00:00+00'")
    visit(conn, ("2024-03-30 12:00 Europe/Berlin", "a"))
    visit(conn, ("2024-03-31 12:00 Europe/Berlin", "b"))
    assert one(conn, SHOWN) == (["b", "a"], pytest.approx(23 / 24), pytest.approx(23 / 24))
    assert right(conn)


def test_writers_at_the_same_time_leave_the_same_list(conn: Connection, plain_dsn: str) -> None:
    visit(conn, ("2024-01-01", "a"))
    with psycopg.connect(plain_dsn) as first, psycopg.connect(plain_dsn, autocommit=True) as second:
        for session in (first, second):
            session.execute("SET rescore.clock = '2024-01-20 00:00+00'")
        visit(first, ("2024-01-12", "newer"))
        waiting = threading.Thread(target=visit, args=(second, ("2024-01-11", "older")))
        waiting.start()
        while not one(conn, "SELECT count(*) FROM pg_locks WHERE NOT granted"):
            time.sleep(0.01)
        first.commit()
        waiting.join()
    assert one(conn, SHOWN)[0] == ["newer", "older", "a"]
    assert right(conn)


def test_a_recount_reads_the_newest_events_only(conn: Connection) -> None:
    conn.execute("""INSERT INTO visits (customer_id, at, page, mood)
        SELECT i % 3, '2024-01-10'::timestamptz - i * interval '1 minute', 'a', 'ok' FROM generate_series(1, 9000) AS i""")
    conn.execute("ANALYZE visits")
    fetched = "SELECT pg_stat_get_xact_tuples_fetched(x) + pg_stat_get_xact_tuples_returned(x) FROM to_regclass('visits') AS x"
    with conn.transaction():
        before = one(conn, fetched)
        visit(conn, ("2024-01-09", "late"), ("2024-01-11", "b"))
        assert one(conn, fetched) - before < 60
    assert one(conn, SHOWN)[0] == ["b", "a", "a"]
    assert right(conn)


def test_the_most_frequent_values_of_lists_are_frozen(conn: Connection) -> None:
    conn.execute("""INSERT INTO visits (customer_id, at, mood)
        SELECT i, '2024-01-01'::timestamptz + i * interval '1 hour', CASE WHEN i % 5 = 0 THEN 'glad' WHEN i % 2 = 0 THEN 'sad' ELSE 'ok' END::mood
        FROM generate_series(1, 50) AS i, generate_series(1, 2)""")
    source = ex.read_source(conn, "moody")
    at = datetime(2024, 1, 10, tzinfo=timezone.utc)
    contract = ex.frozen_contract(conn, source, [Moment(at, at)])
    assert contract.columns() == ["moods=ok", "moods=sad", "moods=*"]
    _, expressions = zip(*ex.design_columns(conn, contract), strict=True)
    settled = datetime(2024, 1, 11, tzinfo=timezone.utc)
    found = ex.read_examples(conn, source, expressions, Moment(at, settled))
    assert sorted({tuple(row) for row in found.design}) == [(0, 0, 2), (0, 2, 0), (2, 0, 0)]


@pytest.mark.parametrize("type_", ["date", "double precision", "int[]", "jsonb"])
def test_values_whose_text_depends_on_the_session_are_refused(plain_dsn: str, type_: str) -> None:
    with psycopg.connect(plain_dsn, autocommit=True) as conn:
        conn.execute(
            f"CREATE TABLE visits (customer_id bigint, at date, page {type_}, mood text)".encode()
        )
        with pytest.raises(DoesNotFit, match='column "page" is of type'):
            define(conn, DEFINITION)
