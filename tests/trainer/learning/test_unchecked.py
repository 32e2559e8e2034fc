"""Learning without scikit-learn's checks ends in the same bits, or is left to scikit-learn."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import SGDClassifier

from rescore.trainer.learning import unchecked
from rescore.trainer.learning.unchecked import Unchecked

STATE = ("coef_", "intercept_", "t_", "n_iter_")


def drawn(seed: int) -> tuple[Any, Any, Any]:
    random = np.random.default_rng(seed)
    design = random.normal(size=(300, 4))
    return design, (random.random(300) < 0.3).astype(np.int8), random.random(300)


def begun(**options: Any) -> SGDClassifier:
    design, labels, _ = drawn(0)
    return SGDClassifier(random_state=3, **options).partial_fit(design, labels, classes=[0, 1])


def both(estimator: SGDClassifier, *, weighted: bool = False) -> tuple[Unchecked, Any, Any]:
    one, other = copy.deepcopy(estimator), copy.deepcopy(estimator)
    learner = Unchecked(one)
    for seed in range(1, 5):
        design, labels, weights = drawn(seed)
        learner.learn(one, design, labels, weights if weighted else None)
        other.partial_fit(design, labels, sample_weight=weights if weighted else None)
    return learner, one, other


def same(one: Any, other: Any) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in STATE)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {"loss": "log_loss"},
        {"loss": "hinge", "penalty": "elasticnet", "alpha": 0.01},
        {"loss": "modified_huber", "learning_rate": "invscaling", "eta0": 0.1},
        {"loss": "log_loss", "learning_rate": "constant", "eta0": 0.01, "penalty": "l1"},
        {"loss": "squared_hinge", "fit_intercept": False, "shuffle": False},
    ],
    ids=lambda options: str(options["loss"]),
)
def test_the_same_bits_as_scikit_learn(options: dict[str, Any], weighted: bool) -> None:
    learner, one, other = both(begun(**options), weighted=weighted)
    assert learner.same
    assert same(one, other)


@pytest.mark.parametrize("options", [{"average": True}, {"class_weight": {0: 1.0, 1: 3.0}}])
def test_what_it_does_not_know_is_left_to_scikit_learn(options: dict[str, Any]) -> None:
    learner, one, other = both(begun(loss="log_loss", **options))
    assert learner.same is False
    assert same(one, other)


def test_without_a_seed_nothing_can_be_compared() -> None:
    assert Unchecked(SGDClassifier()).same is False


@pytest.mark.parametrize("fails", [True, False], ids=["gone", "different"])
def test_another_scikit_learn_goes_on_alone(monkeypatch: pytest.MonkeyPatch, fails: bool) -> None:
    def another(estimator: Any, *_: Any) -> None:
        if fails:
            raise ImportError("fit_binary")
        estimator.coef_ = estimator.coef_ + 1e-16

    monkeypatch.setattr(unchecked, "_step", another)
    learner, one, other = both(begun(loss="log_loss"))
    assert learner.same is False
    assert same(one, other)
