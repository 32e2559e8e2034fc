"""A profile of a replay whose clock somebody forgot to set: nothing of it goes on by today's date."""

from __future__ import annotations

import json
from collections.abc import Iterator
from threading import Event
from typing import Any

import pytest
from typer.testing import CliRunner

from rescore.cli import app
from rescore.errors import WrongArgument
from rescore.tests import trials
from rescore.tests.support import one
from rescore.tests.trials import Connection
from rescore.trainer.database import translated
from rescore.trainer.snapshots import Snapshotting, log

STATE = """SELECT (SELECT count(*) FROM rescore.snapshots), (SELECT count(*) FROM rescore.snapshots WHERE resolved IS NULL),
                  (SELECT to_jsonb(r) FROM rescore.snapshot_rounds AS r), (SELECT count(*) FROM rescore.models),
                  (SELECT max(churn_score_at) FROM customers)"""


@pytest.fixture
def conn(plain_dsn: str) -> Iterator[Connection]:
    with trials.connected(plain_dsn) as made:
        trials.version(made, 1.0)
        made.execute("CALL rescore.sweep('customers')")
        trials.at(made, -700)
        assert one(made, "SELECT rescore.snapshot('customers')") == 400
        yield made


def logged(conn: Connection) -> Any:
    return log(conn, "customers")


ASKED = {
    "round": lambda conn: one(conn, "SELECT rescore.snapshot('customers')"),
    "labels": lambda conn: one(conn, "SELECT rescore.resolve('customers')"),
    "retention": lambda conn: one(conn, "SELECT rescore._snapshot_tend('customers')"),
    "all": lambda conn: conn.execute("CALL rescore.log_snapshots('customers')"),
    "command": logged,
}


@pytest.mark.parametrize("asked", ASKED)
def test_what_writes_is_refused_until_the_clock_is_set(conn: Connection, asked: str) -> None:
    conn.execute("RESET rescore.clock")
    before = one(conn, STATE)
    told = "rescore.clock is not set, and profile customers is at"
    with pytest.raises(WrongArgument, match=told) as no, translated():
        ASKED[asked](conn)
    assert "`clock: session`" in no.value.detail and "SET rescore.clock" in no.value.hint
    assert one(conn, STATE) == before
    trials.at(conn, -690)
    ASKED[asked](conn)


def test_a_runner_leaves_the_profile_alone_and_says_so(conn: Connection, plain_dsn: str) -> None:
    before = one(conn, STATE)
    done = CliRunner().invoke(app, ["run", "--once", "--json", "--dsn", plain_dsn])
    assert done.exit_code == 1, done.output
    told = [json.loads(line) for line in done.output.splitlines() if line.startswith("{")]
    failed = {row["job"]: row.get("error") or "" for row in told}
    assert "rescore.clock is not set" in failed["snapshot"], failed
    assert one(conn, STATE) == before, failed


def test_today_is_gone_on_with_where_it_is_near_or_was_told_once(conn: Connection) -> None:
    conn.execute("SELECT set_config('rescore.clock', (now() - interval '5 days')::text, false)")
    facts = Snapshotting(1.0).work(conn, Event())
    assert facts["taken"] == 400
    conn.execute("RESET rescore.clock")
    assert Snapshotting(1.0).work(conn, Event())["taken"] == 400
