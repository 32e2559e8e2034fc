"""How far recent values are from those a version was trained on, column by column.

Edges come from the training sample and stay with the version; counts over the same edges add up,
so a month is the sum of its days. Scores are one more column.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import kolmogorov

from rescore.trainer.learning.histogram import checked_weights
from rescore.trainer.learning.intervals import Interval

Floats = NDArray[np.float64]

BINS = 20
REACH = 10.0
"""Values further outside the training range than so many times its width are implausible."""
_PRIOR = 0.5  # added to each bin's count, so that empty ones have a logarithm


@dataclass(frozen=True)
class ColumnCounts:
    """Values of one column, counted in bins that the training sample chose.

    Attributes
    ----------
    edges: ascending, shape (bins - 1,), from the smallest value of training to the largest; the
        first bin is below the smallest, the last above the largest.
    counts: weights, shape (bins,).
    total: sum of the values times their weights.
    """

    edges: Floats
    counts: Floats
    total: float

    @classmethod
    def like(cls, values: ArrayLike, bins: int = BINS) -> ColumnCounts:
        """Return empty counts with edges at quantiles of a training sample, shape (n,), n > 0."""
        known = np.asarray(values, dtype=np.float64)
        quantiles = np.quantile(known, np.linspace(0, 1, bins + 1), method="higher")
        # The largest value itself is within the range.
        edges = np.append(np.unique(quantiles), np.nextafter(quantiles[-1], np.inf))
        return cls(edges, np.zeros(len(edges) + 1), 0.0)

    def plus(self, values: ArrayLike, weights: ArrayLike | None = None) -> ColumnCounts:
        """Return the counts with more values, shape (n,), in them."""
        more = np.asarray(values, dtype=np.float64)
        given = checked_weights(weights, len(more))
        bins = np.searchsorted(self.edges, more, side="right")
        counts = self.counts + np.bincount(bins, given, len(self.counts))
        return replace(self, counts=counts, total=self.total + float(given @ more))

    def __add__(self, other: ColumnCounts) -> ColumnCounts:
        """Return the counts of both; their edges must be the same."""
        if not np.array_equal(self.edges, other.edges):
            raise ValueError("counts over different edges do not add up")
        return replace(self, counts=self.counts + other.counts, total=self.total + other.total)

    @property
    def weight(self) -> float:
        """Sum of the weights."""
        return float(self.counts.sum())

    @property
    def mean(self) -> float:
        """Mean value; NaN without any."""
        return self.total / self.weight if self.weight else float("nan")

    @property
    def outside(self) -> float:
        """Share of values below the smallest or above the largest of training; 0 without any."""
        return float(self.counts[0] + self.counts[-1]) / self.weight if self.weight else 0.0

    def to_json(self) -> dict[str, Any]:
        """Return JSON-able values."""
        counts, edges = self.counts.tolist(), self.edges.tolist()
        return {"edges": edges, "counts": counts, "total": self.total}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ColumnCounts:
        """Return the counts kept in JSON."""
        edges, counts = (np.asarray(data[name], dtype=np.float64) for name in ("edges", "counts"))
        return cls(edges, counts, float(data["total"]))


Reference = dict[str, ColumnCounts]
"""The columns of the design row, and the score, by name."""


def reference(names: Sequence[str], design: Floats, weights: ArrayLike | None = None) -> Reference:
    """Return the counts of a training sample.

    Parameters
    ----------
    names: of the columns.
    design: shape (n, columns), n > 0.
    """
    columns = zip(names, design.T, strict=True)
    return {name: ColumnCounts.like(column).plus(column, weights) for name, column in columns}


def recent(
    kept: Reference, names: Sequence[str], design: Floats, weights: ArrayLike | None = None
) -> Reference:
    """Return the counts of a recent sample over the bins of a reference."""
    columns = zip(names, design.T, strict=True)
    return {
        name: replace(kept[name], counts=np.zeros_like(kept[name].counts), total=0.0).plus(
            column, weights
        )
        for name, column in columns
    }


def merged(one: Reference, other: Reference) -> Reference:
    """Return the counts of two samples over the same bins."""
    return {name: counts + other[name] for name, counts in one.items()}


@dataclass(frozen=True)
class Drift:
    """How far a column has moved.

    Attributes
    ----------
    psi: population stability index; 0.1 is usually called some, 0.25 much.
    psi_by_chance: what it would be on average if nothing had moved, from so many customers.
    ks: largest difference of the shares of values below an edge (Kolmogorov and Smirnov).
    p_value: how often chance alone makes such a difference; on the high side.
    outside: share of recent values outside the range of training.
    before, now: means.
    """

    psi: float
    psi_by_chance: float
    ks: float
    p_value: float
    outside: float
    before: float
    now: float

    def to_json(self) -> dict[str, Any]:
        """Return JSON-able values; what is not finite becomes None."""
        return {key: v if np.isfinite(v) else None for key, v in asdict(self).items()}


def drift(before: ColumnCounts, now: ColumnCounts, customers: tuple[float, float]) -> Drift:
    """Return how far a column has moved from ``before`` to ``now``.

    Parameters
    ----------
    before, now: over the same edges.
    customers: different customers in each sample. Rows of one customer hardly tell more than
        one row, so chance is reckoned with these and not with rows.
    """
    known = min(customers) > 0 and before.weight > 0 and now.weight > 0
    pairs = 1 / customers[0] + 1 / customers[1] if known else np.inf
    ks = _largest_gap(before, now)
    return Drift(
        psi=psi(before.counts, now.counts),
        psi_by_chance=(np.count_nonzero(before.counts + now.counts) - 1) * pairs if known else 0.0,
        ks=ks,
        p_value=float(kolmogorov(ks / np.sqrt(pairs))) if known else 1.0,
        outside=now.outside,
        before=before.mean,
        now=now.mean,
    )


def psi(before: Floats, now: Floats) -> float:
    """Return the population stability index of two histograms, shape (bins,); 0 if one is empty.

    Half an example is added to each bin in use: an empty bin counts as much, not infinitely.
    """
    if not before.sum() or not now.sum():
        return 0.0
    used = (before + now) > 0
    one, other = before[used] + _PRIOR, now[used] + _PRIOR
    one, other = one / one.sum(), other / other.sum()
    return float(np.sum((other - one) * np.log(other / one)))


def _largest_gap(before: ColumnCounts, now: ColumnCounts) -> float:
    if not before.weight or not now.weight:
        return 0.0
    below = np.cumsum(now.counts) / now.weight - np.cumsum(before.counts) / before.weight
    return float(np.abs(below).max())


def drifts(before: Reference, now: Reference, customers: tuple[float, float]) -> dict[str, Drift]:
    """Return the drift of each recent column."""
    return {name: drift(before[name], counts, customers) for name, counts in now.items()}


def rate_shift(before: Interval, now: Interval) -> Interval:
    """Return the difference of two base rates of different examples, and its interval.

    From the two intervals alone (MOVER, Zou and Donner 2008), so that nothing of the training
    examples but their interval need be kept.
    """
    change = now.estimate - before.estimate
    low = change - np.hypot(now.estimate - now.low, before.high - before.estimate)
    high = change + np.hypot(now.high - now.estimate, before.estimate - before.low)
    return Interval(change, float(low), float(high), now.level, min(now.groups, before.groups))


def implausible(
    kept: Reference, names: Sequence[str], design: Floats, reach: float = REACH
) -> NDArray[np.bool_]:
    """Say which rows hold a value far outside anything seen in training, shape (n,).

    Parameters
    ----------
    reach: how far outside, in widths of the training range; a column that stood still has the
        width of its value, or of 1.
    """
    low, high = plausible(kept, names, reach)
    far: NDArray[np.bool_] = np.any((design < low) | (design > high), axis=1)
    return far


def plausible(kept: Reference, names: Sequence[str], reach: float = REACH) -> tuple[Floats, Floats]:
    """Return the lowest and the highest value of each column that is plausible, shape (columns,).

    Parameters
    ----------
    reach: as of `implausible`.
    """
    lows = np.array([kept[name].edges[0] for name in names])
    highs = np.array([kept[name].edges[-1] for name in names])
    # The upper edge is just above the largest value, also above 0.
    still = highs - lows <= np.maximum(1e-9 * np.abs(highs), np.finfo(np.float64).tiny)
    width = reach * np.where(still, np.maximum(np.abs(highs), 1.0), highs - lows)
    return lows - width, highs + width
