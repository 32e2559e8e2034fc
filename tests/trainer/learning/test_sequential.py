"""Intervals for those who look again and again."""

from __future__ import annotations

import numpy as np
import pytest

from rescore.trainer.learning.intervals import Interval
from rescore.trainer.learning.sequential import always_valid, apart, mean_of_groups, standard_error

LOOKS, CUSTOMERS, RUNS = 20, 128, 120


def mean_by_group(values: np.ndarray, members: np.ndarray) -> Interval:
    return mean_of_groups(np.bincount(members, values).astype(float), np.bincount(members))


def gains(rng: np.random.Generator, effect: float) -> np.ndarray:
    """Daily differences of each customer, half of whose variation is the customer's own."""
    own = rng.normal(0, 0.07, CUSTOMERS)
    return effect + own + rng.normal(0, 0.07, (LOOKS, CUSTOMERS))


def stops(effect: float) -> tuple[float, float]:
    """Share of runs in which some look excludes 0: ordinary intervals, always-valid ones."""
    rng, members = np.random.default_rng(7), np.arange(CUSTOMERS)
    found = []
    for _ in range(RUNS):
        days = gains(rng, effect)
        looks = [mean_by_group(days[:n].ravel(), np.tile(members, n)) for n in range(1, LOOKS + 1)]
        valid = [always_valid(each, 0.02) for each in looks]
        found.append([any(not i.holds(0) for i in each) for each in (looks, valid)])
    ordinary, sequential = np.mean(found, axis=0)
    return float(ordinary), float(sequential)


def test_looking_daily_is_no_cheating() -> None:
    ordinary, sequential = stops(0.0)
    assert ordinary > 0.08
    assert sequential <= 0.05


def test_a_difference_is_found() -> None:
    assert stops(0.04)[1] > 0.9


def test_it_is_wider_than_for_one_look_and_shrinks() -> None:
    fixed = Interval(0.1, 0.06, 0.14, 0.95, 200)
    valid = always_valid(fixed, 0.02)
    assert valid.low < fixed.low and valid.high > fixed.high and valid.estimate == 0.1
    assert valid.high - valid.estimate == pytest.approx(valid.estimate - valid.low)
    finer = always_valid(Interval(0.1, 0.099, 0.101, 0.95, 200), 0.02)
    assert finer.high - finer.low < 0.005


def test_what_is_not_known_stays_unknown() -> None:
    unknown = Interval(0.1, np.nan, np.nan, 0.95, 1)
    assert always_valid(unknown, 0.02) is unknown
    certain = Interval(0.0, 0.0, 0.0, 0.95, 50)
    assert always_valid(certain, 0.02) is certain
    assert not mean_by_group(np.empty(0), np.empty(0, dtype=np.intp)).known


def test_independent_numbers_are_subtracted() -> None:
    found = apart(Interval(0.5, 0.44, 0.56, 0.95, 90), Interval(0.4, 0.32, 0.48, 0.95, 60))
    assert found.estimate == pytest.approx(0.1)
    assert standard_error(found) == pytest.approx(np.hypot(0.06, 0.08) / 1.959964, rel=1e-6)
    assert found.groups == 60
    assert found.low == pytest.approx(0.0)


def test_a_mean_knows_its_customers() -> None:
    rng = np.random.default_rng(3)
    members = np.repeat(np.arange(50), 30)
    same = np.repeat(rng.integers(0, 2, 50), 30).astype(float)
    clustered = mean_by_group(same, members)
    assert clustered.estimate == pytest.approx(same.mean())
    assert standard_error(clustered) == pytest.approx(same.std(ddof=1) / np.sqrt(50), rel=0.05)
