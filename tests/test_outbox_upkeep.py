"""Around the readers of the outbox: lag, pruning, restored places, refusals, the manual's program."""

from __future__ import annotations

import runpy
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

import rescore.compiler
from rescore.tests.outbox_shop import MOVED, Connection, ack, drain, open_shop, order, read
from rescore.tests.support import one


@pytest.fixture
def dsn(plain_dsn: str) -> str:
    """A database without PL/Python: no test here needs it, and publishing is quicker."""
    return plain_dsn


@pytest.fixture
def shop(dsn: str) -> Iterator[Connection]:
    with psycopg.connect(dsn, autocommit=True) as conn:
        open_shop(conn, "outbox: {moved_by: 0}")
        conn.execute("SELECT rescore.outbox_register('crm', 'beginning')")
        yield conn


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


def test_nothing_is_pruned_by_a_place_restored_from_a_dump(shop: Connection) -> None:
    """By the numbers of the other server all of it has been read, whoever reads it here."""
    shop.execute("SELECT rescore.outbox_register('here', 'beginning')")
    order(shop, 1, times=2)
    drain(shop, "here")
    there = "UPDATE rescore.outbox_consumers SET source = 1, seen = '9000000000:9000000000:' WHERE consumer = 'crm'"
    shop.execute(there.encode())
    assert one(shop, "SELECT rescore.outbox_prune('0')") == 0
    assert one(shop, "SELECT rescore.outbox_drop('crm')") is True
    assert one(shop, "SELECT rescore.outbox_prune('0')") == 2


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
