"""A feature added to a live profile: writers hardly wait, and what is cut short goes on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from rescore.compiler import backfill
from rescore.tests.support import define, one, open_profile

Connection = psycopg.Connection[Any]
CUSTOMERS = 600
TABLES = """
CREATE TABLE orders (customer_id bigint, ordered_at timestamptz, amount numeric(9,2));
INSERT INTO orders SELECT k, now() - n * interval '1 day', n
FROM generate_series(1, CUSTOMERS) AS k, generate_series(1, 3) AS n;
"""
BEFORE = """
profile: {table: customers, key: {name: customer_id, type: bigint}}
events: {orders: {time: ordered_at}}
features:
  orders: {from: orders, count: true}
models: {churn: {features: [orders]}}
scores: {churn_score: {model: churn}}
"""
AFTER = BEFORE.replace(
    "models:",
    """\
  spent_7d: {from: orders, sum: amount, window: 7 days}
  rate: {from: orders, count: true, half_life: 7 days}
  amounts: {from: orders, last: 2, of: amount, one_hot: ["1.00"]}
models:""",
)


@pytest.fixture
def conn(plain_dsn: str) -> Iterator[Connection]:
    with open_profile(plain_dsn, TABLES.replace("CUSTOMERS", str(CUSTOMERS)), BEFORE) as made:
        yield made


def right(conn: Connection) -> bool:
    return conn.execute("SELECT FROM rescore.verify('customers')").fetchall() == []


def order(conn: Connection, customer: int) -> None:
    conn.execute("INSERT INTO orders VALUES (%s, now(), 5)", [customer])


def test_it_goes_on_where_it_was_cut_short(conn: Connection) -> None:
    def cut_short(done: int, expected: int) -> None:
        if done >= CUSTOMERS // 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        define(conn, AFTER, progress=cut_short)
    assert one(conn, "SELECT backfill_from FROM rescore.profiles") not in (None, "")
    order(conn, 1)
    order(conn, CUSTOMERS)
    seen: list[int] = []
    made = define(conn, AFTER, progress=lambda done, expected: seen.append(done))
    assert seen[-1] <= CUSTOMERS - CUSTOMERS // 3
    assert made.changes == [f"count {seen[-1]} customers from their events"]
    assert one(conn, "SELECT backfill_from FROM rescore.profiles") is None
    assert right(conn)
    assert one(conn, "SELECT sum(spent_7d) FROM customers") == 6 * CUSTOMERS + 10


def test_while_it_waits_for_a_row_it_holds_no_other(
    conn: Connection, plain_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backfill, "FIRST", 10)
    with (
        psycopg.connect(plain_dsn) as holder,
        psycopg.connect(plain_dsn, autocommit=True) as writer,
    ):

        def hold(done: int, expected: int) -> None:
            if done == 10:
                order(holder, 15)

        writer.execute("SET statement_timeout = '3s'")
        with ThreadPoolExecutor(1) as pool:
            applied = pool.submit(define, conn, AFTER, progress=hold)
            until_waiting(writer)
            for customer in (1, 11, 14, 16, 19, CUSTOMERS):
                order(writer, customer)
            assert not applied.done()
            holder.commit()
            applied.result(timeout=60)
    assert right(conn)


def test_a_customer_who_cannot_be_counted_is_passed_and_told(conn: Connection) -> None:
    conn.execute("INSERT INTO orders VALUES (77, now(), 0), (78, now(), 0)")
    dear = '  dear: {from: orders, count: true, where: "100 / amount > 40"}\nmodels:'
    made = define(conn, AFTER.replace("models:", dear))
    assert "customers that could not be counted anew: 2" in made.notes[-1]
    assert one(conn, "SELECT message FROM rescore.incidents") == "division by zero"
    assert one(conn, "SELECT sum(dear) FROM customers") == 2 * (CUSTOMERS - 2)
    assert one(conn, "SELECT backfill_from FROM rescore.profiles") is None
    conn.execute("DELETE FROM orders WHERE amount = 0")
    conn.execute("SELECT rescore.rebuild('customers')")
    assert right(conn)


def until_waiting(conn: Connection) -> None:
    """Wait until a session waits for a row of another, and has done so for longer than it would."""
    waiting = (
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        " AND query LIKE '%recompute%' AND clock_timestamp() - query_start > interval '0.3 s'"
    )
    for _ in range(400):
        if one(conn, waiting):
            return
        time.sleep(0.05)
    raise AssertionError("nobody waits")


def test_a_batch_is_as_long_as_a_writer_may_wait() -> None:
    aim = backfill.BATCH_SECONDS
    assert backfill._next_size(100, aim) == 100
    assert backfill._next_size(100, aim * 4) == 25
    assert backfill._next_size(100, aim / 50) == 200
    assert backfill._next_size(1, aim * 100) == 1
    assert backfill._next_size(backfill.MOST, aim / 50) == backfill.MOST


PARTITIONED = """
CREATE TABLE orders (customer_id bigint, ordered_at timestamptz, amount numeric(9,2)) PARTITION BY RANGE (ordered_at);
CREATE TABLE early PARTITION OF orders FOR VALUES FROM (MINVALUE) TO ('2024-01-01');
CREATE TABLE late PARTITION OF orders FOR VALUES FROM ('2024-01-01') TO (MAXVALUE) PARTITION BY HASH (customer_id);
CREATE TABLE late_0 PARTITION OF late FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE late_1 PARTITION OF late FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO orders SELECT k, timestamptz '2024-01-01' - n * interval '1 day', n
FROM generate_series(1, 20) AS k, generate_series(-1, 1) AS n;
"""
INDEXES = """
SELECT array_agg(i.indrelid::regclass::text ORDER BY i.indrelid::regclass::text) FROM pg_index AS i
JOIN pg_class AS c ON c.oid = i.indexrelid
WHERE i.indisvalid AND pg_get_indexdef(i.indexrelid) LIKE '%(customer_id, ordered_at)'
"""


def test_batches_grow_however_long_it_takes_to_find_who_is_next(
    conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    find, sizes = backfill._next_keys, []

    def slowly(*given: Any) -> list[Any]:
        sizes.append(given[-1])
        time.sleep(0.3)
        return find(*given)

    monkeypatch.setattr(backfill, "FIRST", 10)
    monkeypatch.setattr(backfill, "BATCH_SECONDS", 30)
    monkeypatch.setattr(backfill, "_next_keys", slowly)
    define(conn, AFTER)
    assert sizes == [10 * 2**n for n in range(len(sizes))]


def test_finding_who_is_next_reads_little_also_of_a_table_never_analyzed(plain_dsn: str) -> None:
    many = TABLES.replace("CUSTOMERS", "30000")
    with open_profile(plain_dsn, many + "CREATE INDEX ON orders (customer_id)", BEFORE) as conn:
        find = "SELECT rescore_compiled.customers__keys(%s, 100)"
        for after in range(10):  # a session's first calls may have plans of their own
            conn.execute(find, [after])
        query = "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + find
        (plan,) = one(conn, query, 20_000)
        read = plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"]
        assert read < 2_000  # a few for each key found; all there are would be some 80,000


def test_an_index_of_partitions_locks_none_of_them(plain_dsn: str) -> None:
    with psycopg.connect(plain_dsn, autocommit=True) as conn:
        conn.execute(PARTITIONED.encode())
        broken(conn, "early")
        made = define(conn, AFTER)
        locking = [i for i in made.indexes if "CONCURRENTLY" not in i]
        assert [i.split(" ON ")[1] for i in locking] == [
            '"public"."orders" ("customer_id", "ordered_at")'
        ]
        assert one(conn, INDEXES) == ["early", "late", "late_0", "late_1", "orders"]
        assert define(conn, AFTER).empty
        assert right(conn)


def test_an_index_cut_short_is_made_anew(conn: Connection) -> None:
    broken(conn, "orders")
    define(conn, AFTER)
    assert one(conn, INDEXES) == ["orders"]
    assert define(conn, AFTER).empty


def broken(conn: Connection, table: str) -> None:
    """Leave an invalid index of the name `apply` would give it, as one that is killed does."""
    name = f"{table}_customer_id_ordered_at_rescore_idx"
    made = f"CREATE UNIQUE INDEX CONCURRENTLY {name} ON {table} ((1))"
    with pytest.raises(psycopg.errors.UniqueViolation):
        conn.execute(made.encode())
