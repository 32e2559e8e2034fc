"""Rows of the profile whose key changes, and what all other updates do not pay for it."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from rescore.tests.support import define, one, publish

Connection = psycopg.Connection[Any]

DEFINITION = """
profile: {table: customers, key: {name: customer_id, type: bigint}}
events: {orders: {time: ordered_at}}
features:
  orders: {from: orders, count: true}
  spend: {from: orders, sum: amount}
models: {churn: {features: all}}
scores: {churn_score: {model: churn}}
"""
WITH_PLAIN = DEFINITION.replace("models:", "  age: {column: age}\nmodels:")
WITHOUT_TIME = DEFINITION.replace("{time: ordered_at}", "{}")
WITH_BANDS = DEFINITION.replace(
    "{model: churn}}\n", "{model: churn, bands: {low: 0, high: 0.5}}}\n"
)
# Bits of pg_trigger.tgtype.
ROW, BEFORE, UPDATE = 1, 2, 16


@pytest.fixture
def shop(plain_db: Connection) -> Connection:
    plain_db.execute(
        "CREATE TABLE orders (customer_id bigint, ordered_at timestamptz DEFAULT now(), amount numeric(10,2));"
        "CREATE INDEX ON orders (customer_id);"
        "CREATE TABLE customers (customer_id bigint PRIMARY KEY, age int)"
    )
    plain_db.commit()
    plain_db.autocommit = True
    return plain_db


def locks_first(conn: Connection) -> bool:
    """Whether an update of a row locks it before it is updated."""
    return bool(
        one(
            conn,
            "SELECT count(*) FROM pg_trigger WHERE tgrelid = 'customers'::regclass AND tgtype & %s = %s",
            ROW | BEFORE | UPDATE,
            ROW | BEFORE | UPDATE,
        )
    )


def right(conn: Connection) -> bool:
    return not one(conn, "SELECT count(*) FROM rescore.verify('customers')")


@pytest.mark.parametrize(
    ("text", "expected"),
    [(DEFINITION, False), (WITH_PLAIN, True), (WITH_BANDS, True), (WITHOUT_TIME, True)],
)
def test_rows_are_locked_first_only_where_something_of_them_is_watched(
    shop: Connection, text: str, expected: bool
) -> None:
    define(shop, text)
    assert locks_first(shop) is expected


def test_it_follows_the_definition(shop: Connection) -> None:
    for text, expected in ((DEFINITION, False), (WITH_PLAIN, True), (DEFINITION, False)):
        define(shop, text)
        assert locks_first(shop) is expected
        shop.execute("INSERT INTO orders (customer_id, amount) VALUES (1, 5), (7, 1)")
        shop.execute("UPDATE customers SET customer_id = 3 WHERE customer_id = 1")
        assert right(shop)
        shop.execute("DELETE FROM customers")
        shop.execute("TRUNCATE orders")


@pytest.mark.parametrize("text", [DEFINITION, WITH_PLAIN])
def test_the_row_counts_the_events_of_its_new_key(shop: Connection, text: str) -> None:
    define(shop, text)
    publish(shop)
    shop.execute("INSERT INTO orders (customer_id, amount) VALUES (1, 5), (1, 6), (2, 1)")
    shop.execute("DELETE FROM customers WHERE customer_id = 2")
    shop.execute("UPDATE customers SET customer_id = 2")
    row = shop.execute("SELECT customer_id, orders, spend FROM customers").fetchall()
    assert row == [(2, 1, 1)]
    assert right(shop)
    assert one(shop, "SELECT churn_score = rescore.predict('churn', c) FROM customers AS c")
    shop.execute("INSERT INTO orders (customer_id, amount) VALUES (1, 5)")
    assert one(shop, "SELECT orders FROM customers WHERE customer_id = 1") == 3


@pytest.mark.parametrize("text", [DEFINITION, WITH_PLAIN, WITHOUT_TIME])
def test_events_that_follow_by_cascade_are_counted_once(shop: Connection, text: str) -> None:
    define(shop, text)
    shop.execute(
        "ALTER TABLE orders ADD FOREIGN KEY (customer_id) REFERENCES customers ON UPDATE CASCADE"
    )
    shop.execute("INSERT INTO customers (customer_id) VALUES (1)")
    shop.execute("INSERT INTO orders (customer_id, amount) VALUES (1, 5), (1, 6)")
    shop.execute("UPDATE customers SET customer_id = 9")
    assert shop.execute("SELECT customer_id, orders, spend FROM customers").fetchall() == [
        (9, 2, 11)
    ]
    assert right(shop)


def test_a_future_event_taken_back_brings_nobody_back(shop: Connection) -> None:
    define(shop, DEFINITION)
    shop.execute("INSERT INTO orders VALUES (1, now(), 5), (1, now() + interval '1 day', 6)")
    shop.execute("DELETE FROM customers")
    shop.execute("DELETE FROM orders WHERE amount = 6")
    assert one(shop, "SELECT count(*) FROM customers") == 0
    assert right(shop)


def test_the_version_that_serves_the_new_key_scores_it(shop: Connection) -> None:
    define(shop, DEFINITION)
    shop.execute("INSERT INTO customers (customer_id) SELECT generate_series(1, 20)")
    publish(shop)
    challenger = publish(shop, seed=8)
    shop.execute("SELECT rescore.rollback('churn')")
    shop.execute("SELECT rescore.challenge('churn', %s, 0.5)", [challenger])
    shop.execute("CALL rescore.sweep('customers')")
    shop.execute("UPDATE customers SET customer_id = customer_id + 1000")
    wrong = """SELECT count(*) FROM customers AS c
        WHERE churn_score_version IS DISTINCT FROM rescore_compiled.churn_served(customer_id::text)
           OR churn_score IS DISTINCT FROM rescore.predict('churn', c)"""
    assert one(shop, wrong) == 0
    assert one(shop, "SELECT count(DISTINCT churn_score_version) FROM customers") == 2


def test_a_row_that_another_trigger_deletes_does_not_come_back(shop: Connection) -> None:
    define(shop, DEFINITION)
    shop.execute("INSERT INTO orders (customer_id, amount) VALUES (1, 5)")
    shop.execute("""CREATE FUNCTION gone() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN DELETE FROM customers WHERE customer_id = NEW.customer_id; RETURN NULL; END';
        CREATE TRIGGER a_gone AFTER UPDATE OF customer_id ON customers FOR EACH ROW EXECUTE FUNCTION gone()""")
    shop.execute("UPDATE customers SET customer_id = 2")
    assert one(shop, "SELECT count(*) FROM customers") == 0


def test_a_score_that_fails_leaves_the_row_stale_and_recorded(shop: Connection) -> None:
    define(shop, DEFINITION)
    publish(shop)
    shop.execute("INSERT INTO orders (customer_id, amount) VALUES (1, 5)")
    shop.execute("""CREATE OR REPLACE FUNCTION rescore_compiled.churn(orders bigint, spend numeric, rescore_clock timestamptz)
        RETURNS double precision LANGUAGE sql STABLE AS 'SELECT (1 / (orders - orders))::float8'""")
    shop.execute("UPDATE customers SET customer_id = 2")
    row = shop.execute("SELECT customer_id, orders, churn_score_at FROM customers").fetchone()
    assert row == (2, 0, None)
    assert one(shop, "SELECT count(*) FROM rescore.incidents") == 1
