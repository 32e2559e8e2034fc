"""Intervals: they hold the truth as often as they say, though rows of one customer are not independent."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from rescore.tests.trainer.learning.streams import Snapshots, snapshots
from rescore.trainer.learning.hashing import groups
from rescore.trainer.learning.histogram import ScoreHistogram
from rescore.trainer.learning.intervals import Interval, difference, intervals, jackknife
from rescore.trainer.learning.metrics import METRICS, Metric, metric

SHAPE: dict[str, Any] = {"groups": 128, "bins": 96}
MEASURED = [*METRICS.values(), metric("precision@10%"), metric("recall@10%")]


def counted(scores: Any, rows: Snapshots, members: Any = None) -> ScoreHistogram:
    histogram = ScoreHistogram.like(scores, **SHAPE)
    histogram.add(scores, rows.labels, groups(rows.hashes, 128) if members is None else members)
    return histogram


@pytest.fixture(scope="module")
def coverage() -> dict[str, float]:
    """How often intervals from 300 customers hold the value of 100,000."""
    random = np.random.default_rng(11)
    truth = intervals(counted((many := snapshots(random, 100_000)).truth, many), MEASURED)
    known = {name: each.estimate for name, each in truth.items()}
    known |= {"ece": 0.0, "calibration_slope": 1.0}
    known |= {"calibration_intercept": 0.0, "calibration_in_the_large": 0.0}
    held: dict[str, list[bool]] = {name: [] for name in known}
    for _ in range(300):
        rows = snapshots(random, 300)
        for name, found in intervals(counted(rows.truth, rows), MEASURED).items():
            held[name].append(found.known and found.holds(known[name]))
    return {name: float(np.mean(each)) for name, each in held.items()}


@pytest.mark.parametrize("name", [each.name for each in MEASURED if each.name != "ece"])
def test_intervals_hold_the_truth_as_often_as_they_say(
    name: str, coverage: dict[str, float]
) -> None:
    assert 0.92 <= coverage[name] <= 0.98


def test_the_calibration_error_of_calibrated_scores_is_held_safely(
    coverage: dict[str, float],
) -> None:
    assert coverage["ece"] >= 0.95


def test_equal_pairs_are_rarely_called_different_and_by_rows_often() -> None:
    random = np.random.default_rng(12)
    compared = [metric(name) for name in ("auc", "log_loss", "pr_auc", "brier")]
    called: dict[str, list[tuple[bool, bool]]] = {each.name: [] for each in compared}
    for _ in range(300):
        rows = snapshots(random, 200, days=20)
        by_row = random.integers(0, 128, len(rows.labels))
        pairs = [(counted(rows.one, rows, m), counted(rows.other, rows, m)) for m in (None, by_row)]
        for each in compared:
            clustered, rowwise = (not difference(*pair, each).holds(0) for pair in pairs)
            called[each.name].append((clustered, rowwise))
    for name, found in called.items():
        clustered, rowwise = np.mean(found, axis=0)
        assert clustered <= 0.08, name
        assert rowwise >= 0.3, name


def clustered_delong(scores: Any, labels: Any, customers: Any) -> float:
    """Return the standard error of an AUC by Obuchowski's formula (Biometrics 1997)."""
    high, low = scores[labels == 1], scores[labels == 0]
    wins = (high[:, None] > low) + 0.5 * (high[:, None] == low)
    auc, clusters = wins.mean(), np.unique(customers)
    position = np.searchsorted(clusters, customers)
    by_high, by_low = np.zeros(len(clusters)), np.zeros(len(clusters))
    np.add.at(by_high, position[labels == 1], wins.mean(axis=1) - auc)
    np.add.at(by_low, position[labels == 0], wins.mean(axis=0) - auc)
    share = len(clusters) / (len(clusters) - 1)
    return float(np.sqrt(share * np.sum((by_high / len(high) + by_low / len(low)) ** 2)))


