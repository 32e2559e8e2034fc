"""`rescore learn`: what was resolved is learnt once, tested on others, and let through or not."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import psycopg
import pytest

from rescore import cli
from rescore.errors import Busy, NotEnoughData, NotFinite, UnknownModel
from rescore.tests.learning_shop import (
    LEARN,
    WEIGHTS,
    actions,
    connected,
    drawn,
    publish_start,
    redefine,
    resolved,
    stream,
    weights,
)
from rescore.tests.support import one
from rescore.trainer.database import connection
from rescore.trainer.loop import learn as loop
from rescore.trainer.loop.attempt import Attempt
from rescore.trainer.loop.learn import learn
from rescore.trainer.loop.reading import Reader
from rescore.trainer.loop.record import Candidate, Outcome, record_nothing, record_version
from rescore.trainer.loop.state import read_state

Connection = psycopg.Connection[Any]


@pytest.fixture
def conn(plain_dsn: str) -> Iterator[Connection]:
    with connected(plain_dsn) as made:
        yield made


def log(conn: Connection, columns: str = "action") -> list[Any]:
    rows = conn.execute(f"SELECT {columns} FROM rescore.learn_log ORDER BY id".encode())
    return [row[0] if len(row) == 1 else row for row in rows]


def test_what_was_resolved_is_learnt_and_published(conn: Connection) -> None:
    stream(conn, 3000)
    report = learn(conn, "churn")
    assert [each.action for each in report.rounds] == ["published"] * 3
    assert report.rounds[0].metrics["gate"]["verdict"] == "pass"
    learnt = [each.examples for each in report.rounds]
    assert all(700 < each < 900 for each in learnt)  # a fifth of the customers is tested on
    assert np.array(weights(conn)) * [20, 3] == pytest.approx(WEIGHTS, abs=0.3)
    assert log(conn, "parent, version, examples, to_id") == [
        (1, 2, learnt[0], 1000),
        (2, 3, learnt[1], 2000),
        (3, 4, learnt[2], 3000),
    ]
    state = one(conn, "SELECT watermark_id, line, champion FROM rescore.learning")
    assert (state, actions(conn)) == ((3000, 4, 4), ["nothing"])
    lineage = one(
        conn, "SELECT examples, watermark_id, reference FROM rescore.lineage WHERE version = 4"
    )
    assert lineage[:2] == (learnt[2], 3000)
    assert set(lineage[2]) == {"spend", "visits", "score", "label"}
    told = one(conn, "SELECT reason FROM rescore.deployment_history WHERE version = 4")
    assert told.startswith(f"learnt {learnt[2]} examples: log_loss ")


def test_a_call_ends_where_learning_diverges(
    conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The watermark stays: another round would diverge as well."""

    def judge(attempt: Attempt, artefact: Any) -> Any:
        raise NotFinite("coef_ of SGDClassifier is not finite: learning diverged")

    monkeypatch.setattr(Attempt, "judge", judge)
    stream(conn, 2000)
    report = learn(conn, "churn", stop=stopped_after(5.0))
    assert [each.action for each in report.rounds] == ["refused"] and report.refused
    assert log(conn, "action, version, to_id") == [("refused", None, 0)]


def stopped_after(seconds: float) -> threading.Event:
    stop = threading.Event()
    timer = threading.Timer(seconds, stop.set)
    timer.daemon = True
    timer.start()
    return stop


def test_how_often_it_is_called_changes_nothing(conn: Connection, plain_dsn: str) -> None:
    """Round after round as examples come, or all at once: the same versions, bit for bit."""
    for number in range(4):
        stream(conn, 700, seed=number)
        learn(conn, "churn")
    little = log(conn, "version, examples, metrics")
    conn.execute("UPDATE rescore.deployments SET champion = 1")
    conn.execute("UPDATE rescore.snapshots SET version = 1")
    conn.execute("DELETE FROM rescore.models WHERE version > 1")
    conn.execute("TRUNCATE rescore.learning, rescore.learn_log")
    learn(conn, "churn")
    at_once = log(conn, "version - 2, examples, metrics")
    assert [row for row in little if row[0]] == at_once
    assert len(at_once) == 2


