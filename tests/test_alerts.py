"""Alerts: what each rule finds, told once a cause, by a command or a webhook."""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Event, Thread, Timer
from typing import Any

import psycopg
import pytest
from typer.testing import CliRunner

from rescore.cli import app
from rescore.errors import BadDefinition
from rescore.tests import trials
from rescore.tests.support import define, one
from rescore.trainer.alert_rules import Alerts, load
from rescore.trainer.alerts import CHECKS, Alerting
from rescore.trainer.judge import judge

Connection = psycopg.Connection[Any]
APPEND = "import sys; open(sys.argv[1], 'a').write(sys.stdin.read() + '\\n')"


@pytest.fixture
def conn(dsn: str) -> Any:
    with trials.connected(dsn, customers=200) as made:
        yield made


def alerting(tell: dict[str, Any], **rules: Any) -> Alerting:
    return Alerting(60, Alerts.model_validate({"tell": tell, "rules": rules}))


def writes_to(path: Path) -> dict[str, Any]:
    return {"command": [sys.executable, "-c", APPEND, str(path)]}


def told(path: Path) -> list[str]:
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line)["cause"] for line in lines]


def test_each_cause_is_told_once_and_again_when_it_is_back(
    conn: Connection, tmp_path: Path
) -> None:
    out = tmp_path / "told"
    job = alerting(writes_to(out), health={})
    for _ in range(3):
        assert job.work(conn, Event())["open"] == 1
    assert told(out) == ["health: champions"]
    trials.version(conn, 1.0)
    conn.execute("CALL rescore.sweep('customers')")  # who has no score yet is stale
    assert job.work(conn, Event()) == {"open": 0}
    conn.execute("UPDATE rescore.deployments SET champion = NULL")
    job.work(conn, Event())
    assert told(out) == ["health: champions"] * 2


def test_a_command_that_fails_is_tried_again(conn: Connection, tmp_path: Path) -> None:
    broken = alerting({"command": [sys.executable, "-c", "raise SystemExit(3)"]}, health={})
    assert "exit status 3" in broken.work(conn, Event())["error"]
    missing = alerting({"command": ["/no/such/program"]}, health={})
    assert "could not tell" in missing.work(conn, Event())["error"]
    out = tmp_path / "told"
    assert alerting(writes_to(out), health={}).work(conn, Event())["told"]
    assert told(out) == ["health: champions"]


def test_quality_staleness_latency_and_drift(conn: Connection, tmp_path: Path) -> None:
    out = tmp_path / "told"
    trials.version(conn, -1.0)
    conn.execute("CALL rescore.sweep('customers')")
    trials.live(conn, 1)
    fine = alerting(
        writes_to(out),
        quality={"worse_than": 0.1},
        stale={"share": "50%", "older_than": "100 days"},
        latency={"ms": 60000},
        drift={"psi": 0.25},
    )
    assert fine.work(conn, Event()) == {"open": 0}
    conn.execute(
        """INSERT INTO rescore.drift_log (model, feature, version, at, period, examples, numbers)
           VALUES ('churn', 'tendency', 1, now(), '[2026-01-01,2026-02-01]', 500,
                   '{"psi": 0.9, "psi_by_chance": 0.01}')"""
    )
    strict = alerting(
        writes_to(out),
        quality={"worse_than": 0.6},
        stale={"share": 0.5, "older_than": "1 day"},
        latency={"ms": 0.0001},
        drift={"psi": 0.25},
    )
    assert strict.work(conn, Event())["open"] == 4
    assert told(out) == [
        "quality: auc of churn",
        "drift: tendency of churn",
        "stale: churn_score of customers",
        "latency: churn",
    ]
    conn.execute(
        """INSERT INTO rescore.drift_log (model, feature, version, at, period, examples, numbers, changed_at)
           VALUES ('churn', 'loss', 1, now(), '[2026-01-01,2026-02-01]', 500, '{}', '2026-01-20 08:00Z')"""
    )
    told_of = alerting(writes_to(out), drift={"psi": 0.25, "changed": True})
    assert told_of.work(conn, Event())["told"] == (
        "loss of model churn has changed since about 2026-01-20 08:00 UTC"
    )
    assert fine.work(conn, Event())["open"] == 1  # only who asks is told
    conn.execute("DELETE FROM rescore.drift_log WHERE feature = 'loss'")
    conn.execute("UPDATE rescore.snapshots SET treated_at = taken_at")
    assert strict.work(conn, Event())["open"] == 3  # of treated customers it does not tell


