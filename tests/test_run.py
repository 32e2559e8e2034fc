"""`rescore run`: one a database, on a schedule, until it is told to stop."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import psycopg
import pytest

from rescore import cli
from rescore.errors import Busy, NoServer, UnknownProfile
from rescore.tests.running import running, until
from rescore.tests.support import define, one, open_profile, publish
from rescore.trainer import run as runner
from rescore.trainer.run_log import line
from rescore.trainer.sweep import Terms
from rescore.trainer.usage import WrongUsage

Connection = psycopg.Connection[Any]

SHOP = """
CREATE TABLE orders (customer_id bigint, ordered_at timestamptz DEFAULT now());
CREATE INDEX ON orders (customer_id);
"""
DEFINITION = """
profile: {table: customers, key: {name: customer_id, type: bigint}}
events: {orders: {time: ordered_at}}
features: {days: {from: orders, days_since: last}}
models: {churn: {features: all}}
scores: {churn_score: {model: churn}}
"""
COMMAND = [sys.executable, "-c", "from rescore.cli import main; main()"]


@pytest.fixture
def conn(plain_dsn: str) -> Iterator[Connection]:
    with open_profile(plain_dsn, SHOP, DEFINITION) as made:
        made.execute("INSERT INTO orders SELECT i FROM generate_series(1, 300) AS i")
        yield made


def sweeping(dsn: str, profiles: tuple[str, ...] = (), **options: Any) -> Any:
    """A runner that does nothing but sweep, ten times a second."""
    return running(dsn, [runner.Sweeping(0.1, profiles, Terms())], **options)


def holder(conn: Connection) -> int | None:
    row = conn.execute(
        """SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'rescore run, process %'
           AND datname = current_database()"""
    ).fetchone()
    return row[0] if row else None


def test_every_profile_every_round(conn: Connection, plain_dsn: str) -> None:
    other = DEFINITION.replace("customers", "clients").replace("churn", "loyal")
    define(conn, other)
    publish(conn, "loyal")
    with sweeping(plain_dsn) as made:
        until(lambda: len(made.of("sweep")) >= 3)
    for facts in made.of("sweep")[:3]:
        assert [each["profile"] for each in facts["profiles"]] == ["clients", "customers"]
        assert (facts["rows"], facts["written"], facts["profiles"][0]["finished"]) == (
            600,
            600,
            True,
        )
    assert made.ended == 0
    assert "rows 600, written 600" in line(facts)


def test_one_that_fails_keeps_nobody_from_the_rest(conn: Connection, plain_dsn: str) -> None:
    with sweeping(plain_dsn, ("nosuch", "customers"), once=True) as made:
        until(lambda: made.ended is not None)
    (facts,) = made.of("sweep")
    assert (made.ended, facts["rows"]) == (1, 300)
    assert "nosuch" in facts["error"]


def test_a_second_runner_is_told_who_runs_or_takes_over(conn: Connection, plain_dsn: str) -> None:
    with sweeping(plain_dsn) as first:
        until(lambda: first.of("sweep"))
        with sweeping(plain_dsn) as second:
            until(lambda: second.ended is not None)
        assert isinstance(second.ended, Busy)
        mine = f"process {os.getpid()} on {socket.gethostname()}"[:40]
        told = f"It is server process {holder(conn)} (rescore run, {mine}"
        assert second.ended.detail.startswith(told)
        assert ") as rescore_plain since " in second.ended.detail
        assert second.ended.hint.startswith(f"Stop that `rescore run`, {mine}")
        with sweeping(plain_dsn, standby=True) as third:
            until(lambda: third.said)
            assert (third.said[0]["job"], third.of("sweep")) == ("standby", [])
            first.stop.set()
            until(lambda: third.of("sweep"))
    assert (first.ended, third.ended) == (0, 0)


def test_a_lost_connection_is_made_again(conn: Connection, plain_dsn: str) -> None:
    with sweeping(plain_dsn) as made:
        until(lambda: made.of("sweep"))
        conn.execute("SELECT pg_terminate_backend(%s)", [holder(conn)])
        lost = until(lambda: [facts for facts in made.said if facts["job"] == "connection"])
        before = len(made.of("sweep"))
        until(lambda: len(made.of("sweep")) > before)
    assert (made.ended, lost[0]["retry"]) == (0, 1.0)


def test_the_first_connection_must_be_had() -> None:
    with sweeping("host=127.0.0.1 port=1 connect_timeout=2") as made:
        until(lambda: made.ended is not None)
    assert isinstance(made.ended, NoServer)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_finishes_the_batch(conn: Connection, plain_dsn: str, number: int) -> None:
    publish(conn, seed=8)
    options = ["--every", "1m", "--max-age", "100 years", "--batch", "10", "--rate", "100"]
    process = subprocess.Popen(
        [*COMMAND, "run", "--dsn", plain_dsn, "--json", *options], stdout=subprocess.PIPE, text=True
    )
    position = "SELECT position::int FROM rescore.sweeps"
    until(lambda: conn.execute(position).fetchone())
    process.send_signal(number)
    out, _ = process.communicate(timeout=30)
    (facts,) = map(json.loads, out.splitlines())
    done = one(conn, position)
    assert (process.returncode, facts["profiles"][0]["finished"]) == (0, False)
    assert 0 < done == facts["rows"] < 300
    conn.execute("CALL rescore.sweep('customers', '100 years', 10, tolerance => 0)")
    assert one(conn, "SELECT looked, changed FROM rescore.sweeps") == (300, 300)


def test_the_health_file_says_what_the_runner_does(
    conn: Connection, plain_dsn: str, tmp_path: Path
) -> None:
    path = tmp_path / "health.json"
    process = subprocess.Popen(
        [*COMMAND, "run", "--dsn", plain_dsn, "--every", "1s", "--health-file", str(path)],
        stdout=subprocess.DEVNULL,
    )

    def told() -> Any:
        return json.loads(path.read_text()) if path.exists() else {"jobs": {}}

    until(lambda: "rules" in told()["jobs"])
    conn.execute("DROP FUNCTION rescore_compiled.customers__rescore")
    until(lambda: told()["jobs"]["sweep"]["error"])
    conn.execute("SELECT pg_terminate_backend(%s)", [holder(conn)])
    until(lambda: told()["state"] == "disconnected")
    until(lambda: told()["state"] == "waiting")
    assert datetime.now(timezone.utc) - datetime.fromisoformat(told()["at"]) < timedelta(seconds=9)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert (told()["state"], told()["pid"]) == ("stopped", process.pid)
    assert [each.name for each in tmp_path.iterdir()] == ["health.json"]


def test_arguments_are_checked_before_anything_runs(conn: Connection, plain_dsn: str) -> None:
    assert runner.sweeping(plain_dsn, "5m", ["customers"], Terms()).every == 300
    wrong: list[Any] = [
        ("often", (), None, WrongUsage),
        ("-5m", (), None, WrongUsage),
        ("5m", (), "old", WrongUsage),
        ("5m", ("custmers",), None, UnknownProfile),
    ]
    for every, profiles, max_age, error in wrong:
        with pytest.raises(error):
            runner.sweeping(plain_dsn, every, profiles, Terms(max_age))


@pytest.fixture
def call(
    plain_dsn: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Call the command line and return its exit code and what it printed."""

    def called(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["rescore", *arguments, "--dsn", plain_dsn])
        try:
            cli.main()
        except SystemExit as end:
            return (int(end.code or 0), *capfd.readouterr())
        return (0, *capfd.readouterr())

    return called


def test_the_commands_of_the_clock(
    conn: Connection, call: Callable[..., tuple[int, str, str]]
) -> None:
    publish(conn, seed=8)
    options = ["--max-age", "100 years", "--rate", "1e6", "--tolerance", "0.1", "--restart"]
    code, out, _ = call("sweep", "customers", *options, "--wait", "--json")
    told = json.loads(out)
    assert (code, told["rows"], told["written"], told["locked"]) == (0, 300, 300, 0)
    code, out, _ = call("run", "--once", "--tolerance", "0.5")
    assert (code, " sweep: rows 300, written 0, " in out) == (0, True)
    code, _, err = call("run", "--once", "--every", "often")
    assert (code, '--every "often"' in err) == (2, True)
    code, _, err = call("run", "--once", "--health-file", "/nowhere/health")
    assert (code, "--health-file /nowhere/health: No such file" in err) == (2, True)
    code, _, err = call("schedule", "customers")
    assert (code, "--every" in err) == (2, True)
    code, _, err = call("schedule", "customers", "--every", "@hourly")
    assert (code, "rescore run" in err or "USAGE on schema cron" in err) == (1, True)
