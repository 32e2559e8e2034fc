"""When a round is due again that found too little: once more has come, not at every look."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Event
from typing import Any

import numpy as np
import psycopg
import pytest

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
from rescore.trainer import operations as ops
from rescore.trainer.loop.block import START, Position
from rescore.trainer.loop.job import Learning
from rescore.trainer.loop.reading import Reader
from rescore.trainer.loop.state import read_state
from rescore.trainer.loop.triggers import due

Connection = psycopg.Connection[Any]
MANY = LEARN.replace("customers: 100", "customers: 1000")
"""Asks for more customers to test on."""


@pytest.fixture
def conn(plain_dsn: str) -> Iterator[Connection]:
    with connected(plain_dsn) as made:
        yield made


def when(conn: Connection, text: str, learn: str = LEARN) -> None:
    redefine(conn, learn.replace("learn: {", f"learn: {{when: {text}, "))


def looks(conn: Connection, job: Learning) -> list[str]:
    """Look whether the model is due; return what its rounds did."""
    told = job.work(conn, Event()).get("learnt", ())
    return [each["action"] for facts in told for each in facts["rounds"]]


def log_of(conn: Connection) -> list[tuple[str, bool]]:
    """What rounds are on record, and whether each made a version."""
    query = "SELECT action, version IS NOT NULL FROM rescore.learn_log ORDER BY id"
    return [(action, made) for action, made in conn.execute(query)]


def test_what_is_no_example_is_no_new_label(conn: Connection) -> None:
    when(conn, "{labels: 500}", LEARN.replace("examples: 1000", "examples: 900"))
    stream(conn, 1400)
    conn.execute("UPDATE rescore.snapshots SET treated_at = taken_at WHERE id % 3 = 0")
    assert due(conn, "churn") == "900 new labels"
    conn.execute("UPDATE rescore.snapshots SET treated_at = taken_at WHERE id % 3 > 0 AND id > 600")
    assert due(conn, "churn") is None


@pytest.fixture
def waiting(conn: Connection) -> Learning:
    """A runner whose round has found too few to test on."""
    when(conn, "{labels: 1000}", MANY)
    stream(conn, 2000)
    job = Learning(30.0)
    assert [looks(conn, job) for _ in range(3)] == [["waiting"], [], []]
    return job


def test_too_few_to_test_on_is_not_tried_again_before_more_came(
    conn: Connection, waiting: Learning
) -> None:
    stream(conn, 999, seed=4, day=2)
    assert looks(conn, waiting) == []
    stream(conn, 1, seed=5, day=3)
    assert looks(conn, waiting) == ["waiting"]
    assert looks(conn, Learning(30.0)) == ["waiting"]  # another runner does not know
    conn.execute("SELECT rescore.request_learning('churn')")
    assert looks(conn, waiting) == ["waiting"]
    publish_start(conn)
    assert looks(conn, waiting) == ["waiting"]  # of another version it is not known


def test_by_another_definition_it_may_be_enough(conn: Connection, waiting: Learning) -> None:
    when(conn, "{labels: 1000}")
    assert looks(conn, waiting) == ["published", "published"]


def test_what_is_not_settled_is_not_tried_before_it_is(conn: Connection) -> None:
    """With the newest time tested on, what is new behind what was learnt waits for that time."""
    when(conn, "{labels: 200}", LEARN.replace("examples: 1000", "test: 5 days"))

    def come(*days: float) -> None:
        for day in days:
            resolved(
                conn, *drawn(np.random.default_rng(int(day)), 100), day=day, first=int(1000 * day)
            )

    job = Learning(30.0)
    come(*range(0, 80, 4))
    assert [looks(conn, job) for _ in range(3)] == [["published"], [], []]
    come(80)
    assert looks(conn, job) == []  # one more could be learnt, but so many labels have not come
    come(81)
    assert [looks(conn, job) for _ in range(2)] == [["published"], []]
    come(81.1, 81.2, 81.3)
    assert looks(conn, job) == looks(conn, Learning(30.0)) == []  # many came, and settle nothing
    come(86)
    assert looks(conn, job) == ["published"]
    assert log_of(conn) == [("published", True)] * 3


def test_a_round_that_finds_nothing_is_told_to_who_asked(conn: Connection) -> None:
    when(conn, "{labels: 100}")
    stream(conn, 500)  # a round is of a thousand
    assert looks(conn, Learning(30.0)) == [] and log_of(conn) == []
    conn.execute("SELECT rescore.request_learning('churn')")
    assert looks(conn, Learning(30.0)) == ["nothing"]
    assert log_of(conn) == [("nothing", False)]


def test_what_diverges_is_not_tried_again_before_more_came(conn: Connection) -> None:
    learn = LEARN.replace("batch: 100", "batch: 100, rate: {eta0: 1.0e+100}")
    when(conn, "{labels: 1000}", learn)
    stream(conn, 2000)
    job = Learning(30.0)
    assert [looks(conn, job) for _ in range(3)] == [["refused"], [], []]
    assert log_of(conn) == [("refused", False)]
    assert "is not a number" in one(conn, "SELECT reasons ->> 0 FROM rescore.learn_log")
    stream(conn, 999, seed=4, day=2)
    assert looks(conn, job) == []
    stream(conn, 1, seed=5, day=3)
    assert [looks(conn, job) for _ in range(2)] == [["refused"], []]
    conn.execute("SELECT rescore.request_learning('churn')")
    assert [looks(conn, job) for _ in range(2)] == [["refused"], []]
    when(conn, "{labels: 1000}")
    assert looks(conn, job) == ["published"] * 3


def test_quality_of_what_is_served_is_that_of_the_newest(conn: Connection) -> None:
    learn = LEARN.replace("examples: 1000", "test: 20 days")
    when(conn, "{labels: 100000, quality: 0.1}", learn)
    for day in range(0, 80, 4):
        resolved(conn, *drawn(np.random.default_rng(day), 200), day=day, first=1000 * day)
    assert actions(conn) == ["published"]
    assert due(conn, "churn") is None
    for day in range(80, 100):  # a concept that turned round, all of it newer than what waits
        flipped = drawn(np.random.default_rng(day), 200, -1.0)
        resolved(conn, *flipped, day=day, first=1000 * day)
    learnt = one(conn, "SELECT examples FROM rescore.learn_log")
    assert (
        one(conn, "SELECT count(*) FROM rescore.snapshots WHERE taken_at < '2026-03-22'") - (learnt)
        > 2000
    )
    assert "log_loss of what is served is" in str(due(conn, "churn"))


BY_TIME = LEARN.replace("examples: 1000", "test: 20 days")


def days_of_rounds(conn: Connection, days: range, *, restarted: bool) -> list[tuple[int, str]]:
    """Let some of the outcomes be known each day, and look twice; return the rounds, by day."""
    job, found = Learning(30.0), []
    for day in days:
        resolved(conn, *drawn(np.random.default_rng(day), 60), day=day, first=1000 * day)
        for _ in range(2):
            job = Learning(30.0) if restarted else job
            found += [(day, action) for action in looks(conn, job)]
    return found


@pytest.mark.parametrize("restarted", [False, True])
def test_a_round_is_due_once_in_every_by_the_clock_of_the_profile(
    conn: Connection, restarted: bool
) -> None:
    """With the newest time tested on, what was learnt last was known long ago at every look."""
    when(conn, "{every: 7 days}", BY_TIME)
    found = days_of_rounds(conn, range(75), restarted=restarted)
    # The first micro-batch, of two days, is known on day 31 and settled by what was taken 20 later.
    assert found == [(day, "published") for day in (51, 58, 65, 72)]


def test_a_round_that_finds_nothing_puts_off_no_other(conn: Connection) -> None:
    when(conn, "{every: 2 days}")
    stream(conn, 1000)
    assert looks(conn, Learning(30.0)) == ["published"]
    stream(conn, 900, seed=4, day=3)
    assert due(conn, "churn") is None  # it would find too little
    conn.execute("SELECT rescore.request_learning('churn')")
    job = Learning(30.0)
    assert looks(conn, job) == ["nothing"]
    stream(conn, 100, seed=5, day=3)
    assert looks(conn, job) == ["published"]


def test_a_round_that_has_too_few_to_test_on_is_one(conn: Connection) -> None:
    when(conn, "{every: 2 days}", MANY)
    stream(conn, 1000)
    assert looks(conn, Learning(30.0)) == ["waiting"]
    stream(conn, 1000, seed=4, day=1)
    assert looks(conn, Learning(30.0)) == []
    stream(conn, 1, seed=5, day=3)
    assert looks(conn, Learning(30.0)) == ["waiting"]


def test_what_is_let_in_again_turns_no_clock_back(conn: Connection) -> None:
    """It is resolved anew, and keeps the moment at which its outcome became known."""
    when(conn, "{every: 2 days}")
    stream(conn, 1000)
    assert looks(conn, Learning(30.0)) == ["published"]
    stream(conn, 1000, seed=4, day=1)
    conn.execute("SELECT rescore.quarantine('churn', ARRAY[1500], 'a bot')")
    conn.execute(
        "UPDATE rescore.snapshots SET resolved_at = resolved_at - interval '9 days' WHERE id = 1500"
    )
    ops.release(conn, "churn")
    assert due(conn, "churn") is None


def test_a_forgotten_customer_takes_no_round_along(conn: Connection) -> None:
    """The last example that was learnt may be gone."""
    when(conn, "{every: 2 days}")
    stream(conn, 1000)
    assert looks(conn, Learning(30.0)) == ["published"]
    conn.execute("DELETE FROM rescore.snapshots WHERE id > 900")
    stream(conn, 1000, seed=4, day=1)
    assert due(conn, "churn") is None
    stream(conn, 1, seed=5, day=3)
    assert due(conn, "churn") == "2 days since the last round"


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[Position]:
    """Positions from which examples are counted."""
    found, labels = [], Reader.labels

    def noting(reader: Reader, position: Position, most: int) -> int:
        assert "order" not in vars(reader)  # who only counts asks for nothing more
        found.append(position)
        return labels(reader, position, most)

    monkeypatch.setattr(Reader, "labels", noting)
    return found


def test_a_look_counts_what_has_come_since_the_last(
    conn: Connection, counted: list[Position]
) -> None:
    when(conn, "{labels: 1500, every: 7 days, quality: 0.1}")
    job = Learning(30.0)
    stream(conn, 900)
    assert [looks(conn, job) for _ in range(2)] == [[], []]
    stream(conn, 599, seed=4, day=1)
    assert looks(conn, job) == ["published"]  # the first round is due once there is enough
    del counted[:]
    stream(conn, 900, seed=5, day=2)
    assert looks(conn, job) == []
    first, *rest = counted
    assert not rest and first == read_state(conn, "churn").position
    stream(conn, 1, seed=6, day=2)
    assert [looks(conn, job) for _ in range(2)] == [[], []]
    assert counted[1:] == sorted(set(counted[1:])) and counted[1] > first
    stream(conn, 101, seed=7, day=2)
    assert looks(conn, job) == ["published"]


def test_what_was_counted_and_is_no_example_any_more_starts_no_round(
    conn: Connection, counted: list[Position]
) -> None:
    when(conn, "{labels: 1000}")
    job = Learning(30.0)
    stream(conn, 999)
    assert looks(conn, job) == []
    conn.execute("UPDATE rescore.snapshots SET treated_at = taken_at WHERE id <= 10")
    stream(conn, 1, seed=4, day=1)
    assert looks(conn, job) == []
    stream(conn, 10, seed=5, day=2)
    assert looks(conn, job) == ["published"]
    assert START in counted[2:]  # before a round, all is counted


def test_a_version_with_other_columns_is_counted_anew(
    conn: Connection, counted: list[Position]
) -> None:
    when(conn, "{labels: 1000}")
    job = Learning(30.0)
    stream(conn, 900)
    assert looks(conn, job) == []
    publish_start(conn)  # its snapshots are examples, too
    assert looks(conn, job) == []
    assert counted[-1] == read_state(conn, "churn").position
