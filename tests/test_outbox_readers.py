"""Reading the outbox: every row at least once, in order, whatever commits late, crashes or competes."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from rescore.tests.outbox_shop import Connection, ack, drain, open_shop, order, read
from rescore.tests.support import one

EVERY = "outbox: {moved_by: 0}"


@pytest.fixture
def dsn(plain_dsn: str) -> str:
    """A database without PL/Python: no test here needs it, and publishing is quicker."""
    return plain_dsn


@pytest.fixture
def shop(dsn: str) -> Iterator[Connection]:
    with psycopg.connect(dsn, autocommit=True) as conn:
        open_shop(conn, EVERY)
        conn.execute("SELECT rescore.outbox_register('crm', 'beginning')")
        yield conn


def assert_chains(rows: list[Any]) -> None:
    """What is told of a customer begins with no score, and each report where the last one ended."""
    told: dict[str, float | None] = {}
    for _, key, old, new in rows:
        assert told.get(key) == old
        told[key] = new


def test_rows_come_again_until_they_are_acknowledged(shop: Connection) -> None:
    order(shop, 1, times=5)
    first = read(shop, batch=2)
    assert [row[0] for row in first] == [1, 2]
    assert read(shop, batch=3)[:2] == first
    assert ack(shop, 1)
    assert [row[0] for row in read(shop, batch=2)] == [2, 3]
    assert not ack(shop, 1)
    assert ack(shop, 3)
    assert [row[0] for row in drain(shop, batch=1)] == [4, 5]
    assert read(shop) == []


def test_what_commits_late_is_not_skipped_and_holds_nobody_up(shop: Connection, dsn: str) -> None:
    with psycopg.connect(dsn) as slow, psycopg.connect(dsn) as slower:
        slower.execute("SELECT pg_current_xact_id()")
        order(slow, 1)
        order(shop, 2, times=2)
        assert [row[1] for row in drain(shop)] == ["2", "2"]
        order(slower, 3)
        order(shop, 2)
        assert [row[1] for row in drain(shop)] == ["2"]
        slow.commit()
        order(shop, 2)
        assert [row[1] for row in read(shop, batch=1)] == ["1"]
        slower.commit()
        assert [row[1] for row in drain(shop)] == ["1", "2", "3"]


def test_an_older_transaction_that_waits_for_a_younger_one_comes_after_it(
    shop: Connection, dsn: str
) -> None:
    with psycopg.connect(dsn) as older:
        older.execute("SELECT pg_current_xact_id()")
        order(shop, 1)
        order(older, 1)
        older.commit()
    rows = drain(shop, batch=1)
    assert [row[0] for row in rows] == [1, 2]
    assert_chains(rows)


def test_what_a_reader_writes_itself_comes_back(shop: Connection) -> None:
    order(shop, 1)
    with shop.transaction():
        shop.execute("SELECT pg_current_xact_id()")
        shop.execute("INSERT INTO orders (customer_id) VALUES (2)")
        seen = [row[1] for row in read(shop)]
        order(shop, 3)
        ack(shop, 1)
    seen += [row[1] for row in drain(shop)]
    assert sorted(seen) == ["1", "2", "3"]


def test_what_a_reader_writes_itself_is_still_to_come_however_old_the_reader_is(
    shop: Connection, dsn: str
) -> None:
    """Its own transaction is older than all that it sees as running."""
    with psycopg.connect(dsn) as reader:
        order(reader, 1)
        order(shop, 2)
        assert [row[1] for row in read(reader)] == ["2"]
        reader.commit()
    assert ack(shop, read(shop)[-1][0])
    assert [row[1] for row in drain(shop)] == ["1"]


def test_order_and_completeness_under_load(shop: Connection, dsn: str) -> None:
    """Writers whose transactions overlap, and readers at every pace, meanwhile."""
    readers = {"crm": 7, "mail": 100, "bi": 1000}
    for name in readers:
        shop.execute("SELECT rescore.outbox_register(%s, 'beginning')", [name])
    done = threading.Event()
    with ThreadPoolExecutor(9) as pool:
        writers = [pool.submit(_write, dsn, seed) for seed in range(6)]
        reading = [pool.submit(_follow, dsn, name, b, done) for name, b in readers.items()]
        for each in writers:
            each.result()
        done.set()
        received = [each.result() for each in reading]
    written = shop.execute("SELECT id, key, old, new FROM rescore.outbox").fetchall()
    assert len(written) > 300
    for rows in received:
        assert sorted(rows) == sorted(written)
        assert_chains(rows)
    ids = [row[0] for row in received[0]]
    assert ids != sorted(ids), "no transaction committed late: the test showed nothing"


def _write(dsn: str, seed: int) -> None:
    """Order for a few customers at a time, in transactions that stay open for a moment."""
    rnd = random.Random(seed)
    with psycopg.connect(dsn) as conn:
        for _ in range(25):
            for customer in sorted(rnd.sample(range(1, 13), rnd.randint(1, 4))):
                order(conn, customer)
                time.sleep(rnd.random() * 0.003)
            if rnd.random() < 0.1:
                conn.rollback()
            conn.commit()


def _follow(dsn: str, consumer: str, batch: int, done: threading.Event) -> list[Any]:
    """Read, and acknowledge in the same transaction, until the writers are done."""
    found: list[Any] = []
    with psycopg.connect(dsn) as conn:
        while True:
            last = done.is_set()
            if rows := read(conn, consumer, batch):
                ack(conn, rows[-1][0], consumer)
            conn.commit()
            found += rows
            if last and not rows:
                return found


def test_a_reader_that_crashes_gets_its_batch_again(shop: Connection, dsn: str) -> None:
    order(shop, 1, times=6)
    crashing = psycopg.connect(dsn)
    rows = read(crashing, batch=2)
    ack(crashing, rows[-1][0])
    crashing.commit()
    lost = read(crashing, batch=2)
    ack(crashing, lost[-1][0])
    shop.execute("SELECT pg_terminate_backend(%s, 5000)", [crashing.info.backend_pid])
    with pytest.raises(psycopg.OperationalError):
        crashing.commit()
    assert read(shop, batch=2) == lost


def test_a_second_reader_waits_and_goes_on_where_the_first_ended(
    shop: Connection, dsn: str
) -> None:
    order(shop, 1, times=4)
    with psycopg.connect(dsn) as first, ThreadPoolExecutor(1) as pool:
        rows = read(first, batch=2)
        waiting = pool.submit(read, shop)
        time.sleep(0.2)
        assert not waiting.done()
        ack(first, rows[-1][0])
        first.commit()
        assert [row[0] for row in rows + waiting.result(timeout=5)] == [1, 2, 3, 4]


def test_an_answer_that_comes_too_late_acknowledges_nothing_new(shop: Connection, dsn: str) -> None:
    with psycopg.connect(dsn) as slow:
        order(slow, 1)
        order(shop, 2, times=3)
        assert [row[0] for row in drain(shop)] == [2, 3, 4]
        slow.commit()
    order(shop, 2, times=2)
    assert [row[0] for row in read(shop)] == [1, 5, 6]
    assert not ack(shop, 4)
    assert [row[0] for row in read(shop)] == [1, 5, 6]


def test_an_answer_of_an_older_batch_with_greater_ids_is_no_error(
    shop: Connection, dsn: str
) -> None:
    with psycopg.connect(dsn) as late:
        order(late, 9)
        order(shop, 1, times=3)
        last = drain(shop)[-1][0]
        late.commit()
    assert one(shop, "SELECT pending FROM rescore.outbox_lag WHERE consumer = 'crm'") == 1
    (row,) = read(shop)
    assert row[0] < last
    assert ack(shop, last) is False
    assert ack(shop, row[0]) is True


def test_only_what_was_handed_out_can_be_acknowledged(shop: Connection) -> None:
    order(shop, 1, times=3)
    read(shop, batch=2)
    for position in (3, 999, None):
        with pytest.raises(psycopg.Error, match="was not handed to consumer crm") as caught:
            ack(shop, position)
        assert caught.value.sqlstate == "RS020"
        assert caught.value.diag.message_detail == "The last one was row 2."


def test_where_a_new_consumer_starts(shop: Connection, dsn: str) -> None:
    order(shop, 1)
    with psycopg.connect(dsn) as open_already:
        order(open_already, 2)
        assert one(shop, "SELECT rescore.outbox_register('late')") is True
        assert one(shop, "SELECT rescore.outbox_register('late', 'beginning')") is False
        open_already.commit()
    order(shop, 1)
    assert [row[1] for row in drain(shop, "late")] == ["2", "1"]
    assert [row[1] for row in drain(shop)] == ["1", "2", "1"]


def test_who_registers_is_told_what_their_own_transaction_did_before(shop: Connection) -> None:
    with shop.transaction():
        order(shop, 1)
        shop.execute("SELECT rescore.outbox_register('own', 'now')")
    assert [row[1] for row in drain(shop, "own")] == ["1"]


def test_shares_deal_the_customers_out(shop: Connection) -> None:
    for share in range(3):
        query = b"SELECT rescore.outbox_register(%s, 'beginning', %s, 3)"
        shop.execute(query, [f"part-{share}", share])
    shop.execute("INSERT INTO orders (customer_id) SELECT i % 40 FROM generate_series(1, 80) AS i")
    order(shop, 1)
    parts = [drain(shop, f"part-{share}", batch=5) for share in range(3)]
    keys = [{row[1] for row in part} for part in parts]
    assert all(len(part) > 5 for part in keys)
    assert sum(map(len, keys)) == len(set.union(*keys)) == 40
    assert sorted(row for part in parts for row in part) == sorted(drain(shop))
