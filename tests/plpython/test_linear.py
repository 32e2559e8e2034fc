"""Folding: the linear form scores like the pipeline it was made from."""

from __future__ import annotations

import json
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, SGDClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from rescore.errors import ArtefactRefused, NotFinite
from rescore.plpython import estimators
from rescore.plpython.linear import LinearForm, apply, fold
from rescore.plpython.prediction import score

X = np.random.default_rng(3).normal(size=(60, 3)) * [1, 10, 0.1] + [0, 50, 0]
Y = (X[:, 0] > 0).astype(int)

SCALERS: list[Any] = [
    lambda: StandardScaler(),
    lambda: StandardScaler(with_mean=False),
    lambda: StandardScaler(with_std=False),
    lambda: StandardScaler(with_mean=False, with_std=False),
    lambda: MinMaxScaler(),
    lambda: MinMaxScaler(feature_range=(-2, 5)),
    lambda: MaxAbsScaler(),
    lambda: RobustScaler(),
    lambda: RobustScaler(with_centering=False),
    lambda: RobustScaler(with_scaling=False, quantile_range=(10, 90)),
    lambda: RobustScaler(unit_variance=True),
]
SGD_LOSSES = ["log_loss", "modified_huber", "hinge", "squared_hinge", "perceptron"]
PREDICTORS: list[Any] = [
    *(
        lambda loss=loss: SGDClassifier(loss=loss, max_iter=20, random_state=0)
        for loss in SGD_LOSSES
    ),
    lambda: SGDClassifier(loss="log_loss", average=True, max_iter=20, random_state=0),
    lambda: LogisticRegression(fit_intercept=False),
    *(cls for cls in map(estimators.resolve, estimators.LINEAR) if cls is not None),
]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    predictor=st.sampled_from(PREDICTORS),
    scalers=st.lists(st.sampled_from(SCALERS), max_size=3),
    columns=st.integers(1, 6),
    magnitudes=st.lists(st.floats(-3, 4), min_size=6, max_size=6),
    shifts=st.lists(st.floats(-30, 30), min_size=6, max_size=6),
    constant=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_form_scores_like_the_pipeline(
    predictor: Any,
    scalers: list[Any],
    columns: int,
    magnitudes: list[float],
    shifts: list[float],
    constant: bool,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    scale = 10.0 ** np.array(magnitudes[:columns])
    rows = (rng.normal(size=(40, columns)) + shifts[:columns]) * scale
    rows[:, 0] = 3.0 if constant else rows[:, 0]
    labels = np.arange(40) % 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # convergence after few rounds, deprecated classes
        model = make_pipeline(*(make() for make in scalers), predictor()).fit(rows, labels)
    unseen = np.vstack([rows, np.zeros((1, columns)), rows[:5] * -3])
    form = fold(model)
    assert form is not None
    expected = score(model, unseen)
    # Scores near 0 that come of large terms cannot be nearer than the terms' own rounding.
    terms = np.abs(unseen) @ np.abs(form.weights) + abs(form.intercept)
    allowed = 1e-9 * np.maximum(1, np.abs(expected)) + 1e-13 * terms
    assert np.all(np.abs(apply(form, unseen) - expected) <= allowed)


@pytest.mark.parametrize(
    ("model", "link"),
    [
        (LogisticRegression(), "logistic"),
        (SGDClassifier(loss="log_loss"), "logistic"),
        (SGDClassifier(loss="modified_huber"), "clip"),
        (SGDClassifier(loss="hinge"), "identity"),
        (LinearRegression(), "identity"),
    ],
)
def test_link(model: Any, link: str) -> None:
    form = fold(make_pipeline(StandardScaler(), model).fit(X, Y))
    assert form is not None
    assert form.link == link


@pytest.mark.parametrize(
    "model",
    [
        DecisionTreeClassifier(),
        make_pipeline(StandardScaler(), DecisionTreeClassifier()),
        make_pipeline(MinMaxScaler(clip=True), LogisticRegression()),
    ],
    ids=["tree", "scaled tree", "clipping scaler"],
)
def test_what_is_not_linear_has_no_form(model: Any) -> None:
    assert fold(model.fit(X, Y)) is None


def test_step_passed_through_is_skipped() -> None:
    model = make_pipeline("passthrough", LogisticRegression()).fit(X, Y)
    form = fold(model)
    assert form is not None
    assert_allclose(apply(form, X), score(model, X), rtol=1e-9)


def test_several_classes_are_refused() -> None:
    model = LogisticRegression().fit(X, np.arange(60) % 3)
    with pytest.raises(ArtefactRefused, match=r"\(3, 3\) coefficients") as refused:
        fold(model)
    assert "two classes" in refused.value.hint
    with pytest.raises(ArtefactRefused, match="has 3 classes"):
        score(model, X)


def test_several_outputs_are_refused() -> None:
    with pytest.raises(ArtefactRefused, match="More than one score"):
        fold(Ridge().fit(X, np.stack([Y, Y], axis=1)))


def test_labels_that_do_not_say_which_is_the_event_are_refused() -> None:
    model = LogisticRegression().fit(X, np.where(Y, "stayed", "churned"))
    with pytest.raises(ArtefactRefused, match="'churned' and 'stayed'"):
        score(model, X)


@pytest.mark.parametrize("labels", [Y, Y.astype(bool), 2 * Y - 1])
def test_positive_class_is_the_second(labels: Any) -> None:
    model = LogisticRegression().fit(X, labels)
    assert score(model, X)[Y == 1].mean() > score(model, X)[Y == 0].mean()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e101])
