"""Scores and outcomes, counted by group of customers: all that metrics and their intervals need.

Memory is bounded, however many examples come, and histograms of batches add up to that of the
whole. Customers are hashed into a fixed number of groups; whole groups are left out in turn to
tell how far chance moves a metric (`rescore.trainer.learning.intervals`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit

from rescore.errors import BadFeature, NotFinite
from rescore.trainer.learning.hashing import Groups
from rescore.trainer.learning.places import Places

Floats = NDArray[np.float64]
Labels = NDArray[np.int8]

GROUPS = 256
"""Groups of customers: enough that leaving out one of them is a small change."""
BINS = 1024
THRESHOLD = 0.5
EDGE = 1e-15
"""Probabilities are kept this far from 0 and 1, whose log-odds are infinite."""
_FARTHEST = 12.0  # log-odds of the outermost bins


@dataclass(frozen=True)
class ScoreHistogram:
    """Weighted counts of examples by group, outcome and score, with the losses of each group.

    Attributes
    ----------
    edges: ascending, shape (bins - 1,); a score on an edge is in the bin above it.
    threshold: one of the edges; scores from it on count as predicted positive.
    probability: whether scores are probabilities; margins have an order only.
    counts: shape (groups, 2, bins): negatives and positives.
    losses: shape (groups, 2): log loss and squared error, times weight.
    sums: shape (2, bins): scores and log-odds (of margins: scores again), times weight.
    """

    edges: Floats
    threshold: float
    probability: bool
    counts: Floats
    losses: Floats
    sums: Floats

    @classmethod
    def like(
        cls,
        scores: ArrayLike,
        *,
        probability: bool = True,
        threshold: float = THRESHOLD,
        groups: int = GROUPS,
        bins: int = BINS,
    ) -> ScoreHistogram:
        """Return an empty histogram for scores such as these: the champion's, or a first batch's.

        Parameters
        ----------
        scores: shape (n,); the more there are of a score, the finer it is resolved.
        probability: whether scores are probabilities.
        threshold: from which score on an example counts as predicted positive.
        groups: of customers, a power of two.
        bins: about how many; half follow the scores given, half cover what else may come.
        """
        edges = _edges(np.asarray(scores, dtype=np.float64), probability, bins)
        edges = np.unique(np.append(edges, threshold))
        size = len(edges) + 1
        return cls(
            edges,
            threshold,
            probability,
            np.zeros((groups, 2, size)),
            np.zeros((groups, 2)),
            np.zeros((2, size)),
        )

    def add(
        self, scores: Floats, labels: ArrayLike, groups: Groups, weights: ArrayLike | None = None
    ) -> None:
        """Count examples, in place.

        Parameters
        ----------
        scores: shape (n,), finite.
        labels: shape (n,), 0 or 1.
        groups: shape (n,), from `rescore.trainer.learning.hashing.groups`.
        weights: shape (n,); one of 2 is the same as the example twice. Default: 1.

        Raises
        ------
        NotFinite: a score is not.
        BadFeature: a weight is negative or not finite.
        """
        scores = _finite(scores)
        outcomes = np.asarray(labels).astype(np.intp)
        given = checked_weights(weights, len(scores))
        bins = self._bins(scores)
        odds, losses = _log_odds_and_losses(scores, outcomes, self.probability)
        cells = (groups * 2 + outcomes) * self.counts.shape[2] + bins
        np.add.at(self.counts.reshape(-1), cells, given)
        for column, loss in enumerate(losses):
            self.losses[:, column] += np.bincount(groups, given * loss, len(self.losses))
        for row, value in enumerate((scores, odds)):
            self.sums[row] += np.bincount(bins, given * value, len(self.sums[row]))

    def _bins(self, scores: Floats) -> NDArray[np.intp]:
        if not self.probability or scores.min(initial=0) < 0 or scores.max(initial=0) > 1:
            return np.searchsorted(self.edges, scores, side="right")
        return self._places.of(scores)

    @cached_property
    def _places(self) -> Places:
        return Places(self.edges)

    def __add__(self, other: ScoreHistogram) -> ScoreHistogram:
        """Return the histogram of both sets of examples; their edges must be the same."""
        if not np.array_equal(self.edges, other.edges):
            raise ValueError("histograms with different edges do not add up")
        return replace(
            self,
            counts=self.counts + other.counts,
            losses=self.losses + other.losses,
            sums=self.sums + other.sums,
        )

    @property
    def weight(self) -> float:
        """Sum of the weights."""
        return float(self.counts.sum())

    @property
    def positives(self) -> float:
        """Sum of the weights of the positive examples."""
        return float(self.counts[:, 1].sum())


def checked_weights(weights: ArrayLike | None, count: int) -> Floats:
    """Return the weights as an array of shape (count,); BadFeature if they are no weights."""
    if weights is None:
        return np.ones(count)
    given = np.asarray(weights, dtype=np.float64)
    bad = np.flatnonzero(~(np.isfinite(given) & (given >= 0)))
    if given.shape != (count,) or len(bad):
        what = f"weight {given[bad[0]]}" if len(bad) else f"weights of shape {given.shape}"
        raise BadFeature(f"{what}: expected {count} finite numbers, none negative")
    return given


def _finite(scores: Floats) -> Floats:
    bad = np.flatnonzero(~np.isfinite(scores))
    if len(bad):
        raise NotFinite(
            f"score {scores[bad[0]]} of example {bad[0] + 1}",
            detail=f"{len(bad)} of {len(scores)} scores are not finite.",
        )
    return scores


def log_odds(scores: Floats) -> Floats:
    """Return the log-odds of probabilities, finite also for 0 and 1."""
    return cast(Floats, logit(np.clip(scores, EDGE, 1 - EDGE)))


def _log_odds_and_losses(
    scores: Floats, outcomes: NDArray[np.intp], probability: bool
) -> tuple[Floats, tuple[Floats, ...]]:
    if not probability:
        return scores, ()
    kept = np.clip(scores, EDGE, 1 - EDGE)
    # As scikit-learn's log_loss; log1p takes twice as long.
    yes, no = np.log(kept), np.log(1 - kept)
    return yes - no, (-np.where(outcomes == 1, yes, no), (scores - outcomes) ** 2)


def _edges(scores: Floats, probability: bool, bins: int) -> Floats:
    """Return edges, half at quantiles of the scores given, half over the whole range.

    The first resolve what is there; the second what comes when the world has moved.
    """
    half = bins // 2
    known = scores if len(scores) else np.full(1, THRESHOLD)
    quantiles = np.quantile(known, np.linspace(0, 1, half), method="higher")
    if probability:
        return np.concatenate([quantiles, expit(np.linspace(-_FARTHEST, _FARTHEST, half))])
    spread = float(np.std(known)) or 1.0
    wide = float(np.median(known)) + spread * np.sinh(np.linspace(-_FARTHEST, _FARTHEST, half))
    return np.concatenate([quantiles, wide])