def test_neither_open_nor_kept_out_nor_treated_snapshots_are_learnt(conn: Connection) -> None:
    stream(conn, 1200)
    change = "UPDATE rescore.snapshots SET {} WHERE id % 20 = {}"
    conn.execute(change.format("censored = true, label = NULL", 1).encode())
    conn.execute(change.format("treated_at = taken_at + interval '1 day'", 2).encode())
    conn.execute(change.format("version = 77", 3).encode())
    conn.execute("SELECT rescore.quarantine('churn', ARRAY[4, 24, 44], 'a bot')")
    (made,) = learn(conn, "churn").rounds
    assert dict(made.skipped) == {
        "censored": 59, "quarantined": 3, "treated": 59, "other columns": 59,
    }  # fmt: skip


def test_a_label_that_commits_late_is_learnt_all_the_same(conn: Connection, plain_dsn: str) -> None:
    with psycopg.connect(plain_dsn) as slow:
        stream(slow, 500, seed=8)  # earlier ids, earlier times, a transaction that stays open
        stream(conn, 1000, seed=9, day=1)
        assert actions(conn) == ["nothing"]
        slow.commit()
    assert actions(conn) == ["published"]
    assert one(conn, "SELECT watermark_id FROM rescore.learning") == 1000
    stream(conn, 500, seed=10, day=2)
    assert actions(conn) == ["published"]
    assert one(conn, "SELECT sum(examples) FROM rescore.lineage") == one(
        conn,
        "SELECT count(*) FROM rescore.snapshots WHERE rescore.share('learn churn', key) >= 0.2",
    )


@pytest.mark.parametrize(
    ("after_refusal", "lines"),
    [
        ("auto", [(2, 3), (2, 4), (4, 5), (5, 6)]),
        ("champion", [(2, 3), (2, 4), (4, 5), (5, 6)]),
        ("line", [(2, 3), (3, 4), (4, 5), (5, 6)]),
    ],
)
def test_a_worse_candidate_is_refused_and_learning_goes_on(
    conn: Connection, after_refusal: str, lines: list[tuple[int, int]]
) -> None:
    publish_start(conn, WEIGHTS)
    stream(conn, 1000, seed=4)  # of those it learns from, what is told is the contrary of the truth
    learnt = "rescore.share('learn churn', key) >= 0.2"
    conn.execute(f"UPDATE rescore.snapshots SET label = 1 - label WHERE {learnt}")
    stream(conn, 3000, seed=5, day=2)
    redefine(conn, LEARN.replace("margin: 0.02", f"margin: 0.05, after_refusal: {after_refusal}"))
    report = learn(conn, "churn")
    assert report.rounds[0].action == "refused"
    assert report.rounds[-1].action == "published"
    assert any("log_loss loses" in why for why in report.rounds[0].reasons)
    left = "learning goes on from version 2" in report.rounds[0].reasons
    assert left == (after_refusal != "line")
    assert one(conn, "SELECT champion FROM rescore.deployments") == 6
    assert log(conn, "parent, version") == lines
    assert (
        one(conn, "SELECT action FROM rescore.deployment_history WHERE version = 3") == "candidate"
    )


def test_what_is_not_proven_is_learnt_on(conn: Connection) -> None:
    stream(conn, 2000)  # a third of the way to the truth is not what is asked: none is surely worse
    redefine(conn, LEARN.replace("margin: 0.02", "margin: -0.5"))
    assert actions(conn) == ["refused", "refused"]
    assert log(conn, "parent, version") == [(1, 2), (2, 3)]


