"""Test, then train: what is measured was not learnt yet, and champion and learner see the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from rescore.plpython.prediction import score
from rescore.tests.trainer.learning.streams import AVERAGED, SGD, batches, examples
from rescore.trainer.fit import Recipe, fit
from rescore.trainer.learning import prequential
from rescore.trainer.learning.batch import Batch
from rescore.trainer.learning.histogram import ScoreHistogram
from rescore.trainer.learning.learner import Learner
from rescore.trainer.learning.method import Memory, Method
from rescore.trainer.learning.metrics import METRICS
from rescore.trainer.learning.prequential import Prequential

AUC, LOG_LOSS = METRICS["auc"], METRICS["log_loss"]


@pytest.fixture(scope="module")
def champion() -> Any:
    batch, _ = examples(np.random.default_rng(7), 5000)
    return fit(batch.design, batch.labels, Recipe(AVERAGED, passes=5))


def run(learner: Learner, stream: Any, champion: Any = None) -> Prequential:
    loop = Prequential(learner, champion)
    for batch in stream:
        loop.step(batch)
    return loop


def test_labels_without_reason_measure_as_chance_however_well_they_are_learnt() -> None:
    random = np.random.default_rng(1)
    learner = Learner.start(Method({"mlp_classifier": {"hidden_layer_sizes": [50]}}))
    noise = [
        Batch(
            random.normal(size=(200, 30)), random.integers(0, 2, 200), random.integers(0, 99, 200)
        )
        for _ in range(20)
    ]
    loop = run(learner, noise)
    for _ in range(30):
        learner.learn(noise[-1])
    assert roc_auc_score(noise[-1].labels, learner.score(noise[-1].design).scores) > 0.7
    assert loop.tested.intervals([AUC])["auc"].holds(0.5)


def test_is_scoring_each_batch_before_learning_it_by_hand() -> None:
    stream = list(batches(1, 12))
    by_hand, labels = Learner.start(Method(SGD)), []
    scores: list[Any] = []
    for batch in stream:
        if by_hand.fitted:
            scores.append(by_hand.score(batch.design).scores)
            labels.append(batch.labels)
        by_hand.learn(batch)
    found = run(Learner.start(Method(SGD)), stream).tested.intervals()
    expected = np.concatenate(labels), np.concatenate(scores)
    assert found["log_loss"].estimate == pytest.approx(log_loss(*expected))
    assert found["auc"].estimate == pytest.approx(roc_auc_score(*expected), abs=1e-3)
    assert found["base_rate"].estimate == pytest.approx(expected[0].mean())


def test_counting_now_or_later_is_the_same(champion: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    later = run(Learner.resume(champion, Method(AVERAGED), Memory()), batches(1, 5), champion)
    monkeypatch.setattr(prequential, "WAITING", 1)
    now = run(Learner.resume(champion, Method(AVERAGED), Memory()), batches(1, 5), champion)
    for one, other in ((later.tested, now.tested), (later.served, now.served)):
        assert one.intervals()["log_loss"].low == pytest.approx(other.intervals()["log_loss"].low)
        assert one.histogram is not None and other.histogram is not None
        assert one.histogram.weight == other.histogram.weight == 2500


def test_memory_does_not_grow_with_the_examples(champion: Any) -> None:
    loop = Prequential(Learner.resume(champion, Method(AVERAGED), Memory()), champion)
    held = []
    for batch in batches(1, 30, size=5000):
        loop.step(batch)
        held.append(sum(len(waiting) for waiting, _ in loop._waiting))
    assert max(held) < prequential.WAITING
    assert isinstance(loop.tested.histogram, ScoreHistogram)
    assert loop.tested.histogram.weight == 150_000
    assert loop.tested.histogram.counts.nbytes < 5e6


def test_beside_a_champion_that_has_fallen_behind_the_learner_gains(champion: Any) -> None:
    method = Method({"sgd_classifier": {**SGD["sgd_classifier"], "eta0": 0.05}})
    learner = Learner.resume(champion, method, Memory(5000.0, 1000.0))
    loop = run(learner, batches(3, 20, flip=-1.0), champion)
    found = loop.improvement(LOG_LOSS)
    assert found is not None and found.high < 0
    still = run(Learner.resume(champion, method, Memory(5000.0, 1000.0)), batches(4, 20), champion)
    nothing = still.improvement(AUC)
    assert nothing is not None and abs(nothing.estimate) < 0.02


def test_without_champion_or_examples_there_is_nothing_to_compare(champion: Any) -> None:
    assert run(Learner.start(Method(SGD)), batches(1, 3)).improvement(AUC) is None
    loop = run(Learner.resume(champion, Method(AVERAGED), Memory()), [], champion)
    assert loop.improvement(AUC) is None and loop.tested.intervals() == {}


@pytest.mark.parametrize(
    "estimator",
    [SGD, {"sgd_classifier": {"loss": "hinge"}}, {"sgd_classifier": {"loss": "modified_huber"}}],
)
def test_its_calibration_makes_honest_probabilities(estimator: Any) -> None:
    loop = run(Learner.start(Method(estimator)), batches(1, 40))
    made, memory = loop.learner.version(loop.platt())
    batch, _ = examples(np.random.default_rng(5), 20_000)
    assert score(made, batch.design).mean() == pytest.approx(batch.labels.mean(), abs=0.05)
    # Going on from the calibrated version, the next calibration replaces it, and does not pile up.
    again = run(Learner.resume(made, Method(estimator), memory), batches(2, 40))
    made, _ = again.learner.version(again.platt())
    assert score(made, batch.design).mean() == pytest.approx(batch.labels.mean(), abs=0.05)


def test_margins_say_so_from_0_on() -> None:
    loop = run(Learner.start(Method({"sgd_classifier": {"loss": "hinge"}})), batches(1, 10))
    told, seen = [], []
    again = Learner.start(Method({"sgd_classifier": {"loss": "hinge"}}))
    for batch in batches(1, 10):
        if again.fitted:
            told.append(again.score(batch.design).scores > 0)
            seen.append(batch.labels == 1)
        again.learn(batch)
    found = loop.tested.intervals([METRICS["accuracy"]])["accuracy"].estimate
    assert found == pytest.approx(np.mean(np.concatenate(told) == np.concatenate(seen)), abs=1e-12)


def test_weights_of_snapshots_count() -> None:
    batch = next(batches(1, 1))
    heavy = Batch(batch.design, batch.labels, batch.hashes, 1.0 + 2 * batch.labels)
    loop = run(Learner.start(Method(SGD)), [batch, heavy])
    rate = heavy.labels.mean()
    assert loop.tested.intervals([METRICS["base_rate"]])["base_rate"].estimate == pytest.approx(
        3 * rate / (3 * rate + 1 - rate)
    )


def test_empty_batches_are_nothing() -> None:
    empty = Batch(np.empty((0, 4)), [], [])
    loop = run(Learner.start(Method(SGD)), [empty, *batches(1, 2), empty])
    assert isinstance(loop.tested.histogram, ScoreHistogram)
    assert loop.tested.histogram.weight == 500
