"""Reading the outbox: every row at least once, in order, whatever commits late, crashes or competes."""

from __future__ import annotations

import random
import runpy
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest

import rescore.compiler
from rescore.tests.outbox_shop import MOVED, Connection, open_shop, order
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


def read(conn: Connection, consumer: str = "crm", batch: int = 1000) -> list[Any]:
    """Return id, key, old and new of the next rows."""
    query = b"SELECT id, key, old, new FROM rescore.outbox_read(%s, %s)"
    return conn.execute(query, [consumer, batch]).fetchall()


def ack(conn: Connection, position: int | None, consumer: str = "crm") -> bool:
    return bool(one(conn, "SELECT rescore.outbox_ack(%s, %s)", consumer, position))


def drain(conn: Connection, consumer: str = "crm", batch: int = 1000) -> list[Any]:
    """Read and acknowledge until there is nothing."""
    found: list[Any] = []
    while rows := read(conn, consumer, batch):
        assert ack(conn, rows[-1][0], consumer)
        found += rows
    return found


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


def test_lag_is_seen_in_health(shop: Connection) -> None:
    order(shop, 1, times=3)
    shop.execute("SELECT rescore.outbox_register('new')")
    assert lag(shop) == {"crm": 3, "new": 0}
    read(shop, batch=2)
    ack(shop, 2)
    assert lag(shop) == {"crm": 1, "new": 0}
    health = "SELECT status, detail FROM rescore.health WHERE \"check\" = 'outbox'"
    assert one(shop, health) == ("ok", "crm 1 rows behind, new 0 rows behind")
    shop.execute("UPDATE rescore.outbox SET created_at = now() - interval '2 hours'")
    assert one(shop, health)[0] == "warning"


def lag(conn: Connection) -> dict[str, int]:
    return dict(conn.execute("SELECT consumer, pending FROM rescore.outbox_lag").fetchall())


def test_pruning_keeps_what_a_consumer_has_not_acknowledged(shop: Connection, dsn: str) -> None:
    prune = "SELECT rescore.outbox_prune(interval '0')"
    shop.execute("SELECT rescore.outbox_register('slow', 'beginning')")
    with psycopg.connect(dsn) as late:
        order(late, 9)
        order(shop, 1, times=4)
        drain(shop)
        assert one(shop, prune) == 0
        assert ack(shop, read(shop, "slow", batch=3)[-1][0], "slow")
        late.commit()
    assert one(shop, "SELECT rescore.outbox_prune('1 hour')") == 0
    assert one(shop, prune) == 3
    assert [row[1] for row in drain(shop, "slow")] == ["1", "9"]
    assert one(shop, prune) == 1
    assert one(shop, "SELECT rescore.outbox_drop('crm')") is True
    assert one(shop, "SELECT rescore.outbox_drop('crm')") is False
    assert one(shop, prune) == 1
    order(shop, 1)
    assert one(shop, prune) == 0
    assert one(shop, "SELECT rescore.outbox_prune('0', force => true)") == 1
    assert read(shop, "slow") == []


def test_places_restored_from_a_dump_are_refused(shop: Connection) -> None:
    order(shop, 1, times=2)
    drain(shop)
    shop.execute("UPDATE rescore.outbox_consumers SET source = 1")
    shop.execute("UPDATE rescore.outbox SET xid = '9000000000'")
    for call in (read, lambda conn: ack(conn, 2)):
        with pytest.raises(psycopg.Error, match="place of consumer crm is of another") as caught:
            call(shop)
        assert caught.value.sqlstate == "RS023"
    assert one(shop, "SELECT rescore.outbox_prune('0')") == 0
    shop.execute("SELECT rescore.outbox_drop('crm'), rescore.outbox_register('crm', 'beginning')")
    shop.execute("SELECT rescore.outbox_register('new')")
    order(shop, 1)
    assert [row[0] for row in drain(shop)] == [1, 2, 3]
    assert [row[0] for row in drain(shop, "new")] == [3]


REFUSED = [
    ("outbox_read('nobody')", "RS022", "unknown consumer nobody"),
    ("outbox_read(NULL)", "RS022", "unknown consumer NULL"),
    ("outbox_ack('nobody', 1)", "RS022", "unknown consumer nobody"),
    ("outbox_read('crm', 0)", "RS020", "a batch of 0 rows"),
    ("outbox_register('a b')", "RS020", "'a b' is no name"),
    ("outbox_register('')", "RS020", "'' is no name"),
    ("outbox_register('a', 'then')", "RS020", "cannot start at 'then'"),
    ("outbox_register('a', 'now', 2, 2)", "RS020", "no share 2 of 2"),
    ("outbox_prune('-1 day')", "RS020", "cannot be kept for -1 days"),
    ("outbox_prune(NULL)", "RS020", "cannot be kept for NULL"),
]


def test_the_reader_of_the_manual(
    shop: Connection, dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.execute("CREATE TABLE calls (customer_id bigint, score float8)")
    shop.execute(
        "INSERT INTO orders (customer_id) SELECT 1 + i % 3 FROM generate_series(1, 24) AS i"
    )
    order(shop, 1, times=3)
    manual = Path(rescore.compiler.__file__).parents[1] / "docs" / "outbox.md"
    program = manual.read_text("utf-8").split("```python\n")[1].split("```")[0]
    script = tmp_path / "reader.py"
    script.write_text(program)

    def stop(_: float) -> None:
        raise StopIteration

    monkeypatch.setattr(time, "sleep", stop)
    for _ in range(2):
        with pytest.raises(StopIteration):
            runpy.run_path(str(script), {"dsn": dsn})
    rows = shop.execute("SELECT customer_id, round(score::numeric, 3) FROM calls").fetchall()
    assert sorted((c, float(s)) for c, s in rows) == [
        (1, 0.8),
        (1, 0.9),
        (1, 1),
        (1, 1.1),
        (2, 0.8),
        (3, 0.8),
    ]


def test_refusals_say_what_is_wrong_and_what_to_do(shop: Connection) -> None:
    for call, state, message in REFUSED:
        with pytest.raises(psycopg.Error, match=message) as caught:
            shop.execute(f"SELECT rescore.{call}".encode())
        assert (caught.value.sqlstate, bool(caught.value.diag.message_hint)) == (state, True)


def test_rows_stay_where_they_are_and_updates_stay_hot(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as conn:
        open_shop(conn, "bands: {low: 0, high: 0.4}", MOVED)
        order(conn, 1)
        counts = "SELECT " + ", ".join(
            f"pg_stat_get_xact_tuples_{kind}('customers'::regclass)"
            for kind in ("updated", "hot_updated")
        )
        before = one(conn, counts)
        order(conn, 1, times=10)
        assert [now - then for now, then in zip(one(conn, counts), before, strict=True)] == [10, 10]
