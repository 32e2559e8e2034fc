"""Learners: every kind learns, repeats itself bit for bit, and keeps its function as it moves on."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

from rescore.errors import BadDefinition, BadFeature, NotFinite, NotSupported
from rescore.plpython import artifact
from rescore.plpython.linear import apply, fold
from rescore.plpython.prediction import score
from rescore.tests.trainer.learning.streams import AVERAGED, CENTRES, SCALES, SGD, batches, examples
from rescore.trainer.fit import Recipe, fit
from rescore.trainer.learning.batch import Batch
from rescore.trainer.learning.kinds import NeuralNet
from rescore.trainer.learning.learner import Learner
from rescore.trainer.learning.method import Memory, Method
from rescore.trainer.learning.models import Rate

CLASSIFIER_LOSSES = (
    "hinge", "log_loss", "modified_huber", "squared_hinge", "perceptron", "squared_error", "huber",
    "epsilon_insensitive", "squared_epsilon_insensitive",
)  # fmt: skip
REGRESSOR_LOSSES = ("squared_error", "huber", "epsilon_insensitive", "squared_epsilon_insensitive")
SLOW = {"learning_rate": "constant", "eta0": 0.005}
METHODS: dict[str, Method] = {
    **{
        f"sgd {loss}": Method({"sgd_classifier": {"loss": loss, **SLOW}})
        for loss in CLASSIFIER_LOSSES
    },
    **{f"regressor {loss}": Method({"sgd_regressor": {"loss": loss}}) for loss in REGRESSOR_LOSSES},
    "averaged": Method(AVERAGED),
    "averaged regressor": Method({"sgd_regressor": {"average": True}}),
    "optimal": Method({"sgd_classifier": {"loss": "log_loss", "alpha": 0.01}}),
    "inverse": Method(SGD, rate=Rate(0.05, 1e-3)),
    "balanced": Method(AVERAGED, balance="balanced"),
    "half-life": Method(SGD, half_life=3.0),
    "passive": Method({"passive_aggressive_classifier": {"C": 0.01}}),
    "passive balanced": Method({"passive_aggressive_classifier": {"C": 0.01}}, balance=3.0),
    "passive averaged": Method(
        {"passive_aggressive_classifier": {"C": 0.01, "average": True}}, balance=3.0
    ),
    "passive regressor": Method({"passive_aggressive_regressor": {"C": 0.01}}),
    "perceptron": Method({"perceptron": {}}),
    "gaussian": Method({"gaussian_nb": {}}, half_life=3.0),
    "bernoulli": Method({"bernoulli_nb": {}}, half_life=3.0),
    "multinomial": Method({"multinomial_nb": {}}, scaler="minmax", half_life=3.0),
    "net": Method({"mlp_classifier": {"hidden_layer_sizes": [6], "learning_rate_init": 0.02}}),
    "net regressor": Method(
        {"mlp_regressor": {"hidden_layer_sizes": [6], "learning_rate_init": 0.02}}
    ),
}
FOLLOWING = [name for name in METHODS if name not in ("bernoulli", "multinomial")]
every = pytest.mark.parametrize("name", METHODS)


def taught(method: Method, seed: int = 1, count: int = 12, **truth: Any) -> Learner:
    learner = Learner.start(method)
    for batch in batches(seed, count, **truth):
        learner.learn(batch, elapsed=1.0)
    return learner


@pytest.fixture(scope="module")
def test_set() -> tuple[Batch, Any]:
    return examples(np.random.default_rng(99), 4000)


@every
def test_learns_to_rank(name: str, test_set: tuple[Batch, Any]) -> None:
    batch, truth = test_set
    found = roc_auc_score(batch.labels, taught(METHODS[name]).score(batch.design).scores)
    assert found > roc_auc_score(batch.labels, truth) - 0.12


@every
def test_the_artefact_is_one_the_server_takes_and_scores_the_same(name: str, test_set: Any) -> None:
    learner = taught(METHODS[name], count=3)
    made, memory = learner.version()
    loaded = artifact.load(artifact.dump(made, "joblib"), "joblib")
    design = test_set[0].design
    assert score(loaded, design) == pytest.approx(learner.score(design).scores, abs=1e-12)
    if (form := fold(loaded)) is not None:
        assert apply(form, design) == pytest.approx(score(loaded, design), abs=1e-9)
    assert memory.examples > 0


@every
def test_the_same_examples_in_the_same_order_give_the_same_bits(name: str) -> None:
    one, other = (
        artifact.dump(taught(METHODS[name], count=4).version()[0], "pickle") for _ in "ab"
    )
    assert one == other


@pytest.mark.parametrize("name", [name for name in METHODS if "average" not in str(METHODS[name])])
def test_a_learner_resumed_from_artefact_and_memory_goes_on_as_if_never_stopped(name: str) -> None:
    first, *rest = batches(4, 4)
    straight = Learner.start(METHODS[name])
    straight.learn(first)
    made, memory = straight.version()
    kept = Memory.from_json(json.loads(json.dumps(memory.to_json())))
    resumed = Learner.resume(
        artifact.load(artifact.dump(made, "joblib"), "joblib"), METHODS[name], kept
    )
    for batch in rest:
        straight.learn(batch, elapsed=1.0)
        resumed.learn(batch, elapsed=1.0)
    one, other = (each.score(rest[0].design) for each in (straight, resumed))
    assert np.array_equal(one.scores, other.scores)
    assert resumed.memory == straight.memory


def test_the_champion_is_not_touched() -> None:
    champion = fit(*labelled(2000), Recipe(AVERAGED, passes=2))
    before = artifact.dump(champion, "pickle")
    learner = Learner.resume(champion, Method(AVERAGED), Memory(2000.0, 500.0))
    for batch in batches(5, 3):
        learner.learn(batch)
    assert artifact.dump(champion, "pickle") == before
    assert artifact.dump(learner.version()[0], "pickle") != before


def labelled(n: int, seed: int = 7, **truth: float) -> tuple[Any, Any]:
    batch, _ = examples(np.random.default_rng(seed), n, **truth)
    return batch.design, batch.labels


@pytest.mark.parametrize("name", FOLLOWING)
@pytest.mark.parametrize("left", [1.0, 0.3])
def test_when_the_scaler_moves_the_function_stays(name: str, left: float, test_set: Any) -> None:
    learner, design = taught(METHODS[name], count=3), test_set[0].design
    before = learner.score(design)
    moved, _ = examples(np.random.default_rng(3), 5000, move=2.0)
    wide = Batch(moved.design * [1, 3, 1, 0.2], moved.labels, moved.hashes)
    scale = learner.estimator[0].scale_
    learner._scaled(wide, left)
    assert not np.allclose(learner.estimator[0].scale_, scale, rtol=0.05)
    after = learner.score(design)
    assert after.margins == pytest.approx(before.margins, rel=1e-9, abs=1e-9)


def test_average_and_raw_weights_both_keep_their_function(test_set: Any) -> None:
    learner, design = taught(METHODS["averaged"], count=3), test_set[0].design
    raw = learner._model.raw.estimator  # type: ignore[attr-defined]
    before = raw.decision_function(StandardScaler.transform(learner.estimator[0], design))
    learner._scaled(examples(np.random.default_rng(3), 5000, move=2.0)[0], 1.0)
    after = raw.decision_function(StandardScaler.transform(learner.estimator[0], design))
    assert after == pytest.approx(before, rel=1e-9, abs=1e-9)


def test_the_average_arrives_at_rare_outcomes() -> None:
    learner = taught(Method(AVERAGED), count=40, base=-3.5)
    design, labels = labelled(20_000, base=-3.5)
    assert learner.score(design).scores.mean() == pytest.approx(labels.mean(), rel=0.1)


def test_the_average_is_nearer_to_the_best_than_what_it_averages() -> None:
    design, labels = labelled(20_000)
    losses = {
        name: log_loss(
            labels, taught(Method({"sgd_classifier": {**given, "eta0": 0.1}})).score(design).scores
        )
        for name, given in (("raw", SGD["sgd_classifier"]), ("mean", AVERAGED["sgd_classifier"]))
    }
    best = LogisticRegression(C=1e6).fit((design - CENTRES) / SCALES, labels)
    least = log_loss(labels, best.predict_proba((design - CENTRES) / SCALES)[:, 1])
    assert losses["mean"] - least < 0.7 * (losses["raw"] - least)


def test_a_champion_goes_on_from_where_training_left_it() -> None:
    """Learning more of the same neither forgets nor blurs what ten thousand examples taught."""
    champion = fit(*labelled(10_000), Recipe(AVERAGED, passes=10))
    learner = Learner.resume(champion, Method(AVERAGED), Memory(10_000.0, 3000.0))
    for batch in batches(8, 20):
        learner.learn(batch)
    design, labels = labelled(20_000, seed=9)
    assert (
        log_loss(labels, learner.score(design).scores)
        < log_loss(labels, score(champion, design)) + 1e-3
    )


@pytest.mark.parametrize("estimator", [AVERAGED, {"mlp_classifier": {"hidden_layer_sizes": [4]}}])
@pytest.mark.parametrize("balance", [8.0, "balanced"])
def test_balanced_probabilities_are_those_of_the_true_prior(estimator: Any, balance: Any) -> None:
    if "mlp_classifier" in estimator and not NeuralNet(MLPClassifier()).takes_weights:
        pytest.skip("neural nets learn weighted examples from scikit-learn 1.7 on")
    learner = taught(Method(estimator, balance=balance), count=60, base=-3.0)
    design, labels = labelled(20_000, base=-3.0)
    assert learner.score(design).scores.mean() == pytest.approx(labels.mean(), rel=0.2)


def test_balancing_is_weights_and_a_shift_by_hand() -> None:
    batch = next(batches(1, 1, base=-2.0))
    learner = Learner.start(Method(SGD, scaler=None, balance=4.0))
    learner.learn(batch)
    heavier = np.where(batch.labels == 1, 4.0, 1.0) / (
        4 * batch.labels.mean() + 1 - batch.labels.mean()
    )
    by_hand = SGDClassifier(**SGD["sgd_classifier"], random_state=0)
    by_hand.partial_fit(batch.design, batch.labels, classes=[0, 1], sample_weight=heavier)
    assert learner.version()[0].coef_ == pytest.approx(by_hand.coef_)
    assert learner.version()[0].intercept_ == pytest.approx(by_hand.intercept_ - np.log(4))


def test_balance_changes_nothing_where_the_prior_is_learnt_by_itself() -> None:
    one, other = (taught(Method({"gaussian_nb": {}}, balance=b)) for b in (None, "balanced"))
    assert np.array_equal(one.version()[0][-1].theta_, other.version()[0][-1].theta_)
    assert np.array_equal(one.version()[0][-1].class_prior_, other.version()[0][-1].class_prior_)


def test_rates_are_partial_fit_by_hand() -> None:
    parts = list(batches(2, 3, size=2000))
    learner = Learner.start(Method(SGD, scaler=None, rate=Rate(1e-3, 1e-3)))
    by_hand = SGDClassifier(loss="log_loss", learning_rate="constant", random_state=0)
    for n, part in enumerate(parts):
        learner.learn(Batch(part.design / 1000, part.labels, part.hashes))
        by_hand.set_params(eta0=1e-3 / (1 + 1e-3 * 2000 * n))
        by_hand.partial_fit(part.design / 1000, part.labels, classes=[0, 1])
    assert np.array_equal(learner.version()[0].coef_, by_hand.coef_)


def after_the_flip(method: Method) -> tuple[float, float]:
    """Return log loss beside the oracle's, on the examples after 2,000 of a turned concept."""
    learner = taught(method, count=40)
    for batch in batches(21, 4, flip=-1.0):
        learner.learn(batch, elapsed=1.0)
    batch, truth = examples(np.random.default_rng(22), 10_000, flip=-1.0)
    return (
        float(log_loss(batch.labels, learner.score(batch.design).scores)),
        float(log_loss(batch.labels, truth)),
    )


