"""Models that a definition no longer has: they learn, serve and score no more, and say so."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import psycopg
import pytest
from psycopg import sql

from rescore.errors import (
    NotEnoughData,
    NothingToRollBack,
    RescoreError,
    UnknownModel,
    WrongArgument,
)
from rescore.tests.learning_shop import (
    DEFINITION,
    LEARN,
    connected,
    drawn,
    fitted,
    publish_start,
    stream,
)
from rescore.tests.support import contract_of, define, one
from rescore.trainer import operations as ops
from rescore.trainer.compare import compare
from rescore.trainer.database import translated
from rescore.trainer.examples import read_source
from rescore.trainer.loop.drift import watch
from rescore.trainer.loop.job import Learning
from rescore.trainer.loop.learn import learn
from rescore.trainer.publish import publish

Connection = psycopg.Connection[Any]
TEXT = DEFINITION.replace("LEARN", LEARN)
WITHOUT = TEXT.replace("  churn:\n", "  loyal:\n").replace("churn}}", "loyal}}")
GONE = "is no longer defined"
ROW = "SELECT rescore.predict('churn', c) FROM customers AS c"
PAYLOAD = """SELECT rescore.predict_payload('churn', '{"spend": 3, "visits": 1}')"""


@pytest.fixture
def conn(any_dsn: str) -> Iterator[Connection]:
    with connected(any_dsn) as made:
        made.execute("INSERT INTO customers VALUES (1, 100, 10)")
        stream(made, 1000)
        publish_start(made)
        yield made


def anew(conn: Connection) -> int:
    design, labels = drawn(np.random.default_rng(1), 400)
    contract = contract_of(conn)
    return publish(
        fitted(design, labels, np.array([1, 1])), model="churn", conn=conn, contract=contract
    )


def asks(query: str) -> Callable[[Connection], Any]:
    return lambda conn: conn.execute(query.encode())


REFUSED: dict[str, Callable[[Connection], Any]] = {
    "learn": lambda conn: learn(conn, "churn"),
    "drift": lambda conn: watch(conn, "churn"),
    "run": lambda conn: Learning(30.0, ("churn",)).work(conn, threading.Event()),
    "train": lambda conn: read_source(conn, "churn"),
    "publish": anew,
    "promote": lambda conn: ops.promote(conn, "churn", 1),
    "rollback": lambda conn: ops.rollback(conn, "churn"),
    "challenge": lambda conn: ops.challenge(conn, "churn", 1, 0.1),
    "shadow": lambda conn: ops.shadow(conn, "churn", 1),
    "verify": lambda conn: ops.verify_model(conn, "churn"),
    "request": asks("SELECT rescore.request_learning('churn')"),
    "row": asks(ROW),
    "key": asks("SELECT rescore.predict_key('churn', 1)"),
    "payload": asks(PAYLOAD),
    "explain": asks("SELECT * FROM rescore.explain('churn', '1')"),
}


def told(conn: Connection, act: Callable[[Connection], Any]) -> RescoreError | None:
    try:
        with translated():
            found = act(conn)
    except RescoreError as error:
        return error
    return UnknownModel(str(found)) if isinstance(found, dict) and "error" in str(found) else None


def test_what_is_no_longer_defined_serves_and_learns_no_more(conn: Connection) -> None:
    served = one(conn, ROW)
    assert one(conn, PAYLOAD) is not None
    define(conn, WITHOUT)
    state = "SELECT champion FROM rescore.deployments WHERE model = 'churn'"
    before = one(conn, state), one(conn, "SELECT count(*) FROM rescore.learn_log")
    for name, act in REFUSED.items():
        error = told(conn, act)
        assert isinstance(error, UnknownModel) and GONE in str(error), (name, error)
        if name != "run":
            assert "Profile customers was applied without it" in error.detail, name
            assert "efine it again" in error.hint, name
    assert (one(conn, state), one(conn, "SELECT count(*) FROM rescore.learn_log")) == before
    # What is left can be read.
    with pytest.raises(NotEnoughData, match="has a score of version 2"):
        compare(conn, "churn", 1)
    with pytest.raises(RescoreError, match="unknown model chrun") as unknown, translated():
        conn.execute("SELECT rescore.predict_key('chrun', 1)")
    assert unknown.value.detail == "Known models: loyal."
    define(conn, TEXT)
    assert one(conn, ROW) == served
    assert one(conn, PAYLOAD) is not None
    assert ops.rollback(conn, "churn") == 1
    assert told(conn, REFUSED["learn"]) is None


def rows_of(conn: Connection, model: str) -> dict[str, int]:
    """Rows of every table that has a model."""
    tables = conn.execute(
        """SELECT c.relname FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'model'
           WHERE c.relnamespace = 'rescore'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition"""
    ).fetchall()
    count = sql.SQL("SELECT count(*) FROM rescore.{} WHERE model = %s")
    return {
        name: conn.execute(count.format(sql.Identifier(name)), (model,)).fetchall()[0][0]
        for (name,) in tables
    }


def functions(conn: Connection, model: str) -> list[str]:
    query = """SELECT coalesce(array_agg(proname::text ORDER BY 1), '{}') FROM pg_proc
               WHERE pronamespace = 'rescore_compiled'::regnamespace AND proname LIKE %s || '%%'"""
    return list(one(conn, query, model))


def test_what_a_removed_model_left_is_dropped(conn: Connection) -> None:
    assert told(conn, REFUSED["learn"]) is None
    ops.challenge(conn, "churn", 1, 0.5)
    with pytest.raises(WrongArgument, match="model churn is defined") as refused:
        ops.drop_model(conn, "churn")
    assert "Take it out of the definition" in refused.value.hint
    with pytest.raises(UnknownModel):
        ops.drop_model(conn, "chrun")
    define(conn, WITHOUT.replace("models:", "models:\n  churner: {label: churned}"))
    before, others = rows_of(conn, "churn"), functions(conn, "churner")
    there = {each["place"]: each for each in ops.left_behind(conn, "churn")}
    left = {place: each["amount"] for place, each in there.items()}
    # All that there is of it, and nothing of a model with a like name.
    assert {
        f"rescore.{name}": n for name, n in before.items() if name != "outbox"
    }.items() <= left.items()
    assert before["snapshots"] == 1000 and before["models"] == 3 and before["lineage"] > 0
    assert rows_of(conn, "churn") == before
    gone = {each["place"]: each for each in ops.drop_model(conn, "churn", "tidied up")}
    assert {place: each["amount"] for place, each in gone.items()} == left
    sizes = {place: pytest.approx(each["bytes"], rel=0.02) for place, each in there.items()}
    assert {place: each["bytes"] for place, each in gone.items()} == sizes
    assert {name for name, n in rows_of(conn, "churn").items() if n} == {"deployment_history"}
    assert functions(conn, "churn") == functions(conn, "churner") == others
    history = "SELECT action, version, previous, reason, details #>> '{dropped,rescore.snapshots,0}' FROM rescore.deployment_history WHERE model = 'churn'"
    assert conn.execute(history).fetchall() == [
        ("drop", 3, 3, "the model was dropped: tidied up", "1000")
    ]
    with pytest.raises(UnknownModel, match="unknown model churn"), translated():
        conn.execute("SELECT rescore.predict_key('churn', 1)")
    define(conn, TEXT)
    assert publish_start(conn) == 4  # no number is used again
    assert one(conn, ROW) is not None
    with pytest.raises(NothingToRollBack):
        ops.rollback(conn, "churn")


def test_what_is_dropped_is_counted_as_it_goes(conn: Connection) -> None:
    """At a terminal it was counted for who is asked; nobody waits for that again."""
    define(conn, WITHOUT)
    there = rows_of(conn, "churn")
    conn.execute(
        """CREATE OR REPLACE FUNCTION rescore.left_behind(model text) RETURNS TABLE (place text, amount bigint, bytes bigint)
           LANGUAGE plpgsql AS 'BEGIN RAISE ''counted again''; END'"""
    )
    gone = {each["place"]: each["amount"] for each in ops.drop_model(conn, "churn")}
    assert gone["rescore.snapshots"] == there["snapshots"] == 1000


def test_a_model_that_never_served_is_dropped(conn: Connection) -> None:
    define(conn, TEXT.replace("models:", "models:\n  loyal: {label: churned}"))
    design, labels = drawn(np.random.default_rng(1), 400)
    pipeline, contract = fitted(design, labels, np.array([1, 1])), contract_of(conn)
    publish(pipeline, model="loyal", conn=conn, contract=contract, candidate=True)
    define(conn, TEXT)
    ops.drop_model(conn, "loyal")
    history = (
        "SELECT action, version, previous FROM rescore.deployment_history WHERE model = 'loyal'"
    )
    assert conn.execute(history).fetchall() == [("drop", 1, None)]


def test_trainers_and_readers_may_not_drop(conn: Connection) -> None:
    define(conn, WITHOUT)
    with psycopg.connect(conn.info.dsn, autocommit=True) as other:
        for role in ("rescore_trainer", "rescore_reader"):
            allowed = "SELECT has_function_privilege(%s, f, 'EXECUTE') FROM unnest(%s::regprocedure[]) AS f"
            names = ["rescore.drop_model(text, text)", "rescore.left_behind(text)"]
            there = one(other, "SELECT to_regrole(%s) IS NOT NULL", role)
            assert not there or other.execute(allowed, (role, names)).fetchall() == [(False,)] * 2


def called(dsn: str, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rescore.cli", "drop", "churn", "--dsn", dsn, *words]
    return subprocess.run(
        command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )


def asked(dsn: str, answer: bytes | int) -> tuple[str, int]:
    """Call it on a terminal, and answer its question, or send it a signal there."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "rescore.cli", "drop", "churn", "--dsn", dsn]
    with subprocess.Popen(
        command, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        os.close(theirs)
        assert process.stderr
        told = ""
        try:
            while not told.endswith("[y/N]: "):
                read = process.stderr.read(1)
                assert read, told
                told += read
            if isinstance(answer, int):
                process.send_signal(answer)
            else:
                os.write(ours, answer)
            told += process.communicate(timeout=60)[1]
        finally:
            process.kill()  # or leaving would wait for it
    os.close(ours)
    return told, process.returncode


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_leaves_the_question_is_no_failure_of_the_command(
    conn: Connection, any_dsn: str, number: int
) -> None:
    define(conn, WITHOUT)
    there = rows_of(conn, "churn")
    told, code = asked(any_dsn, number)
    what = {signal.SIGINT: "interrupted", signal.SIGTERM: "ended by SIGTERM"}
    assert code == 128 + number
    assert f"Delete it? [y/N]: \nrescore: {what[signal.Signals(number)]}\n" in told
    assert rows_of(conn, "churn") == there


def test_dropping_asks_or_wants_to_be_told(conn: Connection, any_dsn: str) -> None:
    defined = called(any_dsn, "--yes")
    assert defined.returncode == 2 and "model churn is defined" in defined.stderr
    define(conn, WITHOUT)
    there = rows_of(conn, "churn")
    refused = called(any_dsn)
    held = r"\n  rescore\.snapshots +1000 +[\d.]+ kB\n"
    assert refused.returncode == 2 and re.search(held, refused.stderr)
    assert "--yes" in refused.stderr
    told, code = asked(any_dsn, b"n\n")
    assert code != 0 and re.search(held, told)
    assert re.search(r"\n  [\d.]+ kB in all\nDelete it\? ", told)
    assert max(map(len, told.splitlines())) <= 80
    assert rows_of(conn, "churn") == there
    assert asked(any_dsn, b"y\n")[1] == 0
    assert not one(conn, "SELECT count(*) FROM rescore.models WHERE model = 'churn'")


def test_what_was_dropped_is_told_in_json(conn: Connection, any_dsn: str) -> None:
    define(conn, WITHOUT)
    done = called(any_dsn, "--yes", "--json", "--reason", "tidied up")
    assert done.returncode == 0, done.stderr
    gone = {each["place"]: each for each in json.loads(done.stdout)}
    assert gone["rescore.snapshots"]["amount"] == 1000
    assert gone["rescore.snapshots"]["bytes"] > 100_000


def test_what_others_use_is_not_dropped(conn: Connection) -> None:
    """A view of the application's calls a function of the model: nothing is deleted."""
    conn.execute("CREATE VIEW scored AS SELECT rescore_compiled.churn_version() AS version")
    define(conn, WITHOUT)
    there = rows_of(conn, "churn")
    with pytest.raises(psycopg.errors.DependentObjectsStillExist):
        conn.execute("SELECT * FROM rescore.drop_model('churn')")
    assert rows_of(conn, "churn") == there
