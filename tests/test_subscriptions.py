"""The made-up company: it applies, is counted without a difference, and its truth is nearly learnt."""

from __future__ import annotations

import csv
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from sklearn.metrics import roc_auc_score

from rescore.compiler.apply import apply
from rescore.compiler.definition import parse
from rescore.examples.subscriptions import load
from rescore.examples.subscriptions.rows import arrivals
from rescore.examples.subscriptions.world import RISE, START, World, generate
from rescore.tests.support import one
from rescore.trainer.export import export
from rescore.trainer.train import train

Connection = psycopg.Connection[Any]
MONTH = timedelta(days=30)


@pytest.fixture(scope="module")
def world() -> World:
    return generate(1200, 400, seed=3)


def test_the_same_seed_gives_the_same_company() -> None:
    one_, other, third = (generate(60, 90, seed) for seed in (1, 1, 2))
    assert arrivals(one_) == arrivals(other) != arrivals(third)
    assert np.array_equal(one_.hazards, other.hazards, equal_nan=True)


def test_it_is_a_company_as_they_are(world: World) -> None:
    rows = arrivals(world)
    usage = [r for r in rows if r.table == "usage"]
    late = [r for r in usage if r.row[3] - r.row[1] > timedelta(days=1)]
    payments = [r.row for r in rows if r.table == "payments"]
    assert 0.04 < len(late) / len(usage) < 0.06
    assert 20 < len(payments) - len(set(payments)) < 200
    assert any(r.row[2] is None for r in usage)
    assert any(r.row[2] is None for r in rows if r.table == "accounts")
    before, after = (
        world.hazards[days][:, world.basic]
        for days in (slice(RISE - 60, RISE), slice(RISE, RISE + 60))
    )
    assert np.nanmean(after) > 1.4 * np.nanmean(before)
    assert np.nanmean(world.hazards[330:366]) > np.nanmean(world.hazards[130:200])


@pytest.mark.long
def test_it_applies_verifies_and_is_learnt(dsn: str, world: World, tmp_path: Path) -> None:
    rows, now = arrivals(world), START + timedelta(days=world.days)
    known = now - timedelta(days=4)
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(load.text("schema.sql").encode())
        load.write(conn, [r for r in rows if r.at < known])
        conn.execute("SELECT set_config('rescore.clock', %s, false)", [str(known)])
        apply(conn, parse(load.text("definition.yaml")))
        judged = [now - MONTH * n for n in (3, 2, 1)]
        # Outcomes of the last one learnt are over when the first one judged begins.
        moments = [judged[0] - MONTH - timedelta(days=12) * n for n in range(15, -1, -1)]
        learnt = train(conn, "churn", moments=moments, until=judged[0], publish=True)
        assert learnt.version == 1
        conn.execute("SELECT rescore.rebuild('accounts')")
        load.live(conn, [r for r in rows if r.at >= known])
        assert conn.execute("SELECT * FROM rescore.verify('accounts')").fetchall() == []
        untreated = "SELECT count(*) FROM offers JOIN accounts USING (account_id) WHERE holdout"
        assert one(conn, untreated) == 0
        conn.execute("SELECT set_config('rescore.clock', %s, false)", [str(now)])
        ours, truth = measured(conn, learnt.pipeline, world, judged, tmp_path / "examples.csv")
    assert truth > 0.65
    assert ours > truth - 0.05


def measured(
    conn: Connection, pipeline: Any, world: World, moments: list[datetime], path: Path
) -> tuple[float, float]:
    """AUC of a model and of the true hazards, on the same accounts at the same moments."""
    export(conn, "churn", path, moments=moments)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    hidden = ("account_id", "moment", "label")
    design = [[float(v) for name, v in row.items() if name not in hidden] for row in rows]
    labels = [float(row["label"]) for row in rows]
    assert 60 < sum(labels) < len(labels) / 4
    true = [world.hazard(r["account_id"], datetime.fromisoformat(r["moment"])) for r in rows]
    scores = pipeline.predict_proba(np.array(design))[:, 1]
    return float(roc_auc_score(labels, scores)), float(roc_auc_score(labels, true))
