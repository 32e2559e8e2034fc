"""A backlog of any length: read page by page, kept in bounded memory, learnt in rounds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import psycopg
import pytest

from rescore.errors import NotEnoughData
from rescore.tests.learning_shop import BEGIN, LEARN, connected, drawn, redefine, resolved, stream
from rescore.tests.support import one
from rescore.trainer.learning.hashing import hash_keys
from rescore.trainer.loop import attempt as attempts
from rescore.trainer.loop import learn as loop
from rescore.trainer.loop import reading
from rescore.trainer.loop.attempt import Attempt
from rescore.trainer.loop.block import START, Block, Position
from rescore.trainer.loop.kept import Newest
from rescore.trainer.loop.learn import learn
from rescore.trainer.loop.reading import Reader
from rescore.trainer.loop.state import read_state

Connection = psycopg.Connection[Any]
NEARLY_ALL = 1 - 1e-9


@pytest.fixture
def conn(plain_dsn: str) -> Iterator[Connection]:
    with connected(plain_dsn) as made:
        yield made


def reader(conn: Connection) -> Reader:
    return Reader.of(conn, read_state(conn, "churn"))


def tried(conn: Connection, size: int) -> Attempt:
    made = Attempt(read_state(conn, "churn"), reader(conn))
    assert made.take(size, exactly=False)
    return made


def block(ids: range) -> Block:
    n = len(ids)
    numbers, zeros, no = np.array(ids), np.zeros(n), np.zeros(n, dtype=bool)
    hashes, design = numbers.astype(np.uint64), numbers[:, None].astype(float)
    return Block(hashes, numbers, numbers, zeros, zeros, zeros, zeros, no, no, np.ones(n), design)


def test_many_pages_are_learnt_as_one(conn: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    stream(conn, 1570)
    at_once = tried(conn, 10_000)
    monkeypatch.setattr(reading, "PAGE_BYTES", 0)
    assert reader(conn).page == 100
    redefine(conn, LEARN.replace("batch: 100", "batch: 150"))
    cut = tried(conn, 10_000)
    assert (at_once.position.id, cut.position.id) == (1500, 1500)
    redefine(conn, LEARN)
    paged = tried(conn, 10_000)
    assert paged.position == at_once.position
    for name in ("coef_", "intercept_"):
        found = [getattr(each.version()[0][-1], name) for each in (paged, at_once, cut)]
        assert np.array_equal(found[0], found[1])
        assert not np.array_equal(found[0], found[2])
    assert np.array_equal(paged.tests().ids, at_once.tests().ids)


def test_what_is_no_example_is_passed_over_and_told(
    conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "PAGE_BYTES", 0)
    stream(conn, 1200)
    assert all(page.whole for page in reader(conn).stream(START, 1200))
    # Of another version: too short for a block, in a page of which it is no example.
    conn.execute("UPDATE rescore.snapshots SET version = 99, design = '{1}' WHERE id = 650")
    conn.execute("UPDATE rescore.snapshots SET censored = true WHERE id BETWEEN 691 AND 740")
    pages = list(reader(conn).stream(START, 1200))
    assert [page.whole for page in pages] == [True] * 6 + [False] * 6
    ids = np.concatenate([page.block.ids for page in pages]).tolist()
    assert ids == [n for n in range(1, 1201) if n != 650 and not 691 <= n <= 740]
    [outcome] = learn(conn, "churn", max_batches=10).rounds
    assert outcome.action == "published"
    assert outcome.skipped == {"censored": 50, "other columns": 1}


def test_rounds_of_a_backlog_end_where_the_next_begins(
    conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "MOST", 1000)
    monkeypatch.setattr(attempts, "MOST_TESTS", 120)
    redefine(conn, LEARN.replace("examples: 1000, ", ""))
    stream(conn, 2350)
    report = learn(conn, "churn")
    assert [each.action for each in report.rounds] == ["published"] * 3
    ends = conn.execute("SELECT from_id, to_id FROM rescore.learn_log ORDER BY id").fetchall()
    assert ends == [(0, 1000), (1000, 2000), (2000, 2300)]
    tested = [each.metrics["gate"]["checks"][0]["numbers"]["found"] for each in report.rounds]
    assert tested[:2] == [120, 120]  # the newest, though a fifth of a thousand was kept out
    learnt = one(conn, "SELECT sum(examples) FROM rescore.lineage")
    shares = "rescore.share('learn churn', key) >= 0.2"
    assert learnt == one(
        conn, f"SELECT count(*) FROM rescore.snapshots WHERE id <= 2300 AND {shares}"
    )


def test_only_the_newest_are_kept_unless_they_are_too_few() -> None:
    few = Newest(10)
    for start in range(0, 1000, 7):
        few.add(block(range(start, start + 7)))
        assert sum(map(len, few._blocks)) < 27
    assert few.block.ids.tolist() == list(range(991, 1001))
    more = Newest(10, lambda found: len(found) >= 40)
    for start in range(0, 1000, 10):
        more.add(block(range(start, start + 10)))
    assert 40 <= len(more.block) <= 80
    assert more.block.ids[-1] == 999


def test_few_of_the_newest_are_looked_at_where_they_are_enough() -> None:
    asked: list[list[int]] = []

    def enough(found: Block) -> bool:
        asked.append(found.ids.tolist())
        return len(found) >= 8

    kept = Newest(32, enough)
    for start in range(0, 64, 4):
        kept.add(block(range(start, start + 4)))
    assert asked == [[62, 63], list(range(56, 64))]
    assert kept.block.ids.tolist() == list(range(32, 64))


@pytest.mark.parametrize("gap", [False, True])
@pytest.mark.parametrize("customers", [60, 90, 1000, 5000])
def test_of_a_round_of_many_some_of_all_customers_are_kept(customers: int, gap: bool) -> None:
    """Not the last ones, who have the greatest keys: at whatever customer a round is looked at."""
    hashes = hash_keys(range(customers), "kept")
    kept = Newest(100, lambda found: len(found) >= 20, every=float(customers))
    cut = round(2.3 * customers)
    for start in range(0, cut, 7):
        ids = np.arange(start, min(start + 7, cut))
        made = block(range(start, ids[-1] + 1))
        # At moments of their own, or all of a round at one.
        taken = (ids if gap else ids // customers * customers).astype(np.float64)
        kept.add(replace(made, hashes=hashes[ids % customers], taken=taken))
        assert sum(map(len, kept._blocks)) < 207
    found = kept.block.ids
    assert found[-1] >= cut - customers * 0.1
    if customers < 100 and gap:
        assert found.tolist() == list(range(cut - customers, cut))
    elif gap:
        assert 100 <= len(found) < 200
        places = np.sort(found % customers) / customers
        assert np.quantile(places, (0.1, 0.5, 0.9)) == pytest.approx((0.1, 0.5, 0.9), abs=0.12)


def test_where_some_customers_are_too_few_more_are_kept() -> None:
    kept = Newest(100, lambda found: len(found) >= 350, every=1.0)
    hashes = hash_keys(range(1000), "kept")
    for start in range(0, 1000, 10):
        kept.add(replace(block(range(start, start + 10)), hashes=hashes[start : start + 10]))
    assert 350 <= len(kept.block) <= 800
    assert kept.block.ids.mean() == pytest.approx(500, rel=0.15)


def test_one_customer_is_not_half() -> None:
    kept = Newest(10, every=1.0)
    for start in range(0, 100, 5):
        kept.add(replace(block(range(start, start + 5)), hashes=np.full(5, 1 << 12, np.uint64)))
    assert len(kept.block) == 100


def test_hashes_are_read_where_they_are_kept_and_computed_where_not(conn: Connection) -> None:
    stream(conn, 100)
    expected = hash_keys(range(100), "learn churn").tolist()
    computed = reader(conn).past(START, 100)
    update = "UPDATE rescore.snapshots SET hash = substr(sha256(convert_to('learn churn:' || key, 'UTF8')), 1, 8)"
    conn.execute(update + " WHERE id % 3 = 0")
    kept = reader(conn).past(START, 100)
    assert computed.hashes.tolist() == kept.hashes.tolist() == expected
    conn.execute("UPDATE rescore.snapshots SET hash = '\\x00000000000000ff' WHERE id = 1")
    assert reader(conn).past(START, 1).hashes.tolist() == [255]
    tests = reader(conn).tests(Position(2**62, 2**62), 0.3, None, 1000)
    assert 0 in (tests.ids - 1)
    assert (tests.hashes.astype(float) < 0.3 * 2**64).all()


def test_nothing_is_read_of_a_transaction_that_had_not_ended(conn: Connection) -> None:
    for n in range(2):
        resolved(conn, *drawn(np.random.default_rng(n), 5), day=n, first=5 * n)
    last = int(one(conn, "SELECT max(resolved)::text FROM rescore.snapshots"))
    assert replace(reader(conn), bound=last).past(START, 100).ids.tolist() == list(range(1, 6))
    assert len(replace(reader(conn), bound=last + 1).past(START, 100)) == 10


def test_the_order_is_that_in_which_labels_came(conn: Connection) -> None:
    resolved(conn, *drawn(np.random.default_rng(1), 10))
    later = "UPDATE rescore.snapshots SET resolved = pg_current_xact_id() WHERE id <= 5"
    conn.execute(later.encode())
    assert reader(conn).past(START, 100).ids.tolist() == [6, 7, 8, 9, 10, 1, 2, 3, 4, 5]


def test_nothing_is_tested_on_that_was_taken_before_what_is_known(conn: Connection) -> None:
    for n in range(4):
        resolved(conn, *drawn(np.random.default_rng(n), 5), day=n, first=5 * n)
    begin = BEGIN + timedelta(days=2)
    found = reader(conn).tests(Position(2**62, 2**62), NEARLY_ALL, begin, 1000)
    assert found.ids.tolist() == list(range(20, 10, -1))
    assert found.taken.min() == begin.timestamp()
    later = begin + timedelta(seconds=1)
    assert len(reader(conn).tests(Position(2**62, 2**62), NEARLY_ALL, later, 1000)) == 9


def test_what_a_page_holds_is_what_the_table_holds(conn: Connection) -> None:
    design, labels = drawn(np.random.default_rng(4), 50)
    resolved(conn, design, labels, day=3.25)
    conn.execute("UPDATE rescore.snapshots SET holdout = id % 2 = 0")
    found = reader(conn).past(START, 1000)
    assert np.array_equal(found.design, design)
    assert np.array_equal(found.labels, labels)
    assert found.ids.tolist() == list(range(1, 51))
    assert found.holdout.tolist() == [n % 2 == 0 for n in range(1, 51)]
    for name, column in (("taken_at", found.taken), ("due_at", found.due)):
        query = f"SELECT array_agg(date_part('epoch', {name}) ORDER BY id) FROM rescore.snapshots"
        assert column.tolist() == one(conn, query)
    assert found.end == Position(
        one(conn, "SELECT max(resolved)::text::bigint FROM rescore.snapshots"), 50
    )
    newest = reader(conn).recent(1000, resolved=False)
    assert newest.scores.tolist() == one(
        conn, "SELECT array_agg(score ORDER BY taken_at DESC) FROM rescore.snapshots"
    )
    conn.execute("UPDATE rescore.snapshots SET design = design[1:1] WHERE id = 7")
    with pytest.raises(NotEnoughData, match="not complete"):
        reader(conn).past(START, 1000)
