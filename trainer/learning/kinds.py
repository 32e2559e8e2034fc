"""Which estimators can learn on, and how those do that are not linear."""

from __future__ import annotations

from typing import Any

import numpy as np

from rescore.errors import BadDefinition, NotSupported
from rescore.trainer.learning.models import Floats, Labels, Linear, Model, PassiveAggressive
from rescore.trainer.learning.scaling import Affine, faded

_SMALLEST_VARIANCE = 1e-9  # of scaled columns, whose variance is 1


class GaussianBayes(Model):
    """Normal distributions of each class, which move and widen with the scaler."""

    follows = True
    balances = False

    def learn(self, design: Floats, labels: Labels, weights: Floats) -> None:
        model = self.estimator
        if hasattr(model, "var_"):  # partial_fit takes off what this batch adds, not the last one
            model.var_ += model.var_smoothing * np.var(design, axis=0).max() - model.epsilon_
        super().learn(design, labels, weights)
        # Of one example, or of a column that stands still, the variance is 0, and nothing finite.
        model.var_ = np.maximum(model.var_, _SMALLEST_VARIANCE)

    def follow(self, change: Affine) -> None:
        self.estimator.theta_ = self.estimator.theta_ * change.factor + change.shift
        self.estimator.var_ = self.estimator.var_ * change.factor**2

    def forget(self, factor: float) -> None:
        if factor < 1 and self.fitted:
            _fade(self.estimator, "class_count_", factor)


class CountingBayes(Model):
    """BernoulliNB and MultinomialNB: counts, which do not survive a change of scale.

    MultinomialNB learns max(x, 0): below the smallest value of training there is nothing to count.
    """

    balances = False

    def learn(self, design: Floats, labels: Labels, weights: Floats) -> None:
        negative = type(self.estimator).__name__ == "MultinomialNB"
        super().learn(np.maximum(design, 0) if negative else design, labels, weights)

    def forget(self, factor: float) -> None:
        if factor < 1 and self.fitted:
            left = _fade(self.estimator, "class_count_", factor)
            self.estimator.feature_count_ = self.estimator.feature_count_ * left


class Clusters(Model):
    """MiniBatchKMeans: the segment is the score; distances need a scale that stands still."""

    balances = False

    def _targets(self, labels: Labels) -> Any:
        return None

    def learn(self, design: Floats, labels: Labels, weights: Floats) -> None:
        if not self.fitted and len(design) < self.estimator.n_clusters:
            raise BadDefinition(
                f"first batch of {len(design)} examples for {self.estimator.n_clusters} clusters",
                hint="learn from a larger first batch, or train first",
            )
        super().learn(design, labels, weights)

    def forget(self, factor: float) -> None:
        if factor < 1 and self.fitted:
            _fade(self.estimator, "_counts", factor)


class NeuralNet(Model):
    """MLPClassifier and MLPRegressor: the first layer is linear in what the scaler gives."""

    follows = True

    def __init__(self, estimator: Any) -> None:
        super().__init__(estimator)
        self.log_odds = self.classifies

    def learn(self, design: Floats, labels: Labels, weights: Floats) -> None:
        super().learn(design, labels, weights)
        del self.estimator.loss_curve_[:-1]  # it would grow with every batch

    def follow(self, change: Affine) -> None:
        weights = self.estimator.coefs_[0] / change.factor[:, None]
        self.estimator.intercepts_[0] = self.estimator.intercepts_[0] - change.shift @ weights
        self.estimator.coefs_[0] = weights

    def forget(self, factor: float) -> None:
        if factor < 1 and hasattr(self.estimator, "t_"):
            self.estimator.t_ = int(faded(self.estimator.t_, factor))

    def add_log_odds(self, amount: float) -> None:
        self.estimator.intercepts_[-1] = self.estimator.intercepts_[-1] + amount


_KINDS: dict[str, type[Model]] = {
    "SGDClassifier": Linear,
    "SGDRegressor": Linear,
    "Perceptron": Linear,
    "PassiveAggressiveClassifier": PassiveAggressive,
    "PassiveAggressiveRegressor": PassiveAggressive,
    "GaussianNB": GaussianBayes,
    "BernoulliNB": CountingBayes,
    "MultinomialNB": CountingBayes,
    "MiniBatchKMeans": Clusters,
    "MLPClassifier": NeuralNet,
    "MLPRegressor": NeuralNet,
}


def kind_of(estimator: Any) -> type[Model]:
    """Return the class of this module that learns on with an estimator.

    Raises
    ------
    NotSupported: its class has no ``partial_fit``, or one that is not known here.
    """
    name = type(estimator).__name__
    if name not in _KINDS or not hasattr(estimator, "partial_fit"):
        raise NotSupported(
            f"{name} cannot learn on from new examples",
            detail=f"These can: {', '.join(_KINDS)}.",
            hint="name one of them in the definition, or train again with `rescore train`",
        )
    return _KINDS[name]


def _fade(estimator: Any, name: str, factor: float) -> float:
    """Fade an estimator's counts; return what is left of each."""
    counts = getattr(estimator, name)
    total = float(counts.sum())
    left = faded(total, factor) / total if total else 1.0
    setattr(estimator, name, counts * left)
    return left
