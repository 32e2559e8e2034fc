"""Averaged stochastic gradients, with an intercept that is right.

In scikit-learn's own averaging of classifiers (``average=True``, up to 1.9 at least), each call
of ``partial_fit`` starts from the intercept at which averaging began, so that the average never
arrives: at a base rate of 5% it goes on saying something nearer to 25%. Here scikit-learn runs
without averaging, and the weights are averaged between its calls.
"""

from __future__ import annotations

import copy
from typing import Any

from rescore.trainer.learning.models import CHUNK, Floats, Labels, Linear, Rate
from rescore.trainer.learning.scaling import Affine


class Averaged(Linear):
    """A linear model whose published weights are the mean of those that learning passed through.

    Attributes
    ----------
    estimator: the mean; it is what scores.
    raw: the weights that learn; at first those of the mean, which is the best point to start.
    pull: how much more the newest weights count than their examples' share. From nothing, 2: the
        first, wild weights fade (polynomial-decay averaging); from a champion, 1.
    """

    def __init__(
        self,
        estimator: Any,
        rate: Rate | None = None,
        count: float = 0.0,
        kind: type[Linear] = Linear,
    ) -> None:
        super().__init__(estimator, rate, count)
        self.average = estimator.average
        self.pull = 1.0 if count else 2.0
        self.raw = kind(copy.deepcopy(estimator), rate, count)
        self.raw.estimator.average = False

    def learn(self, design: Floats, labels: Labels, weights: Floats) -> None:
        for start in range(0, len(labels), CHUNK):
            rows = slice(start, start + CHUNK)
            self.raw.learn(design[rows], labels[rows], weights[rows])
            self._average(len(labels[rows]))
        self.count = self.raw.count

    def _average(self, examples: int) -> None:
        if not self.fitted:
            self.estimator = copy.deepcopy(self.raw.estimator)
        mean, raw = self.estimator, self.raw.estimator
        share = min(1.0, self.pull * examples / self.raw.count)
        mean.coef_ = mean.coef_ + share * (raw.coef_ - mean.coef_)
        mean.intercept_ = mean.intercept_ + share * (raw.intercept_ - mean.intercept_)
        # As scikit-learn would have them, for whoever goes on with the artefact.
        mean.average, mean.t_ = self.average, raw.t_
        mean._average_coef, mean._average_intercept = mean.coef_, mean.intercept_
        mean._standard_coef, mean._standard_intercept = raw.coef_, raw.intercept_

    def follow(self, change: Affine) -> None:
        super().follow(change)
        self.raw.follow(change)

    def forget(self, factor: float) -> None:
        self.raw.forget(factor)

    def add_log_odds(self, amount: float) -> None:
        super().add_log_odds(amount)
        self.raw.add_log_odds(amount)