def test_what_is_no_longer_defined_alarms_nobody(conn: Connection, tmp_path: Path) -> None:
    out = tmp_path / "told"
    trials.version(conn, 1.0)
    trials.version(conn, -1.0)
    conn.execute("CALL rescore.sweep('customers')")
    trials.live(conn, 1)
    conn.execute(
        """INSERT INTO rescore.drift_log (model, feature, version, at, period, examples, numbers)
           VALUES ('churn', 'tendency', 2, now(), '[2026-01-01,2026-02-01]', 500,
                   '{"psi": 0.9, "psi_by_chance": 0.01}')"""
    )
    assert [made.verdict for made in judge(conn, "churn")] == ["worse"]
    stale = {"share": 0.5, "older_than": "1 day"}
    rules = {"quality": {"worse_than": 0.6}, "judged": {}, "drift": {}, "stale": stale}
    assert alerting(writes_to(out), **rules).work(conn, Event())["open"] == 4
    text = trials.DEFINITION.replace("TRAFFIC", trials.RULES)
    text = text.replace("models: {churn:", "models: {loyal:")
    define(conn, text.replace("{churn_score: {model: churn}}", "{loyal_score: {model: loyal}}"))
    assert alerting(writes_to(out), **rules).work(conn, Event()) == {"open": 0}
    gone = "SELECT count(*) FILTER (WHERE resolved_at IS NULL), count(*) FROM rescore.alerts"
    assert one(conn, gone) == (0, 4)
    assert len(told(out)) == 4


@contextmanager
def receiver(status: int) -> Iterator[tuple[str, list[Any]]]:
    """An HTTP server and what was posted to it."""
    posted: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            posted.append(json.loads(self.rfile.read(length)))
            self.send_response(status)
            self.send_header("Location", "/elsewhere")
            self.end_headers()

        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", posted
    finally:
        server.shutdown()
        server.server_close()


def test_a_webhook_is_posted_to(conn: Connection) -> None:
    with receiver(200) as (address, posted):
        alerting({"webhook": address}, health={}).work(conn, Event())
    assert [p["cause"] for p in posted] == ["health: champions"]
    assert posted[0]["rule"] == "health" and "no version serves" in posted[0]["message"]
    trials.version(conn, 1.0)
    conn.execute("CALL rescore.sweep('customers')")
    alerting({"webhook": address}, health={}).work(conn, Event())
    conn.execute("UPDATE rescore.deployments SET champion = NULL")
    with receiver(500) as (address, posted):
        assert "500" in alerting({"webhook": address}, health={}).work(conn, Event())["error"]
    assert len(posted) == 1


def test_a_webhook_that_is_elsewhere_was_not_told(conn: Connection) -> None:
    with receiver(302) as (address, posted):
        done = alerting({"webhook": address}, health={}).work(conn, Event())
    assert "302" in done["error"] and "told" not in done
    assert len(posted) == 1
    assert not conn.execute("SELECT FROM rescore.alerts WHERE sent_at IS NOT NULL").fetchall()


def test_no_webhook_is_wrong_enough_to_end_the_runner(conn: Connection) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        Thread(target=lambda: server.accept()[0].sendall(b"what?\n"), daemon=True).start()
        no_http = f"http://127.0.0.1:{server.getsockname()[1]}/"
        for webhook in (no_http, "http://a b/", "http://[/", "http://127.0.0.1/ü"):
            done = alerting({"webhook": webhook, "timeout": 5}, health={}).work(conn, Event())
            assert "could not tell" in done["error"]


def test_who_could_not_be_told_keeps_nobody_else_from_it(conn: Connection, tmp_path: Path) -> None:
    out = tmp_path / "told"
    with receiver(500) as (address, posted):
        job = alerting({**writes_to(out), "webhook": address}, health={})
        for _ in range(3):
            assert "500" in job.work(conn, Event())["error"]
    assert (len(posted), told(out)) == (3, ["health: champions"])
    with receiver(200) as (address, posted):
        job = alerting({"command": ["/no/such/program"], "webhook": address}, health={})
        assert "no/such" in job.work(conn, Event())["error"]
    assert len(posted) == 1


