"""Queued events: counted soon after, exactly once, whoever writes what in which order."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from psycopg import IsolationLevel

from rescore.errors import Busy, UnknownProfile, WrongArgument
from rescore.tests.queue_shop import DEFINITION, SHOP, Connection, fill, right, use, waiting
from rescore.tests.support import define, one, open_profile
from rescore.trainer import operations as ops
from rescore.trainer import run as runner
from rescore.trainer.fold import Folding, fold, folding
from rescore.trainer.sweep import Terms

REFUSED = """
CREATE FUNCTION refused() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE SQLSTATE 'RS042'; END $$;
CREATE TRIGGER refused BEFORE UPDATE ON customers FOR EACH ROW EXECUTE FUNCTION refused();
"""


@pytest.fixture
def conn(plain_dsn: str) -> Iterator[Connection]:
    with open_profile(plain_dsn, SHOP, DEFINITION) as made:
        yield made


def test_an_event_waits_and_who_asks_is_told(conn: Connection) -> None:
    use(conn, 1, 1, 2)
    conn.execute("INSERT INTO orders VALUES (1, 5)")
    assert one(conn, "SELECT used, orders FROM customers") == (0, 1)
    assert waiting(conn) == 2
    assert right(conn)
    live = one(conn, "SELECT rescore.predict_key('churn', 1)")
    assert live != one(conn, "SELECT churn_score FROM customers")
    conn.execute("CALL rescore.fold('customers')")
    assert one(conn, "SELECT used, spend, churn_score FROM customers WHERE customer_id = 1") == (
        2,
        10,
        live,
    )
    assert one(conn, "SELECT used FROM customers WHERE customer_id = 2") == 1
    assert waiting(conn) == 0
    assert right(conn)


def test_what_a_fold_fails_on_is_told(conn: Connection) -> None:
    use(conn, 1)
    fold_them = "SELECT rescore_compiled.customers__fold(array_agg(id)) FROM rescore.queue"
    assert one(conn, fold_them) == 1
    use(conn, 1)
    conn.execute(REFUSED)
    with pytest.raises(psycopg.Error) as caught:
        conn.execute(fold_them.encode())
    assert caught.value.sqlstate == "RS042"


def test_what_was_not_queued_is_seen_by_verify(conn: Connection) -> None:
    use(conn, 1, 2)
    conn.execute("DELETE FROM rescore.queue WHERE key = '1'")
    found = conn.execute("SELECT key, feature FROM rescore.verify('customers')").fetchall()
    assert found == [("1", "profile row")]
    assert one(conn, "SELECT rescore.rebuild('customers')") == 2
    assert waiting(conn) == 0
    assert right(conn)


def test_every_way_an_event_can_change(conn: Connection) -> None:
    with conn.cursor().copy("COPY usage (customer_id, amount) FROM STDIN") as copy:
        for n in range(60):
            copy.write_row((n % 6, n))
    conn.execute("CALL rescore.fold('customers', 4)")
    conn.execute("UPDATE usage SET customer_id = 9, amount = amount + 1 WHERE id % 5 = 0")
    conn.execute("DELETE FROM usage WHERE id % 7 = 0")
    conn.execute(
        """MERGE INTO usage AS u USING (VALUES (1, 3), (2, 4), (999, 2)) AS v (id, who) ON u.id = v.id
           WHEN MATCHED AND u.id = 1 THEN DELETE WHEN MATCHED THEN UPDATE SET customer_id = v.who
           WHEN NOT MATCHED THEN INSERT (customer_id, amount) VALUES (v.who, 7)"""
    )
    conn.execute("CALL rescore.fold('customers')")
    assert one(conn, "SELECT sum(used) FROM customers") == one(conn, "SELECT count(*) FROM usage")
    assert right(conn)
    conn.execute("TRUNCATE usage")
    assert one(conn, "SELECT everybody FROM rescore.queue_lag")
    use(conn, 1)
    conn.execute("CALL rescore.fold('customers', 2)")
    assert one(conn, "SELECT sum(used), sum(spend) FROM customers") == (1, 5)
    assert right(conn)


def test_a_request_for_everybody_takes_the_place_of_others_and_of_nothing_else(
    conn: Connection,
) -> None:
    use(conn, 1, 2, 3, 4)
    conn.execute("TRUNCATE usage")
    conn.execute("TRUNCATE usage")
    left = "SELECT count(key), count(*) FROM rescore.queue"
    assert one(conn, left) == (4, 6)
    one(conn, "SELECT rows FROM rescore._fold_step('customers', 1)")
    assert one(conn, left) == (3, 4)
    conn.execute("TRUNCATE customers")
    assert one(conn, left) == (0, 1)
    conn.execute("CALL rescore.fold('customers')")
    assert one(conn, left) == (0, 0)


def test_the_oldest_are_folded_first(conn: Connection) -> None:
    for n in range(1, 6):
        use(conn, n)
    one(conn, "SELECT rows FROM rescore._fold_step('customers', 2)")
    assert one(conn, "SELECT array_agg(key ORDER BY id) FROM rescore.queue") == ["3", "4", "5"]
    # How many wait is told by the numbers from there on.
    floor = (
        "SELECT min(q.id) - f.floor FROM rescore.queue AS q, rescore.folds AS f GROUP BY f.floor"
    )
    assert one(conn, floor) == 1


def test_what_waits_stays_where_the_row_is_replaced(conn: Connection) -> None:
    """Deleted and inserted by one statement: the row is there when the triggers of the deletion run."""
    use(conn, 1)
    conn.execute("CALL rescore.fold('customers')")
    use(conn, 1)
    conn.execute(
        """WITH gone AS (DELETE FROM customers WHERE customer_id = 1 RETURNING customer_id)
           INSERT INTO customers (customer_id) SELECT customer_id FROM gone"""
    )
    assert waiting(conn) == 1
    assert one(conn, "SELECT used FROM customers") == 2
    conn.execute("CALL rescore.fold('customers')")
    assert right(conn)


def test_what_comes_while_a_rebuild_counts_is_left_to_the_next_fold(
    conn: Connection, plain_dsn: str
) -> None:
    use(conn, 1)
    conn.execute("CALL rescore.fold('customers')")
    waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    with (
        psycopg.connect(plain_dsn, autocommit=True) as rebuilder,
        ThreadPoolExecutor(1) as pool,
        psycopg.connect(plain_dsn) as holder,
    ):
        holder.execute("SELECT 1 FROM customers FOR UPDATE")
        rebuilding = pool.submit(rebuilder.execute, b"SELECT rescore.rebuild('customers')")
        while not one(conn, waits):
            assert not rebuilding.done()
        use(conn, 1)
        conn.execute("INSERT INTO rescore.queue (profile, came) VALUES ('customers', false)")
        holder.rollback()
        rebuilding.result(timeout=30)
    assert one(conn, "SELECT count(key), count(*) FROM rescore.queue") == (1, 2)
    conn.execute("CALL rescore.fold('customers')")
    assert right(conn)


def test_what_waits_for_a_key_that_is_changed_is_taken_along(conn: Connection) -> None:
    use(conn, 1)
    conn.execute("CALL rescore.fold('customers')")
    use(conn, 1, 2)
    conn.execute("UPDATE customers SET customer_id = 3 WHERE customer_id = 1")
    assert one(conn, "SELECT array_agg(key) FROM rescore.queue") == ["2"]
    conn.execute("CALL rescore.fold('customers')")
    assert one(conn, "SELECT array_agg(customer_id ORDER BY customer_id) FROM customers") == [2, 3]
    assert right(conn)


def test_an_update_of_other_columns_queues_nothing(conn: Connection) -> None:
    conn.execute("ALTER TABLE usage ADD COLUMN note text")
    use(conn, 1)
    conn.execute("CALL rescore.fold('customers')")
    conn.execute("UPDATE usage SET note = 'x'")
    assert waiting(conn) == 0


def test_a_customer_who_left_is_not_brought_back_by_what_waited(conn: Connection) -> None:
    use(conn, 1, 2)
    conn.execute("CALL rescore.fold('customers')")
    use(conn, 1, 2)
    conn.execute("DELETE FROM customers WHERE customer_id = 1")
    conn.execute("DELETE FROM usage WHERE id = 3")  # one of customer 1, who is gone
    conn.execute("CALL rescore.fold('customers')")
    assert one(conn, "SELECT array_agg(customer_id), sum(used) FROM customers") == ([2], 2)
    use(conn, 1)
    conn.execute("CALL rescore.fold('customers')")
    assert one(conn, "SELECT used FROM customers WHERE customer_id = 1") == 2
    assert right(conn)


def test_a_full_queue_counts_at_commit_and_refuses_nothing(conn: Connection) -> None:
    for n in range(201):
        use(conn, n)
    assert waiting(conn) == 200  # the one too many was counted at once
    with conn.transaction():
        for n in (7, 300, 7, 5, 400):
            use(conn, n)
        assert one(conn, "SELECT count(*) FROM customers") == 1
    assert waiting(conn) == 200
    query = "SELECT customer_id, used FROM customers ORDER BY 1"
    assert conn.execute(query.encode()).fetchall() == [(5, 2), (7, 3), (200, 1), (300, 1), (400, 1)]
    assert right(conn)
    conn.execute("CALL rescore.fold('customers')")
    use(conn, 1)
    assert waiting(conn) == 1
    assert right(conn)


def test_a_fold_that_fails_leaves_everything_where_it_was(conn: Connection) -> None:
    use(conn, 1, 2, 3)
    with conn.transaction(force_rollback=True):
        one(conn, "SELECT rows FROM rescore._fold_step('customers', 10)")
        assert waiting(conn) == 0
    assert waiting(conn) == 3
    conn.execute("ALTER TABLE usage RENAME TO lost")
    with pytest.raises(psycopg.errors.UndefinedTable):
        conn.execute("CALL rescore.fold('customers')")
    conn.execute("ALTER TABLE lost RENAME TO usage")
    conn.execute("DELETE FROM rescore.incident_log")
    conn.execute("CALL rescore.fold('customers')")
    assert right(conn)


def test_what_a_full_queue_counts_at_commit_is_counted_in_the_order_of_the_keys(
    conn: Connection,
) -> None:
    """By one fold, wherever in the table the rows of the queue came to lie."""
    fill(conn)
    with conn.transaction():
        use(conn, 9, 8)
        use(conn, 7)
        flagged = "SELECT array_agg(key ORDER BY id) FROM rescore.queue WHERE at_commit"
        assert one(conn, flagged) in (["8", "7"], ["9", "7"])
    assert waiting(conn) == 200
    assert right(conn)


def test_who_counts_at_commit_counts_only_what_was_too_many_of_their_own(
    conn: Connection, plain_dsn: str
) -> None:
    use(conn, *range(1000, 1199))
    with psycopg.connect(plain_dsn) as full:
        use(full, 7)  # there was room for it
        use(full, 9)
        one(conn, "SELECT rows FROM rescore._fold_step('customers', 100)")
        use(conn, 8)
        full.commit()
    keys = "SELECT array_agg(key ORDER BY key) FROM rescore.queue WHERE key::int < 100"
    assert one(conn, keys) == ["7", "8"]
    assert one(conn, "SELECT used FROM customers WHERE customer_id = 9") == 1
    assert right(conn)


def transactions(dsn: str, seed: int, level: IsolationLevel) -> tuple[int, int]:
    """Write several statements a transaction over a hot set, in random order; done and refused."""
    rng, done, refused = random.Random(seed), 0, 0
    with psycopg.connect(dsn, autocommit=True) as mine:
        mine.isolation_level = level
        for _ in range(40):
            try:
                with mine.transaction():
                    for _ in range(4):
                        use(mine, *(rng.randint(1, 12) for _ in range(rng.randint(1, 3))))
                    mine.execute(
                        "UPDATE usage SET customer_id = %s WHERE id = %s",
                        [rng.randint(1, 12), 1 + rng.randint(0, 9) * 8 + seed],
                    )
                done += 1
            except psycopg.errors.SerializationFailure:
                refused += 1
    return done, refused


LEVELS = [
    IsolationLevel.READ_COMMITTED,
    IsolationLevel.REPEATABLE_READ,
    IsolationLevel.SERIALIZABLE,
]


@pytest.mark.parametrize("level", LEVELS, ids=["committed", "repeatable", "serializable"])
def test_transactions_over_hot_customers_never_deadlock(
    conn: Connection, plain_dsn: str, level: IsolationLevel
) -> None:
    stop = threading.Event()

    def folds() -> int:
        folded = 0
        with psycopg.connect(plain_dsn, autocommit=True) as mine:
            while not stop.is_set():
                folded += fold(mine, "customers", batch=17).rows
        return folded

    with ThreadPoolExecutor(9) as pool:
        folding_now = [pool.submit(folds) for _ in range(2)]
        writing = [pool.submit(transactions, plain_dsn, n, level) for n in range(6)]
        done = [w.result(timeout=120) for w in writing]
        stop.set()
        folded = sum(f.result(timeout=60) for f in folding_now)
    assert sum(d for d, _ in done) > 50
    assert folded > 50
    conn.execute("CALL rescore.fold('customers')")
    assert waiting(conn) == 0
    total = one(conn, "SELECT count(*) FROM usage WHERE customer_id IS NOT NULL")
    assert one(conn, "SELECT sum(used) FROM customers") == total
    assert right(conn)


def test_beside_a_table_that_counts_at_once(conn: Connection, plain_dsn: str) -> None:
    """Both write the same rows of the profile, each statement in any order of the keys."""

    def orders(seed: int) -> None:
        rng = random.Random(seed)
        with psycopg.connect(plain_dsn, autocommit=True) as mine:
            for _ in range(60):
                keys = [rng.randint(1, 30) for _ in range(5)]
                mine.execute(
                    "INSERT INTO orders SELECT k, 1 FROM unnest(%s::bigint[]) AS k", [keys]
                )
                use(mine, *keys[:2])
                if rng.random() < 0.3:
                    mine.execute("DELETE FROM orders WHERE customer_id = %s", [keys[0]])

    with ThreadPoolExecutor(5) as pool:
        writing = [pool.submit(orders, n) for n in range(4)]
        while not all(w.done() for w in writing):
            conn.execute("CALL rescore.fold('customers', 10)")
        for w in writing:
            w.result()
    conn.execute("CALL rescore.fold('customers')")
    assert right(conn)


def test_a_fold_gives_way_to_who_holds_a_row(
    conn: Connection, plain_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(conn, 1, 2)
    conn.execute("CALL rescore.fold('customers')")
    use(conn, 1, 2)
    with psycopg.connect(plain_dsn) as other:
        other.execute("UPDATE customers SET used = used WHERE customer_id = 1")
        missed = "SELECT missed, more, rows FROM rescore._fold_step('customers', 10)"
        assert one(conn, missed) == (True, True, 0)
        monkeypatch.setattr("rescore.trainer.fold.MOST_MISSES", 2)
        with pytest.raises(Busy, match="locked"):
            ops.fold(conn, "customers", 10)
    assert ops.fold(conn, "customers", 10).rows == 2
    assert right(conn)


def test_the_runner_folds_also_between_the_batches_of_a_sweep(
    conn: Connection, plain_dsn: str
) -> None:
    use(conn, *range(100))
    told: list[dict[str, Any]] = []
    job = folding(plain_dsn, "10 milliseconds", ())
    runner.run(
        plain_dsn,
        [job, Folding(1.0, ("other",))],
        say=told.append,
        stop=threading.Event(),
        once=True,
    )
    assert [(facts["job"], facts["rows"]) for facts in told] == [("fold", 100)]
    assert right(conn)
    use(conn, *range(30))
    time.sleep(0.02)
    sweep = runner.Sweeping(1.0, (), Terms(batch=20), between=job.when_due)
    runner.run(plain_dsn, [sweep], say=told.append, stop=threading.Event(), once=True)
    assert waiting(conn) == 0
    assert right(conn)


def test_lag_is_seen_in_health(conn: Connection) -> None:
    query = "SELECT status, detail FROM rescore.health WHERE \"check\" = 'queue'"
    assert one(conn, query) == ("ok", "nothing waits")
    use(conn, 1, 2)
    status, detail = one(conn, query)
    assert status == "ok"
    assert detail.startswith("customers: 2 rows wait since ")
    conn.execute("UPDATE rescore.queue SET created_at = now() - interval '2 minutes'")
    assert one(conn, query)[0] == "warning"
    conn.execute("UPDATE rescore.queue SET created_at = now() - interval '2 hours'")
    assert one(conn, query)[0] == "error"


def test_a_table_may_change_its_mode_while_events_wait(conn: Connection) -> None:
    use(conn, 1, 2)
    define(conn, DEFINITION.replace(", mode: queued, queue: {limit: 200}", ""))
    use(conn, 2, 3)
    assert one(conn, "SELECT used FROM customers WHERE customer_id = 3") == 1
    conn.execute("CALL rescore.fold('customers')")
    assert one(conn, "SELECT sum(used) FROM customers") == 4
    define(conn, DEFINITION)
    use(conn, 3)
    assert waiting(conn) == 1
    conn.execute("CALL rescore.fold('customers')")
    assert right(conn)


def test_wrong_arguments(conn: Connection, plain_dsn: str) -> None:
    with pytest.raises(UnknownProfile):
        folding(plain_dsn, "1s", ("nobody",))
    with pytest.raises(UnknownProfile, match="customer"):
        ops.fold(conn, "custmers", 10)
    with pytest.raises(WrongArgument, match="batch 0"):
        ops.fold(conn, "customers", 0)
