"""A scaler that goes on learning, and what it does to the values that models see.

Mean and variance are those of all examples, each weighing half as much after every half-life:
without one, all weigh the same. Before a batch is added, the count of what was seen is faded.
The whole state is the scaler.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FEWEST = 1000.0
"""Examples that are never forgotten: after a long silence, the next batch is not all there is."""

PART = 8_000
"""Examples of which sums are formed at a time."""


def faded(count: float, factor: float) -> float:
    """Return what is left of a count after forgetting, but not less than `FEWEST` of it."""
    return max(count * factor, min(count, FEWEST))


@dataclass(frozen=True)
class Affine:
    """A map ``x -> factor * x + shift`` of each column; both of shape (columns,)."""

    factor: Floats
    shift: Floats

    @classmethod
    def of(cls, scaler: Any) -> Affine:
        """Return the map of a fitted StandardScaler."""
        columns = scaler.n_features_in_
        factor = np.ones(columns) if scaler.scale_ is None else 1 / np.asarray(scaler.scale_)
        shift = -np.asarray(scaler.mean_) * factor if scaler.with_mean else np.zeros(columns)
        return cls(factor, shift)

    def apply(self, design: Floats) -> Floats:
        """Return scaled design rows, shape (n, columns)."""
        scaled = design * self.factor
        scaled += self.shift
        return scaled

    def after(self, before: Affine) -> Affine:
        """Return the map from values on the scale of ``before`` to values on this one."""
        factor = self.factor / before.factor
        return Affine(factor, self.shift - factor * before.shift)


def can_move(scaler: Any) -> bool:
    """Say whether a scaler goes on learning: StandardScaler only.

    Quantiles cannot be learnt in batches; a range never forgets, and one absurd value would
    squeeze all others together for ever.
    """
    return type(scaler).__name__ == "StandardScaler"


def move(scaler: Any, design: Floats, weights: Floats, left: float) -> Affine:
    """Let a scaler forget, then learn a batch; return its map.

    The sums are those of ``StandardScaler.partial_fit``, which takes five times as long with
    weights, and cuts a count that is not whole any more without them.

    Parameters
    ----------
    scaler: a StandardScaler, changed in place.
    design: shape (n, columns), n > 0.
    weights: shape (n,), above 0.
    left: what forgetting leaves of an example's weight; 1 for nothing forgotten.
    """
    if not is_fitted(scaler):
        scaler.partial_fit(design, sample_weight=weights)
    elif scaler.var_ is not None:
        _merge(scaler, design, weights, left)
    return Affine.of(scaler)


def is_fitted(scaler: Any) -> bool:
    """Say whether a StandardScaler has learnt anything."""
    return hasattr(scaler, "n_samples_seen_")


def _merge(scaler: Any, design: Floats, weights: Floats, left: float) -> None:
    """Update count, mean, variance and scale (Chan, Golub and LeVeque 1983)."""
    old = faded(float(np.max(scaler.n_samples_seen_)), left)
    new = float(weights.sum())
    mean = weights @ design / new
    apart = mean - scaler.mean_
    variance = _squares(design, mean, weights) / new
    share = new / (old + new)
    scaler.var_ = (1 - share) * (scaler.var_ + share * apart**2) + share * variance
    scaler.mean_ = scaler.mean_ + share * apart
    scaler.n_samples_seen_ = np.float64(old + new)
    if scaler.with_std:
        scaler.scale_ = np.where(_constant(scaler), 1.0, np.sqrt(scaler.var_))


def _squares(design: Floats, mean: Floats, weights: Floats) -> Floats:
    """Return the sums of squared distances from the mean, shape (columns,).

    Part by part: what does not fit into the processor's cache takes several times as long.
    """
    total = np.zeros(len(mean))
    for start in range(0, len(design), PART):
        rows = slice(start, start + PART)
        apart = design[rows] - mean
        apart *= apart
        total += weights[rows] @ apart
    return total


def _constant(scaler: Any) -> NDArray[np.bool_]:
    """Say which columns vary no more than rounding does, by scikit-learn's own criterion."""
    rounding = scaler.n_samples_seen_ * np.finfo(np.float64).eps
    constant: NDArray[np.bool_] = (
        scaler.var_ <= rounding * scaler.var_ + (rounding * scaler.mean_) ** 2
    )
    return constant