def test_a_rule_that_fails_keeps_no_other_from_it(conn: Connection, tmp_path: Path) -> None:
    out = tmp_path / "told"
    given: dict[str, Any] = {"stale": {"share": 0.0}, "latency": {"ms": 0.0001}}
    trials.version(conn, 1.0)
    conn.execute("ALTER TABLE customers RENAME churn_score_at TO elsewhere")
    conn.execute(
        "INSERT INTO rescore.alerts (cause, rule, message) VALUES ('stale: x', 'stale', '')"
    )
    done = alerting(writes_to(out), **given).work(conn, Event())
    assert "churn_score_at" in done["error"]
    assert told(out) == ["latency: churn"]
    assert conn.execute(
        "SELECT resolved_at FROM rescore.alerts WHERE rule = 'stale'"
    ).fetchone() == (None,)


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ("tell: {webhook: ftp://x}\nrules: {}\n", "1:7", "no web address"),
        ("tell: {}\nrules: {}\n", "1:1", "nobody is told"),
        ("tell: {command: [a]}\nrules: {drift: {psy: 1}}\n", "2:17", 'unknown key "psy"'),
        ("tell: {command: [a]}\nrules: {latency: {ms: 0}}\n", "2:18", "greater than 0"),
        ("tell: {command: [a]}\nrule: {}\n", "2:1", 'unknown key "rule"'),
    ],
)
def test_a_wrong_file_is_refused_with_its_place(
    tmp_path: Path, text: str, place: str, said: str
) -> None:
    path = tmp_path / "alerts.yaml"
    path.write_text(text)
    with pytest.raises(BadDefinition) as caught:
        load(path)
    assert said in str(caught.value) and place.split(":")[0] in str(caught.value)


def test_run_judges_and_tells(conn: Connection, dsn: str, tmp_path: Path) -> None:
    out, file = tmp_path / "told", tmp_path / "alerts.yaml"
    file.write_text(json.dumps({"tell": writes_to(out), "rules": {"health": {}}}))
    given = ["run", "--once", "--json", "--dsn", dsn, "--alerts", str(file)]
    done = CliRunner().invoke(app, given)
    assert done.exit_code == 0, done.output
    assert {json.loads(line)["job"] for line in done.output.splitlines()} >= {"rules", "alerts"}
    assert told(out) == ["health: champions"]


def test_a_rule_that_fails_keeps_no_other_from_being_told(
    conn: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(conn: Connection, rule: Any) -> Iterator[Any]:
        conn.execute("BEGIN")
        raise ZeroDivisionError("division by zero")

    monkeypatch.setitem(CHECKS, "drift", broken)
    out = tmp_path / "told"
    facts = alerting(writes_to(out), drift={}, health={}).work(conn, Event())
    assert facts["error"] == "drift: ZeroDivisionError: division by zero"
    assert (facts["open"], told(out)) == (1, ["health: champions"])


def test_an_answer_that_is_nonsense_is_an_error_of_the_round(conn: Connection) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            made, _ = server.accept()
            with made:
                made.recv(65_536)
                made.sendall(b"what?\r\n\r\n")

        thread = Thread(target=answer)
        thread.start()
        webhook = f"http://127.0.0.1:{server.getsockname()[1]}"
        facts = alerting({"webhook": webhook}, health={}).work(conn, Event())
        thread.join(timeout=10)
    assert "could not tell" in facts["error"]


def test_a_command_that_takes_long_keeps_nobody_from_stopping(
    conn: Connection, tmp_path: Path
) -> None:
    slow = "import sys, time; sys.stdin.read(); time.sleep(60)"
    job = alerting({"command": [sys.executable, "-c", slow], "timeout": 100}, health={})
    stop = Event()
    Timer(1.0, stop.set).start()
    started = time.monotonic()
    assert "could not tell" in job.work(conn, stop)["error"]
    assert time.monotonic() - started < 10
    hasty = alerting({"command": [sys.executable, "-c", slow], "timeout": 0.5}, health={})
    assert "timed out after 0.5 seconds" in hasty.work(conn, Event())["error"]
    out = tmp_path / "told"
    assert alerting(writes_to(out), health={}).work(conn, Event())["told"]  # and told later
