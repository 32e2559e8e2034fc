"""Snapshots: what is logged, when, and into which partition."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rescore.tests.snapshot_shop import (
    Connection,
    at,
    connected,
    labels,
    order,
    resolve,
    shop,
    snapshot,
)
from rescore.tests.support import one


@pytest.fixture
def conn(dsn: str) -> Iterator[Connection]:
    with connected(dsn) as made:
        yield made


def test_a_round_logs_every_customer_as_scored(conn: Connection) -> None:
    shop(conn)
    assert snapshot(conn) == 80
    wrong = one(
        conn,
        """SELECT count(*) FROM rescore.snapshots AS s JOIN customers AS c ON c.customer_id::text = s.key
           WHERE s.model = 'churn' AND (s.score IS DISTINCT FROM rescore.predict('churn', c)
                 OR s.version <> c.churn_score_version OR s.taken_at <> timestamptz '2026-01-01Z')""",
    )
    assert wrong == 0
    assert snapshot(conn) == 0
    at(conn, "2026-02-01")
    order(conn, 3, "2026-01-05")
    print(resolve(conn))
    print(labels(conn), labels(conn, "lose"))
    print(conn.execute("SELECT * FROM rescore.snapshots LIMIT 3").fetchall())
    print(
        conn.execute(
            "SELECT tableoid::regclass, count(*) FROM rescore.snapshots GROUP BY 1"
        ).fetchall()
    )
