"""What events made before a day stays counted, whatever becomes of these events."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from rescore.compiler.definition import parse
from rescore.errors import BadDefinition, from_database
from rescore.tests.support import define, one, publish

Connection = psycopg.Connection[Any]

SHOP = """
CREATE TABLE usage (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer_id bigint,
    at timestamptz DEFAULT now(), amount numeric(10,2), channel text);
CREATE INDEX ON usage (customer_id);
CREATE INDEX ON usage (customer_id, at);
"""
DEFINITION = """
profile: {table: customers, key: {name: customer_id, type: bigint}, clock: session}
events: {usage: {time: at}}
features:
  n: {from: usage, count: true}
  spend: {from: usage, sum: amount}
  mean: {from: usage, avg: amount}
  top: {from: usage, max: amount}
  low: {from: usage, min: amount}
  came_by: {from: usage, first: channel, one_hot: [web]}
  last_by: {from: usage, last: channel, one_hot: [web]}
  channels: {from: usage, distinct: channel}
  every: {from: usage, gap: avg}
  since: {from: usage, days_since: last}
  n30: {from: usage, count: true, window: 30 days}
  lately: {from: usage, last: 3, of: channel, one_hot: [web]}
  last_gap: {from: usage, gap: last}
  rate: {from: usage, count: true, half_life: 30 days}
  level: {from: usage, ewma: amount, half_life: 30 days}