def test_within_2000_examples_of_a_flip_the_loss_is_near_the_oracles() -> None:
    found, oracle = after_the_flip(
        Method({"sgd_classifier": {**SLOW, "loss": "log_loss", "eta0": 0.05}})
    )
    assert found < 1.1 * oracle


@pytest.mark.parametrize("estimator", [{"gaussian_nb": {}}, AVERAGED])
def test_a_half_life_forgets_a_concept_that_has_turned(estimator: Any) -> None:
    forgetful, oracle = after_the_flip(Method(estimator, half_life=1.0))
    faithful, _ = after_the_flip(Method(estimator))
    assert forgetful - oracle < 0.3 * (faithful - oracle)


def test_a_fading_rate_does_not_fade_while_old_examples_do() -> None:
    kept, left = (
        taught(Method({"sgd_classifier": {"loss": "log_loss"}}, half_life=half_life), count=30)
        for half_life in (None, 1.0)
    )
    assert kept.version()[0][-1].t_ == 15_001
    assert left.version()[0][-1].t_ == pytest.approx(1001, abs=600)
    assert left.memory.examples == pytest.approx(1500, abs=600)


@pytest.mark.parametrize("name", METHODS)
def test_one_class_empty_and_constant_batches_leave_it_finite(name: str) -> None:
    learner, random = Learner.start(METHODS[name]), np.random.default_rng(1)
    hashes = random.integers(0, 2**63, 200).astype(np.uint64)
    design = np.abs(random.normal(size=(200, 3))) * [1, 0, 1]  # the second column stands still
    with np.errstate(all="ignore"):
        for labels in (np.zeros(200), np.ones(200)):
            learner.learn(Batch(design[:0], labels[:0], hashes[:0]), elapsed=2.0)
            learner.learn(Batch(design, labels, hashes))
            learner.learn(Batch(np.repeat(design[:1], 200, axis=0), labels, hashes))
            learner.learn(Batch(design[:1], labels[:1], hashes[:1]))
    assert np.isfinite(learner.score(design).scores).all()
    assert learner.memory.examples == 802 and learner.memory.positives == 401


