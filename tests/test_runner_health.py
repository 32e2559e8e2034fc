"""`rescore.health` tells whether a runner is at work, what of it fails, and what waits for one."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

import psycopg
import pytest
from typer.testing import CliRunner

from rescore.cli import app
from rescore.tests.running import running, until
from rescore.tests.support import define, one, publish
from rescore.tests.test_run import SHOP
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
        assert detail.startswith(f"job learn fails since {since}: ValueError: no room; process ")
        job.fault = ""
        until(lambda: told(conn)[0] == "ok")
        assert told(conn)[1].endswith("is at work")
    assert told(conn)[1].startswith("none is at work, last seen 20")
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
    conn.execute("INSERT INTO rescore.learning (model, updated_at) VALUES ('churn', '2026-01-02Z')")
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
        assert status == "warning" and " is at work; a request that churn learn due" in detail


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
        assert ops.runner(conn) is None
