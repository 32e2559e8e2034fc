"""Customers treated because of their score: who is learnt from, and what treating has changed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import psycopg
import pytest
from sklearn.linear_model import LogisticRegression
from typer.testing import CliRunner

from rescore.cli import app
from rescore.errors import NotEnoughData, UnknownModel
from rescore.examples.subscriptions.world import HOLDOUT, HOLDOUT_SALT, World, generate
from rescore.plpython.prediction import score
from rescore.tests.learning_shop import (
    BEGIN,
    DEFINITION,
    LEARN,
    TABLES,
    drawn,
    publish_start,
    resolved,
)
from rescore.tests.support import define, one
from rescore.trainer.learning.hashing import hash_keys, shares
from rescore.trainer.loop.learn import learn
from rescore.trainer.loop.state import read_state, read_version
from rescore.trainer.loop.treatment import standing_for
from rescore.trainer.train import train
from rescore.trainer.uplift import _numbers, uplift

Connection = psycopg.Connection[Any]
OFFERS = "CREATE TABLE offers (customer_id bigint, sent_at timestamptz);"
TREATED = "interventions: {table: offers, time: sent_at, holdout: 20%, treated: weight}\nmodels:"


@pytest.fixture
def conn(plain_dsn: str) -> Iterator[Connection]:
    with psycopg.connect(plain_dsn, autocommit=True) as made:
        made.execute((TABLES + OFFERS).encode())
        yield made


def treated_shop(conn: Connection, treated: str, customers: int = 3000) -> None:
    """Customers of whom those not held out are treated once they have stayed for a while.

    Who leaves at once is never treated: nobody of the untreated beside the holdout has stayed.
    """
    text = DEFINITION.replace("LEARN", LEARN).replace("models:", treated)
    define(conn, text)
    publish_start(conn)
    resolved(conn, *drawn(np.random.default_rng(2), customers))
    conn.execute("UPDATE rescore.snapshots SET holdout = rescore.share('h', key) < 0.2")
    conn.execute(
        "UPDATE rescore.snapshots SET treated_at = taken_at + interval '9 days' WHERE NOT holdout AND label = 0"
    )


def told(conn: Connection) -> float:
    """Return the mean chance that the newest version gives, where the truth is 0.41."""
    design, _ = drawn(np.random.default_rng(9), 20_000)
    newest = one(conn, "SELECT max(version) FROM rescore.models WHERE model = 'churn'")
    return float(score(read_version(conn, "churn", newest).estimator, design).mean())


@pytest.mark.parametrize(
    ("treated", "low", "high"), [("weight", 0.36, 0.48), ("leave_out", 0.6, 1.0)]
)
def test_the_holdout_stands_for_those_who_were_treated(
    conn: Connection, treated: str, low: float, high: float
) -> None:
    treated_shop(conn, TREATED.replace("weight", treated), 6000)
    rounds = learn(conn, "churn").rounds
    assert low < told(conn) < high
    by = [each.skipped for each in rounds if each.version]
    assert by and all(("spoken for by the holdout" in each) is (treated == "weight") for each in by)
    assert all(each["treated"] > 100 for each in by)


@pytest.mark.parametrize("treated", ["weight", "leave_out"])
def test_training_on_the_past_lets_the_holdout_stand_for_all(
    conn: Connection, treated: str
) -> None:
    past = "clock: session, history: {spend: static, visits: static}}"
    text = DEFINITION.replace("LEARN", LEARN).replace("clock: session}", past)
    text = text.replace("features: {", "features: {orders: {from: orders, count: true}, ")
    define(conn, text.replace("models:", TREATED.replace("weight", treated)))
    design, labels = drawn(np.random.default_rng(6), 1500)
    with conn.cursor().copy("COPY customers (customer_id, spend, visits) FROM STDIN") as copy:
        for key, row in enumerate(design.tolist()):
            copy.write_row((key, *row))
    conn.execute("INSERT INTO orders SELECT customer_id, timestamptz '2025-12-01Z' FROM customers")
    stay = [int(key) for key in np.flatnonzero(labels == 0)]
    conn.execute("INSERT INTO orders SELECT unnest(%s::bigint[]), '2026-01-20Z'", [stay])
    conn.execute(
        "INSERT INTO offers SELECT customer_id, '2026-01-10Z' FROM customers WHERE NOT holdout AND customer_id = ANY (%s)",
        [stay],
    )
    conn.execute("SELECT set_config('rescore.clock', '2026-02-10Z', false)")
    made = train(conn, "churn", moments=[BEGIN])
    held = one(conn, "SELECT count(*) FROM customers WHERE holdout")
    told = score(made.pipeline, np.column_stack([np.ones(1500), design])).mean()
    if treated == "weight":
        assert made.examples == held
        assert abs(told - labels.mean()) < 0.06
    else:
        assert made.examples > 2 * held
        assert told > labels.mean() + 0.2


def test_where_nobody_was_treated_everybody_counts() -> None:
    scores, holdout = np.linspace(0, 1, 1000), np.arange(1000) % 5 == 0
    treated = (scores > 0.9) & ~holdout
    weights = standing_for(scores, treated, holdout, 0.2)
    assert (weights[scores < 0.85] == weights[0]).all()
    assert weights[scores > 0.9][~holdout[scores > 0.9]].max() == 0
    assert weights[-5] == pytest.approx(5 * weights[0])
    assert weights.sum() == pytest.approx(1000 - 80)  # one on average, of those that count
    assert not standing_for(scores, np.ones(1000, bool), holdout, 0.2).any()


@pytest.mark.long
def test_weighted_examples_are_nearer_to_the_truth() -> None:
    """The made-up company without any offers is the truth; ten companies with them are learnt."""
    truth = generate(4000, 400, 99, holdout=1.0)
    design, labels, *_ = examples(truth)
    found: dict[str, list[float]] = {"left out": [], "weighted": [], "as others": []}
    for seed in range(10):
        rows, outcomes, treated, held = examples(generate(1500, 400, seed))
        first = fitted(rows, outcomes, (~treated).astype(float))
        weights = standing_for(first.predict_proba(rows)[:, 1], treated, held, HOLDOUT)
        made = {
            "left out": first,
            "weighted": fitted(rows, outcomes, weights),
            "as others": fitted(rows, outcomes, np.ones(len(rows))),
        }
        for name, model in made.items():
            chance = model.predict_proba(design)[:, 1]
            top = chance > np.quantile(chance, 0.9)
            found[name].append(float(chance[top].mean() - labels[top].mean()))
    wrong = {name: abs(float(np.mean(each))) for name, each in found.items()}
    assert wrong["weighted"] < 0.01 < wrong["left out"] < wrong["as others"], wrong


def fitted(design: Any, labels: Any, weights: Any) -> Any:
    return LogisticRegression(C=100).fit(
        design[weights > 0], labels[weights > 0], weights[weights > 0]
    )


def examples(world: World) -> tuple[Any, ...]:
    """Accounts every ten days: four of the things that make them leave, whether they did, offers."""
    held = np.asarray(shares(hash_keys(world.names, HOLDOUT_SALT)) < HOLDOUT)
    parts: list[tuple[Any, ...]] = []
    for day in range(60, world.days - 31, 10):
        here = np.asarray((world.joined <= day) & (world.left > day))
        lately = [
            np.minimum(what[day - length + 1 : day + 1].sum(axis=0), most)
            for what, length, most in (
                (world.uses, 14, 10),
                (world.failed, 30, 2),
                (world.severe, 30, 2),
            )
        ]
        design = np.column_stack([*lately, world.basic]).astype(float)
        leaves = np.asarray(world.left <= day + 30, dtype=np.int8)
        offered = np.asarray(world.offers[day + 1 : day + 31].any(axis=0))
        parts.append((design[here], leaves[here], offered[here], held[here]))
    return tuple(np.concatenate(each) for each in zip(*parts, strict=True))


def test_uplift_has_intervals_by_customer(conn: Connection) -> None:
    """Ten snapshots of each customer with one outcome are hardly more than one."""
    define(conn, DEFINITION.replace("LEARN", LEARN))
    publish_start(conn)
    random = np.random.default_rng(5)
    held = np.asarray(random.random(1500) < 0.3)
    labels = (random.random(1500) < np.where(held, 0.5, 0.38)).astype(float)
    for day in range(5):
        resolved(conn, drawn(random, 1500)[0], labels, day=0.5 * day)
    keys = [str(n) for n in np.flatnonzero(held)]
    conn.execute("UPDATE rescore.snapshots SET holdout = key = ANY (%s)", [keys])
    conn.execute(
        "UPDATE rescore.snapshots SET treated_at = taken_at WHERE NOT holdout AND key::int % 3 = 0"
    )
    found = uplift(conn, "churn")
    apart = int(held.sum())
    assert (found.snapshots, found.customers, found.held_out) == (7500, 1500 - apart, apart)
    assert found.difference.low < -0.12 < found.difference.high < 0
    assert found.per_treated.estimate == pytest.approx(
        found.difference.estimate / found.treated_share.estimate
    )
    by_customer = 1.96 * np.sqrt(0.25 / apart + 0.24 / (1500 - apart))
    assert (found.difference.high - found.difference.low) / 2 == pytest.approx(
        by_customer, rel=0.15
    )
    shown = one(
        conn,
        "SELECT difference, difference_low, difference_high, per_treated_high FROM rescore.uplift WHERE model = 'churn'",
    )
    assert shown[0] == pytest.approx(found.difference.estimate)
    assert shown[1:3] == pytest.approx((found.difference.low, found.difference.high), abs=0.01)
    assert shown[3] == pytest.approx(shown[2] / found.treated_share.estimate)
    with pytest.raises(NotEnoughData, match="0 held out"):
        uplift(conn, "churn", since=read_state(conn, "churn").champion.created_at)
    with pytest.raises(UnknownModel):
        uplift(conn, "chrun")
    done = CliRunner().invoke(app, ["uplift", "churn", "--json", "--dsn", conn.info.dsn])
    assert json.loads(done.output)["difference"]["estimate"] == pytest.approx(shown[0])
    conn.execute("UPDATE rescore.snapshots SET quarantined = 'a bot' WHERE id <= 100")
    conn.execute("UPDATE rescore.snapshots SET censored = true WHERE id BETWEEN 101 AND 300")
    assert uplift(conn, "churn").snapshots == 7200


def test_intervals_of_uplift_hold_the_truth() -> None:
    random = np.random.default_rng(0)
    missed = 0
    for _ in range(300):
        days = random.integers(1, 20, 600).astype(float)
        held = random.random(600) < 0.2
        happened = days * (random.random(600) < 0.3)  # the same for both, on every day
        members = random.integers(0, 256, 600)
        sums = np.zeros((2, 3, 256))
        for side, mask in enumerate((~held, held)):
            for row, values in enumerate((days, happened, days / 2)):
                sums[side, row] = np.bincount(members[mask], values[mask], 256)
        missed += not _numbers(sums)["difference"].holds(0.0)
    assert 4 <= missed <= 27  # 5%, give or take
