"""Versions are judged by what came of the scores they gave, also when they serve no more."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import psycopg
import pytest

from rescore.errors import ArtefactRefused
from rescore.tests.learning_shop import WEIGHTS, connected, publish_start, resolved, stream
from rescore.tests.support import one
from rescore.trainer.judge import ServedQuality, judge

Connection = psycopg.Connection[Any]


@pytest.fixture
def conn(plain_dsn: str) -> Iterator[Connection]:
    with connected(plain_dsn) as made:
        yield made


def open_again(conn: Connection, version: int, share: float) -> None:
    """Take back what came of a share of a version's snapshots: their horizon is not over."""
    conn.execute(
        """UPDATE rescore.snapshots SET resolved = NULL, resolved_at = NULL, label = NULL
           WHERE version = %s AND rescore.share('open', key) < %s""",
        [version, share],
    )


def test_each_is_judged_beside_the_one_whose_place_it_took(conn: Connection) -> None:
    stream(conn, 400)
    right, wrong = publish_start(conn, WEIGHTS), 3
    stream(conn, 800, seed=4, day=1)
    assert publish_start(conn, -WEIGHTS) == wrong
    stream(conn, 800, seed=5, day=2)
    publish_start(conn, WEIGHTS)  # the wrong one serves no more when its outcomes are known
    first, second, third = judge(conn, "churn")
    assert (first.version, first.against, first.verdict) == (1, None, "even")
    assert (second.version, second.against, second.verdict) == (right, 1, "better")
    assert (third.version, third.against, third.verdict) == (wrong, right, "worse")
    assert (third.examples, third.customers, third.open) == (800, 800, 0)
    assert third.metrics["auc"].estimate < 0.5 < second.metrics["auc"].estimate
    told = one(
        conn,
        "SELECT gain_high < 0 AND ended - began < '1 day' AND metric = 'log_loss' FROM rescore.served_quality WHERE version = 3",
    )
    assert told
    assert judge(conn, "churn") == []


def test_it_is_judged_again_as_outcomes_come(conn: Connection) -> None:
    stream(conn, 1000)
    conn.execute("CREATE TABLE kept AS SELECT id, label FROM rescore.snapshots")
    open_again(conn, 1, 0.5)
    (made,) = judge(conn, "churn")
    assert made.verdict == "open" and 400 < made.open < 600
    assert made.examples == 1000 - made.open
    some = """UPDATE rescore.snapshots AS s SET resolved = pg_current_xact_id(), resolved_at = now(), label = k.label
              FROM kept AS k WHERE k.id = s.id AND s.resolved IS NULL AND rescore.share('open', s.key) >= %s"""
    conn.execute(some, [0.48])
    assert judge(conn, "churn") == []  # too few to say anything new
    conn.execute(some, [0.0])
    (again,) = judge(conn, "churn")
    assert (again.examples, again.open, again.verdict) == (1000, 0, "even")


