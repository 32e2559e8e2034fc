"""The numbers of a report, against values worked out by hand or known in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from rescore.errors import NotEnoughData
from rescore.trainer.metrics import calibration, evaluate


def test_numbers_of_four_examples() -> None:
    labels, predicted = np.array([0, 1, 0, 1], np.int8), np.array([0.1, 0.4, 0.6, 0.9])
    found = evaluate(labels, predicted, constant=0.5)
    assert found["auc"] == 0.75  # three of four pairs in order
    assert found["log_loss"] == pytest.approx(-np.log([0.9, 0.4, 0.4, 0.9]).mean())
    assert found["brier"] == pytest.approx((0.01 + 0.36 + 0.36 + 0.01) / 4)
    assert found["base_rate"] == 0.5


def test_a_constant_stands_beside() -> None:
    labels = np.array([0, 0, 0, 1], np.int8)
    constant = evaluate(labels, np.array([0.1, 0.2, 0.3, 0.4]), constant=0.25)["constant"]
    assert constant["auc"] == 0.5
    assert constant["brier"] == pytest.approx(0.25 * 0.75)
    assert constant["log_loss"] == pytest.approx(-0.75 * np.log(0.75) - 0.25 * np.log(0.25))


def calibrated(n: int = 20_000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(2)
    log_odds = random.normal(size=n)
    chance = 1 / (1 + np.exp(-log_odds))
    return (random.random(n) < chance).astype(np.int8), chance, log_odds


def test_calibrated_predictions_have_slope_one_and_intercept_zero() -> None:
    labels, chance, _ = calibrated()
    found = calibration(labels, chance)
    assert found["slope"] == pytest.approx(1, abs=0.06)
    assert found["intercept"] == pytest.approx(0, abs=0.06)
    assert sum(part["examples"] for part in found["bins"]) == len(labels)
    assert all(abs(part["predicted"] - part["observed"]) < 0.05 for part in found["bins"])


def test_predictions_too_extreme_have_slope_below_one() -> None:
    labels, _, log_odds = calibrated()
    assert calibration(labels, 1 / (1 + np.exp(-2 * log_odds)))["slope"] == pytest.approx(
        0.5, abs=0.05
    )


def test_certain_and_constant_predictions_are_measured_too() -> None:
    labels = np.array([0, 1, 1, 1], np.int8)
    assert np.isfinite(calibration(labels, np.array([0.0, 1.0, 1.0, 0.0]))["slope"])
    assert calibration(labels, np.full(4, 0.5))["intercept"] == pytest.approx(np.log(3))


def test_margins_have_only_an_order() -> None:
    found = evaluate(np.array([0, 1], np.int8), np.array([-3.0, 2.0]), constant=0.5)
    assert found["auc"] == 1.0
    assert "log_loss" not in found


def test_one_class_only_is_refused() -> None:
    with pytest.raises(NotEnoughData, match="only 1"):
        evaluate(np.ones(3, np.int8), np.full(3, 0.5), constant=0.5)
