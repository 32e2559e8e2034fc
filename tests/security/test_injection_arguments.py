"""Arguments of functions are values, whatever they hold: refused by name, or kept as they are."""

from __future__ import annotations

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from rescore.tests.security.conftest import Stage
from rescore.tests.security.names import any_names
from rescore.tests.support import one, publish
from rescore.trainer import operations as ops


@given(
    any_names | st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
)
@settings(max_examples=40)
def test_arguments_of_functions_are_values(stage: Stage, text: str) -> None:
    """Each is refused with an error of rescore's own, or by the type of the argument."""
    conn = stage.connect()
    text = text.replace("\0", "") + "?"  # so that it is no key
    for query, states in CALLS.items():
        with pytest.raises(psycopg.Error) as caught:
            conn.execute(query.encode(), {"text": text, "json": Jsonb({text: text})})
        assert caught.value.sqlstate in states, query


CALLS = {
    "SELECT rescore.predict_key(%(text)s, 1)": {"RS001"},
    "SELECT rescore.predict_key('churn', %(text)s::text)": {"RS013"},
    "SELECT rescore.predict(%(text)s, p) FROM shop.customers AS p": {"RS001"},
    "SELECT rescore.predict_payload(%(text)s, '{}')": {"RS001"},
    "SELECT rescore.predict_payload('churn', %(json)s)": {"RS009"},
    "SELECT rescore.predict_key('churn', 101, %(json)s)": {"RS009"},
    "SELECT rescore.explain(%(text)s, 1)": {"RS001"},
    "SELECT rescore.explain('churn', %(text)s)": {"RS013"},
    "SELECT rescore.promote(%(text)s, 1, %(text)s)": {"RS001"},
    "SELECT rescore.rollback(%(text)s, NULL, %(text)s)": {"RS001"},
    "SELECT rescore.rebuild(%(text)s)": {"RS008"},
    "SELECT rescore.verify(%(text)s)": {"RS008"},
    "SELECT rescore.verify_model(%(text)s)": {"RS001"},
    "CALL rescore.sweep(%(text)s)": {"RS008"},
    "SELECT rescore.publish(%(text)s, 'x')": {"RS001"},
    "SELECT rescore.publish('churn', 'x', format => %(text)s)": {"RS002"},
    "SELECT rescore.publish('churn', 'x', contract => %(json)s)": {"RS004"},
    "SELECT rescore.publish_linear(%(text)s, 'x', 'joblib', '{}', '{}', '{}', '{}', '{}')": {
        "RS001"
    },
    "SELECT rescore.explain(%(text)s, '1', now())": {"RS001"},
    "SELECT rescore.explain('churn', %(text)s, now())": {"RS025"},
    "SELECT rescore.challenge(%(text)s, 1, 0.1, %(text)s)": {"RS001"},
    "SELECT rescore.shadow(%(text)s, 1, %(text)s)": {"RS001"},
    "SELECT rescore.demote(%(text)s, 1, %(text)s)": {"RS001"},
    "CALL rescore.fold(%(text)s)": {"RS008"},
    "CALL rescore.log_snapshots(%(text)s)": {"RS008"},
    "SELECT rescore.snapshot(%(text)s)": {"RS008"},
    "SELECT rescore.resolve(%(text)s)": {"RS008"},
    "SELECT rescore.pause(%(text)s, %(text)s)": {"RS008"},
    "SELECT rescore.resume(%(text)s)": {"RS008"},
    "SELECT rescore.forget(%(text)s, '1')": {"RS008"},
    "SELECT rescore.forget('shop.customers', %(text)s)": {"RS013"},
    "SELECT rescore.remember(%(text)s, '1')": {"RS008"},
    "SELECT rescore.remember('shop.customers', %(text)s)": {"RS013"},
    "SELECT rescore.quarantine(%(text)s, '{1}', %(text)s)": {"RS001"},
    "SELECT rescore.release(%(text)s)": {"RS001"},
    "SELECT rescore.request_learning(%(text)s, %(text)s)": {"RS001"},
    "SELECT rescore.left_behind(%(text)s)": {"RS001"},
    "SELECT rescore.drop_model(%(text)s, %(text)s)": {"RS001"},
    "SELECT rescore.drop_model('churn', %(text)s)": {"RS020"},
    "SELECT rescore.outbox_register('crm', %(text)s)": {"RS020"},
    "SELECT rescore.outbox_register(%(text)s || ' ')": {"RS020"},
    "SELECT rescore.outbox_read(%(text)s)": {"RS022"},
    "SELECT rescore.outbox_ack(%(text)s, 1)": {"RS022"},
}

# Neither refuses a text: asked in test_texts_that_are_taken.
TAKEN = {"outbox_drop", "share"}


def test_every_function_that_takes_a_text_is_among_them(stage: Stage) -> None:
    found = stage.connect().execute(
        """SELECT p.proname FROM pg_proc AS p WHERE p.pronamespace = 'rescore'::regnamespace AND p.proname !~ '^_'
           AND p.proargtypes::oid[] && ARRAY['text', 'text[]', 'jsonb', 'bytea']::regtype[]::oid[]"""
    )
    called = {query.split("rescore.")[1].split("(")[0] for query in CALLS}
    assert {name for (name,) in found} - called - TAKEN == set()


@given(any_names)
@settings(max_examples=10)
def test_texts_that_are_taken(stage: Stage, text: str) -> None:
    conn, text = stage.connect(), text.replace("\0", "")
    share = one(conn, "SELECT rescore.share(%s, %s)", text, text)
    assert 0 <= share < 1
    assert share == one(conn, "SELECT rescore.share(%s, %s)", text, text)
    assert one(conn, "SELECT rescore.outbox_drop(%s)", text) is False
    conn.execute("SELECT rescore.request_learning('churn', %s)", [text])
    kept = "SELECT reason FROM rescore.learn_requests ORDER BY id DESC LIMIT 1"
    assert one(conn, kept) == text
    conn.execute("SELECT rescore.pause('shop.customers', %s)", [text])
    try:
        assert one(conn, "SELECT reason FROM rescore.queue_lag") == text
        with pytest.raises(psycopg.Error) as caught:
            conn.execute("CALL rescore.fold('shop.customers')")
        assert text in (caught.value.diag.message_detail or "")
    finally:
        conn.execute("SELECT rescore.resume('shop.customers')")


def test_reasons_and_metrics_are_kept_as_they_are(stage: Stage) -> None:
    conn = stage.connect()
    reason = "'; DROP TABLE x; -- \\ {{ x }} %s $1 \u202e \n 🦆"
    ops.promote(conn, "churn", 1)
    publish(conn, seed=4)
    ops.promote(conn, "churn", 1, reason)
    query = "SELECT reason FROM rescore.deployment_history ORDER BY id DESC LIMIT 1"
    assert one(conn, query) == reason
