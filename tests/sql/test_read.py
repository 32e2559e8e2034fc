"""Payloads, explanations, verification, incidents and health."""

from __future__ import annotations

import json
import math
from typing import Any

import psycopg
import pytest

from .conftest import EVERY_KIND, Model, call, linear_artifact, value

WEIGHTS = [0.1, 0.02, 0.3, 0.4, -0.005]
Connection = psycopg.Connection[Any]


def predict(conn: Connection, payload: Any) -> Any:
    return value(conn, "SELECT rescore.predict_payload('churn', %s)", (json.dumps(payload),))


@pytest.fixture
def filled(model: Model) -> Model:
    model.publish(WEIGHTS)
    model.conn.execute(
        """INSERT INTO customer
           SELECT i, i % 7, nullif(i % 11, 3) * 1.25, (ARRAY['web', 'store', NULL, 'fax'])[i % 4 + 1],
                  timestamptz '2025-06-01' + i * interval '1 hour'
           FROM generate_series(1, 2500) AS i"""
    )
    model.conn.execute("SET rescore.clock = '2026-01-01 00:00:00+00'")
    return model


def test_missing_features_take_their_default(filled: Model) -> None:
    assert predict(filled.conn, {}) == predict(
        filled.conn, {"orders": 0, "spend": 3.5, "channel": None}
    )
    assert predict(filled.conn, {"spend": 4}) != predict(filled.conn, {})
    assert predict(filled.conn, {"last_order": "2025-12-31T00:00:00+00:00"}) != predict(
        filled.conn, {}
    )


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ({"ordrs": 1}, "no feature ordrs"),
        ({"orders": 1.5}, "1.5 is no value of feature orders"),
        ({"orders": "many"}, '"many" is no value'),
        ({"orders": 2**63}, "is no value of feature orders"),
        ({"orders": True}, "true is no value"),
        ({"spend": {"eur": 1}}, "is no value of feature spend"),
        ({"channel": ["web"]}, "is no value of feature channel"),
        ({"last_order": "yesterday"}, "is no value of feature last_order"),
        ({"last_order": 5}, "5 is no value"),
        ([1], "a payload is a JSON object"),
    ],
)
def test_wrong_payloads(filled: Model, payload: Any, message: str) -> None:
    with pytest.raises(psycopg.Error, match=message) as caught:
        predict(filled.conn, payload)
    assert caught.value.sqlstate == "RS009"


def test_near_names_are_suggested(filled: Model) -> None:
    with pytest.raises(psycopg.Error) as caught:
        predict(filled.conn, {"lastorder": 1})
    assert "Did you mean last_order?" in (caught.value.diag.message_detail or "")


def test_payloads_are_scored_in_parallel_queries(filled: Model) -> None:
    conn = filled.conn
    settings = (
        "parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0"
    )
    conn.execute(("SET " + settings).encode())
    query = "SELECT sum(rescore.predict_payload('churn', jsonb_build_object('orders', orders))) FROM customer"
    plan = "\n".join(r[0] for r in conn.execute(("EXPLAIN " + query).encode()).fetchall())
    assert "Parallel Seq Scan" in plan
    assert value(conn, query.encode()) > 0


def test_unknown_model_lists_the_known_ones(filled: Model) -> None:
    for query in (
        "predict_payload('chrun', '{}')",
        "explain('chrun', 1)",
        "verify_model('chrun')",
        "_unknown_model('chrun')",
    ):
        with pytest.raises(psycopg.Error, match="unknown model chrun") as caught:
            filled.conn.execute(("SELECT rescore." + query).encode())
        assert caught.value.sqlstate == "RS001"
        assert "churn" in (caught.value.diag.message_detail or "")


@pytest.mark.parametrize("key", ["7", "'7'", "'7'::text", "7::bigint"])
def test_contributions_add_up_to_the_log_odds(filled: Model, key: str) -> None:
    query = f"SELECT feature, contribution FROM rescore.explain('churn', {key})"
    rows = filled.conn.execute(query.encode()).fetchall()
    assert [r[0] for r in rows] == [
        "orders",
        "spend",
        "channel=web",
        "channel=store",
        "last_order",
        "(intercept)",
    ]
    score = value(
        filled.conn,
        "SELECT rescore_compiled.churn(orders, spend, channel, last_order, rescore.clock()) FROM customer WHERE id = 7",
    )
    assert 1 / (1 + math.exp(-sum(r[1] for r in rows))) == pytest.approx(score, abs=1e-12)


def test_explain_refuses_what_it_cannot_explain(filled: Model) -> None:
    assert filled.conn.execute("SELECT * FROM rescore.explain('churn', 99999)").fetchall() == []
    for key in ("'seven'", "'9223372036854775808'", "NULL::text", "gen_random_uuid()"):
        with pytest.raises(psycopg.Error, match="no key of profile") as caught:
            filled.conn.execute(f"SELECT rescore.explain('churn', {key})".encode())
        assert caught.value.sqlstate == "RS013"
    filled.conn.execute("UPDATE rescore.deployments SET engine = 'python'")
    call(filled.conn, "publish", {"model": "churn", "artifact": linear_artifact(WEIGHTS)})
    with pytest.raises(psycopg.Error) as caught:
        filled.conn.execute("SELECT rescore.explain('churn', 7)")
    assert caught.value.sqlstate == "RS012"