def test_weight_that_is_no_number_is_refused(value: float) -> None:
    model = LogisticRegression().fit(X, Y)
    model.coef_[0, 1] = value
    with pytest.raises(NotFinite, match="weight"):
        fold(model)
    model = LogisticRegression().fit(X, Y)
    model.intercept_[0] = value
    with pytest.raises(NotFinite, match="intercept"):
        fold(model)


def test_weight_too_small_to_matter_is_zero() -> None:
    model = LogisticRegression().fit(X, Y)
    model.coef_[0, 1] = 1e-101
    form = fold(model)
    assert form is not None
    assert form.weights[1] == 0.0


def test_score_that_is_no_number_is_refused() -> None:
    model = LinearRegression().fit(X, Y)
    model.coef_[1] = np.nan
    with pytest.raises(NotFinite, match="score of row 1"):
        score(model, X)


def test_no_rows_have_no_scores() -> None:
    assert score(LogisticRegression().fit(X, Y), np.empty((0, 3))).shape == (0,)


def test_tree_scores_what_float32_cannot_hold() -> None:
    model = DecisionTreeClassifier(random_state=0).fit(X, Y)
    assert score(model, [[1e100, 0, 0], [-1e100, 0, 0]]).tolist() == [1.0, 0.0]


@given(
    weights=st.lists(st.floats(-1e100, 1e100), max_size=5),
    intercept=st.floats(-1e100, 1e100),
    link=st.sampled_from(["logistic", "clip", "identity"]),
)
def test_form_survives_json(weights: list[float], intercept: float, link: Any) -> None:
    form = LinearForm([w if abs(w) >= 1e-100 else 0.0 for w in weights], 0.0, link)
    assert LinearForm.from_json(json.loads(json.dumps(form.to_json()))) == form


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"weights": [1.0], "intercept": 0.0, "link": "probit"},
        {"weights": [1.0], "intercept": 0.0, "link": "clip", "extra": 1},
    ],
)
def test_what_is_no_form_is_refused(data: Any) -> None:
    with pytest.raises(ArtefactRefused, match="not a linear form"):
        LinearForm.from_json(data)
    with pytest.raises(NotFinite):
        LinearForm.from_json({"weights": [float("nan")], "intercept": 0, "link": "clip"})


def test_logistic_link_does_not_overflow() -> None:
    form = LinearForm([1e100], 0.0, "logistic")
    with np.errstate(all="raise"):
        assert_allclose(apply(form, [[1e100], [-1e100], [0.0]]), [1.0, 0.0, 0.5], atol=1e-300)
