"""Every allow-listed estimator survives a round trip; what is no artefact is refused."""

from __future__ import annotations

import io
import warnings
from typing import Any
from unittest import mock

import joblib
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from rescore.errors import ArtefactRefused
from rescore.plpython import artifact, estimators, limits
from rescore.plpython.prediction import score

RNG = np.random.default_rng(7)
X = np.abs(RNG.normal(size=(80, 3)))
Y = (X[:, 0] + RNG.normal(scale=0.3, size=80) > 0.7).astype(int)

SETTINGS: dict[str, list[dict[str, Any]]] = {
    "SGDClassifier": [
        {"loss": loss}
        for loss in (
            "log_loss",
            "modified_huber",
            "hinge",
            "squared_hinge",
            "perceptron",
            "squared_error",
            "huber",
            "epsilon_insensitive",
            "squared_epsilon_insensitive",
        )
    ]
    + [{"average": True, "early_stopping": True, "class_weight": {0: 1.0, 1: 2.0}}],
    "SGDRegressor": [{}, {"loss": "huber"}, {"loss": "epsilon_insensitive"}],
    "LogisticRegression": [{}, {"solver": "liblinear", "C": 0.5}, {"random_state": 3}],
    "MLPClassifier": [{"hidden_layer_sizes": (4,), "solver": s} for s in ("adam", "sgd", "lbfgs")],
    "MLPRegressor": [{"hidden_layer_sizes": (4, 2)}],
    "HistGradientBoostingClassifier": [
        {"max_iter": 3},
        {"max_iter": 3, "early_stopping": True, "monotonic_cst": [1, 0, 0]},
    ],
    "HistGradientBoostingRegressor": [
        {"max_iter": 3, "loss": loss} for loss in ("squared_error", "absolute_error", "poisson")
    ]
    + [{"max_iter": 3, "loss": "quantile", "quantile": 0.7}],
    "RandomForestClassifier": [{"n_estimators": 3}, {"n_estimators": 3, "oob_score": True}],
    "RandomForestRegressor": [{"n_estimators": 3}],
    "ExtraTreesClassifier": [{"n_estimators": 3}],
    "ExtraTreesRegressor": [{"n_estimators": 3}],
    "GradientBoostingClassifier": [
        {"n_estimators": 3},
        {"n_estimators": 3, "loss": "exponential"},
    ],
    "GradientBoostingRegressor": [
        {"n_estimators": 3, "loss": loss} for loss in ("squared_error", "huber", "quantile")
    ],
}


