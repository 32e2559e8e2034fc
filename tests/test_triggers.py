"""What triggers do at the edges: failures, cascades, upserts, links, rows that come back."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from rescore.tests.support import define, one, open_profile

Connection = psycopg.Connection[Any]

SHOP = """
CREATE TABLE customers (customer_id bigint PRIMARY KEY, plan text);
CREATE TABLE orders (order_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id bigint REFERENCES customers ON DELETE CASCADE ON UPDATE CASCADE, ordered_at timestamptz DEFAULT now(), amount numeric(10,2));
CREATE INDEX ON orders (customer_id);
CREATE TABLE visits (customer_id bigint, at timestamptz DEFAULT now());
CREATE INDEX ON visits (customer_id);
"""
DEFINITION = """
profile: {table: customers, key: {name: customer_id, type: bigint}}
events: {orders: {time: ordered_at}, visits: {time: at}}
features:
  orders: {from: orders, count: true}
  spend: {from: orders, sum: amount}
  biggest: {from: orders, max: amount}
  visits: {from: visits, count: true}
  plan: {column: plan, one_hot: [basic, pro]}
models: {churn: {features: all}}
scores: {churn_score: {model: churn}}
"""


@pytest.fixture
def conn(any_dsn: str) -> Any:
    with open_profile(any_dsn, SHOP, DEFINITION) as made:
        made.execute("INSERT INTO customers SELECT i, 'basic' FROM generate_series(1, 5) AS i")
        made.execute(
            "INSERT INTO orders (customer_id, amount) SELECT 1 + i % 5, i FROM generate_series(1, 50) AS i"
        )
        yield made


def right(conn: Connection) -> bool:
    return bool(one(conn, "SELECT count(*) = 0 FROM rescore.verify('customers')"))


def test_a_deleted_customer_whose_events_cascade_is_gone(conn: Connection) -> None:
    conn.execute("DELETE FROM customers WHERE customer_id IN (1, 2)")
    assert one(conn, "SELECT count(*), min(customer_id) FROM customers") == (3, 3)
    assert one(conn, "SELECT count(*) FROM rescore.removed_keys") == 0
    assert right(conn)


def test_a_changed_key_takes_its_events_along(conn: Connection) -> None:
    conn.execute("UPDATE customers SET customer_id = 77 WHERE customer_id = 1")
    assert one(conn, "SELECT orders FROM customers WHERE customer_id = 77") == 10
    assert right(conn)


def test_a_row_deleted_beside_its_events_comes_back_whole(conn: Connection) -> None:
    conn.execute("INSERT INTO visits VALUES (9), (9), (9)")
    conn.execute("DELETE FROM customers WHERE customer_id = 9")
    assert right(conn)
    assert one(conn, "SELECT rescore.rebuild('customers')") == 0
    conn.execute("INSERT INTO visits VALUES (9)")
    assert one(conn, "SELECT visits FROM customers WHERE customer_id = 9") == 4
    assert right(conn)


def test_one_statement_that_makes_the_customer_and_the_events(conn: Connection) -> None:
    conn.execute("""WITH c AS (INSERT INTO customers VALUES (8, 'pro') RETURNING customer_id)
                    , v AS (INSERT INTO visits SELECT customer_id FROM c)
                    INSERT INTO orders (customer_id, amount) SELECT customer_id, 5 FROM c""")
    assert one(conn, "SELECT orders, visits FROM customers WHERE customer_id = 8") == (1, 1)
    conn.execute(
        """WITH v AS (INSERT INTO visits VALUES (10), (10)) INSERT INTO visits VALUES (10), (11)"""
    )
    assert right(conn)


def test_upserts_of_events_and_of_profile_rows(conn: Connection) -> None:
    conn.execute("ALTER TABLE visits ADD COLUMN id int UNIQUE")
    for _ in range(3):
        conn.execute(
            "INSERT INTO visits (customer_id, id) VALUES (1, 1), (2, 2) ON CONFLICT (id) DO NOTHING"
        )
        conn.execute(
            "INSERT INTO visits (customer_id, id) VALUES (3, 1) ON CONFLICT (id) DO UPDATE SET customer_id = excluded.customer_id"
        )
        conn.execute(
            "INSERT INTO customers VALUES (1, 'pro') ON CONFLICT (customer_id) DO UPDATE SET plan = excluded.plan"
        )
        assert right(conn)
    assert one(conn, "SELECT visits, plan FROM customers WHERE customer_id = 1") == (0, "pro")


def test_merge(conn: Connection) -> None:
    conn.execute("""MERGE INTO orders AS o USING (VALUES (1, 3), (2, 4), (999, 2)) AS v (id, customer) ON o.order_id = v.id
                    WHEN MATCHED AND o.order_id = 1 THEN DELETE
                    WHEN MATCHED THEN UPDATE SET customer_id = v.customer, amount = 1000
                    WHEN NOT MATCHED THEN INSERT (customer_id, amount) VALUES (v.customer, 7)""")
    assert right(conn)


def test_an_irrelevant_update_touches_no_profile_row(conn: Connection) -> None:
    conn.execute("ALTER TABLE orders ADD COLUMN note text")
    before = conn.execute("SELECT customer_id, xmin::text FROM customers ORDER BY 1").fetchall()
    conn.execute("UPDATE orders SET note = 'x'")
    assert (
        conn.execute("SELECT customer_id, xmin::text FROM customers ORDER BY 1").fetchall()
        == before
    )


def test_null_keys_and_rolled_back_events_leave_nothing(conn: Connection) -> None:
    before = conn.execute("SELECT * FROM customers ORDER BY 1").fetchall()
    conn.execute("INSERT INTO visits VALUES (NULL), (NULL)")
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        conn.execute("INSERT INTO orders (customer_id, amount) VALUES (1, 5), (12345, 5)")
    with conn.transaction(force_rollback=True):
        conn.execute("INSERT INTO orders (customer_id, amount) VALUES (1, 5)")
    assert conn.execute("SELECT * FROM customers ORDER BY 1").fetchall() == before


def test_a_failing_score_keeps_event_and_counters_and_says_so_once(conn: Connection) -> None:
    conn.execute("ALTER FUNCTION rescore_compiled.churn_version() RENAME TO gone")
    for _ in range(3):
        conn.execute("INSERT INTO orders (customer_id, amount) VALUES (1, 5)")
        conn.execute("INSERT INTO visits VALUES (1), (2)")
    assert one(
        conn, "SELECT orders, visits, churn_score_at FROM customers WHERE customer_id = 1"
    ) == (13, 3, None)
    assert one(conn, "SELECT count(*) FROM rescore.incidents") == 2
    conn.execute("ALTER FUNCTION rescore_compiled.gone() RENAME TO churn_version")
    conn.execute("CALL rescore.sweep('customers')")
    assert one(conn, "SELECT count(*) FROM customers WHERE churn_score_at IS NULL") == 0
    assert right(conn)


def test_on_error_raise_refuses_the_event(conn: Connection) -> None:
    define(conn, DEFINITION.replace("type: bigint}}", "type: bigint}, on_error: raise}"))
    conn.execute("ALTER FUNCTION rescore_compiled.churn_version() RENAME TO gone")
    with pytest.raises(psycopg.errors.UndefinedFunction):
        conn.execute("INSERT INTO orders (customer_id, amount) VALUES (1, 5)")
    assert one(conn, "SELECT orders FROM customers WHERE customer_id = 1") == 10


def test_direct_updates_of_inputs_rescore(conn: Connection) -> None:
    before = one(conn, "SELECT churn_score FROM customers WHERE customer_id = 1")
    conn.execute("UPDATE customers SET plan = 'pro'")
    assert one(conn, "SELECT churn_score FROM customers WHERE customer_id = 1") != before
    assert (
        one(
            conn,
            "SELECT count(*) FROM customers AS p WHERE churn_score <> rescore.predict('churn', p)",
        )
        == 0
    )


def test_rebuild_mends_what_was_broken_by_hand(conn: Connection) -> None:
    conn.execute("UPDATE customers SET orders = 99, biggest = -1 WHERE customer_id = 2")
    found = conn.execute(
        "SELECT key, feature, stored, expected FROM rescore.verify('customers')"
    ).fetchall()
    assert [row[:2] for row in found] == [("2", "biggest"), ("2", "orders")]
    assert found[1][2:] == ("99", "10")
    assert one(conn, "SELECT rescore.rebuild('customers')") == 1
    assert right(conn)


@pytest.mark.parametrize("any_dsn", ["python"], indirect=True)
def test_row_level_security_errs_rather_than_counts_nothing(conn: Connection) -> None:
    conn.execute("CREATE ROLE plain_owner NOSUPERUSER")
    try:
        conn.execute("GRANT ALL ON ALL TABLES IN SCHEMA public, rescore TO plain_owner")
        conn.execute("GRANT USAGE ON SCHEMA rescore, rescore_compiled TO plain_owner")
        conn.execute(
            "ALTER FUNCTION rescore_compiled.customers__visits_insert() OWNER TO plain_owner"
        )
        conn.execute("ALTER TABLE customers ENABLE ROW LEVEL SECURITY")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
            conn.execute("INSERT INTO visits VALUES (1)")
    finally:
        conn.execute(
            "ALTER FUNCTION rescore_compiled.customers__visits_insert() OWNER TO CURRENT_USER"
        )
        conn.execute("DROP OWNED BY plain_owner")
        conn.execute("DROP ROLE plain_owner")