def test_explain_reads_rows_as_its_caller(filled: Model) -> None:
    filled.conn.execute("CREATE ROLE outsider IN ROLE rescore_reader")
    filled.conn.execute("SET ROLE outsider")
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="customer"):
        filled.conn.execute("SELECT * FROM rescore.explain('churn', 7)")
    filled.conn.execute("RESET ROLE")
    filled.conn.execute("DROP ROLE outsider")


@pytest.mark.parametrize("engine", ["auto", "python"])
def test_compiled_scorer_and_artefact_agree_over_live_rows(filled: Model, engine: str) -> None:
    filled.conn.execute("UPDATE rescore.deployments SET engine = %s", (engine,))
    call(filled.conn, "publish", {"model": "churn", "artifact": linear_artifact(WEIGHTS)})
    assert 0 <= value(filled.conn, "SELECT rescore.verify_model('churn')") < 1e-12


def test_verify_model_sees_another_artefact(filled: Model) -> None:
    conn, data = filled.conn, linear_artifact([0.1, 0.02, 0.3, 0.4, -0.006])
    conn.execute("ALTER TABLE rescore.models DISABLE TRIGGER immutable")
    conn.execute(
        "UPDATE rescore.models SET artifact = %s, sha256 = encode(sha256(%s), 'hex')", (data, data)
    )
    assert value(conn, "SELECT rescore.verify_model('churn')") > 1e-6


def test_an_incident_is_one_row_per_cause(conn: Connection, model: Model) -> None:
    for message in ("value 1 is bad", "value 2 is bad"):
        conn.execute(
            "SELECT rescore._incident('customer', NULL, NULL, '22003', %s, E'insert of orders\\nline 3')",
            (message,),
        )
    conn.execute(
        "SELECT rescore._incident('customer', NULL, NULL, '22012', 'zero', 'insert of orders')"
    )
    assert value(conn, "SELECT count(*) FROM rescore.incidents") == 2
    assert health(conn)["incidents"] == "warning"
    conn.execute("UPDATE rescore.incident_log SET resolved_at = now()")
    assert value(conn, "SELECT count(*) FROM rescore.incidents") == 0
    conn.execute(
        "SELECT rescore._incident('customer', NULL, NULL, '22012', 'zero', 'insert of orders')"
    )
    assert value(conn, "SELECT sqlstate FROM rescore.incidents") == "22012"


UPKEEP = dict.fromkeys(
    ("snapshots", "dead rows", "replication", "partitions", "stale", "drift", "runner", "learning"),
    "ok",
)


def health(conn: Connection) -> dict[str, str]:
    return dict(conn.execute('SELECT "check", status FROM rescore.health').fetchall())


def test_health(conn: Connection, model: Model) -> None:
    assert health(conn) == {
        "incidents": "ok",
        "coming": "ok",
        "triggers": "ok",
        "tables": "ok",
        "paused": "ok",
        "queue": "ok",
        "backfill": "ok",
        "champions": "warning",
        "outbox": "ok",
        **UPKEEP,
    }
    model.publish(WEIGHTS)
    conn.execute(
        "UPDATE rescore.profiles SET backfill_from = ':5', plan = '{\"triggers\": [\"gone\"]}'"
    )
    assert health(conn) == {
        "incidents": "ok",
        "coming": "ok",
        "triggers": "error",
        "tables": "ok",
        "paused": "ok",
        "queue": "ok",
        "backfill": "warning",
        "champions": "ok",
        "outbox": "ok",
        **UPKEEP,
    }


def test_quality_of_every_version(model: Model) -> None:
    from psycopg.types.json import Jsonb

    metrics = Jsonb({"auc": 0.84, "log_loss": 0.31, "reliability": [1, 2]})
    model.publish(WEIGHTS, metrics=metrics)
    model.publish(WEIGHTS)
    rows = model.conn.execute(
        "SELECT version, serving, metric, value FROM rescore.model_quality ORDER BY 3"
    ).fetchall()
    assert rows == [(1, False, "auc", 0.84), (1, False, "log_loss", 0.31)]
    rows = model.conn.execute(
        "SELECT version, serving, inputs FROM rescore.model_version ORDER BY 1"
    ).fetchall()
    assert rows == [(1, False, 4), (2, True, 4)]


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM rescore.verify('no')",
        "SELECT rescore.rebuild('no')",
        "CALL rescore.sweep('no')",
    ],
)
def test_unknown_profile(model: Model, query: str) -> None:
    with pytest.raises(psycopg.Error, match="unknown profile") as caught:
        model.conn.execute(query.encode())
    assert caught.value.sqlstate == "RS008"


def test_every_kind_by_payload(conn: Connection, make: Any) -> None:
    model = make(EVERY_KIND)
    model.publish([0.01] * len(model.contract.columns()))
    payload = {
        "Heft €": "NaN",
        "plan": "☂",
        "country": "c007",
        "vip": True,
        "renews_at": "infinity",
    }
    assert 0 < predict(conn, payload) < 1
