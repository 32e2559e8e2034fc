"""Calibration: Platt's two numbers, folded into the weights, and the same to the last digits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.calibration import CalibratedClassifierCV
from sklearn.linear_model import LogisticRegression, RidgeClassifier, SGDClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from rescore.errors import NotEnoughData, NotSupported
from rescore.plpython import artifact
from rescore.plpython.linear import apply, fold
from rescore.plpython.prediction import score
from rescore.tests.trainer.learning.streams import SGD, batches, examples
from rescore.trainer.estimators import make_estimator
from rescore.trainer.learning.calibration import Platt, calibrated, fit_platt, uncalibrated
from rescore.trainer.learning.histogram import ScoreHistogram
from rescore.trainer.learning.learner import Learner
from rescore.trainer.learning.method import Memory, Method

RANDOM = np.random.default_rng(1)
DESIGN = RANDOM.normal(size=(3000, 3)) * [1, 100, 0.01] + [0, 1000, 5]
LABELS = (RANDOM.random(3000) < expit(DESIGN[:, 0] - 1)).astype(np.int8)
SPECS: dict[str, Any] = {
    "log_loss": {"sgd_classifier": {"loss": "log_loss", "average": True}},
    "hinge": {"sgd_classifier": {"loss": "hinge", "average": True}},
    "modified_huber": {"sgd_classifier": {"loss": "modified_huber"}},
    "regressor": {"sgd_regressor": {}},
    "passive": {"passive_aggressive_classifier": {}},
    "passive regressor": {"passive_aggressive_regressor": {}},
    "perceptron": {"perceptron": {}},
}
platts = st.builds(Platt, st.floats(1e-3, 1e3), st.floats(-20, 20))


def counted(margins: Any, labels: Any, probability: bool = False) -> ScoreHistogram:
    histogram = ScoreHistogram.like(margins, probability=probability, groups=1)
    histogram.add(np.asarray(margins, float), labels, np.zeros(len(labels), np.intp))
    return histogram


def test_is_the_calibration_of_scikit_learn() -> None:
    frozen = pytest.importorskip("sklearn.frozen", reason="came with scikit-learn 1.6")
    model = SGDClassifier(loss="hinge", random_state=0).fit(DESIGN[:, :1], LABELS)
    theirs = CalibratedClassifierCV(frozen.FrozenEstimator(model), method="sigmoid")
    expected = theirs.fit(DESIGN[:, :1], LABELS).predict_proba(DESIGN[:, :1])[:, 1]
    margins = model.decision_function(DESIGN[:, :1])
    assert fit_platt(counted(margins, LABELS)).apply(margins) == pytest.approx(expected, abs=2e-3)


def test_undoes_what_made_probabilities_too_extreme() -> None:
    truth = RANDOM.normal(-1, 1, 100_000)
    labels = (RANDOM.random(100_000) < expit(truth)).astype(np.int8)
    extreme = fit_platt(counted(expit(2 * truth + 1), labels, probability=True))
    assert (extreme.slope, extreme.intercept) == pytest.approx((0.5, -0.5), abs=0.03)


def test_separated_outcomes_have_a_finite_slope() -> None:
    platt = fit_platt(counted([-1.0, -2.0, 1.0, 2.0], [0, 0, 1, 1]))
    assert 0 < platt.slope < 10


def test_scores_that_rank_backwards_are_only_shifted() -> None:
    margins = np.linspace(-1, 1, 1000)
    platt = fit_platt(counted(margins, (margins < -0.5).astype(np.int8)))
    assert platt.slope == 1
    assert platt.apply(margins).mean() == pytest.approx(0.25, abs=0.01)


def test_one_outcome_only_is_refused() -> None:
    with pytest.raises(NotEnoughData, match="0 positives and 2 negatives"):
        fit_platt(counted([0.1, 0.2], [0, 0]))


@pytest.fixture(scope="module")
def fitted() -> dict[str, Any]:
    return {
        name: make_pipeline(StandardScaler(), make_estimator(spec, seed=0)).fit(DESIGN, LABELS)
        for name, spec in SPECS.items()
    }


@pytest.mark.parametrize("name", SPECS)
@settings(max_examples=25)
@given(platt=platts)
def test_folded_is_slope_times_margin_plus_intercept(name: str, platt: Platt, fitted: Any) -> None:
    form, made = fold(fitted[name]), calibrated(fitted[name], platt)
    assert form is not None and (found := fold(made)) is not None
    assert found.link == "logistic"
    assert found.weights == pytest.approx([platt.slope * w for w in form.weights], rel=1e-12)
    margins = DESIGN[:50] @ np.array(form.weights) + form.intercept
    assert apply(found, DESIGN[:50]) == pytest.approx(platt.apply(margins), abs=1e-9)
    assert score(made, DESIGN[:50]) == pytest.approx(platt.apply(margins), abs=1e-9)


@pytest.mark.parametrize("name", SPECS)
@settings(max_examples=25)
@given(platt=platts)
def test_taken_back_it_is_what_it_was(name: str, platt: Platt, fitted: Any) -> None:
    back = uncalibrated(calibrated(fitted[name], platt), platt, make_estimator(SPECS[name], seed=0))
    assert type(back[-1]) is type(fitted[name][-1])
    one, other = fold(back), fold(fitted[name])
    assert one is not None and other is not None and one.link == other.link
    assert one.weights == pytest.approx(other.weights, rel=1e-12)
    assert one.intercept == pytest.approx(
        other.intercept, rel=1e-9, abs=1e-9 * (1 + abs(platt.intercept / platt.slope))
    )


@pytest.mark.parametrize("estimator", [LogisticRegression(), RidgeClassifier()])
def test_other_linear_models_are_calibrated_too(estimator: Any) -> None:
    model = make_pipeline(MinMaxScaler(), estimator).fit(DESIGN, LABELS)
    form = fold(model)
    assert form is not None
    made = artifact.load(artifact.dump(calibrated(model, Platt(0.5, -1.0)), "joblib"), "joblib")
    expected = expit(0.5 * (DESIGN @ np.array(form.weights) + form.intercept) - 1)
    assert score(made, DESIGN) == pytest.approx(expected, abs=1e-9)


def test_neural_nets_are_calibrated_in_their_last_layer() -> None:
    net = make_estimator({"mlp_classifier": {"hidden_layer_sizes": [3], "max_iter": 20}}, seed=0)
    model = make_pipeline(StandardScaler(), net).fit(DESIGN, LABELS)
    chance = model.predict_proba(DESIGN)[:, 1]
    expected = expit(0.5 * np.log(chance / (1 - chance)) - 1)
    made = calibrated(model, Platt(0.5, -1.0))
    assert score(made, DESIGN) == pytest.approx(expected, abs=1e-9)
    assert score(uncalibrated(made, Platt(0.5, -1.0), net), DESIGN) == pytest.approx(chance)


def test_what_cannot_be_folded_is_refused() -> None:
    bayes = make_estimator({"gaussian_nb": {}}, seed=0).fit(DESIGN, LABELS)
    with pytest.raises(NotSupported, match="GaussianNB cannot be calibrated"):
        calibrated(bayes, Platt(1.0, 0.0))
    linear = calibrated(LogisticRegression().fit(DESIGN[:, :1], LABELS), Platt(1.0, 0.0))
    with pytest.raises(NotSupported, match="GaussianNB cannot go on from"):
        uncalibrated(linear, Platt(1.0, 0.0), bayes)


@pytest.mark.parametrize("name", SPECS)
def test_a_calibrated_version_goes_on_learning_as_an_uncalibrated_one(name: str) -> None:
    method = Method(SPECS[name])
    plain = Learner.start(method)
    for batch in batches(1, 3):
        plain.learn(batch)
    made, memory = plain.version(Platt(0.4, -0.7))
    bare, other = plain.version()
    resumed = Learner.resume(made, method, Memory.from_json(memory.to_json()))
    again = Learner.resume(bare, method, other)
    more = next(batches(2, 1))
    assert resumed.score(more.design).scores == pytest.approx(score(made, more.design), abs=1e-9)
    resumed.learn(more)
    again.learn(more)
    assert resumed.score(more.design).margins == pytest.approx(
        again.score(more.design).margins, rel=1e-5, abs=1e-5
    )


def test_calibrations_one_after_the_other_are_one() -> None:
    margins, first, second = np.linspace(-3, 3, 9), Platt(0.5, -1.0), Platt(2.0, 0.3)
    log_odds = first.slope * margins + first.intercept
    assert second.after(first).apply(margins) == pytest.approx(second.apply(log_odds))


def test_platt_repairs_an_average_of_a_drifting_stream() -> None:
    learner = Learner.start(Method(SGD))
    for batch in batches(1, 10, base=-3.0):
        learner.learn(batch)
    now, truth = examples(np.random.default_rng(5), 20_000, base=-1.0)
    found = learner.score(now.design)
    platt = fit_platt(counted(found.margins, now.labels))
    before, after = (np.abs(p - truth).mean() for p in (found.scores, platt.apply(found.margins)))
    assert after < 0.5 * before
