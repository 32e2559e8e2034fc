"""A model that should learn and learns nothing is told of: by health, doctor and status."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from typer.testing import CliRunner

from rescore.cli import app
from rescore.tests.learning_shop import (
    LEARN,
    actions,
    connected,
    drawn,
    publish_start,
    redefine,
    resolved,
    stream,
)
from rescore.tests.support import one
from rescore.trainer.loop.learn import learn

Connection = psycopg.Connection[Any]
MANY = LEARN.replace("customers: 100", "customers: 900").replace("examples: 1000, ", "")


@pytest.fixture
def conn(plain_dsn: str) -> Iterator[Connection]:
    with connected(plain_dsn) as made:
        yield made


def told(conn: Connection) -> Any:
    return one(
        conn, "SELECT status || ' ' || detail FROM rescore.health WHERE \"check\" = 'learning'"
    )


def same_customers(conn: Connection, day: int) -> None:
    """The same 400 customers are logged once more."""
    resolved(conn, *drawn(np.random.default_rng(day), 400), day)


def broken(conn: Connection, day: int) -> None:
    """A tenth of the rows holds what no sensor measures; the others share batches with them."""
    design, labels = drawn(np.random.default_rng(day), 400)
    design[::10, 0] = 1e6
    resolved(conn, design, labels, day, first=400 * day)


def test_a_model_that_waits_for_customers_to_test_on(conn: Connection) -> None:
    redefine(conn, MANY)
    for day in range(3):
        assert told(conn).startswith("ok ")
        same_customers(conn, day)
        assert actions(conn) == ["waiting"]
        assert actions(conn) == ["waiting"]  # nothing has come: it is the same round
    assert one(conn, "SELECT count(*) FROM rescore.learn_log") == 1
    found = told(conn)
    assert found.startswith("warning churn has published nothing in 3 rounds, the last at ")
    assert " customers to test on; 900 are needed" in found and "lower `minimum`" in found
    redefine(conn, LEARN.replace("customers: 100", "customers: 50"))
    assert actions(conn) == ["published"]
    assert told(conn) == "ok none has done three rounds in vain"


def test_a_model_whose_examples_are_all_kept_out(conn: Connection, plain_dsn: str) -> None:
    stream(conn, 1000)
    assert actions(conn) == ["published"]
    for day in range(1, 4):
        assert told(conn).startswith("ok ")
        broken(conn, day + 2)
        redefine(conn, MANY)
        assert actions(conn) == ["quarantined"]
    found = told(conn)
    assert "1200 snapshots are kept out, 120 of them implausible themselves" in found
    assert "most often by spend, 1080 only since their batch has such" in found
    assert "`rescore quarantine`" in found and "`rescore release churn`" in found
    assert "`clip` on the feature" in found
    run = CliRunner().invoke
    assert (
        "learning: churn has published nothing in 3 rounds"
        in run(app, ["status", "--dsn", plain_dsn]).output
    )
    doctor = run(app, ["doctor", "--dsn", plain_dsn]).output
    assert "learning" in doctor and "warning" in doctor
    publish_start(conn)  # what serves now is to be judged by itself
    assert told(conn).startswith("ok ")


def test_the_others_of_a_batch_can_be_released_or_spared(conn: Connection) -> None:
    text = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")
    (release,) = re.findall(r"```sql\n(SELECT rescore\.release.*?;)\n```", text, re.DOTALL)
    stream(conn, 1000)
    assert actions(conn) == ["published"]
    broken(conn, 3)
    redefine(conn, MANY)
    assert actions(conn) == ["quarantined"]
    assert one(conn, release) == 360
    redefine(conn, LEARN.replace("examples: 1000, ", "suspect: 20%, "))
    broken(conn, 5)
    (made,) = learn(conn, "churn").rounds
    assert made.action == "published" and made.quarantined == 34  # the last 60 are no full batch
    kept = (
        "SELECT array_agg(DISTINCT design[1]) FROM rescore.snapshots WHERE quarantined IS NOT NULL"
    )
    assert one(conn, kept) == [1e6]


def test_who_is_told_of_what_is_kept_out_is_told_the_way_out(
    conn: Connection, plain_dsn: str
) -> None:
    run = CliRunner().invoke
    assert "rescore release" not in run(app, ["quarantine", "--dsn", plain_dsn]).output
    stream(conn, 1000)
    learnt = run(app, ["learn", "churn", "--no-sweep", "--dsn", plain_dsn]).output
    assert "published" in learnt and "rescore release" not in learnt
    broken(conn, 3)
    redefine(conn, MANY)
    learnt = run(app, ["learn", "churn", "--dsn", plain_dsn]).output
    assert "not learnt: 400 kept out by the guard" in learnt
    assert "`rescore release churn` lets it be learnt" in learnt
    kept = run(app, ["quarantine", "--dsn", plain_dsn]).output
    assert "`rescore release MODEL` lets them be learnt; `clip` on a feature" in kept
    assert "rescore release" not in run(app, ["quarantine", "--json", "--dsn", plain_dsn]).output


def test_a_model_whose_candidates_are_refused(conn: Connection) -> None:
    redefine(conn, LEARN.replace("margin: 0.02", "margin: -0.5"))
    stream(conn, 2000)
    assert actions(conn) == ["refused", "refused"]
    assert told(conn).startswith("ok ")
    stream(conn, 1000, seed=4, day=2)
    assert actions(conn) == ["refused"]
    assert "in 3 rounds" in told(conn) and "it was refused (log_loss " in told(conn)
    redefine(conn, "")
    assert told(conn).startswith("ok ")  # it is not to learn any more


def test_a_request_that_finds_nothing_is_no_round(conn: Connection) -> None:
    assert [actions(conn) for _ in range(4)] == [["nothing"]] * 4
    assert told(conn).startswith("ok ")
