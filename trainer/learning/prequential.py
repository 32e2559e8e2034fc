"""Test, then train: every batch is scored by what has not seen it, and then learnt.

What this gives is honest by construction, costs no held-out examples, and stays in bounded
memory. The champion, which does not learn, is measured on the same examples beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rescore.plpython import estimators
from rescore.plpython.linear import LinearForm, apply, fold
from rescore.trainer.learning.batch import Batch
from rescore.trainer.learning.calibration import Platt, fit_platt
from rescore.trainer.learning.hashing import groups
from rescore.trainer.learning.histogram import GROUPS, THRESHOLD, ScoreHistogram
from rescore.trainer.learning.intervals import LEVEL, Interval, difference, intervals
from rescore.trainer.learning.learner import Learner, Scores
from rescore.trainer.learning.metrics import Metric
from rescore.trainer.learning.target import (
    Counted,
    Target,
    counter,
    distances,
    measured,
    metrics_of,
    threshold_of,
)

Floats = NDArray[np.float64]

WAITING = 10_000
"""Examples that wait to be counted together: counting few at a time would take longer."""

Waiting = tuple[Batch, "Scores | None"]


def gives_probabilities(estimator: Any) -> bool:
    """Say whether the scores of an estimator are probabilities."""
    return hasattr(estimators.final_step(estimator), "predict_proba")


@dataclass
class Tested:
    """Scores of one model on examples it had not learnt.

    Attributes
    ----------
    probability: whether its scores are probabilities.
    target: what it tells.
    threshold: from which score on it says that it happens.
    histogram: None before the first example.
    """

    probability: bool
    target: Target = "outcome"
    threshold: float = THRESHOLD
    histogram: Counted | None = None

    def add(self, scores: Floats, batch: Batch) -> None:
        """Count examples; the first ones decide where scores are resolved finely."""
        if self.histogram is None:
            how: dict[str, Any] = {"probability": self.probability, "threshold": self.threshold}
            self.histogram = counter(scores, self.target, **how)
        members = groups(batch.hashes, GROUPS)
        self.histogram.add(scores, batch.labels, members, batch.weights)

    def intervals(
        self, metrics: Sequence[Metric] | None = None, level: float = LEVEL
    ) -> dict[str, Interval]:
        """Return each metric with its interval, by default all; none before the first example."""
        if self.histogram is None:
            return {}
        chosen = list(metrics_of(self.target).values()) if metrics is None else metrics
        return intervals(self.histogram, chosen, level)


@dataclass
class Prequential:
    """A learner and a champion on one stream of batches.

    Attributes
    ----------
    learner: learns every batch after it was tested on it.
    champion: the estimator that serves, or None.
    target: what both tell.
    """

    learner: Learner
    champion: Any = None
    target: Target = "outcome"
    _tested: Tested = field(init=False)
    _served: Tested = field(init=False)
    _margins: Tested = field(init=False)
    _form: LinearForm | None = field(init=False)
    _waiting: list[Waiting] = field(default_factory=list, init=False)
    _uncounted: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        served, limit = False, THRESHOLD
        if self.champion is not None:
            served, limit = gives_probabilities(self.champion), threshold_of(self.champion)
        self._tested = Tested(self.learner.gives_probabilities, self.target, self.learner.threshold)
        self._served = Tested(served, self.target, limit)
        self._margins = Tested(probability=False)
        self._form = None if self.champion is None else fold(self.champion)

    def step(self, batch: Batch, elapsed: float = 0.0) -> None:
        """Test a batch, then learn it.

        Parameters
        ----------
        elapsed: time since the batch before, in the unit of the half-life.

        Raises
        ------
        NotFinite: a score or a weight is not finite: learning diverged.
        """
        if len(batch):
            known = self.learner.fitted
            self._waiting.append((batch, self._scores(batch.design) if known else None))
            self._uncounted += len(batch)
        if self._uncounted >= WAITING:
            self._count()
        self.learner.learn(batch, elapsed)

    def _scores(self, design: Floats) -> Scores:
        if self.target != "segments":
            return self.learner.score(design)
        far = distances(self.learner.estimator, design)
        return Scores(far, far)

    @property
    def tested(self) -> Tested:
        """The learner's scores."""
        self._count()
        return self._tested

    @property
    def served(self) -> Tested:
        """The champion's scores of the same examples; none without a champion."""
        self._count()
        return self._served

    def platt(self) -> Platt:
        """Return the calibration of the learner, fitted on scores given before learning.

        Raises
        ------
        NotEnoughData: no example tested yet, or of one outcome only.
        """
        counted = (self._margins if self.learner.clips else self.tested).histogram
        platt = fit_platt(
            counted if isinstance(counted, ScoreHistogram) else ScoreHistogram.like([])
        )
        before = None if self.learner.clips else self.learner.memory.calibration
        return platt if before is None else platt.after(before)

    def improvement(self, metric: Metric, level: float = LEVEL) -> Interval | None:
        """Return by how much the learner's metric differs from the champion's; None if unknown."""
        one, other = self.tested.histogram, self.served.histogram
        if one is None or other is None or one.weight != other.weight:
            return None
        return difference(one, other, metric, level)

    def _count(self) -> None:
        waiting, self._waiting, self._uncounted = self._waiting, [], 0
        for some in _in_parts(waiting):
            self._count_part(*some)

    def _count_part(self, batch: Batch, scores: Scores | None) -> None:
        if scores is not None:
            self._tested.add(scores.scores, batch)
            if self.learner.clips:
                self._margins.add(scores.margins, batch)
        if self.champion is not None:
            self._served.add(self._as_served(batch.design), batch)

    def _as_served(self, design: Floats) -> Floats:
        if self._form is None:
            return measured(self.champion, design, self.target)
        return apply(self._form, design)


def _in_parts(waiting: Sequence[Waiting]) -> Iterator[Waiting]:
    """Yield what waits, in parts of about `WAITING` examples: small ones joined, large ones cut."""
    for scored, some in groupby(waiting, key=lambda each: each[1] is not None):
        batches, scores = zip(*some, strict=True)
        batch = batches[0] if len(batches) == 1 else Batch.joined(batches)
        joined = Scores(*map(np.concatenate, zip(*scores, strict=True))) if scored else None
        for start in range(0, len(batch), WAITING):
            rows = slice(start, start + WAITING)
            yield batch.take(rows), Scores(*(e[rows] for e in joined)) if joined else None
