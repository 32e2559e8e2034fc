"""Looking again and again: intervals that hold the truth at every look, and groups compared.

An ordinary 95% interval misses in one of twenty looks; who looks daily and stops at the first that
excludes 0 is wrong far more often. An always-valid interval holds at all looks together: it is
where the mixture sequential probability ratio test of normal effects with standard deviation
``effect`` does not reject (Johari, Koomen, Pekelis and Walsh, *Always Valid Inference*, Operations
Research 70(3), 2022; the mixture is Robbins', Annals of Mathematical Statistics 41, 1970).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from rescore.trainer.learning.intervals import LEVEL, Interval, difference, jackknife, left_out
from rescore.trainer.learning.metrics import Metric
from rescore.trainer.learning.target import Counted

Floats = NDArray[np.float64]


def standard_error(interval: Interval) -> float:
    """Return the standard error of a two-sided interval, Student's t reckoned in."""
    return float((interval.high - interval.low) / 2 / norm.ppf((1 + interval.level) / 2))


def always_valid(fixed: Interval, effect: float) -> Interval:
    """Return the interval that holds the truth at every look, however often it is looked.

    Parameters
    ----------
    fixed: two-sided interval of a difference at this look, by customers.
    effect: size of differences that the test is to find soonest, above 0, chosen beforehand; any
        choice is valid, one far from the truth only takes longer.

    Returns
    -------
    Interval around the same estimate; NaN bounds where those of ``fixed`` are.
    """
    if not fixed.known:
        return fixed
    variance, mixed = standard_error(fixed) ** 2, effect**2
    if variance == 0:
        return fixed
    odds = 2 * np.log(1 / (1 - fixed.level)) + np.log1p(mixed / variance)
    reach = float(np.sqrt(variance * (variance + mixed) / mixed * odds))
    return replace(fixed, low=fixed.estimate - reach, high=fixed.estimate + reach)


def gain(candidate: Counted, champion: Counted, metric: Metric, level: float = LEVEL) -> Interval:
    """Return by how much a candidate is better on the same examples; above 0 is better."""
    found = difference(candidate, champion, metric, level)
    return found if metric.better >= 0 else _negative(found)


def gain_apart(
    candidate: Counted, champion: Counted, metric: Metric, level: float = LEVEL
) -> Interval:
    """Return by how much a candidate is better, each measured on customers or times of its own."""
    one, other = (jackknife(metric.of(left_out(h)), level) for h in (candidate, champion))
    found = apart(one, other)
    return found if metric.better >= 0 else _negative(found)


def apart(one: Interval, other: Interval) -> Interval:
    """Return the interval of one number minus another that varies independently of it."""
    error = np.hypot(standard_error(one), standard_error(other))
    reach = float(norm.ppf((1 + one.level) / 2) * error)
    estimate = one.estimate - other.estimate
    groups = min(one.groups, other.groups)
    return Interval(estimate, estimate - reach, estimate + reach, one.level, groups)


def mean_of_groups(sums: Floats, counts: NDArray[Any], level: float = LEVEL) -> Interval:
    """Return the mean of outcomes with its interval, from the sums and numbers of each group.

    Parameters
    ----------
    sums, counts: shape (groups,); groups without outcomes do not count.
    """
    sums, counts = sums[counts > 0], counts[counts > 0].astype(np.float64)
    if not len(counts):
        return Interval(np.nan, np.nan, np.nan, level, 0)
    left = (sums.sum() - sums) / np.maximum(counts.sum() - counts, 1.0)
    return jackknife(cast(Floats, np.append(sums.sum() / counts.sum(), left)), level)


def _negative(found: Interval) -> Interval:
    return replace(found, estimate=-found.estimate, low=-found.high, high=-found.low)
