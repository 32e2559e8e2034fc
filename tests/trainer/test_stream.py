"""Examples read part after part and ahead: in order, none twice, and nobody waits for ever."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np
import psycopg
import pytest

from rescore.tests.learning_shop import connected, stream
from rescore.tests.support import one
from rescore.tests.waiting import wait_for
from rescore.trainer.loop import packed, reading
from rescore.trainer.loop.block import START, Position
from rescore.trainer.loop.reading import Reader
from rescore.trainer.loop.state import read_state
from rescore.trainer.loop.stream import ahead

Connection = psycopg.Connection[Any]
LARGE = 2**48
"""Of a server that has wrapped around its transactions many times."""
SPREAD = f"""UPDATE rescore.snapshots
SET resolved = ({LARGE} + id * 7919 % 13 * 257)::text::xid8"""
ORDERED = """SELECT array_agg(id ORDER BY resolved, id) FROM rescore.snapshots"""


@pytest.fixture
def conn(plain_dsn: str) -> Iterator[Connection]:
    with connected(plain_dsn) as made:
        yield made


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of 100 examples, parts of 25, statements of 200."""
    monkeypatch.setattr(reading, "PAGE_BYTES", 0)
    monkeypatch.setattr(reading, "PAGES", 2)


def reader(conn: Connection) -> Reader:
    return replace(Reader.of(conn, read_state(conn, "churn")), bound=2 * LARGE)


@pytest.mark.usefixtures("small")
def test_parts_follow_each_other_whatever_they_are_sent_as(dsn: str) -> None:
    with connected(dsn) as conn:
        stream(conn, 420)
        conn.execute(SPREAD)
        kept = reader(conn)
        assert kept.order
        _follow(conn, kept)
        _follow(conn, replace(kept, packs=False))


def _follow(conn: Connection, found: Reader) -> None:
    expected = one(conn, ORDERED)
    pages = list(found.stream(START, 10_000))
    assert [len(page.block) for page in pages] == [100, 100, 100, 100, 20]
    assert np.concatenate([page.block.ids for page in pages]).tolist() == expected
    assert (
        np.concatenate([page.block.ids for page in found.stream(START, 313)]).tolist()
        == (expected[:313])
    )
    middle = pages[1].block.end
    assert middle.xid > LARGE
    assert found.past(middle, 10_000).ids.tolist() == expected[200:]
    assert found.past(Position(2 * LARGE, 0), 10_000).ids.tolist() == []
    held = replace(found, held_out=0.5)  # of rows with scores and treatments
    assert held.past(START, 10_000).ids.tolist() == expected


@pytest.mark.usefixtures("small")
def test_who_uses_pages_may_use_the_connection(conn: Connection) -> None:
    stream(conn, 900)
    found = []
    for page in reader(conn).stream(START, 900):
        found.append(
            one(
                conn, "SELECT count(*) FROM rescore.snapshots WHERE id > %s", int(page.block.end.id)
            )
        )
    assert found == list(range(800, -1, -100))
    assert one(conn, "SELECT nullif(current_setting('rescore.read_to', true), '')") is None


@pytest.mark.usefixtures("small")
def test_who_stops_early_leaves_the_connection_free(conn: Connection) -> None:
    stream(conn, 900)
    with closing(reader(conn).stream(START, 900)) as pages:
        assert next(pages).block.ids[0] == 1
    assert conn.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
    assert one(conn, "SELECT count(*) FROM pg_prepared_statements WHERE name ~ 'rescore'") == 0
    assert threading.active_count() == 1


@pytest.mark.usefixtures("small")
def test_what_goes_wrong_while_reading_ahead_is_told(conn: Connection) -> None:
    stream(conn, 900)
    with closing(reader(conn).stream(START, 900)) as pages:
        next(pages)
        with psycopg.connect(conn.info.dsn, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s)", [conn.info.backend_pid])
        with pytest.raises(psycopg.OperationalError):
            list(pages)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_does_not_wait_for_as_long_as_the_server(conn: Connection) -> None:
    stream(conn, 100)
    found, ended = reader(conn), threading.Event()
    with (
        psycopg.connect(conn.info.dsn, autocommit=True) as watching,
        psycopg.connect(conn.info.dsn) as other,
        ThreadPoolExecutor(1) as thread,
    ):
        other.execute("LOCK TABLE rescore.snapshots")

        def press() -> bool:
            wait_for(watching, conn, other)
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            soon = ended.wait(10)
            other.rollback()
            return soon

        pressed = thread.submit(press)
        with pytest.raises(KeyboardInterrupt):
            list(found.stream(START, 100))
        ended.set()
        assert pressed.result()
    assert one(conn, "SELECT count(*) FROM pg_prepared_statements WHERE name ~ 'rescore'") == 0
    assert len(found.past(START, 100)) == 100


@pytest.mark.parametrize("order", ["<", ">", None])
@pytest.mark.parametrize("scored", [False, True])
def test_where_the_last_row_says_its_position(order: str | None, scored: bool) -> None:
    where = packed.places(order, scored=scored)
    fields = 9 if scored else 7
    form = packed.KEPT[order, fields] if order else packed._SENT[fields]
    rows = np.zeros(3, form)
    rows["ids"], rows["xids"] = [1, 2, 2**61 + 3], [4, 5, 2**60 + 7]
    data = rows.tobytes()
    for name in ("ids", "xids"):
        last = data[len(data) - where[name] :][:8]
        told = sum(byte << where["first"] + where["step"] * n for n, byte in enumerate(last))
        assert told == rows[name][-1]


def test_no_more_is_read_ahead_than_wanted() -> None:
    begun = []

    def items() -> Iterator[int]:
        for n in count():
            begun.append(n)
            yield n

    with closing(ahead(items())) as found:
        assert [next(found) for _ in range(7)] == list(range(7))
        assert len(begun) <= 9
    assert threading.active_count() == 1


def test_errors_come_in_their_place() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("the second")

    assert list(ahead(iter([]))) == []
    found = ahead(items())
    assert next(found) == 1
    with pytest.raises(ValueError, match="the second"):
        next(found)
