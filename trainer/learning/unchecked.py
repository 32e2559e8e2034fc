"""scikit-learn's stochastic gradients without its checks, which take longer than the learning.

Of 0.85 ms that ``SGDClassifier.partial_fit`` needs for 1000 examples of 8 columns, 0.3 are
learning; the others look at parameters, classes, shapes and values that were looked at before.
"""

from __future__ import annotations

import copy
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_PREPARED = ("_loss_function_", "_expanded_class_weight")
_STATE = ("coef_", "intercept_", "t_")
_MOST = np.iinfo(np.int32).max


class Unchecked:
    """Learns as ``partial_fit`` does, bit for bit.

    What it calls is no public part of scikit-learn: at the first examples both ways are gone, and
    where they do not end in the same bits, or one is not there, ``partial_fit`` goes on alone.

    Attributes
    ----------
    same: whether both end in the same bits; None before the first examples.
    """

    def __init__(self, estimator: Any) -> None:
        # Others have a partial_fit of their own, or keep what is not compared here.
        plain = type(estimator).__name__ == "SGDClassifier"
        seeded = plain and not estimator.average and isinstance(estimator.random_state, int)
        self.same: bool | None = None if seeded and estimator.class_weight is None else False
        # Each batch draws what one seeded anew would: two numbers, always the same.
        drawn = np.random.RandomState(estimator.random_state if seeded else 0)
        self._seeds = drawn.randint(1, _MOST), drawn.randint(_MOST)

    def learn(self, estimator: Any, design: Floats, targets: Any, weights: Floats | None) -> None:
        """Learn examples, n > 0; the estimator has learnt some before.

        Parameters
        ----------
        design: finite, shape (n, columns).
        targets: two classes, shape (n,).
        weights: shape (n,), not negative; None for 1.
        """
        if self.same:
            _step(estimator, design, targets, weights, self._seeds)
            return
        before = copy.deepcopy(estimator) if self.same is None else None
        given = {} if weights is None else {"sample_weight": weights}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # columns without names
            estimator.partial_fit(design, targets, **given)
        if before is not None:
            self.same = self._ends_the_same(before, estimator, design, targets, weights)

    def _ends_the_same(
        self, before: Any, after: Any, design: Floats, targets: Any, weights: Floats | None
    ) -> bool:
        try:
            for name in _PREPARED:
                setattr(before, name, getattr(after, name))
            _step(before, design, targets, weights, self._seeds)
        except (ImportError, AttributeError, TypeError, ValueError):
            return False
        return all(np.array_equal(getattr(before, name), getattr(after, name)) for name in _STATE)


def _step(
    estimator: Any,
    design: Floats,
    targets: Any,
    weights: Floats | None,
    seeds: tuple[int, int],
) -> None:
    """Do what ``fit_binary`` of scikit-learn's _stochastic_gradient.py does, of one pass."""
    from sklearn.linear_model._sgd_fast import _plain_sgd64
    from sklearn.linear_model._stochastic_gradient import CyHalfBinomialLoss
    from sklearn.utils._seq_dataset import ArrayDataset64

    low = 0.0 if isinstance(estimator._loss_function_, CyHalfBinomialLoss) else -1.0
    labels = np.where(targets == estimator.classes_[1], 1.0, low)
    given = np.ones(len(design)) if weights is None else weights
    examples = ArrayDataset64(np.ascontiguousarray(design), labels, given, seeds[0])
    negative, positive = estimator._expanded_class_weight
    coefficients, intercept, _, _, passes = _plain_sgd64(
        estimator.coef_.ravel(),
        estimator.intercept_[0],
        None,  # of averages, as below
        0,
        estimator._loss_function_,
        estimator._get_penalty_type(estimator.penalty),
        estimator.alpha,
        estimator._get_l1_ratio(),
        examples,
        np.zeros(len(design), dtype=np.bool_),  # none is kept for stopping early
        estimator.early_stopping,
        None,
        int(estimator.n_iter_no_change),
        1,
        -np.inf if estimator.tol is None else estimator.tol,
        int(estimator.fit_intercept),
        int(estimator.verbose),
        int(estimator.shuffle),
        seeds[1],
        positive,
        negative,
        estimator._get_learning_rate_type(estimator.learning_rate),
        estimator.eta0,
        estimator.power_t,
        0,
        estimator.t_,
        1.0,
        estimator.average,
    )
    estimator.t_ += passes * len(design)
    estimator.n_iter_ = passes
    estimator.coef_ = coefficients.reshape(1, -1)
    estimator.intercept_ = np.atleast_1d(intercept)
