"""The gate: simulated candidates, worse, equal and better; what is missing; what is broken."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from rescore.errors import BadDefinition, BadFeature, NotFinite
from rescore.tests.trainer.learning.streams import snapshots
from rescore.trainer.learning.checks import Check, Limits, sanity
from rescore.trainer.learning.gate import PairedScores, Rules, compare, gate

FEW = Rules(customers=100, positives=10, negatives=10)


def pairs(seed: int, better: float = 0.0, customers: int = 250, **more: Any) -> PairedScores:
    """Return a candidate that is nearer to the truth than its equal by a part of the way."""
    rows = snapshots(np.random.default_rng(seed), customers, days=3)
    towards = logit(rows.one) + abs(better) * (logit(rows.truth) - logit(rows.one))
    good, other = expit(towards), rows.other
    one, two = (good, other) if better >= 0 else (other, good)
    return PairedScores(rows.labels, rows.hashes, one, two, **more)


def simulated(better: float, runs: int, customers: int = 250) -> tuple[Any, Any]:
    """Return the gain of a candidate in each run, and what it surely gains."""
    checks = [compare(pairs(seed, better, customers), FEW) for seed in range(runs)]
    assert all(check.passed == (check.numbers["surely"] >= 0) for check in checks)
    gain, surely = (
        np.array([check.numbers[name] for check in checks]) for name in ("gain", "surely")
    )
    return gain, surely


@pytest.fixture(scope="module")
def worse() -> tuple[Any, Any]:
    return simulated(-0.5, 120)


@pytest.fixture(scope="module")
def equal() -> tuple[Any, Any]:
    return simulated(0.0, 200)


@pytest.fixture(scope="module")
def better() -> tuple[Any, Any]:
    return simulated(1.0, 40, customers=600)


def test_a_worse_candidate_hardly_ever_passes(worse: tuple[Any, Any]) -> None:
    assert (worse[1] >= 0).mean() < 0.05


def test_one_worse_by_the_whole_margin_passes_as_rarely_as_confidence_says(
    worse: tuple[Any, Any],
) -> None:
    gains, surely = worse
    assert (surely >= gains.mean()).mean() == pytest.approx(0.05, abs=0.05)


@pytest.mark.parametrize("margin", [0.0, 0.03, 0.06, -0.02])
def test_an_equal_one_passes_as_often_as_the_margin_is_meant_to_let_it(
    margin: float, equal: tuple[Any, Any]
) -> None:
    gains, surely = equal
    designed = norm.cdf(margin / gains.std() - norm.ppf(0.95))
    assert (surely >= -margin).mean() == pytest.approx(designed, abs=0.08)


def test_a_clearly_better_one_passes_unless_more_is_asked(better: tuple[Any, Any]) -> None:
    assert (better[1] >= 0).mean() > 0.95
    assert (better[1] >= 0.2).mean() < 0.05


def test_the_margin_is_what_may_be_lost_and_below_zero_what_must_be_gained() -> None:
    rows = pairs(1, 1.0, customers=600)
    surely = compare(rows, FEW).numbers["surely"]
    assert gate(rows, Rules(margin=1e-6 - surely)).passed
    assert gate(rows, Rules(margin=-1e-6 - surely)).verdict == "refuse"


def test_want_of_proof_is_not_worse_but_certainty_and_faults_are() -> None:
    lucky, wrong = pairs(1, 1.0, customers=600), pairs(1, -1.0, customers=600)
    asked = gate(lucky, Rules(margin=-0.5))
    assert asked.verdict == "refuse" and not asked.surely_worse
    assert gate(wrong, FEW).surely_worse
    assert not gate(wrong, Rules(margin=10.0)).surely_worse  # it passed
    fault = Check("weight_drift", False, "weights moved by 9", {})
    assert gate(lucky, FEW, [fault]).surely_worse
    assert not gate(wrong, Rules(customers=10_000)).surely_worse  # it waits


@pytest.mark.parametrize(
    "name", ["auc", "pr_auc", "brier", "log_loss", "precision@20%", "recall@20%"]
)
def test_any_metric_tells_better_from_worse(name: str) -> None:
    rules = Rules(metric=name)
    assert compare(pairs(1, 1.0, customers=1500), rules).passed
    check = compare(pairs(1, -1.0, customers=1500), rules)
    assert not check.passed and f"{name} loses" in check.text


def test_too_few_customers_or_outcomes_wait_however_many_rows() -> None:
    few = pairs(1, 1.0, customers=40)
    names = ("labels", "hashes", "candidate", "champion")
    tiled: dict[str, Any] = {n: np.tile(getattr(few, n), 100) for n in names}
    repeated = PairedScores(**tiled)
    decision = gate(repeated, Rules())
    assert decision.verdict == "wait"
    assert "40 customers to test on; 200 are needed" in decision.reasons
    rare = pairs(1, 1.0)
    rare.labels[:] = np.arange(len(rare)) < 3
    assert gate(rare, FEW).verdict == "wait"


def test_no_examples_wait() -> None:
    nothing: Any = np.empty(0)
    nobody = PairedScores(nothing, nothing, nothing, nothing)
    assert gate(nobody, Rules()).verdict == "wait"


def test_a_first_version_is_compared_with_a_constant() -> None:
    rows = snapshots(np.random.default_rng(1), 1000)
    constant = np.full(len(rows.labels), rows.labels.mean())
    assert gate(PairedScores(rows.labels, rows.hashes, rows.truth, constant), Rules()).passed
    assert not gate(PairedScores(rows.labels, rows.hashes, constant, rows.truth), Rules()).passed


def test_a_decision_is_json_with_sentences_and_numbers() -> None:
    decision = gate(pairs(3, 1.0, customers=400), Rules())
    data = json.loads(json.dumps(decision.to_json(), allow_nan=False))
    assert data["verdict"] == decision.verdict
    (comparison,) = [check for check in data["checks"] if check["name"] == "comparison"]
    assert comparison["numbers"]["gain"] > 0 and "log_loss gains" in comparison["text"]
    assert data["candidate"]["auc"]["low"] < data["candidate"]["auc"]["high"]
    assert all(check["text"] for check in data["checks"])


def test_a_miscalibrated_segment_is_refused_by_name() -> None:
    rows = pairs(5, 1.0, customers=1500)
    segment = rows.hashes % np.uint64(4) == 0
    off = np.where(segment, expit(logit(rows.candidate) + 1.5), rows.candidate)
    segments = {"plan=pro": segment, "plan=basic": ~segment}
    wrong = PairedScores(rows.labels, rows.hashes, off, rows.champion, segments=segments)
    decision = gate(wrong, Rules())
    assert decision.verdict == "refuse"
    assert any("calibration_in_the_large in plan=pro" in reason for reason in decision.reasons)
    assert not any("plan=basic" in reason for reason in decision.reasons)


def test_what_is_nearer_to_calibrated_than_the_champion_may_be_outside() -> None:
    rows = pairs(5, 1.0, customers=1500)
    off, farther = (expit(logit(rows.candidate) + amount) for amount in (1.5, 3.0))
    assert gate(PairedScores(rows.labels, rows.hashes, off, farther), Rules()).passed
    assert not gate(PairedScores(rows.labels, rows.hashes, off, rows.champion), Rules()).passed


def test_margins_are_compared_by_their_order_only() -> None:
    rows = pairs(5, 1.0, customers=1500)
    margins = PairedScores(
        rows.labels, rows.hashes, 9 * logit(rows.candidate), logit(rows.champion), probability=False
    )
    assert gate(margins, Rules(metric="auc")).passed
    with pytest.raises(BadDefinition, match="log_loss"):
        gate(margins, Rules())


def test_rules_and_scores_that_make_no_sense_are_refused() -> None:
    with pytest.raises(BadDefinition, match="neither better nor worse"):
        gate(pairs(1), Rules(metric="base_rate"))
    two: Any = np.zeros(2)
    with pytest.raises(BadFeature, match="of \\[2, 3\\] examples"):
        PairedScores(two, two, np.zeros(3), np.zeros(2))
    rows = pairs(1)
    rows.candidate[3] = np.nan
    with pytest.raises(NotFinite):
        gate(rows, FEW)


RANDOM = np.random.default_rng(1)
DESIGN = RANDOM.normal(size=(2000, 3)) * [1, 100, 0.01] + [0, 1000, 5]
LABELS = (RANDOM.random(2000) < expit(DESIGN[:, 0])).astype(np.int8)
CHAMPION = make_pipeline(StandardScaler(), LogisticRegression()).fit(DESIGN, LABELS)


def changed(**attributes: Any) -> Any:
    candidate = copy.deepcopy(CHAMPION)
    vars(candidate[-1]).update(attributes)
    return candidate


def failed(checks: tuple[Check, ...]) -> list[str]:
    return [check.name for check in checks if not check.passed]


def test_a_sane_candidate_has_nothing_against_it() -> None:
    checks = sanity(changed(coef_=CHAMPION[-1].coef_ * 1.2), CHAMPION, DESIGN)
    assert [check.name for check in checks] == ["finite", "parity", "weight_drift", "score_shift"]
    assert failed(checks) == []


def test_a_concept_turned_round_is_sane() -> None:
    assert failed(sanity(changed(coef_=-CHAMPION[-1].coef_), CHAMPION, DESIGN)) == []


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"coef_": np.array([[np.nan, 0, 0]])}, ["finite"]),
        ({"intercept_": np.array([np.inf])}, ["finite"]),
        ({"coef_": np.array([[1e120, 0, 0]])}, ["finite"]),
        ({"coef_": np.array([[0, 40.0, 0]])}, ["weight_drift", "score_shift"]),
        ({"intercept_": np.array([-4.0])}, ["score_shift"]),
    ],
)
def test_an_insane_candidate_is_told_why(attributes: Any, expected: list[str]) -> None:
    checks = sanity(changed(**attributes), CHAMPION, DESIGN)
    assert failed(checks) == expected
    decision = gate(pairs(1, 1.0, customers=1500), Rules(), checks)
    assert decision.verdict == "refuse"
    assert [check.text for check in checks if not check.passed] == list(decision.reasons)
    json.dumps(decision.to_json(), allow_nan=False)


def test_parity_is_that_of_the_proof() -> None:
    shifted = make_pipeline(StandardScaler(), LogisticRegression()).fit(DESIGN + 1e13, LABELS)
    shifted[-1].coef_ = np.array([[1e4, 1e4, 1e4]])
    assert failed(sanity(shifted, None, DESIGN + 1e13)) == ["parity"]


def test_what_is_not_linear_has_its_scores_compared() -> None:
    bayes = GaussianNB().fit(DESIGN, LABELS)
    assert failed(sanity(bayes, CHAMPION, DESIGN)) == []
    assert failed(sanity(bayes, CHAMPION, DESIGN, Limits(score_shift=1e-6))) == ["score_shift"]