def test_a_storm_of_missing_values_moves_the_function_a_little_only(test_set: Any) -> None:
    """Missing values arrive as the contract's default, the same in every row."""
    learner, design = taught(METHODS["averaged"], count=20), test_set[0].design
    before = learner.score(design).scores
    storm = Batch(np.tile(CENTRES - 2 * SCALES, (500, 1)), np.arange(500) % 3 == 0, np.arange(500))
    learner.learn(storm)
    assert np.abs(learner.score(design).scores - before).mean() < 0.1
    for batch in batches(6, 10):
        learner.learn(batch)
    assert roc_auc_score(test_set[0].labels, learner.score(design).scores) > 0.8


def test_examples_of_weight_zero_are_not_learnt() -> None:
    batch = next(batches(1, 1))
    weights = (np.arange(500) % 2).astype(float)
    one, other = Learner.start(Method(SGD)), Learner.start(Method(SGD))
    one.learn(Batch(batch.design, batch.labels, batch.hashes, weights))
    other.learn(Batch(batch.design[1::2], batch.labels[1::2], batch.hashes[1::2]))
    assert artifact.dump(one.version()[0], "pickle") == artifact.dump(other.version()[0], "pickle")


@pytest.mark.parametrize("name", ["gaussian_nb", "bernoulli_nb"])
def test_a_weight_is_a_repetition_where_order_does_not_matter(name: str) -> None:
    batch = next(batches(1, 1))
    weights = 1 + np.arange(500) % 3
    parts = (batch.design, batch.labels, batch.hashes)
    design, labels, hashes = (np.repeat(part, weights, axis=0) for part in parts)
    one, other = (Learner.start(Method({name: {}})) for _ in range(2))
    one.learn(Batch(batch.design, batch.labels, batch.hashes, weights))
    other.learn(Batch(design, labels, hashes))
    assert one.score(batch.design).scores == pytest.approx(
        other.score(batch.design).scores, abs=1e-6
    )


