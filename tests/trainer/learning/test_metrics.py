"""Metrics of histograms: those of scikit-learn, with weights, of many copies at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import expit, logit
from sklearn import metrics as sk

from rescore.errors import BadDefinition
from rescore.trainer.learning.histogram import ScoreHistogram
from rescore.trainer.learning.metrics import METRICS, leave_one_out, metric
from rescore.trainer.metrics import calibration


def example(n: int = 4000, seed: int = 1) -> tuple[Any, Any, Any]:
    random = np.random.default_rng(seed)
    scores = expit(random.normal(-1, 1.5, n))
    labels = (random.random(n) < expit(0.7 * logit(scores) + 0.3)).astype(np.int8)
    return scores, labels, random.integers(1, 4, n)


def measured(name: str, scores: Any, labels: Any, weights: Any = None, **shape: Any) -> float:
    histogram = ScoreHistogram.like(scores, groups=4, **shape)
    histogram.add(np.asarray(scores), labels, np.arange(len(labels)) % 4, weights)
    return float(metric(name).of(leave_one_out(histogram))[0])


SKLEARN = {
    "auc": (sk.roc_auc_score, 1e-5),
    "pr_auc": (sk.average_precision_score, 2e-3),
    "log_loss": (sk.log_loss, 1e-12),
    "brier": (sk.brier_score_loss, 1e-12),
    "accuracy": (lambda y, p, **w: sk.accuracy_score(y, p >= 0.5, **w), 1e-12),
    "precision": (lambda y, p, **w: sk.precision_score(y, p >= 0.5, **w), 1e-12),
    "recall": (lambda y, p, **w: sk.recall_score(y, p >= 0.5, **w), 1e-12),
    "f1": (lambda y, p, **w: sk.f1_score(y, p >= 0.5, **w), 1e-12),
    "base_rate": (lambda y, p, sample_weight=None: np.average(y, weights=sample_weight), 1e-12),
}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", SKLEARN)
def test_is_that_of_scikit_learn(name: str, weighted: bool) -> None:
    scores, labels, weights = example()
    reference, tolerance = SKLEARN[name]
    given = {"sample_weight": weights} if weighted else {}
    expected = reference(labels, scores, **given)
    assert measured(name, scores, labels, weights if weighted else None) == pytest.approx(
        expected, abs=tolerance
    )


@pytest.mark.parametrize("name", ["auc", "pr_auc"])
def test_few_scores_with_ties_are_exact(name: str) -> None:
    scores, labels = np.array([0.1, 0.4, 0.4, 0.4, 0.8, 0.8]), np.array([0, 1, 0, 1, 1, 0])
    assert measured(name, scores, labels) == pytest.approx(SKLEARN[name][0](labels, scores))


def test_calibration_is_that_of_a_logistic_regression() -> None:
    scores, labels, _ = example()
    expected = calibration(labels, scores)
    assert measured("calibration_slope", scores, labels) == pytest.approx(
        expected["slope"], abs=2e-3
    )
    assert measured("calibration_intercept", scores, labels) == pytest.approx(
        expected["intercept"], abs=2e-3
    )
    assert expected["slope"] == pytest.approx(0.7, abs=0.1)
    lacking = brentq(lambda b: (expit(logit(scores) + b) - labels).sum(), -5, 5)
    assert measured("calibration_in_the_large", scores, labels) == pytest.approx(lacking, abs=2e-3)


def test_expected_calibration_error_by_hand() -> None:
    scores = np.repeat(np.linspace(0.05, 0.95, 10), 100)
    labels = (np.tile(np.arange(100), 10) < 50).astype(np.int8)  # half, whatever was predicted
    assert measured("ece", scores, labels) == pytest.approx(
        np.abs(np.linspace(-0.45, 0.45, 10)).mean()
    )


def test_on_top_by_hand() -> None:
    scores, labels = np.arange(10) / 10, np.array([0, 0, 0, 0, 1, 0, 1, 0, 1, 1])
    assert measured("precision@20%", scores, labels) == 1
    assert measured("precision@3", scores, labels) == pytest.approx(2 / 3)
    assert measured("recall@40%", scores, labels) == pytest.approx(3 / 4)
    assert measured("recall@500", scores, labels) == 1


def test_among_ties_the_top_takes_its_share() -> None:
    assert measured("precision@10%", np.full(100, 0.5), np.arange(100) < 30) == pytest.approx(0.3)


@pytest.mark.parametrize("name", ["auc", "pr_auc", "recall", "calibration_slope", "recall@10%"])
def test_one_class_only_is_not_defined(name: str) -> None:
    assert np.isnan(measured(name, np.array([0.2, 0.9]), np.array([0, 0])))


def test_separated_classes_have_no_slope_and_constant_scores_slope_zero() -> None:
    separated = np.array([0.1, 0.2, 0.8, 0.9]), np.array([0, 0, 1, 1])
    assert np.isnan(measured("calibration_slope", *separated))
    constant = np.full(4, 0.5), np.array([0, 1, 1, 1])
    assert measured("calibration_slope", *constant) == 0
    assert measured("calibration_intercept", *constant) == pytest.approx(np.log(3))


@pytest.mark.parametrize("name", METRICS)
def test_leaving_out_a_group_is_not_having_it(name: str) -> None:
    scores, labels, weights = example(400)
    groups = np.arange(400) % 3
    whole = ScoreHistogram.like(scores, groups=4)
    whole.add(scores, labels, groups, weights)
    values = METRICS[name].of(leave_one_out(whole))
    assert len(values) == 4  # the fourth group has nobody
    for group in range(3):
        rest, kept = ScoreHistogram.like(scores, groups=4), groups != group
        rest.add(scores[kept], labels[kept], groups[kept], weights[kept])
        expected = METRICS[name].of(leave_one_out(rest))[0]
        assert values[group + 1] == pytest.approx(expected, rel=0.02)  # scores stand for their bin


@pytest.mark.parametrize("name", ["acu", "precision@", "precision@0%", "recall@200%", "f1@10%"])
def test_unknown_metrics_are_refused(name: str) -> None:
    with pytest.raises(BadDefinition, match="unknown metric"):
        metric(name)
