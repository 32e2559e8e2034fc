"""Challengers, shadows and ensembles: who is scored by which version, and that the row says so."""

from __future__ import annotations

import json
import uuid
from typing import Any

import numpy as np
import psycopg
import pytest
from sklearn.linear_model import LogisticRegression
from typer.testing import CliRunner

from rescore.cli import app
from rescore.tests.support import contract_of, define, one, publish
from rescore.trainer.learning.hashing import hash_keys, shares
from rescore.trainer.publish import publish as publish_estimator

Connection = psycopg.Connection[Any]

SHOP = """
CREATE TABLE orders (customer_id {type}, ordered_at timestamptz DEFAULT now(), amount numeric(10,2), channel text);
CREATE INDEX ON orders (customer_id);
"""
DEFINITION = """
profile: {table: customers, key: {name: customer_id, type: TYPE}, clock: session}
events: {orders: {time: ordered_at}}
features:
  orders: {from: orders, count: true}
  spend: {from: orders, sum: amount}
  biggest: {from: orders, max: amount}
  channel: {from: orders, last: channel, one_hot: [web, store]}
  silent: {from: orders, days_since: last}
models: {churn: {features: all}, lapse: {features: [orders, silent]}}
scores:
  churn_score: {model: churn}
  risk: {ensemble: {churn: 0.7, lapse: 0.3}, bands: {low: 0, high: 0.5}, outbox: {moved_by: 0}}
"""
KEYS = {
    "bigint": "i",
    "text": "'customer ' || i",
    "uuid": "md5(i::text)::uuid",
}
SHARE = 0.3


def shop(conn: Connection, key: str = "bigint") -> tuple[int, int]:
    """Customers with orders, a champion and a candidate of `churn`, and a champion of `lapse`."""
    conn.execute(SHOP.format(type=key).encode())
    conn.execute("SELECT set_config('rescore.clock', '2026-01-01 00:00:00+00', false)")
    define(conn, DEFINITION.replace("TYPE", key))
    order(conn, key, range(1, 201))
    first, second = publish(conn), publish(conn, seed=8)
    publish(conn, "lapse", seed=9)
    conn.execute("SELECT rescore.rollback('churn')")
    conn.execute("CALL rescore.sweep('customers')")
    return first, second


def order(conn: Connection, key: str, numbers: range) -> None:
    conn.execute(
        f"""INSERT INTO orders (customer_id, ordered_at, amount, channel)
            SELECT {KEYS[key]}, timestamptz '2025-12-01Z' + i * interval '1 hour', i %% 17, 'web'
            FROM generate_series(%s::int, %s::int) AS i""".encode(),
        [numbers.start, numbers.stop - 1],
    )


def served(conn: Connection) -> dict[str, int]:
    """The version that each row says has scored it."""
    return dict(conn.execute("SELECT customer_id::text, churn_score_version FROM customers"))


def expected(keys: Any, first: int, second: int, share: float = SHARE) -> dict[str, int]:
    """The version that should have, by the hash in Python."""
    names = list(keys)
    chosen = shares(hash_keys(names, f"challenger churn {second}")) < share
    return dict(zip(names, np.where(chosen, second, first).tolist(), strict=True))


def untrue(conn: Connection) -> int:
    """How many rows are not scored, everywhere alike, by the version they name."""
    query = """
        SELECT count(*) FROM customers AS p
        CROSS JOIN LATERAL (SELECT rescore_compiled.churn_v{0}(orders, spend, biggest, channel, silent__at, rescore.clock()) AS one,
                                   rescore_compiled.churn_v{1}(orders, spend, biggest, channel, silent__at, rescore.clock()) AS two) AS v
        CROSS JOIN LATERAL (SELECT CASE churn_score_version WHEN {0} THEN one WHEN {1} THEN two END AS right) AS r
        WHERE (abs(churn_score - r.right) < 1e-12 AND abs(rescore.predict('churn', p) - r.right) < 1e-12
               AND abs(rescore.predict_key('churn', customer_id) - r.right) < 1e-12
               AND abs(rescore.predict_key('churn', customer_id, '{{}}') - r.right) < 1e-12) IS NOT TRUE"""
    return int(one(conn, query.format(*sorted(versions(conn)))))


def versions(conn: Connection) -> list[int]:
    found = one(conn, "SELECT array_agg(version) FROM rescore.models WHERE model = 'churn'")
    return list(found)


@pytest.fixture
def conn(plain_dsn: str) -> Any:
    with psycopg.connect(plain_dsn, autocommit=True) as made:
        yield made