def test_segments_are_learnt_and_scored() -> None:
    from sklearn.cluster import MiniBatchKMeans

    random = np.random.default_rng(1)
    design = np.concatenate([random.normal(m, 0.1, (300, 2)) for m in (-5, 0, 5)])
    champion = MiniBatchKMeans(3, random_state=0, n_init=3).fit(design)
    learner = Learner.resume(champion, Method({}, scaler=None, half_life=1.0), Memory(900.0, 0.0))
    for step in range(20):
        moved = design + 0.1 * step
        learner.learn(Batch(moved, np.zeros(900), np.zeros(900)), elapsed=1.0)
    segments = learner.score(moved).scores.reshape(3, 300)
    assert all(len(set(part)) == 1 for part in segments.tolist())
    assert len(set(segments[:, 0])) == 3
    assert learner.version()[0].cluster_centers_.mean() == pytest.approx(moved.mean(), abs=0.5)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (Method({"logistic_regression": {}}), "LogisticRegression cannot learn on"),
        (Method({"multinomial_nb": {}}), "multinomial_nb behind StandardScaler"),
        (
            Method({"sgd_classifier": {"loss": "modified_huber"}}, balance="balanced"),
            "modified_huber",
        ),
        (Method({"gaussian_nb": {}}, rate=Rate(0.1)), "no learning rate"),
        (Method(SGD, half_life=0.0), "half_life is 0"),
        (Method(SGD, balance=-1.0), "balance is -1"),
        (Method(SGD, rate=Rate(0.0)), "eta0 is 0"),
    ],
)
def test_methods_that_cannot_be_are_refused(method: Method, message: str) -> None:
    with pytest.raises((BadDefinition, NotSupported), match=message):
        Learner.start(method)


