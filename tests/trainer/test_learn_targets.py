"""Labels that say how much, and segments without any, from the snapshot to the served score."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest

from rescore.errors import BadDefinition, DoesNotFit, NotEnoughData, NotSupported
from rescore.plpython.prediction import score
from rescore.tests.support import define, one
from rescore.trainer.alert_rules import Quality
from rescore.trainer.alerts import CHECKS
from rescore.trainer.compare import compare
from rescore.trainer.export import export
from rescore.trainer.loop.drift import watch
from rescore.trainer.loop.learn import learn
from rescore.trainer.loop.state import read_state
from rescore.trainer.quality import by_version
from rescore.trainer.train import train
from rescore.trainer.uplift import uplift

Connection = psycopg.Connection[Any]
BEGIN = datetime(2026, 1, 1, tzinfo=timezone.utc)
CUSTOMERS = 600

TABLES = """
CREATE TABLE customers (customer_id bigint PRIMARY KEY, habit float8 NOT NULL, income float8 NOT NULL);
CREATE TABLE orders (customer_id bigint, ordered_at timestamptz, amount numeric(12,2), points float8);
CREATE INDEX ON orders (customer_id, ordered_at);
CREATE TABLE closed (customer_id bigint, at timestamptz);
CREATE TABLE refunds (customer_id bigint, paid_on date, amount int);
"""
DEFINITION = """
profile: {table: customers, key: {name: customer_id, type: bigint}, clock: session,
          history: {habit: static, income: static}}
events: {orders: {time: ordered_at}, closed: {time: at}}
features: {habit: {column: habit}, income: {column: income}, orders: {from: orders, count: true}}
labels:
  revenue: {sum: orders, of: amount, within: 30 days}
  visits: {count: orders, where: "amount > 0", after: 5 days, within: 20 days}
  points: {sum: orders, of: points, within: 30 days, censored_by: closes}
  closes: {any: closed, within: 30 days}
  paid_back: {table: refunds, at: paid_on, of: amount, within: 10 days}
snapshot: {every: 1 day}
models:
  value:
    label: revenue
    features: [habit, income]
    estimator: {sgd_regressor: {learning_rate: constant, eta0: 0.01}}
    learn: {batch: 100, examples: 1000, minimum: {customers: 80}, limits: {scores: 20, weights: 100}}
  visit: {label: visits, features: [habit, income], estimator: {sgd_regressor: {}}}
  point: {label: points, features: [habit, income], estimator: {sgd_regressor: {}}}
  back: {label: paid_back, features: [habit, income], estimator: {sgd_regressor: {}}}
  kind:
    features: [habit, income]
    estimator: {mini_batch_k_means: {n_clusters: 3, n_init: 1}}
    learn: {batch: 100, examples: 1000, minimum: {customers: 80}}
