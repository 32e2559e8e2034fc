"""The fast path of a single event: what it reads once, and what it leaves to the set."""

from __future__ import annotations

import re
from typing import Any

import psycopg
import pytest

from rescore.compiler.definition import Feature
from rescore.compiler.windows import Window, default_bucket, first_changes, window_of
from rescore.tests.support import define, one, publish

Connection = psycopg.Connection[Any]

DEFINITION = """
profile: {table: customer_profile, key: {name: customer_id, type: bigint}}
events: {orders: {time: ordered_at}}
features:
  orders: {from: orders, count: true}
  spend: {from: orders, sum: amount, where: "quantity >= 2"}
  large: {from: orders, count: true, where: "quantity >= 2"}
  last_order: {from: orders, days_since: last}
  lately: {from: orders, sum: amount, window: 30 days}
  before: {from: orders, count: true, window: 30 days, offset: 30 days}
  biggest: {from: orders, max: amount, window: 7 days}
  usual: {from: orders, ewma: amount, half_life: 30 days}
models: {churn: {features: all}, other: {features: all}, third: {features: all}}
scores: {churn_score: {model: churn}}
"""
SCORES = "churn_score: {model: churn}"
MANY = f"{SCORES}, other_score: {{model: other}}, third_score: {{model: third}}"
FUNCTION = "rescore_compiled.customer_profile__orders_insert"


@pytest.fixture
def shop(plain_db: Connection) -> Connection:
    plain_db.execute(
        "CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer_id bigint,"
        " ordered_at timestamptz NOT NULL, quantity int NOT NULL, amount numeric(10, 2))"
    )
    plain_db.execute("CREATE INDEX ON orders (customer_id, ordered_at)")
    plain_db.commit()
    plain_db.autocommit = True
    return plain_db


def fast_path(conn: Connection) -> str:
    """Return the part of the trigger function that a single event takes."""
    body: str = one(conn, "SELECT prosrc FROM pg_proc WHERE oid = %s::regproc", FUNCTION)
    return body.split("SELECT array_agg")[0]


def insert(conn: Connection, age: str, amount: str = "5", quantity: int = 2) -> None:
    conn.execute(
        "INSERT INTO public.orders (customer_id, ordered_at, quantity, amount)"
        f" VALUES (1, now() - interval '{age}', {quantity}, '{amount}')".encode()
    )


def apply_and_publish(conn: Connection, text: str) -> None:
    define(conn, text)
    for model in ("churn", "other", "third"):
        publish(conn, model)


def test_conditions_and_windows_are_read_once(shop: Connection) -> None:
    define(shop, DEFINITION)
    body = fast_path(shop)
    assert body.count(">= 2") == 1
    assert body.count("<> 'NaN'") == 1
    # Only the moment at which the shortest window lets the event go.
    assert body.count("date_bin") == 1
    assert "INTO STRICT" in body and "LIMIT" not in body
    # What an event that has just come cannot change is not written.
    assert not re.search(r'"before" = ', body)


@pytest.mark.parametrize("scores", [SCORES, MANY])
@pytest.mark.parametrize("on_error", ["record", "raise"])
def test_old_and_new_events_count_alike(shop: Connection, scores: str, on_error: str) -> None:
    text = DEFINITION.replace(SCORES, scores)
    apply_and_publish(shop, text.replace("bigint}}", f"bigint}}, on_error: {on_error}}}"))
    for age in ("1 hour", "8 days", "45 days", "100 days", "40 days", "0", "-1 day", "6 days"):
        insert(shop, age)
    insert(shop, "1 minute", "NaN", 1)
    shop.execute(
        "INSERT INTO public.orders (customer_id, ordered_at, quantity) SELECT 1, now(), 3 FROM generate_series(1, 2)"
    )
    assert one(shop, "SELECT count(*) FROM rescore.verify('customer_profile')") == 0
    assert one(shop, "SELECT orders, large, lately, before, biggest FROM public.customer_profile") == (
        10, 9, 20, 2, 5,
    )  # fmt: skip


def test_new_values_are_computed_once_for_many_scores(shop: Connection) -> None:
    define(shop, DEFINITION)
    assert fast_path(shop).count('GREATEST(p."last_order__at"') > 1
    define(shop, DEFINITION.replace(SCORES, MANY))
    assert fast_path(shop).count('GREATEST(p."last_order__at"') == 1


def test_a_payload_of_what_is_never_kept_counts_as_missing(shop: Connection) -> None:
    apply_and_publish(shop, DEFINITION)
    score = "SELECT rescore.predict_payload('churn', %s)"
    missing = one(shop, score, '{"spend": 0}')
    assert (
        one(shop, score, '{"spend": "NaN", "biggest": "NaN", "last_order": "infinity"}') == missing
    )
    assert one(shop, score, '{"spend": 7, "last_order": "2020-01-01"}') != missing


def test_an_event_that_may_raise_needs_no_subtransaction(shop: Connection) -> None:
    define(shop, DEFINITION.replace("bigint}}", "bigint}, on_error: raise}"))
    assert "EXCEPTION" not in one(
        shop, "SELECT prosrc FROM pg_proc WHERE oid = %s::regproc", FUNCTION
    )


@pytest.mark.parametrize("length", ["1 hour", "7 days", "30 days"])
def test_the_first_change_is_the_least(length: str) -> None:
    def window(**given: Any) -> Window:
        made = window_of(Feature.model_validate({"from": "orders", "count": True, **given}), "e.t")
        assert made is not None
        return made

    short, long = window(window=length), window(window="90 days")
    later = window(window="30 days", offset="60 days")
    assert first_changes([long, short, later]) == [short.leaves]
    assert first_changes([]) == []
    assert default_bucket(long.recent) == long.bucket
    assert later.recent < long.recent