def test_weights_for_what_takes_none_are_refused() -> None:
    batch = next(batches(1, 1))
    weighted = Batch(batch.design, batch.labels, batch.hashes, 1 + np.arange(500) % 3)
    with pytest.raises(NotSupported, match="learns no weighted examples"):
        Learner.start(METHODS["passive regressor"]).learn(weighted)


def test_divergence_is_said_so() -> None:
    learner = Learner.start(Method({"sgd_regressor": {**SLOW, "eta0": 1e250}}, scaler=None))
    with pytest.raises(NotFinite, match="diverged"):
        learner.learn(Batch(np.full((50, 1), 1e90), np.arange(50) % 2, np.arange(50)))


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (([[1.0], [np.nan]], [0, 1], [1, 2]), NotFinite, "example 2 has nan in column 1"),
        (([[1.0]], [2], [1]), BadFeature, "label 2"),
        (([[1.0]], [0, 1], [1]), BadFeature, "2 labels and 1 keys for a design of shape"),
    ],
)
def test_batches_that_are_none_are_refused(given: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        Batch(*given)


def test_labels_are_the_champions_own() -> None:
    design, labels = labelled(500)
    champion = SGDClassifier(**SLOW).fit(StandardScaler().fit_transform(design), labels == 1)
    learner = Learner.resume(
        copy.deepcopy(champion), Method(SGD, scaler=None), Memory(500.0, 100.0)
    )
    learner.learn(next(batches(1, 1)))
    assert learner.version()[0].classes_.tolist() == [False, True]


def test_expit_of_margins_are_the_scores(test_set: Any) -> None:
    found = taught(Method(SGD), count=2).score(test_set[0].design)
    assert found.scores == pytest.approx(expit(found.margins))
