"""Transforms from the definition to the score: every way of scoring sees the same columns."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import psycopg
import pytest
from sklearn.ensemble import RandomForestClassifier

from rescore.plpython.contract import Contract
from rescore.plpython.design import design_row
from rescore.plpython.linear import LinearForm, apply
from rescore.tests.support import contract_of, define, one, publish
from rescore.trainer.publish import publish as publish_estimator

Connection = psycopg.Connection[Any]

SHOP = """
CREATE TABLE orders (customer_id bigint, ordered_at timestamptz, amount numeric(10,2));
CREATE INDEX ON orders (customer_id);
CREATE TABLE customers (customer_id bigint PRIMARY KEY, age integer, balance float8, renews_at date);
"""
DEFINITION = """
profile: {table: customers, key: {name: customer_id, type: bigint}, clock: session}
events: {orders: {time: ordered_at}}
features:
  orders: {from: orders, count: true, bucketize: [1, 2, 5]}
  spend: {from: orders, sum: amount, clip: [0, 100], log1p: true}
  dearest: {from: orders, max: amount, log1p: true, bucketize: [1.5, 3], default: 4, missing: indicator}
  silent: {from: orders, days_since: last, bucketize: [7, 30], missing: indicator}
  age: {column: age, bucketize: [18, 30, 50], missing: indicator}
  balance: {column: balance, log1p: true}
  renews_in: {column: renews_at, days_until: true, clip: [null, 90], log1p: true, default: -3}
models: {churn: {}, forest: {}}
scores: {churn_score: {model: churn}, forest_score: {model: forest}}
"""
CLOCK = "2026-01-01 00:00:00+00"
READ = (
    "jsonb_build_object('orders', orders, 'spend', spend, 'dearest', dearest, 'silent', silent__at, \
'age', age, 'balance', balance, 'renews_in', timezone('UTC', renews_at::timestamp))"
)


@pytest.fixture
def conn(dsn: str) -> Any:
    with psycopg.connect(dsn, autocommit=True) as made:
        made.execute(SHOP.encode())
        made.execute(f"SET rescore.clock = '{CLOCK}'".encode())
        define(made, DEFINITION)
        yield made


def fill(conn: Connection) -> None:
    conn.execute(
        """INSERT INTO customers (customer_id, age, balance, renews_at) VALUES (1, 18, -50, '2026-01-08'),
           (2, 17, 'NaN', '2029-01-01'), (3, NULL, 1e300, NULL), (4, 49, 0, '2020-01-01'), (5, 50, 3, 'infinity')"""
    )
    conn.execute(
        """INSERT INTO orders (customer_id, ordered_at, amount)
           SELECT c, timestamptz '2026-01-01 00:00+00' - (c * n) * interval '3 days 12 hours', c * 19.05
           FROM generate_series(1, 4) AS c, generate_series(1, 4) AS n WHERE n <= c"""
    )
    conn.execute(
        "INSERT INTO orders VALUES (1, timestamptz '2026-01-01 00:00+00' - interval '7 days', 3)"
    )


def rows_of(conn: Connection, contract: Contract) -> dict[int, list[float]]:
    """The design rows in plain Python, by key."""
    found = conn.execute(f"SELECT customer_id, {READ} FROM customers".encode()).fetchall()
    return {key: design_row(contract, read, CLOCK) for key, read in found}


def linear_of(conn: Connection) -> LinearForm:
    return LinearForm.from_json(
        one(conn, "SELECT linear FROM rescore.models WHERE model = 'churn'")
    )


def test_every_way_gives_the_score_of_the_python_row(conn: Connection) -> None:
    publish(conn)
    fill(conn)
    rows = rows_of(conn, contract_of(conn))
    form = linear_of(conn)
    for key, row in rows.items():
        expected = apply(form, [row])[0]
        where = f"FROM customers AS p WHERE customer_id = {key}"
        assert one(conn, f"SELECT churn_score {where}") == pytest.approx(expected, abs=1e-9)
        assert one(conn, f"SELECT rescore.predict('churn', p) {where}") == pytest.approx(
            expected, abs=1e-9
        )
        assert one(conn, f"SELECT rescore.predict_key('churn', {key})") == pytest.approx(
            expected, abs=1e-9
        )
        payload = one(conn, f"SELECT {READ} {where}")
        assert one(
            conn, "SELECT rescore.predict_payload('churn', %s)", json.dumps(payload)
        ) == pytest.approx(expected, abs=1e-9)
    assert len({tuple(row) for row in rows.values()}) == 5


def test_explain_names_the_intervals_and_adds_up(conn: Connection) -> None:
    publish(conn)
    fill(conn)
    contract, form = contract_of(conn), linear_of(conn)
    for key, row in rows_of(conn, contract).items():
        told = conn.execute("SELECT feature, value FROM rescore.explain('churn', %s)", (key,))
        names, values = zip(*told.fetchall()[:-1], strict=True)
        assert list(names) == contract.columns()
        np.testing.assert_allclose(values, row, rtol=1e-12)
        total = one(conn, f"SELECT sum(contribution) FROM rescore.explain('churn', {key})")
        assert total == pytest.approx(form.intercept + np.dot(form.weights, row), abs=1e-9)
    assert "dearest[1.5,3)" in names and "age>=50" in names


def test_models_in_python_score_the_same_columns(conn: Connection) -> None:
    contract = contract_of(conn, "forest")
    rng = np.random.default_rng(3)
    x = rng.normal(size=(200, len(contract.columns()))) * 2
    forest = RandomForestClassifier(n_estimators=7, random_state=1).fit(x, rng.integers(0, 2, 200))
    publish_estimator(forest, model="forest", conn=conn)
    fill(conn)
    for key, row in rows_of(conn, contract).items():
        stored = one(conn, f"SELECT forest_score FROM customers WHERE customer_id = {key}")
        assert stored == pytest.approx(forest.predict_proba([row])[0, 1], abs=1e-9)


def test_other_transforms_are_for_the_next_version(conn: Connection) -> None:
    publish(conn)
    fill(conn)
    before = one(conn, "SELECT array_agg(churn_score ORDER BY customer_id) FROM customers")
    plan = define(conn, DEFINITION.replace("bucketize: [1, 2, 5]", "clip: [0, 3]"))
    assert plan
    predict = (
        "SELECT array_agg(rescore.predict('churn', p) ORDER BY customer_id) FROM customers AS p"
    )
    assert one(conn, predict) == pytest.approx(before, abs=1e-12)
    publish(conn)
    contract = contract_of(conn)
    assert contract.columns()[:2] == ["orders", "spend"]
    form = LinearForm.from_json(
        one(conn, "SELECT linear FROM rescore.models WHERE model = 'churn' AND version = 2")
    )
    rows = [row for _, row in sorted(rows_of(conn, contract).items())]
    assert one(conn, predict) == pytest.approx(apply(form, rows).tolist(), abs=1e-9)
    assert max(row[0] for row in rows) == 3
    assert max(row[1] for row in rows) == pytest.approx(math.log(101))
