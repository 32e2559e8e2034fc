"""Fitting: the same numbers each time, those of scikit-learn by hand, errors that say why."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import BaseEstimator
from sklearn.linear_model import SGDClassifier
from sklearn.preprocessing import StandardScaler

from rescore.errors import BadDefinition, NotEnoughData, NotFinite
from rescore.plpython.estimators import PREDICTORS, SCALERS
from rescore.trainer.estimators import make_estimator, make_scaler
from rescore.trainer.fit import Recipe, fit

SGD: dict[str, dict[str, Any]] = {"sgd_classifier": {"loss": "log_loss", "average": True}}


def examples(n: int = 500) -> tuple[Any, Any]:
    random = np.random.default_rng(1)
    design = random.normal(size=(n, 3)) * [1, 100, 0.01] + [0, 1000, 5]
    chance = 1 / (1 + np.exp(-(design[:, 0] + (design[:, 1] - 1000) / 100)))
    return design, (random.random(n) < chance).astype(np.int8)


def test_same_seed_same_weights_other_seed_other_weights() -> None:
    design, labels = examples()
    first, again, other = (
        fit(design, labels, Recipe(SGD, passes=2, seed=seed)).steps[-1][1].coef_
        for seed in (0, 0, 1)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_is_partial_fit_by_hand() -> None:
    design, labels = examples()
    plain = {"sgd_classifier": {"loss": "log_loss"}}
    fitted = fit(design, labels, Recipe(plain, passes=2, batch=200, seed=3))
    scaler, by_hand = StandardScaler(), SGDClassifier(loss="log_loss", random_state=3)
    for start in (0, 200, 400):
        scaler.partial_fit(design[start : start + 200])
    shuffle = np.random.default_rng(3)
    for _ in range(2):
        order = shuffle.permutation(len(labels))
        for start in (0, 200, 400):
            rows = order[start : start + 200]
            by_hand.partial_fit(scaler.transform(design[rows]), labels[rows], classes=[0, 1])
    assert np.array_equal(fitted.steps[-1][1].coef_, by_hand.coef_)
    assert np.allclose(
        fitted.predict_proba(design), by_hand.predict_proba(scaler.transform(design))
    )


def test_settles_where_the_batch_solution_is() -> None:
    design, labels = examples(2000)
    penalized = {"sgd_classifier": {"loss": "log_loss", "average": True, "alpha": 1e-3}}
    found = fit(design, labels, Recipe(penalized)).predict_proba(design)[:, 1]
    exact = {"logistic_regression": {"C": 1 / (1e-3 * 2000)}}
    expected = fit(design, labels, Recipe(exact)).predict_proba(design)[:, 1]
    assert np.abs(found - expected).max() < 0.01


def test_averaged_weights_arrive_at_the_base_rate() -> None:
    """Those of scikit-learn's own averaging do not: its calls start from an intercept of long ago."""
    design, _ = examples(5000)
    labels = (np.random.default_rng(2).random(5000) < 0.05).astype(np.int8)
    found = fit(design, labels, Recipe(SGD)).predict_proba(design)[:, 1]
    assert found.mean() == pytest.approx(labels.mean(), rel=0.05)


@pytest.mark.parametrize(("examples", "passes"), [(0, 100), (20_000, 50), (10**7, 10)])
def test_passes_are_as_many_as_it_takes(examples: int, passes: int) -> None:
    assert Recipe(SGD).passes_over(examples) == passes
    assert Recipe(SGD, passes=3).passes_over(examples) == 3


def test_learns_in_batches_that_hold_one_class_only() -> None:
    design, labels = examples()
    order = np.argsort(labels)
    fitted = fit(design[order], labels[order], Recipe(SGD, batch=1, passes=2))
    assert fitted.score(design, labels) > 0.7


@pytest.mark.parametrize("name", ["logistic_regression", "gaussian_nb", "random_forest_classifier"])
def test_fits_what_has_no_partial_fit_or_other_arguments(name: str) -> None:
    design, labels = examples()
    fitted = fit(design, labels, Recipe({name: {}}, scaler="robust"))
    assert fitted.score(design, labels) > 0.7


def test_without_scaler_returns_the_bare_estimator() -> None:
    design, labels = examples()
    assert type(fit(design, labels, Recipe({"gaussian_nb": {}}, scaler="none"))).__name__ == (
        "GaussianNB"
    )


def test_reports_each_pass() -> None:
    seen: list[tuple[int, int]] = []
    fit(*examples(), Recipe(SGD, passes=3), lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_one_class_is_refused_with_the_counts() -> None:
    with pytest.raises(NotEnoughData, match="0 examples with the outcome and 500 without"):
        fit(examples()[0], np.zeros(500, np.int8), Recipe(SGD))


def test_divergence_is_refused() -> None:
    design, labels = examples()
    wild = {"sgd_regressor": {"learning_rate": "constant", "eta0": 10.0}}
    with pytest.raises(NotFinite, match="diverged"):
        fit(design * 1e300, labels, Recipe(wild, scaler="none", passes=3))
    net = {"mlp_classifier": {"solver": "sgd", "learning_rate_init": 1e80}}
    with pytest.raises(NotFinite, match="weights of MLPClassifier are not finite"):
        fit(design, labels, Recipe(net, passes=3))


def test_arguments_partial_fit_does_not_take_are_refused() -> None:
    balanced = {"sgd_classifier": {"class_weight": "balanced"}}
    with pytest.raises(BadDefinition, match="balanced"):
        fit(*examples(), Recipe(balanced))


@pytest.mark.parametrize("path", PREDICTORS)
def test_every_predictor_of_the_allow_list_can_be_named(path: str) -> None:
    name = path.rpartition(".")[2]
    assert type(make_estimator({name.lower(): {}}, seed=0)).__name__ == name


@pytest.mark.parametrize("name", ["standard", "minmax", "maxabs", "robust"])
def test_every_scaler_can_be_named(name: str) -> None:
    assert type(make_scaler(name)).__name__.lower() == f"{name}scaler"
    assert len(SCALERS) == 4


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"sgd_clasifier": {}}, 'unknown estimator "sgd_clasifier"'),
        ({"sgd_classifier": {"alhpa": 1}}, "alhpa"),
        ({"gaussian_nb": {}, "ridge": {}}, "2 estimators"),
    ],
)
def test_wrong_estimators_are_refused(spec: dict[str, dict[str, Any]], message: str) -> None:
    with pytest.raises(BadDefinition, match=message):
        make_estimator(spec, seed=0)


def test_a_scikit_learn_that_checks_values_by_another_name_is_asked_when_it_is_fitted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    check, plain = BaseEstimator._validate_params, SGDClassifier.partial_fit

    def checked(self: Any, *given: Any, **named: Any) -> Any:
        check(self)
        return plain(self, *given, **named)

    monkeypatch.setattr(SGDClassifier, "partial_fit", checked)
    monkeypatch.delattr(BaseEstimator, "_validate_params")
    wrong = {"sgd_classifier": {"loss": "log_loss", "alpha": "small"}}
    with config_context(skip_parameter_validation=True):
        with pytest.raises(BadDefinition, match=r"'alpha' parameter .* Got 'small' instead"):
            fit(*examples(), Recipe(wrong))
        assert fit(*examples(), Recipe(SGD)).predict_proba(examples()[0]).shape == (500, 2)
