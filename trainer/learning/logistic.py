"""Logistic regression on one variable, of many weighted copies of the same binned examples.

scikit-learn fits one copy at a time; leaving out each of 256 groups in turn, it would take
seconds where this takes milliseconds.
"""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_STEPS = 50
_SMALLEST_STEP = 1e-10
_SETTLED = 1e-6
_LONGEST_STEP = 4.0
_TINY = 1e-300


def fit_line(x: Floats, positives: Floats, negatives: Floats) -> tuple[Floats, Floats]:
    """Return slope and intercept of the outcome's log-odds over ``x``, by maximum likelihood.

    Parameters
    ----------
    x: shape (bins,).
    positives, negatives: weights at each value of ``x``, shape (copies, bins).

    Returns
    -------
    Slopes and intercepts, each of shape (copies,); NaN where they are not defined: one class
    only, or classes that ``x`` separates. A constant ``x`` has slope 0.
    """
    x, positives, negatives = _used(x, positives, negatives)
    centre, spread = _centre_and_spread(x, (positives + negatives).sum(axis=0))
    if spread == 0:
        offset = fit_offset(np.zeros_like(x), positives, negatives)
        return 0 * offset, offset
    z = (x - centre) / spread
    start = np.stack([np.zeros(1), _log_odds(positives[:1], negatives[:1])])
    whole = _newton(z, positives[:1], negatives[:1], start)
    # The other copies are nearly the whole, so that from its solution two steps are enough.
    line = _newton(z, positives, negatives, np.repeat(whole, len(positives), axis=1))
    line[:, ~(positives.any(axis=1) & negatives.any(axis=1))] = np.nan
    return line[0] / spread, line[1] - line[0] / spread * centre


def fit_offset(x: Floats, positives: Floats, negatives: Floats) -> Floats:
    """Return the intercept alone, shape (copies,), with the slope held at 1."""
    x, positives, negatives = _used(x, positives, negatives)
    whole = _offsets(x, positives[:1], negatives[:1], 0.0)
    # As for the line: from the solution of the whole, the other copies need two steps.
    return _offsets(x, positives, negatives, float(whole[0]) if np.isfinite(whole[0]) else 0.0)


def _offsets(x: Floats, positives: Floats, negatives: Floats, start: float) -> Floats:
    """Return the intercepts, shape (copies,), from where they start; NaN for one class only."""
    found, total = positives.sum(axis=1), positives + negatives
    offset = np.where((found > 0) & (negatives.sum(axis=1) > 0), start, np.nan)
    for _ in range(_STEPS):
        chance = _expit(x + offset[:, None])
        expected = total * chance
        missing = found - expected.sum(axis=1)
        information = (expected * (1 - chance)).sum(axis=1)
        step = _bounded(missing / np.maximum(information, _TINY))
        offset = offset + step
        if not np.nanmax(np.abs(step), initial=0) > _SMALLEST_STEP:
            break
    return offset


def _used(x: Floats, positives: Floats, negatives: Floats) -> tuple[Floats, Floats, Floats]:
    """Leave out what no copy has examples of: of most scores, half of the bins."""
    used = positives.any(axis=0) | negatives.any(axis=0)
    if used.all():  # most metrics' sums have left it out already
        return x, positives, negatives
    return x[used], positives[:, used], negatives[:, used]


def _centre_and_spread(x: Floats, weight: Floats) -> tuple[float, float]:
    known = x[weight > 0]
    if not len(known):
        return 0.0, 0.0
    centre = float(np.average(known, weights=weight[weight > 0]))
    variance = float(np.average((known - centre) ** 2, weights=weight[weight > 0]))
    return centre, variance**0.5 if np.ptp(known) > 0 else 0.0


def _log_odds(positives: Floats, negatives: Floats) -> Floats:
    found, missed = positives.sum(axis=1), negatives.sum(axis=1)
    both = (found > 0) & (missed > 0)
    odds = np.where(both, found, 1) / np.where(both, missed, 1)
    return np.where(both, np.log(odds), np.nan)


def _newton(z: Floats, positives: Floats, negatives: Floats, line: Floats) -> Floats:
    """Return slopes and levels, shape (2, copies), from where ``line`` starts; NaN if unsettled."""
    total, powers = positives + negatives, np.stack([np.ones_like(z), z, z**2], axis=1)
    step = np.full_like(line, np.inf)
    for _ in range(_STEPS):
        chance = _expit(line[0][:, None] * z + line[1][:, None])
        missing = (positives - total * chance) @ powers[:, :2]
        curvature = (total * chance * (1 - chance)) @ powers
        step = _bounded(_solved(curvature, missing))
        line = line + step
        if not np.nanmax(np.abs(step), initial=0) > _SMALLEST_STEP:
            break
    return np.where((np.abs(step) < _SETTLED).all(axis=0), line, np.nan)


def _solved(curvature: Floats, missing: Floats) -> Floats:
    """Return the steps of slope and level, shape (2, copies)."""
    (c, b, a), (h, g) = curvature.T, missing.T
    determinant = np.maximum(a * c - b * b, _TINY)
    return np.stack([(c * g - b * h) / determinant, (a * h - b * g) / determinant])


def _expit(log_odds: Floats) -> Floats:
    # SciPy's takes three times as long. Overflow is right here: it makes 0.
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-log_odds))


def _bounded(step: Floats) -> Floats:
    return cast(Floats, np.clip(step, -_LONGEST_STEP, _LONGEST_STEP))
