"""`rescore learn`: what was resolved is learnt once, tested on others, and let through or not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from rescore.tests.learning_shop import actions, shop, stream, weights
from rescore.tests.support import one
from rescore.trainer.loop.learn import learn

Connection = psycopg.Connection[Any]


@pytest.fixture
def conn(plain_dsn: str) -> Iterator[Connection]:
    with psycopg.connect(plain_dsn, autocommit=True) as made:
        shop(made)
        yield made


def test_what_was_resolved_is_learnt_and_published(conn: Connection) -> None:
    stream(conn, 3000)
    report = learn(conn, "churn")
    assert [each.action for each in report.rounds] == ["published"] * 3
    assert report.rounds[0].metrics["gate"]["verdict"] == "pass"
    learnt = [each.examples for each in report.rounds]
    assert all(700 < each < 900 for each in learnt)  # a fifth of the customers is tested on
    assert weights(conn)[0] * 20 > 0.8
    log = conn.execute(
        "SELECT parent, version, examples, action, to_id FROM rescore.learn_log ORDER BY id"
    ).fetchall()
    assert [row[:4] for row in log] == [
        (1, 2, learnt[0], "published"),
        (2, 3, learnt[1], "published"),
        (3, 4, learnt[2], "published"),
    ]
    assert [row[4] for row in log] == [1000, 2000, 3000]
    assert actions(conn) == ["nothing"]
    assert one(conn, "SELECT parent FROM rescore.models WHERE version = 4") == 3
