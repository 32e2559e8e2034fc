"""Models that a definition no longer has: they learn, serve and score no more, and say so."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import psycopg
import pytest

from rescore.errors import NotEnoughData, RescoreError, UnknownModel
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