def test_the_error_of_an_auc_is_that_of_the_clustered_delong_formula() -> None:
    rows = snapshots(np.random.default_rng(13), 250)
    expected = clustered_delong(rows.one, rows.labels, rows.hashes)
    histogram = ScoreHistogram.like(rows.one, groups=4096)  # as good as one customer a group
    histogram.add(rows.one, rows.labels, groups(rows.hashes, 4096))
    plain = Metric("auc", METRICS["auc"].of, 1, "number")
    found = intervals(histogram, [plain])["auc"]
    assert (found.high - found.low) / (2 * 1.97) == pytest.approx(expected, rel=0.05)


def test_jackknife_of_a_mean_is_the_textbook_t_interval() -> None:
    values = np.array([3.0, 5.0, 8.0, 1.0, 9.0])
    left_out = [np.delete(values, i).mean() for i in range(5)]
    found = jackknife(np.array([values.mean(), *left_out]))
    reach = 2.776 * values.std(ddof=1) / np.sqrt(5)
    assert (found.low, found.high) == pytest.approx((5.2 - reach, 5.2 + reach), abs=1e-3)


def test_one_side_is_open_and_the_other_nearer() -> None:
    values = np.array([1.0, 0.9, 1.1, 1.0])
    both, lower = jackknife(values), jackknife(values, side="lower")
    assert lower.high == np.inf and both.low < lower.low < 1
    assert jackknife(values, side="upper").low == -np.inf


def of(labels: list[int], scores: list[float], customers: int, name: str) -> Interval:
    histogram = ScoreHistogram.like(scores, groups=64)
    histogram.add(np.array(scores), labels, np.arange(len(labels)) % customers)
    return intervals(histogram, [METRICS[name]])[name]


def test_where_nothing_varied_the_bound_is_that_of_as_many_draws() -> None:
    found = of([0] * 30, [0.2] * 30, 30, "base_rate")
    assert (found.estimate, found.low) == (0, 0)
    assert found.high == pytest.approx(1 - 0.025 ** (1 / 30))
    assert of([0] * 30, [0.2] * 30, 30, "accuracy").low == pytest.approx(0.025 ** (1 / 30))


def test_one_positive_has_an_interval_within_bounds() -> None:
    found = of([1] + [0] * 29, [0.2] * 30, 30, "base_rate")
    assert 0 <= found.low < found.estimate < found.high < 0.2


@pytest.mark.parametrize(
    ("labels", "customers", "name"),
    [([0, 0], 2, "auc"), ([0, 1, 0, 1], 1, "auc"), ([1, 0, 0, 0], 4, "auc"), ([], 1, "base_rate")],
)
def test_what_cannot_be_known_is_not_claimed(labels: list[int], customers: int, name: str) -> None:
    found = of(labels, [0.1 * i for i in range(len(labels))], customers, name)
    assert not found.known
    assert found.holds(0.3)  # and nothing is ruled out
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["low"] is None


def test_margins_have_only_what_needs_no_probability() -> None:
    histogram = ScoreHistogram.like([-3.0, 4.0], probability=False, groups=4)
    histogram.add(np.array([-3.0, 4.0, 1.0, 2.0]), [0, 1, 1, 0], np.arange(4))
    assert "auc" in (found := intervals(histogram, list(METRICS.values())))
    assert "log_loss" not in found and "ece" not in found


@pytest.mark.parametrize("probability", [True, False])
@pytest.mark.parametrize("weights", [[], [0.0, 0.0]])
def test_of_no_examples_nothing_is_known(weights: list[float], *, probability: bool) -> None:
    histogram = ScoreHistogram.like([0.2, 0.9], probability=probability, groups=4)
    count = len(weights)
    histogram.add(np.array([0.2, 0.9])[:count], [0, 1][:count], np.arange(count), weights)
    found = intervals(histogram, MEASURED)
    assert {"pr_auc", "recall@10%"} < set(found)
    for each in found.values():
        assert np.isnan([each.estimate, each.low, each.high]).all()
