"""Told to stop while they wait for what others hold, runner and commands do not wait for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from rescore.tests.learning_shop import DEFINITION, LEARN, connected, stream
from rescore.tests.running import until
from rescore.tests.support import define, one
from rescore.tests.test_run import COMMAND
from rescore.tests.waiting import wait_for
from rescore.trainer.loop.learn import held, learn
from rescore.trainer.signals import stopped_by_signals, terminable
from rescore.trainer.stopping import unblocked

Connection = psycopg.Connection[Any]
WAITS = "SELECT count(*) FROM pg_locks WHERE NOT granted AND waitstart IS NOT NULL"


@pytest.fixture
def conn(plain_dsn: str) -> Iterator[Connection]:
    with connected(plain_dsn) as made:
        made.execute("INSERT INTO customers SELECT i, 100, 10 FROM generate_series(1, 300) AS i")
        stream(made, 1500)
        yield made


@contextmanager
def locked(dsn: str, table: str) -> Iterator[Connection]:
    """A session that holds a table."""
    with psycopg.connect(dsn) as other:
        other.execute(f"LOCK TABLE {table}".encode())
        yield other


@contextmanager
def waiting(conn: Connection, dsn: str, *words: str) -> Iterator[subprocess.Popen[str]]:
    """Call a command; the block begins when it waits for a lock."""
    pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    # The profile goes by the session's clock, and has snapshots of long ago.
    told = os.environ | {"PGOPTIONS": "-c rescore.clock=2026-06-01T00:00Z"}
    with subprocess.Popen([*COMMAND, *words, "--dsn", dsn], env=told, **pipes) as process:
        try:
            until(lambda: one(conn, WAITS), 60)
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(
    "table", ["customers", "rescore.snapshots", "rescore.learning", "rescore.runner_jobs"]
)
def test_a_runner_does_not_wait_for_a_lock(
    conn: Connection, plain_dsn: str, table: str, number: int
) -> None:
    define(conn, DEFINITION.replace("LEARN", LEARN) + "snapshot: {every: 1 day}\n")
    with (
        locked(plain_dsn, table),
        waiting(conn, plain_dsn, "run", "--every", "1s") as process,
    ):
        process.send_signal(number)
        out, err = process.communicate(timeout=15)
        assert (process.returncode, err) == (0, "")
        assert "cancel" not in out and "Traceback" not in out
        until(lambda: one(conn, WAITS) == 0)
    assert one(conn, "SELECT count(*) FROM rescore.runner_jobs WHERE error IS NOT NULL") == 0


STARTING = """
import os
from rescore.trainer import fold
fold.folding = lambda *_: os.kill(os.getpid(), NUMBER)
from rescore.cli import main
main()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_runner_that_starts_ends_well(plain_dsn: str, number: int) -> None:
    command = [sys.executable, "-c", STARTING.replace("NUMBER", str(int(number)))]
    command += ["run", "--dsn", plain_dsn]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_a_runner_that_waits_for_a_lock_as_it_starts_ends_well(
    conn: Connection, plain_dsn: str
) -> None:
    with (
        locked(plain_dsn, "rescore.profiles"),
        waiting(conn, plain_dsn, "run", "--profile", "customers") as process,
    ):
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=15)
        assert (process.returncode, err) == (0, "")
        until(lambda: one(conn, WAITS) == 0)


@pytest.mark.parametrize("words", [("learn", "churn"), ("train", "churn")])
def test_a_command_that_is_told_to_end_cancels_what_waits(
    conn: Connection, plain_dsn: str, words: tuple[str, ...]
) -> None:
    with (
        locked(plain_dsn, "customers, rescore.snapshots, orders"),
        waiting(conn, plain_dsn, *words) as process,
    ):
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=15)
        assert process.returncode == 143
        assert "ended by SIGTERM" in err and "Traceback" not in err
        until(lambda: one(conn, WAITS) == 0)


def test_a_learner_says_for_whom_it_waits(conn: Connection, plain_dsn: str) -> None:
    pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    command = [*COMMAND, "learn", "churn", "--wait", "--dsn", plain_dsn]
    with (
        psycopg.connect(plain_dsn, autocommit=True) as learner,
        locked(plain_dsn, "rescore.snapshots") as other,
        subprocess.Popen(command, **pipes) as process,
    ):
        assert process.stderr
        with held(learner, "churn", wait=True, stop=threading.Event()):
            told = process.stderr.readline()
            pid = learner.info.backend_pid
            while "waits" not in told:
                told = process.stderr.readline()
            assert told.startswith(f"learn churn: waits for server process {pid} (a session) as ")
        pid = other.info.backend_pid
        while f"waits for server process {pid} " not in told:
            told = process.stderr.readline()
            assert told
        process.kill()


def test_a_page_that_is_read_ahead_is_not_waited_for(conn: Connection, plain_dsn: str) -> None:
    define(conn, DEFINITION.replace("LEARN", LEARN.replace("examples: 1000, ", "")))
    stop = threading.Event()
    with (
        psycopg.connect(plain_dsn, autocommit=True) as watching,
        locked(plain_dsn, "rescore.snapshots") as other,
        ThreadPoolExecutor(1) as thread,
        unblocked(conn, stop),
    ):
        learning = thread.submit(learn, conn, "churn", stop=stop)
        wait_for(watching, conn, other)
        stop.set()
        assert learning.result(15).rounds == ()
        assert one(watching, "SELECT count(*) FROM rescore.learn_log") == 0
    assert [each.action for each in learn(conn, "churn").rounds] == ["published"]


def test_who_is_not_told_to_stop_waits(conn: Connection, plain_dsn: str) -> None:
    with (
        locked(plain_dsn, "rescore.snapshots") as other,
        psycopg.connect(plain_dsn, autocommit=True) as watching,
        ThreadPoolExecutor(1) as thread,
        unblocked(conn, threading.Event()),
    ):
        learning = thread.submit(learn, conn, "churn")
        wait_for(watching, conn, other)
        threading.Event().wait(2.5)
        assert not learning.done()
        other.rollback()
        assert learning.result(30).published


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_a_runner_as_it_ends_other_commands(number: int) -> None:
    with terminable() as terminated, stopped_by_signals() as stop:
        stop.begun = True
        signal.raise_signal(number)
        assert stop.is_set() and not terminated.is_set()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
        assert terminated.is_set() == (number == signal.SIGTERM)