def test_too_few_to_test_on_waits_for_more(conn: Connection) -> None:
    redefine(conn, LEARN.replace("customers: 100", "customers: 300"))
    stream(conn, 1000)
    assert actions(conn) == ["waiting"]
    assert actions(conn) == ["waiting"]
    assert log(conn) == ["waiting"]  # said once
    assert one(conn, "SELECT watermark_id FROM rescore.learning") == 0
    stream(conn, 1000, seed=6, day=1)
    (made,) = learn(conn, "churn").rounds
    assert (made.action, one(conn, "SELECT watermark_id FROM rescore.learning")) == (
        "published",
        2000,
    )


def test_by_time_one_horizon_lies_between(conn: Connection) -> None:
    redefine(conn, LEARN.replace("examples: 1000", "test: 5 days"))
    for day in range(0, 80, 4):
        resolved(conn, *drawn(np.random.default_rng(day), 100), day=day, first=1000 * day)
    (made,) = learn(conn, "churn").rounds
    assert made.action == "published"
    newest = one(conn, "SELECT upper(period) FROM rescore.learn_log")
    tested_from = one(conn, "SELECT max(taken_at) - interval '5 days' FROM rescore.snapshots")
    assert (tested_from - newest).days >= 30
    assert made.metrics["gate"]["checks"][0]["numbers"]["found"] == 200
    assert made.examples == one(conn, "SELECT watermark_id FROM rescore.learning") == 1100
    assert actions(conn) == ["nothing"]


def test_another_champion_begins_a_new_line(conn: Connection) -> None:
    stream(conn, 2000)
    assert actions(conn) == ["published", "published"]
    conn.execute("SELECT rescore.rollback('churn')")
    stream(conn, 1000, seed=7, day=3)
    (made,) = learn(conn, "churn").rounds
    assert made.parent == 2  # and what version 3 had learnt is not learnt again
    assert one(conn, "SELECT watermark_id FROM rescore.learning") == 3000


def test_only_one_learns_a_model(conn: Connection, plain_dsn: str) -> None:
    stream(conn, 1000)
    with psycopg.connect(plain_dsn, autocommit=True) as other:
        held = loop.held(other, "churn", wait=False, stop=threading.Event())
        with held, pytest.raises(Busy) as caught:
            learn(conn, "churn")
        pid = other.info.backend_pid
        assert f"server process {pid} (a session) as " in caught.value.detail
        assert caught.value.hint.endswith(f"To end it: SELECT pg_terminate_backend({pid});")
        with (
            connection(plain_dsn) as named,
            loop.held(named, "churn", wait=False, stop=threading.Event()),
            pytest.raises(Busy) as caught,
        ):
            learn(conn, "churn")
        assert f"To end it, stop process {os.getpid()} on " in caught.value.hint
        ended: list[list[str]] = []
        held = loop.held(other, "churn", wait=False, stop=threading.Event())
        with held:
            waiting = threading.Thread(target=lambda: ended.append(actions(conn, wait=True)))
            waiting.start()
            waiting.join(0.5)
            assert not ended
        waiting.join(20)
        assert ended == [["published"]]


def test_a_publish_meanwhile_costs_the_round_and_nothing_else(conn: Connection) -> None:
    stream(conn, 1000)
    state = read_state(conn, "churn")
    publish_start(conn, WEIGHTS)
    with pytest.raises(psycopg.Error, match="has changed while it was learnt") as caught:
        conn.execute(
            "SELECT rescore._learn_lock('churn', %s::text::xid8, %s, %s, %s::text::xid)",
            [state.watermark.xid, state.watermark.id, state.champion.number, state.written],
        )
    assert caught.value.sqlstate == Busy.sqlstate
    assert actions(conn) == ["published"]
    assert log(conn, "parent") == [2]