def quietly(make: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # convergence after few rounds, deprecated classes
        return make()


def cases() -> list[Any]:
    found = []
    for name in estimators.PREDICTORS:
        cls = estimators.resolve(name)
        if cls is not None:
            for settings in SETTINGS.get(cls.__name__, [{}]):
                label = "-".join(map(str, [cls.__name__, *settings.values()]))
                found.append(pytest.param(cls, settings, id=label))
    return found


def pipelines() -> list[Any]:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    scalers = [estimators.resolve(name) for name in estimators.SCALERS]
    made = [make_pipeline(scaler(), LogisticRegression()) for scaler in scalers if scaler]
    return [pytest.param(pipeline, id=str(pipeline.steps[0][0])) for pipeline in made]


def read_quietly(data: bytes, format: artifact.Format) -> Any:
    return artifact.load_with_warnings(data, format)[0]


@pytest.mark.parametrize("format", ["joblib", "pickle", "skops"])
@pytest.mark.parametrize(("cls", "settings"), cases())
def test_estimator_survives_a_round_trip(cls: Any, settings: dict[str, Any], format: Any) -> None:
    fitted = quietly(lambda: cls(**settings).fit(X, Y))
    loaded = read_quietly(artifact.dump(fitted, format), format)
    assert type(loaded) is cls
    assert loaded.get_params() == fitted.get_params()
    assert_array_equal(score(loaded, X), score(fitted, X))


@pytest.mark.parametrize("format", ["joblib", "pickle", "skops"])
@pytest.mark.parametrize("pipeline", pipelines())
def test_pipeline_survives_a_round_trip(pipeline: Any, format: Any) -> None:
    pipeline.fit(X, Y)
    loaded = read_quietly(artifact.dump(pipeline, format), format)
    assert str(loaded.get_params()) == str(pipeline.get_params())
    assert_array_equal(score(loaded, X), score(pipeline, X))


@pytest.mark.parametrize("format", ["joblib", "pickle", "skops"])
def test_column_names_survive(format: Any) -> None:
    model = logistic()
    model.feature_names_in_ = np.array(["a", "b=ü", "c"], dtype=object)
    loaded = read_quietly(artifact.dump(model, format), format)
    assert estimators.feature_names(loaded) == ["a", "b=ü", "c"]


def test_learning_goes_on_after_a_round_trip() -> None:
    from sklearn.linear_model import SGDClassifier

    here = SGDClassifier(loss="log_loss", random_state=3).partial_fit(X, Y, classes=[0, 1])
    there = read_quietly(artifact.dump(here, "joblib"), "joblib")
    assert_array_equal(there.partial_fit(X, Y).coef_, here.partial_fit(X, Y).coef_)


def logistic() -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression().fit(X, Y)


def joblib_bytes(thing: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    joblib.dump(thing, buffer, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("method", ["zlib", "gzip", "bz2", "lzma", "xz"])
def test_compressed_joblib_is_read(method: str) -> None:
    model = logistic()
    data = joblib_bytes(model, compress=(method, 3))
    assert artifact.sniff(data) == "joblib"
    assert_array_equal(score(artifact.load(data, "joblib"), X), score(model, X))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_usual_pickle_protocol_is_read(protocol: int) -> None:
    model = logistic()
    data = joblib_bytes(model, protocol=protocol)
    assert_array_equal(score(artifact.load(data, "joblib"), X), score(model, X))


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("m.joblib", "joblib"),
        ("/a b/m.pkl", "pickle"),
        ("m.pickle", "pickle"),
        ("m.joblib.gz", "joblib"),
        ("m.skops", "skops"),
    ],
)
def test_format_is_told_by_the_suffix(name: str, format: str) -> None:
    assert artifact.sniff(name) == format


@pytest.mark.parametrize("format", ["joblib", "pickle", "skops"])
def test_format_is_told_by_the_content(format: Any) -> None:
    assert artifact.sniff(artifact.dump(logistic(), format)) == format


@pytest.mark.parametrize("source", ["model.onnx", "model", b"", b"<html>"])
def test_unknown_format_is_refused(source: Any) -> None:
    with pytest.raises(ArtefactRefused, match="no artefact of a known format"):
        artifact.sniff(source)


def test_another_scikit_learn_version_is_reported() -> None:
    with mock.patch("sklearn.base.__version__", "1.2.3"):
        data = artifact.dump(logistic(), "joblib")
    _, messages = artifact.load_with_warnings(data, "joblib")
    assert any("from version 1.2.3" in message for message in messages)
    with pytest.warns(UserWarning, match=r"from version 1\.2\.3"):
        artifact.load(data, "joblib")


def test_unfitted_estimator_is_refused() -> None:
    from sklearn.linear_model import LogisticRegression

    with pytest.raises(ArtefactRefused, match="LogisticRegression is not fitted"):
        artifact.dump(LogisticRegression(), "joblib")


def test_large_artefact_is_refused() -> None:
    with pytest.raises(ArtefactRefused, match=r"bytes.*, more than 67108864"):
        artifact.load(b"\0" * (limits.BYTES.most + 1), "joblib")


@pytest.mark.parametrize("method", ["zlib", "bz2", "xz"])
def test_artefact_that_unpacks_to_more_than_it_may_is_refused(method: str) -> None:
    buffer = io.BytesIO()
    joblib.dump(np.zeros(limits.BYTES.most // 8 + 1), buffer, compress=(method, 1))
    with pytest.raises(ArtefactRefused, match=r"bytes.*, more than 67108864"):
        artifact.load(buffer.getvalue(), "joblib")


def test_digest_is_the_file_s_sha256() -> None:
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert artifact.sha256(b"abc") == expected


def test_library_versions_name_what_decides_the_numbers() -> None:
    assert {"python", "scikit-learn", "numpy"} <= set(artifact.library_versions())
