"""Metrics of scores and outcomes, of many reweighted copies of the examples at once.

Every function takes `Sums`, whose leading axis holds the copies, and returns one number for each
of them: with it, leaving out each group of customers in turn costs one call. A metric that is
not defined, such as the AUC of one class only, is NaN.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from rescore.errors import BadDefinition
from rescore.trainer.learning.histogram import ScoreHistogram
from rescore.trainer.learning.logistic import fit_line, fit_offset

Floats = NDArray[np.float64]

ECE_BINS = 10


@dataclass(frozen=True)
class Sums:
    """Examples summed over groups, for each of ``copies`` reweightings.

    Attributes
    ----------
    negatives, positives: shape (copies, bins), of bins that hold any.
    losses: shape (copies, 2): log loss and squared error, times weight.
    scores, odds: shape (bins,): mean score and mean log-odds of each bin.
    threshold: number of the first bin that is predicted positive.
    """

    negatives: Floats
    positives: Floats
    losses: Floats
    scores: Floats
    odds: Floats
    threshold: int

    @cached_property
    def weight(self) -> Floats:
        """Weight of each copy, shape (copies,)."""
        return cast(Floats, self.per_bin.sum(axis=1))

    @cached_property
    def per_bin(self) -> Floats:
        """Weight in each bin, shape (copies, bins)."""
        return self.negatives + self.positives

    @cached_property
    def gaps(self) -> Floats:
        """Predicted minus observed in ten bins of equal weight, times their share of it."""
        before = np.cumsum(self.per_bin, axis=1) - self.per_bin / 2
        weight = np.where(self.weight > 0, self.weight, np.nan)[:, None]
        tenth = np.clip(ECE_BINS * before / np.nan_to_num(weight, nan=1), 0, ECE_BINS - 1)
        gaps = self.per_bin * self.scores - self.positives
        copies = len(gaps)
        place = tenth.astype(np.intp) + ECE_BINS * np.arange(copies)[:, None]
        found = np.bincount(place.ravel(), gaps.ravel(), copies * ECE_BINS)
        return found.reshape(copies, ECE_BINS) / weight

    @cached_property
    def line(self) -> tuple[Floats, Floats]:
        """Slope and intercept of the outcome's log-odds over the predicted ones."""
        return fit_line(self.odds, self.positives, self.negatives)


def leave_one_out(histogram: ScoreHistogram) -> Sums:
    """Return the sums of all examples, and of all but each group's in turn.

    Returns
    -------
    Sums of shape (1 + groups with examples, …); the first copy is the whole.
    """
    counts, losses = histogram.counts, histogram.losses
    known = counts.sum(axis=(1, 2)) > 0
    counts, losses = counts[known], losses[known]
    per_bin = counts.sum(axis=(0, 1))
    used = per_bin > 0  # of most scores, less than half of the bins
    counts, per_bin = counts[:, :, used], per_bin[used]
    whole = counts.sum(axis=0)
    copies = np.empty((len(counts) + 1, *whole.shape))
    copies[0] = whole
    np.subtract(whole, counts, out=copies[1:])
    # Subtracting fractions can leave a little less than nothing.
    np.maximum(copies, 0.0, out=copies)
    means = histogram.sums[:, used] / per_bin
    below = np.searchsorted(histogram.edges, histogram.threshold, side="right")
    return Sums(
        copies[:, 0],
        copies[:, 1],
        np.concatenate([losses.sum(axis=0)[None], losses.sum(axis=0) - losses]),
        means[0],
        means[1],
        int(np.count_nonzero(used[:below])),
    )


@dataclass(frozen=True)
class Metric:
    """A metric and what is known about its values.

    Attributes
    ----------
    name: as in the definition and in reports.
    of: values of the copies, shape (copies,).
    better: 1 where more is better, -1 where less is, 0 where neither.
    scale: on which its chance variation is nearest to normal: the log-odds of a ``share``, the
        logarithm of a ``loss``, or the ``number`` itself. An ``error`` is a mean distance, which
        chance makes larger.
    probability: whether it needs probabilities.
    """

    name: str
    of: Callable[[Any], Floats]
    better: Literal[-1, 0, 1]
    scale: Literal["share", "loss", "error", "number"]
    probability: bool = False


def ratio(above: Floats, below: Floats) -> Floats:
    """Return quotients, NaN where the divisor is 0."""
    return above / np.where(below > 0, below, np.nan)


def base_rate(s: Sums) -> Floats:
    """Share of positive outcomes."""
    return ratio(s.positives.sum(axis=1), s.weight)


def auc(s: Sums) -> Floats:
    """Area under the ROC curve; two examples of one bin are a tie and count half."""
    below = np.cumsum(s.negatives, axis=1) - s.negatives / 2
    pairs = s.positives.sum(axis=1) * s.negatives.sum(axis=1)
    return ratio((s.positives * below).sum(axis=1), pairs)