def test_many_are_judged_by_some_of_the_customers(
    conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream(conn, 2000)
    monkeypatch.setattr("rescore.trainer.judge.MOST", 500)
    (made,) = judge(conn, "churn")
    assert made.snapshots == 2000
    assert 400 < made.examples < 600
    truth = one(conn, "SELECT avg(label) FROM rescore.snapshots")
    assert made.metrics["base_rate"].holds(truth)


def test_a_handful_of_customers_tells_nothing(conn: Connection) -> None:
    publish_start(conn, -WEIGHTS)
    alike = np.tile([[120.0, 7.0]], (9, 1))
    resolved(conn, alike, np.zeros(9))  # nothing varies: an interval of no width
    (made,) = judge(conn, "churn")
    assert (made.against, made.customers, made.verdict) == (1, 9, "even")
    resolved(conn, alike, np.zeros(9), day=1, first=9)
    (made,) = judge(conn, "churn")
    assert (made.customers, made.verdict) == (18, "better")


def test_treated_and_quarantined_do_not_count(conn: Connection) -> None:
    stream(conn, 600)
    conn.execute("UPDATE rescore.snapshots SET treated_at = now() WHERE id <= 100")
    conn.execute("UPDATE rescore.snapshots SET quarantined = 'a bot' WHERE id > 500")
    (made,) = judge(conn, "churn")
    assert (made.snapshots, made.examples) == (600, 400)


def test_it_is_judged_anew_when_what_it_was_judged_by_changed(conn: Connection) -> None:
    stream(conn, 400)
    publish_start(conn, WEIGHTS)
    stream(conn, 400, seed=4, day=1)
    assert len(judge(conn, "churn")) == 2
    bots = one(conn, "SELECT array_agg(id) FROM rescore.snapshots WHERE key::int < 10")
    one(conn, "SELECT rescore.quarantine('churn', %s, 'bots')", bots)
    (without,) = judge(conn, "churn")
    assert (without.version, without.examples) == (1, 390)
    assert judge(conn, "churn") == []
    one(conn, "SELECT rescore.release('churn')")
    (again,) = judge(conn, "churn")
    assert (again.version, again.examples) == (1, 400)
    conn.execute("SET rescore.clock = '2026-02-10Z'")
    conn.execute("INSERT INTO customers SELECT n, 0, 0 FROM generate_series(0, 799) AS n")
    conn.execute("INSERT INTO orders SELECT n, '2026-01-03Z' FROM generate_series(0, 799) AS n")
    one(conn, "SELECT rescore.resolve('customers')")
    assert {made.metrics["base_rate"].estimate for made in judge(conn, "churn")} == {0.0}
    assert one(conn, "SELECT count(*) FROM rescore.relabelled") == 0


def test_a_change_still_under_way_while_it_is_judged_is_counted_once_it_has_ended(
    conn: Connection, plain_dsn: str
) -> None:
    stream(conn, 400)
    with psycopg.connect(plain_dsn) as other:
        one(other, "SELECT rescore.quarantine('churn', ARRAY[1, 2], 'bots')")
        (first,) = judge(conn, "churn")
        assert first.examples == 400
        assert judge(conn, "churn") == []
    (anew,) = judge(conn, "churn")
    assert anew.examples == 398


NOTED = "SELECT array_agg(xid::text::bigint ORDER BY xid) FROM rescore.relabelled"
TEND = "SELECT rescore._snapshot_tend('customers') FROM set_config('rescore.clock', '2026-02-01Z', false)"


def test_what_nobody_judges_by_is_noted_once(conn: Connection) -> None:
    stream(conn, 400)
    for _ in range(5):
        one(conn, "SELECT rescore.quarantine('churn', ARRAY[1, 2], 'bots')")
        one(conn, "SELECT rescore.release('churn')")
    noted = one(conn, NOTED)
    assert len(noted) == 10
    one(conn, TEND)
    assert one(conn, NOTED) == noted[-1:]
    (made,) = judge(conn, "churn")
    assert made.examples == 400
    assert one(conn, NOTED) is None


def test_what_a_judgement_has_not_counted_is_noted_still(conn: Connection, plain_dsn: str) -> None:
    stream(conn, 400)
    with psycopg.connect(plain_dsn) as other:
        other.execute("UPDATE rescore.snapshots SET label = 1 - label WHERE id IN (3, 4, 5)")
        one(other, "SELECT rescore._note_relabelled('churn', ARRAY[1])")
        one(conn, "SELECT rescore.quarantine('churn', ARRAY[1], 'bots')")
        one(conn, "SELECT rescore.quarantine('churn', ARRAY[2], 'bots')")
        one(conn, TEND)
        assert len(one(conn, NOTED)) == 2  # older than the oldest that is under way: none
        (first,) = judge(conn, "churn")
        assert first.examples == 398
    one(conn, TEND)
    assert len(one(conn, NOTED)) == 1
    (anew,) = judge(conn, "churn")
    assert anew.metrics["base_rate"].estimate != first.metrics["base_rate"].estimate
    assert judge(conn, "churn") == []


def test_nobody_waits_where_what_is_noted_is_deleted(conn: Connection, plain_dsn: str) -> None:
    stream(conn, 400)
    for each in (1, 2, 3):
        one(conn, "SELECT rescore.quarantine('churn', ARRAY[%s::bigint], 'bots')", each)
    with psycopg.connect(plain_dsn) as other:
        other.execute("SELECT FROM rescore.relabelled ORDER BY xid LIMIT 1 FOR UPDATE")
        conn.execute("SET lock_timeout = '5s'")
        one(conn, "SELECT rescore._forget_relabelled(ARRAY['churn'])")
        assert len(one(conn, NOTED)) == 2
    one(conn, "SELECT rescore._forget_relabelled(ARRAY['churn'])")
    assert len(one(conn, NOTED)) == 1


def test_what_is_no_longer_kept_stays_judged(conn: Connection) -> None:
    stream(conn, 400)
    judge(conn, "churn")
    one(conn, "SELECT rescore.quarantine('churn', ARRAY[1, 2], 'bots')")
    conn.execute("DELETE FROM rescore.snapshots")
    judge(conn, "churn")
    assert one(conn, "SELECT examples FROM rescore.judgements") == 400
    assert judge(conn, "churn") == []


def test_other_columns_are_not_compared(conn: Connection) -> None:
    stream(conn, 300)
    publish_start(conn, WEIGHTS)
    stream(conn, 300, seed=4, day=1)
    conn.execute("ALTER TABLE rescore.models DISABLE TRIGGER USER")
    conn.execute(
        """UPDATE rescore.models SET contract = jsonb_set(contract, '{inputs,0,name}', '"other"') WHERE version = 1"""
    )
    second = judge(conn, "churn")[1]
    assert (second.against, second.gain, second.verdict) == (None, None, "even")


def test_the_job_says_what_it_found(conn: Connection) -> None:
    job, stop = ServedQuality(60.0), threading.Event()
    assert job.work(conn, stop) == {}
    stream(conn, 300)
    assert job.work(conn, stop) == {"models": [{"model": "churn", "version 1": "even"}]}
    assert job.work(conn, stop) == {}
    assert np.isfinite(one(conn, "SELECT auc FROM rescore.served_quality"))


def test_one_that_can_no_longer_be_read_keeps_no_other_from_being_judged(conn: Connection) -> None:
    stream(conn, 400)
    publish_start(conn, WEIGHTS)
    stream(conn, 400, seed=4, day=1)
    with conn.transaction():  # versions are immutable
        conn.execute("ALTER TABLE rescore.models DISABLE TRIGGER USER")
        conn.execute(
            "UPDATE rescore.models SET artifact = substr(artifact, 1, 99) WHERE version = 1"
        )
        conn.execute("ALTER TABLE rescore.models ENABLE TRIGGER USER")
    publish_start(conn, WEIGHTS)
    stream(conn, 400, seed=5, day=2)
    with pytest.raises(ArtefactRefused):  # version 2 is judged beside version 1
        judge(conn, "churn")
    judged = "SELECT array_agg(version ORDER BY version) FROM rescore.judgements"
    assert one(conn, judged) == [1, 3]
