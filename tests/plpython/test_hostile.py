"""What is said of artefacts that are refused; tests/security has the whole corpus."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import skops.io
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from rescore.errors import ArtefactRefused
from rescore.plpython import artifact, limits

RNG = np.random.default_rng(7)
X = RNG.normal(size=(60, 3))
Y = (X[:, 0] > 0).astype(int)


class Reduced:
    """An object that pickles as a call."""

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        self.call = (function, args)

    def __reduce__(self) -> Any:
        return self.call


def logistic() -> Any:
    return LogisticRegression().fit(X, Y)


def model_holding(thing: Any, attribute: str = "note_") -> Any:
    model = logistic()
    setattr(model, attribute, thing)
    return model


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    return tmp_path / "canary"


def touch(canary: Path) -> str:
    return f"touch '{canary}'"


def dumped(thing: Any, format: artifact.Format) -> bytes:
    if format == "pickle":
        return pickle.dumps(thing)
    buffer = io.BytesIO()
    joblib.dump(thing, buffer)
    return buffer.getvalue()


def test_refusal_names_the_class(canary: Path) -> None:
    data = pickle.dumps(Reduced(os.system, touch(canary)))
    with pytest.raises(ArtefactRefused, match=r"names posix\.system, which is not"):
        artifact.load(data, "pickle")


@pytest.mark.parametrize("format", ["joblib", "pickle"])
@pytest.mark.parametrize(
    "attribute", ["predict", "predict_proba", "__class__", "__setstate__", "__dict__"]
)
def test_replaced_method_is_refused(attribute: str, format: artifact.Format) -> None:
    model = logistic()
    vars(model)[attribute] = 1
    with pytest.raises(ArtefactRefused, match=f"replaces '{attribute}'"):
        artifact.load(dumped(model, format), format)


def identity(values: Any) -> Any:
    return values


@pytest.mark.parametrize("format", ["joblib", "pickle", "skops"])
@pytest.mark.parametrize(
    "model",
    [
        make_pipeline(FunctionTransformer(np.log1p), LogisticRegression()),
        make_pipeline(FunctionTransformer(os.path.basename), LogisticRegression()),
        make_pipeline(FunctionTransformer(), LogisticRegression()),
        SVC(),
    ],
    ids=["ufunc", "function", "empty", "SVC"],
)
def test_stranger_of_scikit_learn_is_refused(model: Any, format: artifact.Format) -> None:
    model.fit(np.abs(X), Y) if isinstance(model, SVC) else model[-1].fit(X, Y)
    data = skops.io.dumps(model) if format == "skops" else dumped(model, format)
    stranger = "SVC" if isinstance(model, SVC) else "FunctionTransformer|numpy.log1p|basename"
    with pytest.raises(ArtefactRefused, match=stranger):
        artifact.load(data, format)


@pytest.mark.parametrize("format", ["joblib", "pickle", "skops"])
def test_stranger_is_refused_on_dumping_too(format: artifact.Format) -> None:
    model = make_pipeline(FunctionTransformer(identity), LogisticRegression()).fit(X, Y)
    with pytest.raises(ArtefactRefused, match="FunctionTransformer"):
        artifact.dump(model, format)


def test_callable_attribute_is_refused() -> None:
    with pytest.raises(ArtefactRefused, match=r"function at .*\.note_"):
        artifact.dump(model_holding(identity), "joblib")


@pytest.mark.parametrize("format", ["joblib", "pickle"])
def test_class_as_a_value_is_refused(format: artifact.Format) -> None:
    with pytest.raises(ArtefactRefused, match="type at"):
        artifact.load(dumped(model_holding(StandardScaler), format), format)


@pytest.mark.parametrize("format", ["joblib", "pickle"])
def test_object_that_contains_itself_is_refused(format: artifact.Format) -> None:
    model = logistic()
    model.note_ = [model]
    with pytest.raises(ArtefactRefused, match="contains itself"):
        artifact.load(dumped(model, format), format)


def test_pipeline_that_caches_to_disk_is_refused(tmp_path: Path) -> None:
    model = make_pipeline(StandardScaler(), LogisticRegression(), memory=str(tmp_path)).fit(X, Y)
    with pytest.raises(ArtefactRefused, match="caches to disk"):
        artifact.load(dumped(model, "joblib"), "joblib")


def test_array_larger_than_the_file_is_refused_before_it_is_made() -> None:
    data = dumped(logistic(), "joblib")
    small, huge = b"K\x01K\x03\x86", b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86"
    assert small in data
    with pytest.raises(ArtefactRefused):
        artifact.load(data.replace(small, huge, 1), "joblib")


@pytest.mark.parametrize("format", ["joblib", "pickle", "skops"])
def test_truncated_file_is_refused_wherever_it_ends(format: artifact.Format) -> None:
    data = artifact.dump(make_pipeline(StandardScaler(), logistic()).fit(X, Y), format)
    for length in [0, 1, 2, *range(3, len(data), len(data) // 60), len(data) - 1]:
        with pytest.raises(ArtefactRefused):
            artifact.load(data[:length], format)


def test_bytes_left_over_are_refused() -> None:
    with pytest.raises(ArtefactRefused, match="left over"):
        artifact.load(artifact.dump(logistic(), "joblib") + b"\0", "joblib")


@pytest.mark.parametrize(("child", "target"), [("left_child", 0), ("right_child", 10**6)])
@pytest.mark.parametrize("cls", [DecisionTreeClassifier, RandomForestClassifier])
def test_tree_whose_links_lead_astray_is_refused(cls: Any, child: str, target: int) -> None:
    model = cls().fit(X, Y)
    tree = model.tree_ if cls is DecisionTreeClassifier else model.estimators_[0].tree_
    state = tree.__getstate__()
    state["nodes"][child][0] = target
    tree.__setstate__(state)
    with pytest.raises(ArtefactRefused, match="lead nowhere"):
        artifact.load(dumped(model, "joblib"), "joblib")


@pytest.mark.parametrize(("field", "value"), [("left", 0), ("right", 10**6), ("feature_idx", 3)])
def test_boosting_tree_whose_links_lead_astray_is_refused(field: str, value: int) -> None:
    model = HistGradientBoostingClassifier(max_iter=2, min_samples_leaf=5).fit(X, Y)
    model._predictors[0][0].nodes[field][0] = value
    for format in ("joblib", "skops"):
        data = skops.io.dumps(model) if format == "skops" else dumped(model, "joblib")
        with pytest.raises(ArtefactRefused, match="lead nowhere"):
            artifact.load(data, format)


def edited_schema(data: bytes, edit: Callable[[dict[str, Any]], None]) -> bytes:
    source, target = zipfile.ZipFile(io.BytesIO(data)), io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for entry in source.namelist():
            content = source.read(entry)
            if entry == "schema.json":
                schema = json.loads(content)
                edit(schema)
                content = json.dumps(schema).encode()
            archive.writestr(entry, content)
    return target.getvalue()


FOREIGN_NODES = {
    "function": {"__class__": "system", "__module__": "posix", "__loader__": "FunctionNode"},
    "type": {"__class__": "Popen", "__module__": "subprocess", "__loader__": "TypeNode"},
    "object": {
        "__class__": "SVC",
        "__module__": "sklearn.svm._classes",
        "__loader__": "ObjectNode",
    },
    "trusted name, other loader": {
        "__class__": "LogisticRegression",
        "__module__": "sklearn.linear_model._logistic",
        "__loader__": "FunctionNode",
    },
    "no loader": {"__class__": "system", "__module__": "os"},
}


@pytest.mark.parametrize("node", FOREIGN_NODES)
def test_foreign_node_of_a_skops_file_is_refused(node: str) -> None:
    def edit(schema: dict[str, Any]) -> None:
        schema["content"]["content"]["C"] = FOREIGN_NODES[node]

    named = "__loader__" if node == "no loader" else str(FOREIGN_NODES[node]["__class__"])
    with pytest.raises(ArtefactRefused, match=named):
        artifact.load(edited_schema(skops.io.dumps(logistic()), edit), "skops")


def test_skops_tree_of_impossible_size_is_refused() -> None:
    def edit(schema: dict[str, Any]) -> None:
        tree = schema["content"]["content"]["tree_"]
        tree["__reduce__"]["args"]["content"][2]["content"] = "100000000"

    data = skops.io.dumps(DecisionTreeClassifier().fit(X, Y))
    with pytest.raises(ArtefactRefused, match="impossible"):
        artifact.load(edited_schema(data, edit), "skops")


def test_skops_zip_that_unpacks_to_more_than_it_may_is_refused() -> None:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("schema.json", b" " * (limits.BYTES.most + 1))
    with pytest.raises(ArtefactRefused, match="when decompressed"):
        artifact.load(target.getvalue(), "skops")
