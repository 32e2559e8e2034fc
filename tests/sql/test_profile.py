"""Whole profiles: sweeping, rebuilding, verifying, over a profile that a definition made."""

from __future__ import annotations

import math

import psycopg
import pytest

from rescore.compiler.apply import apply
from rescore.compiler.definition import parse
from rescore.plpython.contract import Contract

from .conftest import Connection, Model, value

DEFINITION = """
profile:
  table: customer_profile
  key: {name: customer_id, type: bigint}
  clock: session
events:
  orders: {time: ordered_at}
features:
  orders:           {from: orders, count: true}
  avg_order:        {from: orders, avg: amount}
  days_since_order: {from: orders, days_since: last, missing: indicator}
  renews_in:        {column: renews_on, days_until: true}
  heft:             {column: heft}
labels:
  churned: {none: orders, within: 90 days}
models:
  churn: {label: churned, features: all, estimator: {sgd_classifier: {loss: log_loss}}}
scores:
  churn_score: {model: churn}
"""

TABLES = """
CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY, customer_id bigint,
                     ordered_at timestamptz, amount numeric(10,2));
CREATE INDEX ON orders (customer_id);
CREATE TABLE customer_profile (customer_id bigint PRIMARY KEY, renews_on timestamptz, heft real);
"""


@pytest.fixture
def applied(conn: Connection) -> Model:
    conn.execute("SET rescore.clock = '2026-01-01 00:00:00+00'")
    conn.execute(TABLES.encode())
    apply(conn, parse(DEFINITION))
    conn.execute(
        """INSERT INTO orders (customer_id, ordered_at, amount)
           SELECT i % 400, timestamptz '2025-06-01' + i * interval '3 hours', i % 17 + 0.25
           FROM generate_series(1, 1000) AS i"""
    )
    conn.execute(
        "UPDATE customer_profile SET renews_on = '2026-03-01', heft = 1.5 WHERE customer_id < 300"
    )
    inputs = value(conn, "SELECT inputs FROM rescore.deployments")
    return Model(conn, "churn", Contract.from_json({"inputs": inputs}))


def weights(model: Model) -> list[float]:
    return [0.3, -0.05, 0.002, 0.4, -0.004, 0.2][: len(model.contract.columns())]


def scores(conn: Connection) -> dict[int, float]:
    rows = conn.execute("SELECT customer_id, churn_score FROM customer_profile").fetchall()
    return dict(rows)


def test_sweep_brings_silent_rows_to_the_serving_version(applied: Model) -> None:
    applied.publish(weights(applied))
    assert set(scores(applied.conn).values()) == {None}
    applied.conn.execute("CALL rescore.sweep('customer_profile', batch => 150)")
    first = scores(applied.conn)
    assert len(first) == 400
    expected = applied.conn.execute(
        "SELECT customer_id, rescore.predict('churn', p) FROM customer_profile AS p"
    ).fetchall()
    assert first == dict(expected)
    applied.conn.execute("SET rescore.clock = '2026-02-01 00:00:00+00'")
    applied.conn.execute("CALL rescore.sweep('customer_profile', '60 days')")
    assert scores(applied.conn) == first
    applied.conn.execute("CALL rescore.sweep('customer_profile', '20 days')")
    assert all(score != first[key] for key, score in scores(applied.conn).items())


def test_sweep_commits_each_batch(applied: Model) -> None:
    applied.publish(weights(applied))
    with applied.conn.transaction(), pytest.raises(psycopg.errors.InvalidTransactionTermination):
        applied.conn.execute("CALL rescore.sweep('customer_profile')")


def test_rebuild_mends_what_verify_finds(applied: Model) -> None:
    applied.publish(weights(applied))
    applied.conn.execute("CALL rescore.sweep('customer_profile')")
    assert applied.conn.execute("SELECT * FROM rescore.verify('customer_profile')").fetchall() == []
    applied.conn.execute("ALTER TABLE customer_profile DISABLE TRIGGER USER")
    applied.conn.execute("UPDATE customer_profile SET orders = 99 WHERE customer_id IN (3, 5)")
    applied.conn.execute("ALTER TABLE customer_profile ENABLE TRIGGER USER")
    found = applied.conn.execute(
        "SELECT key, feature FROM rescore.verify('customer_profile')"
    ).fetchall()
    assert {("3", "orders"), ("5", "orders")} <= set(found)
    assert value(applied.conn, "SELECT rescore.rebuild('customer_profile')") == 2
    assert applied.conn.execute("SELECT * FROM rescore.verify('customer_profile')").fetchall() == []


@pytest.mark.parametrize("key", [7, 350])
def test_explain_reads_inputs_as_the_score_does(applied: Model, key: int) -> None:
    applied.publish(weights(applied))
    applied.conn.execute("CALL rescore.sweep('customer_profile')")
    total = value(
        applied.conn, "SELECT sum(contribution) FROM rescore.explain('churn', %s::bigint)", (key,)
    )
    assert 1 / (1 + math.exp(-total)) == pytest.approx(scores(applied.conn)[key], abs=1e-12)


def test_artefact_and_compiled_scorer_agree_on_what_the_triggers_keep(applied: Model) -> None:
    applied.publish(weights(applied))
    assert 0 < value(applied.conn, "SELECT rescore.verify_model('churn')") < 1e-12
