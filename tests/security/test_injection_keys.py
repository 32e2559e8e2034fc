"""Keys of customers and names of consumers are values, wherever they are given: any text there is."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rescore.errors import UnknownConsumer, WrongArgument
from rescore.tests.security.conftest import Connection
from rescore.tests.security.names import any_names
from rescore.tests.support import examples, one, open_profile
from rescore.trainer import operations as ops
from rescore.trainer import outbox as box

SHOP = """
CREATE TABLE orders (person text, ordered_at timestamptz DEFAULT now(), amount numeric(10,2));
CREATE INDEX ON orders (person);
CREATE TABLE visits (person text, at timestamptz DEFAULT now());
CREATE INDEX ON visits (person);
"""
DEFINITION = """
profile: {table: people, key: {name: person, type: text}}
events:
  orders: {time: ordered_at}
  visits: {time: at, mode: queued}
features:
  orders: {from: orders, count: true}
  spend: {from: orders, sum: amount}
  visits: {from: visits, count: true}
labels: {buys: {any: orders, within: 30 days}}
snapshot: {every: 1 day}
models: {churn: {label: buys, features: all}}
scores: {churn_score: {model: churn, outbox: {moved_by: 0}}}
"""
# Where a key may be kept.
PLACES = """
SELECT count(*)::int FROM (
    SELECT person FROM people UNION ALL SELECT key FROM rescore.outbox UNION ALL SELECT key FROM rescore.snapshots
    UNION ALL SELECT key FROM rescore.queue UNION ALL SELECT key FROM rescore.removed_keys) AS k WHERE k.person = %s
"""
texts = (any_names | st.text(max_size=8)).map(lambda text: text.replace("\0", ""))
NASTY = "'; DROP TABLE people; -- \\ $1 %s {{ x }} \u202e \n 🦆"


@pytest.fixture
def people(plain_dsn: str) -> Iterator[Connection]:
    """Two people besides those of the tests, who stay as they are."""
    with open_profile(plain_dsn, SHOP, DEFINITION) as conn:
        conn.execute("INSERT INTO orders (person, amount) VALUES ('stays', 1), ('%', 2)")
        yield conn


def kept(conn: Connection) -> list[object]:
    """Those who are nobody's business here."""
    query = (
        "SELECT person, orders, spend, visits FROM people WHERE person IN ('stays', '%') ORDER BY 1"
    )
    return conn.execute(query.encode()).fetchall()


@given(texts)
@settings(max_examples=examples(12), deadline=None)
@example(NASTY)
@example("")
def test_a_person_of_any_key_is_scored_explained_logged_and_forgotten(
    people: Connection, key: str
) -> None:
    before = kept(people)
    people.execute("INSERT INTO orders (person, amount) VALUES (%s, 5)", [key])
    people.execute("INSERT INTO visits (person) VALUES (%s)", [key])
    stored = one(people, "SELECT churn_score FROM people WHERE person = %s", key)
    assert one(people, "SELECT rescore.predict_key('churn', %s::text)", key) is not None
    assert stored is not None
    shown = "SELECT count(*)::int FROM rescore.explain('churn', %s)"
    assert one(people, shown, key) == 4
    ops.fold(people, "people", 10)
    assert one(people, "SELECT visits FROM people WHERE person = %s", key) == 1
    people.execute("SELECT rescore_compiled.people__snapshot_keys(ARRAY[%s], now())", [key])
    assert one(people, "SELECT count(*)::int FROM rescore.explain('churn', %s, now())", key) == 4
    people.execute("INSERT INTO visits (person) VALUES (%s)", [key])
    assert one(people, PLACES, key) >= 4
    ops.forget(people, "people", key)
    assert one(people, PLACES, key) == 0
    with pytest.raises(psycopg.Error) as caught:
        people.execute("INSERT INTO people (person) VALUES (%s)", [key])
    assert (caught.value.sqlstate or "").startswith("RS")
    people.execute("SELECT rescore.remember('people', %s)", [key])
    people.execute("DELETE FROM orders WHERE person = %s", [key])
    people.execute("DELETE FROM visits WHERE person = %s", [key])
    assert kept(people) == before


@given(texts)
@settings(max_examples=examples(40), deadline=None)
@example(NASTY)
@example("é" * 31 + "x")
def test_a_consumer_of_any_name_reads_or_is_refused_by_name(people: Connection, name: str) -> None:
    people.execute("UPDATE people SET churn_score = churn_score WHERE person = 'stays'")
    try:
        assert box.register(people, name, "beginning")
    except WrongArgument:
        with pytest.raises(UnknownConsumer):
            box.read(people, name)
        return
    assert name in [row["consumer"] for row in box.consumers(people)]
    rows = box.read(people, name)
    assert {"stays", "%"} <= {row["key"] for row in rows}
    assert box.acknowledge(people, name, rows[-1]["id"])
    assert box.read(people, name) == []
    box.drop(people, name)
    assert name not in [row["consumer"] for row in box.consumers(people)]
