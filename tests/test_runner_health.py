"""`rescore.health` tells whether a runner is at work, what of it fails, and what waits for one."""

from __future__ import annotations

import json
import os
import re
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from threading import Event
from typing import Any

import psycopg
import pytest
from typer.testing import CliRunner

from rescore.cli import app
from rescore.compiler.definition_learn import Learn
from rescore.tests.running import running, until
from rescore.tests.support import define, one, publish
from rescore.tests.test_run import SHOP, holder
from rescore.trainer import ledger
from rescore.trainer import operations as ops
from rescore.trainer.alert_rules import Alerts
from rescore.trainer.alerts import Alerting
from rescore.trainer.failing import Patience
from rescore.trainer.ledger import State
from rescore.trainer.rounds import Round, failures

Connection = psycopg.Connection[Any]

DEFINITION = """
profile: {table: customers, key: {name: customer_id, type: bigint}}
events: {orders: {time: ordered_at}}
features: {orders: {from: orders, count: true}}
labels: {churned: {none: orders, within: 30 days}}
snapshot: {every: 1 day}
models: {churn: {label: churned, learn: {}}}
scores: {churn_score: {model: churn}}
"""


@pytest.fixture
def conn(plain_dsn: str) -> Iterator[Connection]:
    with psycopg.connect(plain_dsn, autocommit=True) as made:
        yield made


@dataclass
class Job:
    """A job that fails as long as it has a fault."""

    name: str = "learn"
    fault: str = "no room"
    every: float = 0.05

    def work(self, conn: Connection, stop: Event) -> dict[str, Any]:
        if self.fault:
            raise ValueError(self.fault)
        return {}


@dataclass
class Parts:
    """A job of two models, of which one fails."""

    name: str = "parts"
    every: float = 0.05
    patience: Patience = field(default_factory=Patience)

    def work(self, conn: Connection, stop: Event) -> dict[str, Any]:
        done = Round(conn, "model", self.patience, stop).each(["a", "b"], self._one)
        return failures("model", done)

    def _one(self, model: str) -> dict[str, Any]:
        if model == "a":
            raise ValueError("weights lost")
        return {}


def told(conn: Connection) -> Any:
    return one(conn, "SELECT status, detail FROM rescore.health WHERE \"check\" = 'runner'")


def test_a_job_that_fails_is_told_until_it_does_no_longer(conn: Connection, plain_dsn: str) -> None:
    job = Job()
    assert told(conn) == ("ok", "none is at work")
    with running(plain_dsn, [job, Job("sound", "")]):
        assert until(lambda: told(conn)[0] == "error")
        since = one(conn, "SELECT failing_since::text FROM rescore.runner_jobs WHERE job = 'learn'")
        detail = told(conn)[1]
        mine = f"process {os.getpid()} on {socket.gethostname()}"[:40]
        assert detail.startswith(f"job learn fails since {since}: ValueError: no room; {mine}")
        job.fault = ""
        until(lambda: told(conn)[0] == "ok")
        assert told(conn)[1].endswith(f" is at work (server process {holder(conn)})")
    until(lambda: told(conn)[1].startswith("none is at work, last seen 20"))  # its session is gone
    assert re.fullmatch(r"none is at work, last seen [-\d]+ \d\d:\d\d", told(conn)[1])
    assert told(conn)[0] == "ok"  # nothing waits for it


def test_a_part_that_fails_is_told_while_it_is_left_alone(conn: Connection, plain_dsn: str) -> None:
    with running(plain_dsn, [Parts()]):
        until(lambda: told(conn)[0] == "error")
        assert "job parts fails since 20" in told(conn)[1]
        assert "a: ValueError: weights lost" in told(conn)[1]