models: {churn: {features: all}}
scores: {churn_score: {model: churn}}
"""
SPLIT = DEFINITION[: DEFINITION.index("  lately:")] + DEFINITION[DEFINITION.index("models:") :]
"""With kinds only that can be split after the events have gone."""


def since(day: str, text: str = DEFINITION) -> str:
    return text.replace("{time: at}", f"{{time: at, history_from: {day}}}")


@pytest.fixture
def conn(plain_dsn: str) -> Iterator[Connection]:
    with psycopg.connect(plain_dsn, autocommit=True) as made:
        made.execute("SET rescore.clock = '2026-11-10 00:00:00+00'")
        made.execute(SHOP.encode())
        yield made


def fill(conn: Connection) -> None:
    conn.execute("""INSERT INTO usage (customer_id, at, amount, channel)
        SELECT i % 7, timestamptz '2026-01-05 00:00Z' + i * interval '1 day', i * 3 % 101, (ARRAY['web', 'store', 'phone', 'x'])[1 + i % 4]
        FROM generate_series(1, 300) AS i""")


def counted(conn: Connection, customers: str = "true") -> list[Any]:
    """The features of every customer, floats to nine digits."""
    names = [
        line.split(":")[0].strip() for line in DEFINITION.splitlines() if "from: usage" in line
    ]
    shown = ", ".join(f"to_jsonb(p) -> '{n}'" for n in names)
    query = f"SELECT customer_id, {shown}, to_jsonb(p) -> 'since__at' FROM customers AS p WHERE {customers} ORDER BY 1"
    rows = conn.execute(query.encode()).fetchall()
    return [tuple(round(v, 9) if isinstance(v, float) else v for v in row) for row in rows]


def right(conn: Connection) -> bool:
    return conn.execute("SELECT * FROM rescore.verify('customers')").fetchall() == []


def lose(conn: Connection, before: str) -> None:
    """Remove events without anybody noticing, as a dropped partition does."""
    conn.execute("ALTER TABLE usage DISABLE TRIGGER USER")
    conn.execute("DELETE FROM usage WHERE at < %s", [before])
    conn.execute("ALTER TABLE usage ENABLE TRIGGER USER")


def test_events_of_the_time_before_may_change_or_go(conn: Connection) -> None:
    define(conn, DEFINITION)
    publish(conn)
    fill(conn)
    before = counted(conn)
    define(conn, since("2026-06-01"))
    assert define(conn, since("2026-06-01")).empty
    assert counted(conn) == before
    conn.execute("DELETE FROM usage WHERE at < '2026-03-01Z'")
    conn.execute("UPDATE usage SET amount = 0, channel = 'y' WHERE at < '2026-04-01Z'")
    lose(conn, "2026-05-01Z")
    conn.execute(
        "INSERT INTO usage (customer_id, at, amount) VALUES (1, '2026-01-07Z', 9999), (8, '2026-01-07Z', 1)"
    )
    assert counted(conn) == before
    assert right(conn)
    assert one(conn, "SELECT rescore.rebuild('customers')") == 0
    assert counted(conn) == before


def test_events_since_count_as_ever(conn: Connection) -> None:
    define(conn, DEFINITION)
    fill(conn)
    define(conn, since("2026-06-01"))
    lose(conn, "2026-06-01Z")
    before = counted(conn)
    conn.execute(
        "INSERT INTO usage (customer_id, at, amount, channel) VALUES (1, '2026-11-07Z', 9999, 'fax')"
    )
    conn.execute(
        "INSERT INTO usage (customer_id, at, amount, channel) VALUES (1, '2026-11-01Z', -1, 'fax'), (9, '2026-11-07Z', 1, 'a')"
    )
    assert one(conn, "SELECT top, low, last_by, lately FROM customers WHERE customer_id = 1") == (
        9999,
        -1,
        "fax",
        ["fax", "fax", "x"],
    )
    assert one(conn, "SELECT n FROM customers WHERE customer_id = 9") == 1
    assert right(conn)
    conn.execute("DELETE FROM usage WHERE channel IN ('fax', 'a')")
    assert counted(conn, "customer_id < 9") == before
    # Moved over the day, and back.
    conn.execute("UPDATE usage SET at = at - interval '1 year' WHERE customer_id = 2")
    assert right(conn)
    assert one(conn, "SELECT n > 0 AND n < 30 FROM customers WHERE customer_id = 2")
    conn.execute("UPDATE usage SET at = at + interval '1 year' WHERE customer_id = 2")
    assert counted(conn, "customer_id < 9") == before
    conn.execute("TRUNCATE usage")
    assert right(conn)
    assert one(conn, "SELECT min(n) FROM customers WHERE customer_id < 7") > 10
    assert one(conn, "SELECT sum(n30) FROM customers") == 0


def test_the_day_may_move_on_and_be_taken_back(conn: Connection) -> None:
    define(conn, DEFINITION)
    fill(conn)
    before = counted(conn)
    define(conn, since("2026-03-01"))
    lose(conn, "2026-03-01Z")
    define(conn, since("2026-09-01"))
    assert counted(conn) == before
    lose(conn, "2026-09-01Z")
    assert right(conn)
    assert one(conn, "SELECT rescore.rebuild('customers')") == 0
    assert counted(conn) == before
    define(conn, DEFINITION)
    assert right(conn)
    assert one(conn, "SELECT sum(n) FROM customers") == one(conn, "SELECT count(*) FROM usage")


def test_events_that_are_gone_already(conn: Connection) -> None:
    define(conn, SPLIT)
    fill(conn)
    before = counted(conn)
    lose(conn, "2026-06-15Z")
    assert not right(conn)
    define(conn, since("2026-06-01", SPLIT))
    assert counted(conn) == before
    assert right(conn)
    assert one(conn, "SELECT rescore.rebuild('customers')") == 0
    conn.execute("INSERT INTO usage (customer_id, at, amount) VALUES (1, '2026-11-07Z', 3)")
    assert right(conn)


def test_what_can_no_longer_be_split_is_refused(conn: Connection) -> None:
    define(conn, DEFINITION)
    fill(conn)
    lose(conn, "2026-04-01Z")
    before = counted(conn)
    with pytest.raises(psycopg.Error, match="cannot be told") as caught:
        define(conn, since("2026-06-01"))
    assert type(from_database(caught.value.sqlstate or "", "")).__name__ == "DoesNotFit"
    assert counted(conn) == before


def test_a_new_feature_and_a_new_customer_begin_at_the_day(conn: Connection) -> None:
    define(conn, SPLIT)
    fill(conn)
    more = SPLIT.replace(
        "models:", "  calls: {from: usage, count: true, where: \"channel = 'phone'\"}\nmodels:"
    )
    define(conn, since("2026-06-01", more))
    phone = "SELECT count(*) FROM usage WHERE channel = 'phone' AND at >= '2026-06-01Z'"
    assert one(conn, "SELECT sum(calls) FROM customers") == one(conn, phone)
    changed = more.replace("sum: amount", "sum: amount, where: \"channel = 'web'\"")
    define(conn, since("2026-06-01", changed))
    spent = "SELECT sum(amount) FROM usage WHERE channel = 'web' AND at >= '2026-06-01Z'"
    assert one(conn, "SELECT sum(spend) FROM customers") == one(conn, spent)
    assert one(conn, "SELECT sum(n) FROM customers") == 300
    assert right(conn)


def test_the_past_as_it_was_known(conn: Connection) -> None:
    define(conn, DEFINITION)
    fill(conn)
    query = "SELECT * FROM rescore_compiled.customers__as_of(%s) ORDER BY 1"
    known = conn.execute(query.encode(), ["2026-10-01Z"]).fetchall()
    define(conn, since("2026-06-01"))
    lose(conn, "2026-06-01Z")
    then = conn.execute(query.encode(), ["2026-10-01Z"]).fetchall()
    assert [tuple(str(v)[:12] for v in row) for row in then] == [
        tuple(str(v)[:12] for v in row) for row in known
    ]
    assert conn.execute(query.encode(), ["2026-05-01Z"]).fetchall() == []


def test_a_queue_and_a_key_that_changes(conn: Connection) -> None:
    text = SPLIT.replace("{time: at}", "{time: at, mode: queued, history_from: 2026-06-01}")
    define(conn, SPLIT)
    fill(conn)
    define(conn, text)
    lose(conn, "2026-06-01Z")
    before = counted(conn, "customer_id = 1")
    conn.execute("UPDATE customers SET customer_id = 1001 WHERE customer_id = 1")
    conn.execute("UPDATE usage SET customer_id = 1001 WHERE customer_id = 1")
    conn.execute("CALL rescore.fold('customers')")
    after = counted(conn, "customer_id = 1001")
    assert [row[1:] for row in after] == [row[1:] for row in before]
    assert right(conn)


@pytest.mark.parametrize(
    "wrong", ["history_from: yesterday", "history_from: 2026-13-01", "history_from: 5"]
)
def test_a_day_is_a_day(wrong: str) -> None:
    with pytest.raises(BadDefinition, match="no day"):
        parse(DEFINITION.replace("{time: at}", f"{{time: at, {wrong}}}"))
    with pytest.raises(BadDefinition, match="without `time`"):
        parse(DEFINITION.replace("{time: at}", "{history_from: 2026-06-01}"))
