"""Confidence intervals that know that rows of one customer are not independent.

Each group of customers is left out in turn, and the metric computed from the rest: the cluster
jackknife (CR3), with Student's t. Why this and not a bootstrap or influence functions is in
``docs/learning.md``, with the coverage measured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit
from scipy.stats import t

from rescore.trainer.learning.errors import ErrorSums
from rescore.trainer.learning.histogram import ScoreHistogram
from rescore.trainer.learning.metrics import Metric, leave_one_out

Floats = NDArray[np.float64]
Side = Literal["both", "lower", "upper"]
LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A number and where the truth behind it is likely to be.

    Attributes
    ----------
    estimate: NaN where the metric is not defined, such as the AUC of one class only.
    low, high: bounds; infinite on the open side of a one-sided interval, NaN where chance
        cannot be told, such as with one customer.
    level: how often such intervals hold the truth.
    groups: groups of customers with examples, at most 256: fewer than about ten tell little.
    """

    estimate: float
    low: float
    high: float
    level: float
    groups: int

    @property
    def known(self) -> bool:
        """Whether there are an estimate and bounds."""
        return bool(np.isfinite(self.estimate) and not np.isnan([self.low, self.high]).any())

    def holds(self, value: float) -> bool:
        """Say whether a value is within the bounds; true when they are not known."""
        return not (value < self.low or value > self.high)

    def to_json(self) -> dict[str, Any]:
        """Return JSON-able values; what is not a finite number becomes None."""
        finite = {
            name: value if np.isfinite(value) else None for name, value in asdict(self).items()
        }
        return {**finite, "groups": self.groups}


def told(found: Mapping[str, Interval]) -> dict[str, Any]:
    """Return metrics with their intervals as JSON-able values."""
    return {name: interval.to_json() for name, interval in found.items()}


def intervals(
    histogram: ScoreHistogram | ErrorSums, metrics: Sequence[Metric], level: float = LEVEL
) -> dict[str, Interval]:
    """Return each metric with its two-sided interval; those that need probabilities only of such.

    Parameters
    ----------
    level: how often the intervals are to hold the truth.
    """
    copies = left_out(histogram)
    fitting = [each for each in metrics if histogram.probability or not each.probability]
    return {each.name: _of_metric(copies, each, level) for each in fitting}


def difference(
    one: ScoreHistogram | ErrorSums,
    other: ScoreHistogram | ErrorSums,
    metric: Metric,
    level: float = LEVEL,
    side: Side = "both",
) -> Interval:
    """Return the interval of the difference of a metric, one minus other, on the same examples.

    Parameters
    ----------
    one, other: of the same examples in the same groups, scored by two models.
    side: ``lower`` for a lower bound only, which holds with probability ``level``.
    """
    values = metric.of(left_out(one)) - metric.of(left_out(other))
    return jackknife(values, level, side)


def left_out(counted: ScoreHistogram | ErrorSums) -> Any:
    """Return what metrics take: of all examples, and of all but each group's in turn."""
    if isinstance(counted, ErrorSums):
        return counted.leave_one_out()
    return leave_one_out(counted)


def jackknife(values: Floats, level: float = LEVEL, side: Side = "both") -> Interval:
    """Return the interval of a number known for all groups, and with each left out in turn.

    Parameters
    ----------
    values: shape (1 + groups,); the first is that of the whole.
    """
    whole, count = float(values[0]), len(values) - 1
    if count < 2 or not np.isfinite(values).all():
        return Interval(whole, np.nan, np.nan, level, count)
    tail = (1 - level) / (2 if side == "both" else 1)
    reach = float(t.ppf(1 - tail, _freedom(values)) * _errors(values[:, None])[0])
    low = -np.inf if side == "upper" else whole - reach
    high = np.inf if side == "lower" else whole + reach
    return Interval(whole, low, high, level, count)


def _freedom(values: Floats) -> float:
    """Return degrees of freedom of a jackknife error, as Satterthwaite reckons them.

    Where a few groups hold all that varies (the only customers predicted positive, or those with
    most of the rows), the error itself is uncertain, and there are far fewer than groups.
    """
    squares = (values[1:] - values[0]) ** 2
    fourth = float((squares**2).sum())
    known = 2 * float(squares.sum()) ** 2 / fourth if fourth else np.inf
    return min(len(squares) - 1, max(known, 1.0))


def _errors(values: Floats) -> Floats:
    """Return standard errors, shape (n,), of n numbers of shape (1 + groups, n)."""
    count = len(values) - 1
    squares = np.sum((values[1:] - values[0]) ** 2, axis=0)
    return cast(Floats, np.sqrt((count - 1) / count * squares))


def _of_metric(copies: Any, metric: Metric, level: float) -> Interval:
    values = metric.of(copies)
    if metric.scale == "share":
        return _of_share(values, level)
    if metric.scale == "loss" and (values > 0).all():
        return _on_scale(values, np.log, np.exp, level)
    found = jackknife(values, level)
    return _of_error(found, copies.gaps) if metric.scale == "error" else found


def _of_share(values: Floats, level: float) -> Interval:
    """Return the interval of a number between 0 and 1, within 0 and 1."""
    if values[0] in (0.0, 1.0) and (values == values[0]).all():
        return _of_certainty(float(values[0]), len(values) - 1, level)
    if ((values > 0) & (values < 1)).all():
        return _on_scale(values, logit, expit, level)
    found = jackknife(values, level)  # leaving out the only positives, log-odds are infinite
    low, high = np.clip([found.low, found.high], 0, 1)
    return replace(found, low=float(low), high=float(high))


def _on_scale(
    values: Floats,
    forward: Callable[[Floats], Floats],
    backward: Callable[[Floats], Floats],
    level: float,
) -> Interval:
    found = jackknife(forward(values), level)
    low, high = backward(np.array([found.low, found.high]))
    return replace(found, estimate=float(values[0]), low=float(low), high=float(high))


def _of_certainty(value: float, groups: int, level: float) -> Interval:
    """Return the interval where nothing varied: as many agreeing draws as groups, by Clopper."""
    reach = ((1 - level) / 2) ** (1 / max(groups, 1))
    low, high = (reach, 1.0) if value else (0.0, 1 - reach)
    return Interval(value, low, high, level, groups)


def _of_error(found: Interval, gaps: Floats) -> Interval:
    """Lower the bound of a mean distance by what chance alone adds to it.

    The distance of a gap whose truth is 0 is on average 0.8 standard errors; it adds less where
    the truth is larger, so the interval is on the safe side.
    """
    if not found.known:
        return found
    by_chance = float(np.sqrt(2 / np.pi) * _errors(gaps).sum())
    return replace(found, low=max(0.0, found.low - by_chance))
