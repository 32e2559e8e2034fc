"""A database that an earlier version made, restored from its dump and brought to this one.

``tests/released/REVISION.sql.gz`` is what ``pg_dump --no-owner --no-privileges --inserts`` wrote of a
database of that version: 51 customers, 2,002 orders, every kind of feature, two versions of a model.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from rescore.server.libraries import python_path
from rescore.sql.install import install
from rescore.tests.support import define, one

Connection = psycopg.Connection[Any]

DEFINITION = """
profile: {table: customer_profile, key: {name: customer_id, type: bigint}, clock: session}
events: {orders: {time: ordered_at}}
features:
  orders: {from: orders, count: true}
  spend: {from: orders, sum: amount}
  biggest: {from: orders, max: amount}
  since: {from: orders, days_since: last}
  lately: {from: orders, count: true, window: 30 days}
  rate: {from: orders, sum: amount, half_life: 30 days}
  usual: {from: orders, ewma: amount, half_life: 30 days}
  channels: {from: orders, distinct: channel}
  channel: {from: orders, last: channel, one_hot: [web, store]}
  lasts: {from: orders, last: 3, of: channel, count_of: [web]}
  gap: {from: orders, gap: avg}
  mean: {ratio: [spend, orders], smooth: 1}
labels: {churned: {none: orders, within: 30 days}}
models: {churn: {label: churned, features: all}}
scores: {churn_score: {model: churn, outbox: {moved_by: 0.01}, bands: {low: 0.3, high: 0.7}}}
"""
"""What the dumps' profile was defined as."""

DUMPS = sorted((Path(__file__).parents[1] / "released").glob("*.sql.gz"))
RIGHT = "SELECT count(*) FROM rescore.verify('customer_profile')"
DUE = (
    "SELECT count(*) FROM customer_profile AS p"
    " WHERE abs(churn_score - rescore.predict('churn', p)) > 1e-9 OR churn_score IS NULL"
)


@pytest.fixture(params=DUMPS, ids=lambda dump: dump.name.split(".")[0])
def old(request: pytest.FixtureRequest, empty_dsn: str) -> Iterator[Connection]:
    """The older database, brought to this version."""
    with psycopg.connect(empty_dsn, autocommit=True) as restored:
        restored.execute(gzip.decompress(request.param.read_bytes()))
    install(empty_dsn, python_path=python_path())
    with psycopg.connect(empty_dsn, autocommit=True) as conn:
        conn.execute("SET rescore.clock = '2026-01-02 00:00+00'")
        yield conn


def test_what_was_stored_stays_right_and_events_go_on_counting(old: Connection) -> None:
    assert one(old, "SELECT count(*) FROM customer_profile") == 51
    assert one(old, RIGHT) == 0
    assert one(old, DUE) == 0
    assert old.execute("SELECT * FROM rescore.health WHERE status <> 'ok'").fetchall() == []
    old.execute(
        "INSERT INTO orders VALUES (3, '2026-01-02 00:00+00', 9, 'phone'), (70, '2026-01-01 00:00+00', 1, NULL)"
    )
    old.execute("DELETE FROM orders WHERE customer_id = 4 AND amount > 1000")
    assert one(old, RIGHT) == 0
    assert one(old, "SELECT orders FROM customer_profile WHERE customer_id = 3") == 42


def test_its_definition_applied_anew_changes_no_value(old: Connection) -> None:
    before = one(old, "SELECT array_agg(p ORDER BY customer_id)::text FROM customer_profile AS p")
    made = define(old, DEFINITION)
    assert [note for note in made.notes if "means" in note] == []
    after = one(old, "SELECT array_agg(p ORDER BY customer_id)::text FROM customer_profile AS p")
    assert before == after
    assert one(old, RIGHT) == 0


def test_versions_go_back_and_forth(old: Connection) -> None:
    assert one(old, "SELECT rescore.rollback('churn')") == 1
    old.execute("CALL rescore.sweep('customer_profile')")
    assert one(old, "SELECT DISTINCT churn_score_version FROM customer_profile") == 1
    assert one(old, DUE) == 0
    old.execute("SELECT rescore.promote('churn', 2)")
    assert one(old, "SELECT rescore.predict_key('churn', 3) BETWEEN 0 AND 1")
