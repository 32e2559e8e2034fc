"""History and stream together: `train` learns past moments, `learn` the snapshots after the last."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest
from sklearn.cluster import MiniBatchKMeans
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from rescore.errors import NotEnoughData
from rescore.tests.learning_shop import LEARN, TABLES, drawn, stream
from rescore.tests.support import contract_of, define, one
from rescore.tests.trainer.conftest import UNTIL
from rescore.trainer.database import Connection, connection
from rescore.trainer.loop.learn import learn
from rescore.trainer.loop.state import read_state
from rescore.trainer.publish import publish
from rescore.trainer.train import train


def snapshots(conn: Connection, first: datetime, count: int) -> None:
    """Log and resolve snapshots, one an hour, of customers whose columns are numbers at random."""
    columns = len(read_state(conn, "churn").champion.contract.columns())
    conn.execute("SELECT setseed(0.5)")
    conn.execute(
        """INSERT INTO rescore.snapshots (model, key, taken_at, version, score, design, label, due_at, resolved, resolved_at)
           SELECT 'churn', n::text, %(first)s + n * interval '1 hour', (SELECT champion FROM rescore.deployments WHERE model = 'churn'),
                  0.5, array_agg(10 * random()), round(random()), %(first)s + interval '60 days', pg_current_xact_id(), now()
           FROM generate_series(1, %(count)s) AS n CROSS JOIN generate_series(1, %(columns)s)
           GROUP BY n ORDER BY n""",
        {"first": first, "count": count, "columns": columns},
    )


def test_no_example_of_the_training_period_is_learnt_again(plain_shop: Connection) -> None:
    conn = plain_shop
    report = train(conn, "churn", until=UNTIL, publish=True)
    last = max(report.moments)
    lineage = one(
        conn,
        "SELECT examples, upper(period), known_until, watermark_xid, customers FROM rescore.lineage",
    )
    assert lineage == (report.examples, last, lineage[2], None, 300)
    assert last + timedelta(days=60) == lineage[2] <= UNTIL
    assert read_state(conn, "churn").standing.latest == last.timestamp()  # it ages from then on
    snapshots(conn, last - timedelta(hours=500), 500)  # until the last moment itself
    assert [each.action for each in learn(conn, "churn").rounds] == ["nothing"]
    snapshots(conn, last, 1000)
    (made,) = learn(conn, "churn").rounds
    assert made.examples == one(
        conn,
        "SELECT count(*) FROM rescore.snapshots WHERE taken_at > %s AND rescore.share('learn churn', key) >= 0.2",
        last,
    )
    # Tested on what was scored once the last outcome of training was known, and none of it is.
    assert (made.action, made.reasons[0]) == ("waiting", "0 customers to test on; 200 are needed")
    snapshots(conn, lineage[2], 3000)
    (made,) = learn(conn, "churn").rounds
    assert made.metrics["gate"]["verdict"] in ("pass", "refuse")
    assert made.skipped == {"in the training period": 500}


def test_training_anew_takes_up_what_no_moment_of_it_has_seen(plain_shop: Connection) -> None:
    conn = plain_shop
    train(conn, "churn", until=UNTIL - timedelta(days=100), publish=True)
    known = one(conn, "SELECT known_until FROM rescore.lineage")
    snapshots(conn, known, 4000)
    learn(conn, "churn")
    watermark = one(conn, "SELECT watermark_id FROM rescore.learning")
    assert watermark == 4000
    report = train(conn, "churn", until=UNTIL, publish=True)
    state = read_state(conn, "churn")
    assert (state.line.number, state.position.id) == (report.version, 0)
    assert state.standing.after == max(report.moments)
    later = "SELECT count(*) FROM rescore.snapshots WHERE taken_at > %s"
    expected = int(one(conn, later, state.standing.after))
    assert 0 < expected < 4000
    (made, *_) = learn(conn, "churn").rounds
    assert made.parent == report.version
    assert made.examples <= expected


def test_segments_are_learnt_on_as_a_score(dsn: str) -> None:
    with connection(dsn) as conn:
        conn.execute(TABLES.encode())
        text = LEARN.replace("margin: 0.02", "metric: auc, margin: 1, limits: {scores: 1000}")
        define(conn, SEGMENTS.replace("LEARN", text))
        design, _ = drawn(np.random.default_rng(1), 500)
        clusters = MiniBatchKMeans(3, n_init=1, random_state=0)
        made = make_pipeline(StandardScaler(), clusters).fit(design)
        publish(made, model="churn", conn=conn, contract=contract_of(conn))
        conn.execute("INSERT INTO customers VALUES (1, 100, 10), (2, 150, 2)")
        scores = [s for (s,) in conn.execute("SELECT churn_score FROM customers")]
        assert set(scores) <= {0.0, 1.0, 2.0}
        stream(conn, 1000)
        (done,) = learn(conn, "churn").rounds
        assert (done.action, done.version) == ("published", 2)
        before, after = (read_centres(conn, version) for version in (1, 2))
        assert 0 < np.abs(after - before).max() < 3


def read_centres(conn: Connection, version: int) -> Any:
    from rescore.trainer.loop.state import read_version

    return read_version(conn, "churn", version).estimator[-1].cluster_centers_


SEGMENTS = """
profile: {table: customers, key: {name: customer_id, type: bigint}, clock: session}
events: {orders: {time: ordered_at}}
features: {spend: {column: spend}, visits: {column: visits}}
labels: {churned: {none: orders, within: 30 days}}
models:
  churn: {label: churned, estimator: {mini_batch_k_means: {n_clusters: 3}}, LEARN}
scores: {churn_score: {model: churn}}
"""


def test_rows_of_another_length_are_not_taken_for_what_they_are_not(plain_shop: Connection) -> None:
    conn = plain_shop
    train(conn, "churn", until=UNTIL, publish=True)
    snapshots(conn, UNTIL, 600)
    conn.execute("UPDATE rescore.snapshots SET design = design[1:3] WHERE id = 300")
    with pytest.raises(NotEnoughData, match="not complete"):
        learn(conn, "churn")
