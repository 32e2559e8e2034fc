"""What each kind of estimator needs to learn on, batch after batch, for months.

scikit-learn's ``partial_fit`` learns; around it stand four things it does not do: keeping the
function when the scaler moves, forgetting, taking weights where it has no argument for them, and
averaging (`rescore.trainer.learning.averaging`).
"""

from __future__ import annotations

import inspect
import warnings
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rescore.errors import NotFinite, NotSupported
from rescore.plpython import estimators
from rescore.trainer.learning.scaling import Affine, faded
from rescore.trainer.learning.unchecked import Unchecked

Floats = NDArray[np.float64]
Labels = NDArray[np.int8]

_NUMBERS = (
    "coef_", "intercept_", "coefs_", "intercepts_", "theta_", "var_", "feature_log_prob_",
    "cluster_centers_",
)  # fmt: skip
CHUNK = 2000
"""Examples between two steps of a learning rate, or two weights that are averaged."""


@dataclass(frozen=True)
class Rate:
    """The learning rate ``eta0 / (1 + alpha * t)`` after t examples; constant without alpha."""

    eta0: float
    alpha: float = 0.0

    def at(self, seen: float) -> float:
        """Return the rate after so many examples."""
        return self.eta0 / (1.0 + self.alpha * seen)


class Model:
    """An estimator that learns on.

    Attributes
    ----------
    estimator: what is scored with and published; changed in place.
    """

    follows: ClassVar[bool] = False
    """Whether the function can be kept when the scaler moves; if not, the scaler stands still."""
    log_odds: bool = False
    """Whether a constant can be added to the log-odds of its probability."""
    balances: ClassVar[bool] = True
    """Whether weights by class change more than a prior that would be taken back again."""

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator
        self.classifies = is_classifier(estimator)
        known = inspect.signature(estimator.partial_fit).parameters
        self.takes_weights = "sample_weight" in known

    @property
    def fitted(self) -> bool:
        """Whether it has learnt anything."""
        known = vars(self.estimator)
        return any(name in known for name in _NUMBERS)

    def learn(self, design: Floats, labels: Labels, weights: Floats) -> None:
        """Learn scaled examples, n > 0, in their order."""
        weighted = {} if (weights == 1.0).all() else self._weighted(labels, weights)
        self._partial_fit(design, labels, weighted)

    def _partial_fit(self, design: Floats, labels: Labels, weighted: dict[str, Any]) -> None:
        # Both arguments cost scikit-learn as much as learning does: only where they are needed.
        first = self.classifies and not hasattr(self.estimator, "classes_")
        known = {"classes": classes(self.estimator)} if first else {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # columns without names, classes not seen yet
            self.estimator.partial_fit(design, self._targets(labels), **known, **weighted)

    def _targets(self, labels: Labels) -> Any:
        return classes(self.estimator)[labels] if self.classifies else labels.astype(np.float64)

    def _weighted(self, labels: Labels, weights: Floats) -> dict[str, Any]:
        if self.takes_weights:
            return {"sample_weight": weights}
        raise NotSupported(
            f"{type(self.estimator).__name__} learns no weighted examples",
            detail="Its partial_fit, in the installed scikit-learn, has no sample_weight.",
            hint="use sgd_classifier, or leave balance and weights out",
        )

    def follow(self, change: Affine) -> None:
        """Keep the function when what was ``x`` has become ``factor * x + shift``."""
        raise NotImplementedError

    def forget(self, factor: float) -> None:
        """Let what was learnt weigh ``factor`` of what it did."""

    def add_log_odds(self, amount: float) -> None:
        """Add a constant to the log-odds."""
        raise NotImplementedError


class Linear(Model):
    """Linear models by stochastic gradients; they forget by their learning rate.

    A rate that falls with the number of examples seen, falls with those not forgotten.

    Attributes
    ----------
    rate: schedule to use instead of the estimator's own.
    count: examples seen, as far as they are not forgotten.
    """

    follows = True

    def __init__(self, estimator: Any, rate: Rate | None = None, count: float = 0.0) -> None:
        super().__init__(estimator)
        self.log_odds = getattr(estimator, "loss", None) == "log_loss"
        self.rate, self.count = rate, count
        self._unchecked = Unchecked(estimator)

    def _partial_fit(self, design: Floats, labels: Labels, weighted: dict[str, Any]) -> None:
        if self._unchecked.same is False or not self.fitted:
            super()._partial_fit(design, labels, weighted)
            return
        targets, weights = self._targets(labels), weighted.get("sample_weight")
        self._unchecked.learn(self.estimator, design, targets, weights)

    def learn(self, design: Floats, labels: Labels, weights: Floats) -> None:
        size = CHUNK if self.rate else len(labels)
        for start in range(0, len(labels), size):
            rows = slice(start, start + size)
            if self.rate:
                rate = self.rate.at(self.count)
                self.estimator.set_params(learning_rate="constant", eta0=rate)
            super().learn(design[rows], labels[rows], weights[rows])
            self.count += len(labels[rows])

    def follow(self, change: Affine) -> None:
        weights = self.estimator.coef_ / change.factor
        self.estimator.intercept_ = self.estimator.intercept_ - weights @ change.shift
        self.estimator.coef_ = weights

    def forget(self, factor: float) -> None:
        self.count = faded(self.count, factor)
        if factor < 1 and hasattr(self.estimator, "t_"):
            self.estimator.t_ = 1.0 + faded(self.estimator.t_ - 1.0, factor)

    def add_log_odds(self, amount: float) -> None:
        self.estimator.intercept_ = self.estimator.intercept_ + amount


class PassiveAggressive(Linear):
    """Linear too, but without sample weights: one weight for each class is all it takes."""

    def _weighted(self, labels: Labels, weights: Floats) -> dict[str, Any]:
        if not self.classifies:
            return super()._weighted(labels, weights)
        known = classes(self.estimator)
        for label in (0, 1):
            if len(np.unique(weights[labels == label])) > 1:
                return super()._weighted(labels, weights)
        given = {label: weights[labels == label][:1] for label in (0, 1)}
        self.estimator.class_weight = {
            known[label]: float(weight[0]) if len(weight) else 1.0
            for label, weight in given.items()
        }
        return {}

    def learn(self, design: Floats, labels: Labels, weights: Floats) -> None:
        before = getattr(self.estimator, "class_weight", None)
        super().learn(design, labels, weights)
        if self.classifies:
            self.estimator.class_weight = before


def is_classifier(estimator: Any) -> bool:
    """Say whether an estimator learns classes."""
    return hasattr(estimator, "predict_proba") or hasattr(estimator, "decision_function")


def classes(estimator: Any) -> NDArray[Any]:
    """Return its two labels, the positive one last; 0 and 1 before it has learnt any."""
    known: NDArray[Any] = np.asarray(getattr(estimator, "classes_", (0, 1)))
    return known


def _numbers(estimator: Any) -> dict[str, Any]:
    """Return what an estimator has learnt, by name; nothing before it has learnt anything."""
    known = vars(estimator)
    return {name: known[name] for name in _NUMBERS if name in known}


def check_finite(estimator: Any) -> None:
    """Raise NotFinite if a number of a fitted estimator is not finite, naming the first."""
    final = estimators.final_step(estimator)
    for name, parts in _numbers(final).items():
        for part in parts if isinstance(parts, list) else [parts]:
            if not np.isfinite(part).all():
                raise NotFinite(
                    f"{name} of {type(final).__name__} is not finite: learning diverged",
                    hint="set a scaler, a smaller learning rate, or a larger alpha",
                )
