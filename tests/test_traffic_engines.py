"""Challengers, shadows and ensembles of models that are split, or that Python scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import psycopg
import pytest
from sklearn.tree import DecisionTreeClassifier

from rescore.tests.support import contract_of, define, one, publish
from rescore.trainer.publish import publish as publish_estimator

Connection = psycopg.Connection[Any]

SHOP = """
CREATE TABLE orders (customer_id bigint, ordered_at timestamptz DEFAULT now(), amount float8);
CREATE INDEX ON orders (customer_id);
"""
DEFINITION = """
profile: {table: customers, key: {name: customer_id, type: bigint}, clock: session}
events: {orders: {time: ordered_at}}
features:
  orders: {from: orders, count: true}
  spend: {from: orders, sum: amount}
  silent: {from: orders, days_since: last}
models: {churn: {features: all}, lapse: {features: [orders, silent]}}
scores:
  churn_score: {model: churn}
  risk: {ensemble: {churn: 0.7, lapse: 0.3}}
"""
INSERT = b"INSERT INTO orders SELECT i, now(), i %% 7 FROM generate_series(%s::int, %s::int) AS i"
WRONG = """SELECT count(*) FROM customers AS p
           WHERE (abs(churn_score - rescore.predict('churn', p)) < 1e-9
                  AND abs(risk - (0.7 * rescore.predict('churn', p) + 0.3 * rescore.predict('lapse', p))) < 1e-9
                  AND churn_score_version = rescore_compiled.churn_served(customer_id::text)
                  AND risk_version = ARRAY[churn_score_version, 1]) IS NOT TRUE"""


@pytest.fixture
def conn(dsn: str) -> Any:
    with psycopg.connect(dsn, autocommit=True) as made:
        made.execute(SHOP.encode())
        made.execute("SELECT set_config('rescore.clock', '2027-01-01 00:00:00+00', false)")
        yield made


def tree(conn: Connection, *, candidate: bool = False) -> int:
    """Publish a tree, which Python scores."""
    columns = len(contract_of(conn).columns())
    x = np.random.default_rng(1).normal(size=(200, columns)) * 5
    fitted = DecisionTreeClassifier(max_depth=3).fit(x, x[:, 0] > 0)
    return publish_estimator(fitted, model="churn", conn=conn, candidate=candidate)


def shop(conn: Connection) -> None:
    define(conn, DEFINITION)
    publish(conn, "lapse")
    conn.execute(INSERT, [1, 40])


@pytest.mark.long
def test_an_ensemble_with_a_member_that_python_scores(conn: Connection) -> None:
    shop(conn)
    tree(conn)
    conn.execute("CALL rescore.sweep('customers')")
    assert one(conn, WRONG) == 0
    conn.execute(INSERT, [30, 60])
    conn.execute(INSERT, [7, 7])
    assert one(conn, WRONG) == 0
    publish(conn, seed=4)
    conn.execute("CALL rescore.sweep('customers')")
    assert one(conn, WRONG) == 0
    assert one(conn, "SELECT rescore_compiled.churn_deferred()") is False


def test_what_python_scores_is_a_shadow_but_no_challenger(conn: Connection) -> None:
    shop(conn)
    first = publish(conn)
    slow = tree(conn, candidate=True)
    with pytest.raises(psycopg.Error, match="scored by Python") as caught:
        one(conn, "SELECT rescore.challenge('churn', %s, 0.1)", slow)
    assert caught.value.sqlstate == "RS012"
    one(conn, "SELECT rescore.shadow('churn', %s)", slow)
    beside = one(conn, "SELECT rescore_compiled.churn_others(3, 5.5, now(), rescore.clock())")
    assert set(beside) == {str(first), str(slow)} and 0 <= beside[str(slow)] <= 1
    # A champion that Python scores ends a challenge, and the history says why.
    second = publish(conn, seed=3)
    one(conn, "SELECT rescore.challenge('churn', %s, 0.5)", first)
    one(conn, "SELECT rescore.promote('churn', %s)", slow)
    state = "SELECT champion, challenger, shadows FROM rescore.deployments WHERE model = 'churn'"
    assert one(conn, state) == (slow, None, [])
    ended = "SELECT version, reason FROM rescore.deployment_history WHERE action = 'demote'"
    version, reason = one(conn, ended)
    assert (version, "scored by Python" in reason) == (first, True)
    conn.execute("CALL rescore.sweep('customers')")
    assert one(conn, WRONG) == 0
    assert second > first


@pytest.mark.long
def test_a_split_model_has_challengers(conn: Connection) -> None:
    many = "\n".join(
        f"  f{i}: {{from: orders, sum: amount, where: 'amount > {i}'}}" for i in range(100)
    )
    text = DEFINITION.split("features:")[0] + f"features:\n{many}\n"
    define(conn, text + "models: {churn: {features: all}}\nscores: {churn_score: {model: churn}}\n")
    conn.execute(INSERT, [1, 60])
    first, second = publish(conn), publish(conn, seed=8)
    one(conn, "SELECT rescore.challenge('churn', %s, 0.4)", first)
    conn.execute("CALL rescore.sweep('customers')")
    conn.execute(INSERT, [40, 80])
    conn.execute(INSERT, [7, 7])
    wrong = """SELECT count(*) FROM customers AS p
               WHERE (abs(churn_score - rescore.predict('churn', p)) < 1e-9
                      AND abs(churn_score - rescore.predict_key('churn', customer_id, '{}')) < 1e-9
                      AND churn_score_version = CASE WHEN rescore.share('challenger churn 1', customer_id::text) < 0.4
                                                     THEN 1 ELSE 2 END) IS NOT TRUE"""
    assert (first, second, one(conn, wrong)) == (1, 2, 0)
    plan = conn.execute("EXPLAIN VERBOSE SELECT rescore.predict('churn', p) FROM customers AS p")
    assert "rescore_compiled" not in "\n".join(r[0] for r in plan)
    assert conn.execute("SELECT * FROM rescore.verify('customers')").fetchall() == []
    with pytest.raises(psycopg.Error, match="100 inputs"):
        one(conn, "SELECT rescore.shadow('churn', %s)", first)
