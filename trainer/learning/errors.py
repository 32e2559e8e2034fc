"""Numbers and what was predicted of them, summed by group of customers; how far they are apart.

The counterpart of `rescore.trainer.learning.histogram` for labels that say how much, and for
segments, whose examples have distances: memory is bounded, sums of batches add up, and leaving
out each group in turn tells how far chance moves a metric.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rescore.errors import NotFinite
from rescore.trainer.learning.hashing import Groups
from rescore.trainer.learning.histogram import GROUPS, checked_weights
from rescore.trainer.learning.metrics import Metric, ratio

Floats = NDArray[np.float64]
_SUMS = 8


@dataclass(frozen=True)
class Totals:
    """Sums over groups, each of shape (copies,): one for each reweighting of the examples.

    Attributes
    ----------
    weight: of the examples.
    actual, actual2: what happened, and its square.
    told, told2: what was predicted, and its square.
    product: both multiplied.
    absolute, squared: the error.
    """

    weight: Floats
    actual: Floats
    actual2: Floats
    told: Floats
    told2: Floats
    product: Floats
    absolute: Floats
    squared: Floats


class ErrorSums:
    """Weighted sums of predictions, outcomes and errors by group.

    Attributes
    ----------
    sums: shape (8, groups), in the order of `Totals`.
    """

    probability = False

    def __init__(self, groups: int = GROUPS) -> None:
        self.sums: Floats = np.zeros((_SUMS, groups))

    def add(
        self, scores: Floats, labels: ArrayLike, groups: Groups, weights: ArrayLike | None = None
    ) -> None:
        """Add examples, in place.

        Parameters
        ----------
        scores: what was predicted, shape (n,); distances, where labels are 0.
        labels: what happened, shape (n,).
        groups: shape (n,), from `rescore.trainer.learning.hashing.groups`.
        weights: shape (n,); default: 1.

        Raises
        ------
        NotFinite: a number is not.
        """
        told, actual = np.asarray(scores, dtype=float), np.asarray(labels, dtype=float)
        error = told - actual
        if not np.isfinite(error).all():
            raise NotFinite(f"{(~np.isfinite(error)).sum()} of {len(error)} errors are not finite")
        one = np.ones(len(told))
        parts = (one, actual, actual**2, told, told**2, told * actual, np.abs(error), error**2)
        given = checked_weights(weights, len(told))
        for row, part in enumerate(parts):
            self.sums[row] += np.bincount(groups, given * part, self.sums.shape[1])

    @property
    def weight(self) -> float:
        """Sum of the weights."""
        return float(self.sums[0].sum())

    def leave_one_out(self) -> Totals:
        """Return the totals of all examples, and of all but each group's in turn."""
        known = self.sums[:, self.sums[0] > 0]
        whole = known.sum(axis=1, keepdims=True)
        copies = np.concatenate([whole, whole - known], axis=1)
        copies[0] = np.maximum(copies[0], 0.0)
        return Totals(*copies)


def mean_squared_error(s: Totals) -> Floats:
    """Mean squared difference of what was predicted and what happened."""
    return ratio(np.maximum(s.squared, 0.0), s.weight)


def root_mean_squared_error(s: Totals) -> Floats:
    """The same in the label's own unit."""
    return np.sqrt(mean_squared_error(s))


def mean_absolute_error(s: Totals) -> Floats:
    """Mean difference, whatever its sign."""
    return ratio(np.maximum(s.absolute, 0.0), s.weight)


def r2(s: Totals) -> Floats:
    """Share of the label's variance that is explained; below 0: worse than its mean."""
    spread = s.actual2 - ratio(s.actual**2, s.weight)
    return 1 - ratio(np.maximum(s.squared, 0.0), spread)


def bias(s: Totals) -> Floats:
    """Mean of predicted minus happened."""
    return ratio(s.told - s.actual, s.weight)


def slope(s: Totals) -> Floats:
    """Slope of what happened over what was predicted: below 1, predictions are too extreme."""
    shared = s.product - ratio(s.told * s.actual, s.weight)
    return ratio(shared, s.told2 - ratio(s.told**2, s.weight))


def mean(s: Totals) -> Floats:
    """Mean of what happened."""
    return ratio(s.actual, s.weight)


def distance(s: Totals) -> Floats:
    """Mean squared distance from the centre of the own segment, a column."""
    return ratio(s.told, s.weight)


NUMBERS = {
    each.name: each
    for each in (
        Metric("r2", r2, 1, "number"),
        Metric("mse", mean_squared_error, -1, "loss"),
        Metric("rmse", root_mean_squared_error, -1, "loss"),
        Metric("mae", mean_absolute_error, -1, "loss"),
        Metric("bias", bias, 0, "number"),
        Metric("slope", slope, 0, "number"),
        Metric("mean", mean, 0, "number"),
    )
}
DISTANCES = {"distance": Metric("distance", distance, -1, "loss")}
