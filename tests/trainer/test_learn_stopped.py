"""Told to stop, the runner gives up the round it is learning; what comes of it is the same."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from rescore.server.private import Server
from rescore.tests.learning_shop import LEARN, shop, stream
from rescore.tests.running import until
from rescore.tests.support import one
from rescore.tests.test_run import COMMAND
from rescore.tests.trainer.test_learn_killed import ended, learning, twin
from rescore.trainer.compare import compare
from rescore.trainer.failing import Stopped
from rescore.trainer.judge import ServedQuality
from rescore.trainer.loop.drift import watch
from rescore.trainer.loop.job import Learning
from rescore.trainer.loop.learn import learn

Connection = psycopg.Connection[Any]
SLOWLY = LEARN.replace("batch: 100, examples: 1000", "batch: 1, examples: 6000")


class After(threading.Event):
    """Set by itself once it has been asked so many times: a signal in the middle of something."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.left = times

    def is_set(self) -> bool:
        self.left -= 1
        return self.left < 0


@pytest.fixture
def conn(plain_dsn: str) -> Iterator[Connection]:
    with psycopg.connect(plain_dsn, autocommit=True) as made:
        yield made


def test_a_signal_ends_a_long_round_soon(
    conn: Connection, plain_dsn: str, server: Server, tmp_path: Path
) -> None:
    shop(conn, SLOWLY)
    stream(conn, 6_000)
    conn.close()
    other, log = twin(server, plain_dsn), tmp_path / "log"
    learning(other)
    with log.open("w") as said, psycopg.connect(plain_dsn, autocommit=True) as watching:
        process = subprocess.Popen([*COMMAND, "run", "--dsn", plain_dsn], stdout=said)
        held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND pid <> pg_backend_pid()"
        until(lambda: one(watching, held) > 1, 60)  # the runner's, and that of who learns
        time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        # In the midst of the round, which would have been written down.
        assert one(watching, "SELECT count(*) FROM rescore.learn_log") == 0
    assert "churn stopped (first round)" in log.read_text()
    learning(plain_dsn)
    alone, disturbed = ended(other), ended(plain_dsn)
    assert len(alone["versions"]) == 2
    for what in alone:
        assert disturbed[what] == alone[what], what
    with psycopg.connect(server.dsn, autocommit=True) as admin:
        admin.execute("DROP DATABASE learning_twin WITH (FORCE)")


def test_what_ended_before_the_stop_stays(conn: Connection) -> None:
    shop(conn, LEARN.replace("examples: 1000", "examples: 500"))
    stream(conn, 1000)
    report = learn(conn, "churn", stop=After(9))  # asked once a round, and before each batch
    assert [each.action for each in report.rounds] == ["published"]
    assert one(conn, "SELECT sum(examples) FROM rescore.learn_log") < 500
    assert [each.action for each in learn(conn, "churn").rounds] == ["published"]
    assert one(conn, "SELECT array_agg(action ORDER BY id) FROM rescore.learn_log") == [
        "published",
        "published",
    ]


def test_the_job_says_that_it_was_stopped(conn: Connection) -> None:
    shop(conn)
    stream(conn, 1000)
    facts = Learning(60.0).work(conn, After(4))
    (told,) = facts["learnt"]
    assert (told["rounds"], told["why"], "error" in facts) == ([], "first round", False)


def test_judging_comparing_and_watching_stop_as_well(conn: Connection) -> None:
    shop(conn)
    stream(conn, 300)
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        watch(conn, "churn", stop)
    with pytest.raises(Stopped):
        compare(conn, "churn", 2, 1, stop=stop)
    assert conn.info.transaction_status.name == "IDLE"
    job = ServedQuality(60.0)
    assert job.work(conn, stop) == {}
    assert one(conn, "SELECT count(*) FROM rescore.judgements") == 0
    assert job.work(conn, threading.Event()) != {}