scores: {value_score: {model: value}, segment: {model: kind}}
"""


@pytest.fixture
def conn(dsn: str) -> Iterator[Connection]:
    with psycopg.connect(dsn, autocommit=True) as made:
        made.execute("SET TimeZone = 'UTC'")
        made.execute(TABLES.encode())
        rng = np.random.default_rng(4)
        rows = np.column_stack([rng.normal(size=CUSTOMERS), rng.normal(50, 10, CUSTOMERS)])
        with made.cursor().copy("COPY customers FROM STDIN") as copy:
            for key, numbers in enumerate(rows.tolist(), 1):
                copy.write_row((key, *numbers))
        for days in (100, 80, 50, 20):
            buy(made, BEGIN - timedelta(days=days), rows)
        at(made, BEGIN)
        define(made, DEFINITION)
        yield made


def buy(conn: Connection, day: datetime, rows: Any) -> None:
    """Let every customer order once: for 20 + 8 habit + 0.5 income, and what chance adds."""
    rng = np.random.default_rng(day.toordinal())
    amounts = 20 + 8 * rows[:, 0] + 0.5 * rows[:, 1] + rng.normal(size=len(rows))
    with conn.cursor().copy("COPY orders FROM STDIN") as copy:
        for key, amount in enumerate(amounts.tolist(), 1):
            copy.write_row((key, day, round(amount, 2), 1.0))


def customers(conn: Connection) -> Any:
    return np.array(
        conn.execute("SELECT habit, income FROM customers ORDER BY customer_id").fetchall()
    )


def at(conn: Connection, moment: datetime) -> None:
    conn.execute("SELECT set_config('rescore.clock', %s, false)", [moment.isoformat()])


def labels(conn: Connection, model: str, *keys: int) -> list[Any]:
    query = b"SELECT label FROM rescore.snapshots WHERE model = %s AND key::int = ANY (%s) ORDER BY key::int"
    return [label for (label,) in conn.execute(query, [model, list(keys)])]


def start(conn: Connection, *models: str) -> None:
    for model in models:
        train(conn, model, moments=[BEGIN - timedelta(days=45)], until=BEGIN, publish=True)


def rounds(conn: Connection, count: int) -> None:
    """Snapshot every customer so often, orders between; then let all horizons pass."""
    rows = customers(conn)
    for number in range(count):
        at(conn, BEGIN + timedelta(days=31 * number))
        conn.execute("SELECT rescore.snapshot('customers')")
        buy(conn, BEGIN + timedelta(days=31 * number + 7), rows)
    at(conn, BEGIN + timedelta(days=31 * count))
    conn.execute("SELECT rescore.resolve('customers')")


def test_a_number_is_learnt_gated_published_and_served(conn: Connection) -> None:
    start(conn, "value")
    rounds(conn, 4)
    amounts = "SELECT sum(amount) FROM orders WHERE customer_id = 7 AND ordered_at > '2026-01-01Z'"
    assert sum(labels(conn, "value", 7)) == float(one(conn, amounts))
    made = learn(conn, "value").rounds
    assert [each.action for each in made] == ["published", "published"]
    checks = {each["name"]: each for each in made[-1].metrics["gate"]["checks"]}
    assert set(checks) == {
        "customers",
        "comparison",
        "finite",
        "parity",
        "weight_drift",
        "score_shift",
    }
    assert checks["comparison"]["text"].startswith("r2 ")
    measured = made[-1].metrics["gate"]["candidate"]
    assert measured["r2"]["estimate"] > 0.9 and measured["r2"]["low"] < measured["r2"]["high"]
    assert made[-1].metrics["prequential"]["rmse"]["estimate"] < 2.0
    champion = read_state(conn, "value").champion
    assert champion.number == 3
    expected = score(champion.estimator, customers(conn))
    served = [
        value
        for (value,) in conn.execute(
            "SELECT rescore.predict('value', p) FROM customers AS p ORDER BY 1"
        )
    ]
    assert np.sort(expected) == pytest.approx(np.array(served), abs=1e-9)
    assert {each.feature for each in watch(conn, "value")} == {
        "habit",
        "income",
        "score",
        "label",
        "loss",
    }
    shown = one(
        conn,
        "SELECT bool_and(log_loss IS NULL), min(mse) FROM rescore.live_quality WHERE model = 'value'",
    )
    assert shown[0] and 0 < shown[1] < 40
    told = by_version(conn, "value")[0]
    assert told["log_loss"] is told["auc"] is None and 0 < told["mae"] ** 2 <= told["mse"] < 40
    assert quality(conn, "r2", 0.1) == []
    assert quality(conn, "rmse", 100.0) == quality(conn, "auc", 0.99) == []
    assert quality(conn, "r2", 0.9999) == ["r2 of model value"]


def quality(conn: Connection, metric: str, bound: float) -> list[str]:
    """What a rule of alerts finds wrong of live quality, at any time."""
    rule = Quality.model_validate({"metric": metric, "worse_than": bound, "within": "9999 days"})
    return [each.message.partition(" is ")[0] for each in CHECKS["quality"](conn, rule)]


def test_absurd_numbers_are_not_learnt(conn: Connection) -> None:
    start(conn, "value")
    rounds(conn, 2)
    conn.execute(
        "UPDATE rescore.snapshots SET label = 1e9 WHERE model = 'value' AND key IN ('7', '8')"
    )
    (made,) = learn(conn, "value").rounds
    assert (made.action, made.quarantined) == ("published", 4)
    reasons = "SELECT DISTINCT quarantined FROM rescore.snapshots WHERE quarantined IS NOT NULL"
    assert one(conn, reasons).startswith("implausible label: far outside")
    assert made.metrics["gate"]["candidate"]["rmse"]["estimate"] < 2
    moved = {each.feature: each for each in watch(conn, "value")}
    assert moved["label"].numbers["psi"] is not None
    # Nor do they take from anybody what they are shown.
    conn.execute(
        "UPDATE rescore.snapshots SET label = 1e100, quarantined = NULL WHERE key IN ('7', '8')"
    )
    conn.execute("UPDATE rescore.snapshots SET score = -1e200 WHERE key = '8'")
    live = "SELECT max(mse) > 1e150, max(mae) > 1e90, min(mean_score) < -1e190 FROM rescore.live_quality"
    assert one(conn, live) == (True, True, True)
    # A score near to 0, one near to the end of all numbers, one that is not there; holdouts of tiny labels.
    conn.execute("UPDATE rescore.snapshots SET score = 1e-200, label = 0, holdout = key < '3'")
    assert one(conn, "SELECT max(mse), max(mae) FROM rescore.live_quality") == (0, 0)
    conn.execute("UPDATE rescore.snapshots SET score = NULL WHERE key = '8'")
    assert one(conn, "SELECT max(mse) FROM rescore.live_quality") == 0
    conn.execute("UPDATE rescore.snapshots SET score = 1.7e308, label = -1e100")
    assert one(conn, "SELECT bool_and(mae > 1e100) FROM rescore.live_quality") is True
    for label in ("1e-200", "5e-324", "1e-99", "1e100"):
        conn.execute(f"UPDATE rescore.snapshots SET label = {label}".encode())
        tiny = one(conn, "SELECT bool_and(rate <= 1e100) FROM rescore.uplift")
        assert tiny is True, label


def test_a_number_that_no_float8_can_hold_is_a_label_of_0(conn: Connection) -> None:
    conn.execute("ALTER TABLE refunds ALTER amount TYPE numeric")
    define(conn, DEFINITION)
    start(conn, "back")
    conn.execute("SELECT rescore.snapshot('customers')")
    refunds = "INSERT INTO refunds VALUES (7, '2026-01-03', 1e-400), (8, '2026-01-03', 0.5), (9, '2026-01-03', -1e300)"
    conn.execute(refunds)
    at(conn, BEGIN + timedelta(days=31))
    conn.execute("SELECT rescore.resolve('customers')")
    assert labels(conn, "back", 6, 7, 8, 9) == [0, 0, 0.5, 0]


def test_versions_that_tell_a_number_are_compared(conn: Connection) -> None:
    start(conn, "value")
    learnt = train(
        conn,
        "value",
        moments=[BEGIN - timedelta(days=45)],
        until=BEGIN,
        publish=True,
        candidate=True,
        passes=1,
    )
    conn.execute("SELECT rescore.shadow('value', %s)", [learnt.version])
    rounds(conn, 2)
    found = compare(conn, "value")
    assert (found.metric, found.paired, found.customers) == ("r2", True, CUSTOMERS)
    assert set(found.metrics) == {"r2", "mse", "rmse", "mae", "bias", "mean"}


def test_what_counts_towards_a_number(conn: Connection) -> None:
    start(conn, "visit", "point", "back")
    at(conn, BEGIN)
    conn.execute("SELECT rescore.snapshot('customers')")
    orders = [
        (1, 4, 5, 1.0), (1, 6, 5, 2.0), (1, 20, 5, 3.0), (1, 21, 5, 4.0), (1, 7, 0, 5.0),
        (2, 6, None, None), (2, 7, 5, float("nan")), (2, 8, 5, float("inf")), (2, 9, 5, 1e300), (2, 10, 5, 0.25),
        (3, 6, 5, 1.0),
    ]  # fmt: skip
    for key, day, *values in orders:
        conn.execute(
            "INSERT INTO orders VALUES (%s, %s, %s, %s)",
            [key, BEGIN + timedelta(days=day), *values],
        )
    conn.execute("INSERT INTO closed VALUES (3, %s)", [BEGIN + timedelta(days=29)])
    conn.execute(
        "INSERT INTO refunds VALUES (1, '2026-01-05', 3), (1, '2026-01-11', 4), (1, '2026-01-12', 9)"
    )
    at(conn, BEGIN + timedelta(days=40))
    conn.execute("SELECT rescore.resolve('customers')")
    assert labels(conn, "visit", 1, 2, 4) == [2.0, 4.0, 0.0]
    assert labels(conn, "point", 1, 2, 4) == [15.0, 0.25, 0.0]
    assert labels(conn, "point", 3) == [None]
    assert labels(conn, "back", 1, 2) == [7.0, 0.0]
    conn.execute("INSERT INTO refunds VALUES (1, '2026-01-06', -10)")
    conn.execute("SELECT rescore.resolve('customers')")
    corrected = "SELECT label, label_first, corrected_at IS NOT NULL FROM rescore.snapshots WHERE model = 'back' AND key = '1'"
    assert one(conn, corrected) == (-3.0, 7.0, True)
    assert one(conn, "SELECT count(*) FROM rescore.snapshots WHERE early") == 0


@pytest.mark.long
def test_segments_are_learnt_without_a_label(conn: Connection, tmp_path: Path) -> None:
    made = train(conn, "kind", publish=True)
    assert (made.version, made.moments, made.examples) == (1, (BEGIN,), CUSTOMERS)
    rounds(conn, 4)
    assert one(
        conn,
        "SELECT bool_and(resolved IS NOT NULL AND label IS NULL AND NOT censored) FROM rescore.snapshots",
    )
    assert one(conn, "SELECT count(*) FROM rescore.early_outcomes") == 0
    found = learn(conn, "kind").rounds
    assert [each.action for each in found] == ["published"]
    gate = found[-1].metrics["gate"]
    assert [each["name"] for each in gate["checks"][:2]] == ["customers", "comparison"]
    assert 0.1 < gate["candidate"]["distance"]["estimate"] < 0.8
    assert found[-1].skipped == {"in the training period": CUSTOMERS}
    champion = read_state(conn, "kind").champion
    expected = score(champion.estimator, customers(conn)).tolist()
    served = "SELECT rescore.predict_key('kind', customer_id) FROM customers ORDER BY customer_id"
    assert [value for (value,) in conn.execute(served.encode())] == expected
    assert set(expected) == {0.0, 1.0, 2.0}
    assert {each.feature for each in watch(conn, "kind")} == {"habit", "income", "score"}
    for way in (lambda: compare(conn, "kind", 1), lambda: export(conn, "kind", tmp_path / "a.csv")):
        with pytest.raises(NotSupported):
            way()


def test_what_has_no_outcome_is_not_asked_for_more_snapshots(conn: Connection) -> None:
    plain = DEFINITION.replace("models:\n", "models:\n  plain: {features: [habit, income]}\n")
    define(conn, plain)
    for way in (compare, uplift):
        with pytest.raises(NotSupported, match="of model kind") as caught:
            way(conn, "kind")
        assert "number of a segment" in caught.value.detail
        assert "interventions" not in caught.value.hint
        with pytest.raises(NotSupported, match="of model plain") as caught:
            way(conn, "plain")
        assert caught.value.hint.startswith("name one under models.plain.label")
    with pytest.raises(NotEnoughData) as nothing:
        uplift(conn, "value")
    assert nothing.value.hint.startswith("name `interventions` with a holdout")
    conn.execute("CREATE TABLE offers (customer_id bigint, sent_at timestamptz)")
    treated = "interventions: {table: offers, time: sent_at, holdout: 20%}\nmodels:"
    define(conn, DEFINITION.replace("models:", treated))
    with pytest.raises(NotEnoughData) as nothing:
        uplift(conn, "value")
    assert nothing.value.hint.startswith("a snapshot resolves after its horizon")


def test_a_history_of_numbers_is_trained_and_measured(conn: Connection) -> None:
    rounds(conn, 3)
    made = train(conn, "value", moments="31 days")
    assert (made.target, len(made.train_moments)) == ("number", len(made.moments) - 1)
    assert made.metrics is not None
    assert made.metrics["r2"] > 0.9 > made.metrics["constant"]["r2"]


@pytest.mark.parametrize(
    ("given", "instead", "told"),
    [
        ("of: amount, within: 30 days", "within: 30 days", "`sum` needs `of`"),
        ("{count: orders,", "{count: orders, of: amount,", "`of` needs `sum`, or a `table` alone"),
        ("{count: orders,", "{count: orders, table: refunds, at: paid_on,", "`count` and `table` do not go together"),
        ("{count: orders,", "{count: orders, none: orders,", "`none` and `count`, not both"),
        ("censored_by: closes", "censored_by: revenue", "label revenue is a number"),
        ("estimator: {sgd_regressor: {learning_rate: constant, eta0: 0.01}}", "", "sgd_classifier does not learn a number"),
        ("label: revenue", "label: revenue\n    calibrate: platt", "no probability to correct"),
        ("learn: {batch: 100, examples: 1000, minimum", "learn: {balance: balanced, minimum", "no positives to weigh"),
        ("learn: {batch: 100, examples: 1000, minimum", "learn: {metric: auc, minimum", "auc does not measure model"),
    ],
)  # fmt: skip
def test_what_does_not_go_with_a_number_is_refused(given: str, instead: str, told: str) -> None:
    from rescore.compiler.definition import parse

    assert given in DEFINITION
    with pytest.raises(BadDefinition, match=told):
        parse(DEFINITION.replace(given, instead, 1))


def test_only_columns_that_are_numbers_are_summed(conn: Connection) -> None:
    with pytest.raises(DoesNotFit, match=r"labels\.revenue\.of: column \"ordered_at\" is of type"):
        define(conn, DEFINITION.replace("of: amount, within: 30", "of: ordered_at, within: 30"))