@pytest.mark.parametrize("key", ["text", "uuid"])
def test_a_challenger_serves_its_share_on_every_path(conn: Connection, key: str) -> None:
    first, second = shop(conn, key)
    one(conn, "SELECT rescore.challenge('churn', %s, %s, 'looks better')", second, SHARE)
    conn.execute("CALL rescore.sweep('customers')")
    assert served(conn) == expected(served(conn), first, second)
    assert set(served(conn).values()) == {first, second}
    order(conn, key, range(150, 300))  # a set: new customers and known ones
    for number in (7, 8, 9, 10, 301, 302, 303):  # one at a time
        order(conn, key, range(number, number + 1))
    conn.execute("DELETE FROM orders WHERE amount = 3")
    conn.execute("UPDATE orders SET amount = amount + 1 WHERE amount = 5")
    assert served(conn) == expected(served(conn), first, second)
    assert untrue(conn) == 0
    assert conn.execute("SELECT * FROM rescore.verify('customers')").fetchall() == []
    assert conn.execute("SELECT rescore.rebuild('customers')").fetchone() == (0,)


def test_a_payload_and_a_new_share(conn: Connection) -> None:
    first, second = shop(conn)
    payload = "SELECT rescore.predict_payload('churn', '{\"orders\": 3}')"
    before = one(conn, payload)
    one(conn, "SELECT rescore.challenge('churn', %s, 0.1)", second)
    assert one(conn, payload) == before
    few = {k for k, v in after_sweep(conn).items() if v == second}
    one(conn, "SELECT rescore.challenge('churn', %s, 0.5)", second)
    many = {k for k, v in after_sweep(conn).items() if v == second}
    assert few < many and 70 < len(many) < 130
    one(conn, "SELECT rescore.demote('churn', %s, 'enough')", second)
    assert set(after_sweep(conn).values()) == {first}
    told = conn.execute(
        """SELECT action, version, previous, reason, details FROM rescore.deployment_history
           WHERE model = 'churn' ORDER BY id DESC LIMIT 3"""
    ).fetchall()
    assert told == [
        ("demote", second, first, "enough", None),
        ("challenge", second, first, None, {"share": 0.5}),
        ("challenge", second, first, None, {"share": 0.1}),
    ]


def after_sweep(conn: Connection) -> dict[str, int]:
    conn.execute("CALL rescore.sweep('customers')")
    return served(conn)


def explained(conn: Connection, query: str) -> str:
    return "\n".join(r[0] for r in conn.execute(f"EXPLAIN (VERBOSE, COSTS OFF) {query}".encode()))


QUERIES = {
    "row": "SELECT rescore.predict('churn', p) FROM customers AS p",
    "ensemble": "SELECT rescore.predict('risk', p) FROM customers AS p",
    "version": "SELECT rescore_compiled.churn_served(customer_id::text) FROM customers",
    "beside": "SELECT rescore_compiled.churn_others(orders, spend, biggest, channel, silent__at, now()) FROM customers",
}


def test_every_shape_is_inlined(conn: Connection) -> None:
    _, second = shop(conn)
    for query in QUERIES.values():
        alone = explained(conn, query)
        assert "rescore_compiled" not in alone and "sha256" not in alone
    one(conn, "SELECT rescore.challenge('churn', %s, 0.25)", second)
    for shape, query in QUERIES.items():
        split = explained(conn, query)
        assert "rescore_compiled" not in split
        assert ("sha256" in split) == (shape != "beside")
    one(conn, "SELECT rescore.shadow('churn', %s)", second)
    assert all("sha256" not in explained(conn, query) for query in QUERIES.values())


def test_a_shadow_touches_nothing_served(conn: Connection) -> None:
    first, second = shop(conn)
    before = conn.execute("SELECT customer_id, churn_score FROM customers ORDER BY 1").fetchall()
    one(conn, "SELECT rescore.shadow('churn', %s)", second)
    assert set(after_sweep(conn).values()) == {first}
    after = conn.execute("SELECT customer_id, churn_score FROM customers ORDER BY 1").fetchall()
    assert after == before
    beside = one(
        conn, QUERIES["beside"].replace("now()", "rescore.clock()") + " WHERE customer_id = 5"
    )
    assert set(beside) == {str(first), str(second)}
    score = one(conn, "SELECT churn_score FROM customers WHERE customer_id = 5")
    assert beside[str(first)] == pytest.approx(score, abs=1e-12)


def test_a_switch_of_the_champion_keeps_or_ends_the_challenge(conn: Connection) -> None:
    first, second = shop(conn)
    third = publish(conn, seed=10)
    one(conn, "SELECT rescore.challenge('churn', %s, 0.2)", second)
    one(conn, "SELECT rescore.promote('churn', %s)", first)
    state = "SELECT champion, challenger, challenger_share, predecessor FROM rescore.deployments WHERE model = 'churn'"
    assert one(conn, state) == (first, second, 0.2, third)
    one(conn, "SELECT rescore.promote('churn', %s, 'it won')", second)
    assert one(conn, state) == (second, None, None, first)
    one(conn, "SELECT rescore.rollback('churn')")
    assert one(conn, state) == (first, None, None, None)


