"""Proofs: what publishing rests on, made from the artefact's bytes alone."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from rescore.errors import ArtefactRefused, ContractViolated, NotFinite, ParityFailed
from rescore.plpython import artifact
from rescore.plpython.contract import Contract, Input
from rescore.plpython.design import design_row
from rescore.plpython.linear import LinearForm, apply
from rescore.plpython.proof import prove

CONTRACT = Contract(
    (
        Input("orders", "bigint", "number", nullable=False, bounded=True),
        Input("spend", "numeric", "number", missing=True),
        Input("channel", "text", "category", categories=("web", "store"), other=True),
        Input("last", "timestamptz", "days_since", default=-1),
    )
)
X = np.random.default_rng(5).normal(size=(80, len(CONTRACT.columns()))) * 10
Y = (X[:, 0] + X[:, 1] > 0).astype(int)


def dumped(model: Any) -> bytes:
    return artifact.dump(model.fit(X, Y), "joblib")


LINEAR = dumped(make_pipeline(StandardScaler(), LogisticRegression()))


def test_proof_of_a_linear_model() -> None:
    proof = json.loads(json.dumps(prove(LINEAR, "joblib", CONTRACT).to_json(), allow_nan=False))
    form = LinearForm.from_json(proof["linear"])
    rows = [design_row(CONTRACT, payload, proof["clock"]) for payload in proof["probes"]]
    assert_allclose(apply(form, rows), proof["expected"], atol=1e-9)
    assert len(rows) == len(proof["expected"]) == len(proof["tolerance"]) == 200
    assert proof["sha256"] == artifact.sha256(LINEAR)
    assert proof["library_versions"]["numpy"] == np.__version__
    assert proof["warnings"] == []


def test_proof_of_another_model_has_no_linear_form() -> None:
    proof = prove(dumped(RandomForestClassifier(n_estimators=5, n_jobs=-1)), "joblib", CONTRACT)
    assert proof.linear is None
    assert 0 <= min(proof.expected) < max(proof.expected) <= 1


def test_proof_of_a_regression_allows_relative_differences() -> None:
    proof = prove(dumped(LinearRegression()), "joblib", CONTRACT)
    assert max(map(abs, proof.expected)) > 1e90
    assert min(proof.tolerance) == 1e-9


def test_scores_of_the_trainer_are_compared() -> None:
    claimed = prove(LINEAR, "joblib", CONTRACT).expected
    assert prove(LINEAR, "joblib", CONTRACT, claimed=claimed).expected == claimed
    claimed[3] += 1e-6
    with pytest.raises(ParityFailed, match="the trainer scores"):
        prove(LINEAR, "joblib", CONTRACT, claimed=claimed)
    with pytest.raises(ParityFailed, match="199 scores were claimed for 200 probes"):
        prove(LINEAR, "joblib", CONTRACT, claimed=claimed[1:])


def test_other_columns_are_refused() -> None:
    with pytest.raises(ContractViolated, match="takes 7 columns, the model has 6"):
        prove(LINEAR, "joblib", Contract((*CONTRACT.inputs[:1], *CONTRACT.inputs[1:3])))


def test_scores_that_overflow_are_refused() -> None:
    model = LinearRegression().fit(X, Y)
    model.coef_[0] = np.inf
    with pytest.raises(NotFinite):
        prove(artifact.dump(model, "joblib"), "joblib", CONTRACT)


def test_attributes_that_do_not_fit_together_are_refused() -> None:
    model = LogisticRegression().fit(X, Y)
    model.coef_ = model.coef_[:, :3]
    with pytest.raises(ArtefactRefused, match="cannot score: ValueError"):
        prove(artifact.dump(model, "joblib"), "joblib", CONTRACT)