def test_rows_are_of_the_jobs_there_are_and_written_when_something_changes(
    conn: Connection, plain_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = "SELECT array_agg(job ORDER BY job) FROM rescore.runner_jobs"
    with running(plain_dsn, [Job("old", ""), Job("sound", "")]):
        until(lambda: one(conn, jobs) == ["old", "sound"])
        written = "SELECT array_agg(xmin::text ORDER BY job) FROM rescore.runner_jobs"
        before = one(conn, written)
        conn.execute("SELECT pg_sleep(0.3)")
        assert one(conn, written) == before
    monkeypatch.setattr(ledger, "BEAT_SECONDS", 0.0)
    with running(plain_dsn, [Job("sound", "")]):
        until(lambda: one(conn, jobs) == ["sound"])
        first = one(conn, written)
        until(lambda: one(conn, written) != first)  # a sign of life


def test_what_cannot_be_written_is_said_and_ends_nothing(conn: Connection, plain_dsn: str) -> None:
    conn.execute("ALTER TABLE rescore.runner_jobs ADD CHECK (false)")
    with running(plain_dsn, [Job("sound", "")]) as runner:
        (said,) = until(lambda: runner.said)[:1]
        assert "unrecorded" in said and "error" not in said


def test_what_waits_for_a_runner_is_told_where_none_is_at_work(
    conn: Connection, plain_dsn: str
) -> None:
    conn.execute(SHOP.encode())
    define(conn, DEFINITION)
    publish(conn)
    one(conn, "SELECT rescore.snapshot('customers'), rescore.request_learning('churn')")
    assert told(conn) == ("ok", "none is at work")
    conn.execute("UPDATE rescore.snapshot_rounds SET next_at = '2026-01-02Z'")
    conn.execute("UPDATE rescore.learn_requests SET at = '2026-01-01Z'")
    known(conn, 500, "2026-01-03Z")
    conn.execute("SET TimeZone = 'UTC'")
    assert told(conn) == (
        "warning",
        "none is at work; a request that churn learn due since 2026-01-01 00:00:00+00, "
        "snapshots of customers due since 2026-01-02 00:00:00+00, "
        "learning of churn due since 2026-01-03 00:00:00+00; `rescore run` does it",
    )
    with running(plain_dsn, [Job("sound", "")]):
        assert until(lambda: told(conn)[0] == "ok")
        until(lambda: one(conn, "SELECT count(*) FROM rescore.runner_jobs") == 1)
        conn.execute("UPDATE rescore.runner_jobs SET at = now() - interval '2 hours'")  # it hangs
        status, detail = told(conn)
        assert status == "warning"
        assert " is at work (server process " in detail
        assert "); a request that churn learn due" in detail


def known(conn: Connection, count: int, resolved_at: str, taken: str = "2025-11-01Z") -> None:
    """Log that many snapshots, a minute after the other, whose outcomes became known at a moment."""
    conn.execute(
        """INSERT INTO rescore.snapshots (model, key, taken_at, version, score, design, label, due_at, resolved, resolved_at)
           SELECT 'churn', n::text, t.taken_at, 1, 0.5, '{1}', 1, t.taken_at + interval '30 days', pg_current_xact_id(), %(resolved_at)s
           FROM generate_series(1, %(count)s) AS n, LATERAL (SELECT %(taken)s::timestamptz + n * interval '1 minute') AS t (taken_at)""",
        {"count": count, "resolved_at": resolved_at, "taken": taken},
    )


LEARNT = """
INSERT INTO rescore.learn_log (model, at, parent, examples, positives, from_xid, from_id, to_xid, to_id, action, reasons)
VALUES ('churn', %s, 1, 0, 0, '0', 0, '0', 0, %s, '[]')
"""


def learning(conn: Connection, learn: str = "{}") -> Any:
    """Since when learning is told to be overdue, as `learn` of the definition has it."""
    define(conn, DEFINITION.replace("learn: {}", f"learn: {learn}"))
    found = conn.execute("SELECT since FROM rescore._overdue() WHERE what = 'learning of churn'")
    return [since.isoformat() for (since,) in found.fetchall()]


@pytest.fixture
def serving(conn: Connection) -> Connection:
    conn.execute(SHOP.encode())
    define(conn, DEFINITION)
    publish(conn)
    conn.execute("SET TimeZone = 'UTC'")
    return conn


def test_learning_is_overdue_once_there_is_enough_for_a_round(serving: Connection) -> None:
    serving.execute(LEARNT.encode(), ("2026-01-02Z", "published"))
    assert learning(serving) == []
    known(serving, 499, "2026-01-04Z")
    serving.execute("UPDATE rescore.snapshots SET censored = true WHERE id <= 9")
    known(serving, 9, "2026-01-05Z", "2025-11-03Z")
    assert learning(serving) == []
    known(serving, 1, "2026-01-06Z", "2025-11-04Z")
    assert learning(serving) == ["2026-01-06T00:00:00+00:00"]
    assert learning(serving, "{batch: 490}") == ["2026-01-04T00:00:00+00:00"]
    assert learning(serving, "{batch: 50, examples: 501}") == []
    assert learning(serving, "{when: {every: 9 days}}") == ["2026-01-11T00:00:00+00:00"]
    assert learning(serving, "{when: {labels: 1}}") == []  # nothing is done again and again
    serving.execute(LEARNT.encode(), ("2026-01-07Z", "nothing"))  # counts for none
    assert learning(serving) == ["2026-01-06T00:00:00+00:00"]
    serving.execute(LEARNT.encode(), ("2026-01-08Z", "refused"))
    assert learning(serving) == ["2026-01-09T00:00:00+00:00"]
    last = one(serving, "SELECT max(resolved)::text FROM rescore.snapshots")
    learnt = "INSERT INTO rescore.learning (model, champion, watermark_xid, watermark_id) VALUES ('churn', 1, %s, 0)"
    serving.execute(learnt.encode(), (last,))
    assert learning(serving) == []


def test_learning_that_tests_on_the_newest_is_overdue_once_some_is_settled(
    serving: Connection,
) -> None:
    learn = "{batch: 50, test: 10 days}"
    known(serving, 100, "2026-01-03Z")  # known until 1 December
    known(serving, 100, "2026-01-04Z", "2025-12-10Z")
    assert learning(serving, learn) == []
    known(serving, 49, "2026-01-05Z", "2025-12-12Z")
    assert learning(serving, learn) == []
    known(serving, 1, "2026-01-06Z", "2025-12-13Z")
    assert learning(serving, learn) == ["2026-01-06T00:00:00+00:00"]
    assert learning(serving, learn.replace("10", "9")) == ["2026-01-04T00:00:00+00:00"]


def test_what_health_takes_for_granted_is_what_definitions_do() -> None:
    learn = Learn.model_validate({})
    assert (learn.batch, learn.test, learn.when.every) == (500, "20%", timedelta(days=1))


def test_alerts_and_status_tell_of_it(
    conn: Connection, plain_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conn.execute(
        """INSERT INTO rescore.runner_jobs (job, error, times, failing_since)
           VALUES ('learn', 'no room', 3, now())"""
    )
    out = tmp_path / "told"
    keep = [sys.executable, "-c", "import sys; open(sys.argv[1], 'a').write(sys.stdin.read())"]
    rules = {"tell": {"command": [*keep, str(out)]}, "rules": {"health": {}}}
    Alerting(60, Alerts.model_validate(rules)).work(conn, Event())
    alert = json.loads(out.read_text())
    assert alert["cause"] == "health: runner"
    assert "job learn fails since" in alert["message"] and "no room" in alert["message"]
    monkeypatch.setenv("RESCORE_DSN", plain_dsn)
    shown = CliRunner().invoke(app, ["status"])
    assert "runner: job learn fails since" in shown.output
    assert json.loads(CliRunner().invoke(app, ["status", "--json"]).output) == []


def test_what_fails_and_is_gone_fails_no_longer(conn: Connection) -> None:
    job = Parts()
    job.work(conn, Event())
    assert State.of("parts", Patience(), job.patience).error == "a: ValueError: weights lost"
    Round(conn, "model", job.patience, Event()).each(["b"], lambda _: {})
    assert State.of("parts", Patience(), job.patience).error is None


def test_what_failed_for_a_runner_that_is_gone_is_a_warning(conn: Connection) -> None:
    failing = """INSERT INTO rescore.runner_jobs (job, at, error, times, failing_since)
                 VALUES ('learn', now() - interval '2 hours', 'no room', 9, now())"""
    conn.execute(failing.encode())
    assert told(conn)[0] == "warning"


def test_an_older_version_knows_nothing_of_runners(conn: Connection) -> None:
    with conn.transaction(force_rollback=True):
        conn.execute("DROP VIEW rescore.health CASCADE")
        conn.execute(
            "CREATE VIEW rescore.health AS SELECT 'stale' AS \"check\", 'ok' AS status, '' AS detail"
        )
        assert ops.checks(conn) == []