def refused(conn: Connection, query: str, *given: Any) -> str | None:
    with pytest.raises(psycopg.Error) as caught:
        one(conn, query, *given)
    return caught.value.sqlstate


def test_what_cannot_challenge_is_refused_by_name(conn: Connection) -> None:
    first, second = shop(conn)
    challenge = "SELECT rescore.challenge('churn', %s, %s)"
    assert refused(conn, challenge, first, 0.1) == "RS020"
    assert refused(conn, challenge, 99, 0.1) == "RS006"
    for share in (0.0, 1.0, None, float("nan")):
        assert refused(conn, challenge, second, share) == "RS020"
    assert refused(conn, "SELECT rescore.demote('churn', %s)", second) == "RS020"
    assert refused(conn, "SELECT rescore.challenge('churm', 1, 0.1)") == "RS001"
    one(conn, challenge, second, 0.1)
    with pytest.raises(psycopg.Error, match="cannot be changed"):
        conn.execute("DELETE FROM rescore.models WHERE version = %s", [second])


def test_an_ensemble_is_the_weighted_sum(conn: Connection) -> None:
    first, second = shop(conn)
    wrong = """SELECT count(*) FROM customers AS p
               WHERE (abs(risk - (0.7 * rescore.predict('churn', p) + 0.3 * rescore.predict('lapse', p))) < 1e-9
                      AND abs(risk - rescore.predict('risk', p)) < 1e-12
                      AND abs(risk - rescore.predict_key('risk', customer_id::text)) < 1e-12) IS NOT TRUE"""
    assert one(conn, wrong) == 0
    assert one(conn, "SELECT DISTINCT risk_version FROM customers") == [first, 1]
    one(conn, "SELECT rescore.challenge('churn', %s, 0.4)", second)
    order(conn, "bigint", range(100, 140))
    conn.execute("CALL rescore.sweep('customers')")
    assert one(conn, wrong) == 0
    found = conn.execute("SELECT DISTINCT risk_version, churn_score_version FROM customers")
    assert sorted(found.fetchall()) == sorted([([v, 1], v) for v in (first, second)])
    assert conn.execute("SELECT * FROM rescore.verify('customers')").fetchall() == []
    assert (
        one(conn, "SELECT count(*) FROM rescore.outbox WHERE score = 'risk' AND version IS NULL")
        > 0
    )
    assert refused(conn, "SELECT rescore.predict_key('risk', 5, '{}')") == "RS012"


def test_an_ensemble_of_absurd_scores_keeps_no_event_from_being_stored(conn: Connection) -> None:
    shop(conn)
    define(
        conn,
        DEFINITION.replace("TYPE", "bigint").replace("{churn: 0.7,", "{churn: 1.0e-100,"),
    )
    columns = len(contract_of(conn).columns())
    made = LogisticRegression().fit([[0.0] * columns, [1.0] * columns], [0, 1])
    made.coef_, made.intercept_ = np.zeros((1, columns)), np.array([-1e5])
    publish_estimator(made, model="churn", conn=conn)
    order(conn, "bigint", range(1, 3))
    conn.execute("CALL rescore.sweep('customers')")
    scores = "SELECT max(churn_score) < 1e-300, bool_and(abs(risk - 0.3 * rescore.predict('lapse', p)) < 1e-12) FROM customers AS p"
    assert one(conn, scores) == (True, True)


def test_keys_hash_as_in_python(conn: Connection) -> None:
    keys = ["1", "é", str(uuid.UUID(int=7)), "a:b", ""]
    given = [one(conn, "SELECT rescore.share('churn', %s)", key) for key in keys]
    assert given == shares(hash_keys(keys, "churn")).tolist()


def test_explaining_and_listing_name_the_version_that_serves(
    conn: Connection, plain_dsn: str
) -> None:
    first, second = shop(conn)
    one(conn, "SELECT rescore.challenge('churn', %s, 0.3)", second)
    after_sweep(conn)
    query = """
        SELECT count(*) FROM customers AS p
        CROSS JOIN LATERAL (SELECT sum(e.contribution) AS z FROM rescore.explain('churn', customer_id) AS e) AS s
        WHERE abs(churn_score - 1 / (1 + exp(-s.z))) > 1e-9"""
    assert one(conn, query) == 0
    roles = conn.execute(
        "SELECT version, role, share, serving FROM rescore.model_version WHERE model = 'churn'"
    )
    assert sorted(roles.fetchall()) == [
        (first, "champion", 0.7, True),
        (second, "challenger", 0.3, False),
    ]
    told = CliRunner().invoke(app, ["models", "--dsn", plain_dsn, "--json"])
    assert {r["version"]: r["role"] for r in json.loads(told.output) if r["model"] == "churn"} == {
        first: "champion",
        second: "challenger",
    }