def test_what_is_quarantined_while_it_is_learnt_is_not_learnt_twice(conn: Connection) -> None:
    stream(conn, 1000)
    state = read_state(conn, "churn")
    attempt = Attempt(state, Reader.of(conn, state))
    assert attempt.take(1000, exactly=True)
    artefact, memory = attempt.version()
    made = Candidate(artefact, memory, attempt.judge(artefact))
    conn.execute("SELECT rescore.quarantine('churn', ARRAY[5, 6], 'learnt: a bot')")
    why = Outcome("candidate", (), 1, metrics={"gate": made.decision.to_json()})
    with pytest.raises(psycopg.Error, match="quarantined while it was learnt") as caught:
        record_version(conn, state, attempt, made, 0, why)
    assert caught.value.sqlstate == Busy.sqlstate
    reasons = "SELECT DISTINCT quarantined FROM rescore.snapshots WHERE quarantined IS NOT NULL"
    assert one(conn, reasons) == "a bot"  # only what was learnt may say so
    conn.execute("UPDATE rescore.snapshots SET quarantined = NULL WHERE id > 500")
    stream(conn, 2, seed=4)
    assert actions(conn) == ["published"]
    assert one(conn, "SELECT skipped -> 'quarantined' FROM rescore.learn_log") == 2


def test_a_request_that_comes_while_a_round_learns_is_left_to_the_next(conn: Connection) -> None:
    asked = [one(conn, "SELECT rescore.request_learning('churn', %s)", why) for why in "ab"]
    state = read_state(conn, "churn")
    record_nothing(conn, state, asked[0], Outcome("nothing", (), 1))
    still = "SELECT array_agg(id) FROM rescore.learn_requests WHERE done_at IS NULL"
    assert one(conn, still) == asked[1:]
    assert actions(conn) == ["nothing"]
    assert one(conn, still) is None


def test_batches_of_one_outcome_empty_columns_and_constants(conn: Connection) -> None:
    design, _ = drawn(np.random.default_rng(0), 1000)
    design[:, 1] = 10.0
    resolved(conn, design, np.r_[np.ones(500), np.zeros(500)])
    (made,) = learn(conn, "churn").rounds
    assert made.version is not None
    assert np.isfinite(weights(conn, made.version)).all()


def test_calibrated_versions_go_on_from_what_they_were(conn: Connection) -> None:
    redefine(conn, "calibrate: platt\n    " + LEARN)
    stream(conn, 3000)
    assert actions(conn)[-1] == "published"
    memory = one(conn, "SELECT memory -> 'calibration' FROM rescore.learning")
    assert 0.3 < memory["slope"] < 3
    checks = {c["name"]: c for c in learn_checks(conn)}
    assert 0.5 < checks["calibration_slope"]["numbers"]["candidate"]["estimate"] < 1.6


def learn_checks(conn: Connection) -> Any:
    return one(
        conn, "SELECT metrics #> '{gate,checks}' FROM rescore.learn_log ORDER BY id DESC LIMIT 1"
    )


def test_what_cannot_be_learnt_is_said(conn: Connection) -> None:
    with pytest.raises(UnknownModel):
        learn(conn, "chrun")
    conn.execute("UPDATE rescore.deployments SET champion = NULL")
    with pytest.raises(NotEnoughData, match="no version of model"):
        learn(conn, "churn")


def test_the_command_exits_3_when_refused(
    conn: Connection, plain_dsn: str, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    publish_start(conn, WEIGHTS)
    stream(conn, 1000, flip=-1.0)
    publish_start(conn, -WEIGHTS)
    monkeypatch.setattr("sys.argv", ["rescore", "learn", "churn", "--dsn", plain_dsn])
    redefine(conn, LEARN.replace("margin: 0.02", "margin: -0.5"))
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 3
    said = capsys.readouterr().out
    assert "churn: refused version 4, from version 3" in said
    assert "0.5 is asked" in said
    learnt = one(conn, "SELECT learnt FROM rescore.model_status")
    reason = one(conn, "SELECT reasons ->> 0 FROM rescore.learn_log ORDER BY id DESC LIMIT 1")
    assert learnt.startswith("refused 4 20") and learnt.endswith(f": {reason}")