def pr_auc(s: Sums) -> Floats:
    """Average precision; examples of one bin are taken in one step, as scikit-learn takes ties."""
    taken = np.cumsum(s.per_bin[:, ::-1], axis=1)
    found = np.cumsum(s.positives[:, ::-1], axis=1)
    precision = found / np.where(taken > 0, taken, 1)
    return ratio((s.positives[:, ::-1] * precision).sum(axis=1), s.positives.sum(axis=1))


def log_loss(s: Sums) -> Floats:
    """Mean negative logarithm of the probability given to what happened."""
    return ratio(s.losses[:, 0], s.weight)


def brier(s: Sums) -> Floats:
    """Mean squared difference of probability and outcome."""
    return ratio(s.losses[:, 1], s.weight)


def accuracy(s: Sums) -> Floats:
    """Share of examples on the right side of the threshold."""
    right = s.positives[:, s.threshold :].sum(axis=1) + s.negatives[:, : s.threshold].sum(axis=1)
    return ratio(right, s.weight)


def precision(s: Sums) -> Floats:
    """Share of positives among the examples predicted positive."""
    found = s.positives[:, s.threshold :].sum(axis=1)
    return ratio(found, found + s.negatives[:, s.threshold :].sum(axis=1))


def recall(s: Sums) -> Floats:
    """Share of the positives that are predicted positive."""
    return ratio(s.positives[:, s.threshold :].sum(axis=1), s.positives.sum(axis=1))


def f1(s: Sums) -> Floats:
    """Harmonic mean of precision and recall."""
    found = s.positives[:, s.threshold :].sum(axis=1)
    predicted = found + s.negatives[:, s.threshold :].sum(axis=1)
    return ratio(2 * found, predicted + s.positives.sum(axis=1))


def _found_on_top(s: Sums, share: float | None, count: float | None) -> tuple[Floats, Floats]:
    """Return positives among the best scored examples, and how many were taken."""
    size = s.weight * share if share is not None else np.minimum(s.weight, count or 0)
    per_bin = s.per_bin[:, ::-1]
    before = np.cumsum(per_bin, axis=1) - per_bin
    # Of the bin in which the line falls, a part is taken: its examples are in no order.
    part = np.clip((size[:, None] - before) / np.where(per_bin > 0, per_bin, 1), 0, 1)
    return (s.positives[:, ::-1] * part).sum(axis=1), size


def precision_on_top(s: Sums, share: float | None, count: float | None) -> Floats:
    """Share of positives among the best scored."""
    found, size = _found_on_top(s, share, count)
    return ratio(found, size)


def recall_on_top(s: Sums, share: float | None, count: float | None) -> Floats:
    """Share of the positives that are among the best scored."""
    found, _ = _found_on_top(s, share, count)
    return ratio(found, s.positives.sum(axis=1))


def calibration_slope(s: Sums) -> Floats:
    """Slope of the outcome's log-odds over the predicted ones: below 1, scores are too extreme."""
    return s.line[0]


def calibration_intercept(s: Sums) -> Floats:
    """Intercept of the same line."""
    return s.line[1]


def calibration_in_the_large(s: Sums) -> Floats:
    """What all log-odds lack on average: the intercept with the slope held at 1."""
    return fit_offset(s.odds, s.positives, s.negatives)


def ece(s: Sums) -> Floats:
    """Expected calibration error: mean distance of predicted and observed in ten equal bins."""
    return cast(Floats, np.abs(s.gaps).sum(axis=1))


_METRICS = (
    Metric("base_rate", base_rate, 0, "share"),
    Metric("auc", auc, 1, "share"),
    Metric("pr_auc", pr_auc, 1, "share"),
    Metric("log_loss", log_loss, -1, "loss", probability=True),
    Metric("brier", brier, -1, "loss", probability=True),
    Metric("accuracy", accuracy, 1, "share"),
    Metric("precision", precision, 1, "share"),
    Metric("recall", recall, 1, "share"),
    Metric("f1", f1, 1, "share"),
    Metric("calibration_slope", calibration_slope, 0, "number", probability=True),
    Metric("calibration_intercept", calibration_intercept, 0, "number", probability=True),
    Metric("calibration_in_the_large", calibration_in_the_large, 0, "number", probability=True),
    Metric("ece", ece, -1, "error", probability=True),
)
METRICS = {metric.name: metric for metric in _METRICS}
_ON_TOP = {"precision": precision_on_top, "recall": recall_on_top}
_ON_TOP_NAME = re.compile(r"(precision|recall)@(\d+(?:\.\d+)?)(%?)")


def metric(name: str) -> Metric:
    """Return the metric of that name: one of `METRICS`, or ``precision@10%``, ``recall@500``.

    Raises
    ------
    BadDefinition: there is none of that name.
    """
    if name in METRICS:
        return METRICS[name]
    found = _ON_TOP_NAME.fullmatch(name)
    size = float(found[2]) if found else 0.0
    if found is None or size == 0 or (found[3] and size > 100):
        raise BadDefinition(
            f'unknown metric "{name}"',
            detail=f"Known: {', '.join(METRICS)}, precision@10%, recall@500 and the like.",
        )
    share, count = (size / 100, None) if found[3] else (None, size)
    return Metric(name, partial(_ON_TOP[found[1]], share=share, count=count), 1, "share")
