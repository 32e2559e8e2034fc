"""Artefacts made to do harm: refused, and nothing in them ran."""

from __future__ import annotations

import builtins
import functools
import io
import json
import os
import pickle
import random
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
from sklearn.pipeline import Pipeline, make_pipeline
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

    def __call__(self) -> None:
        """Be callable: pickle insists on it where the result is to be called."""


class WithState(Reduced):
    """An object that pickles as a call, and a state given to what it returned."""

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...], state: Any) -> None:
        self.call = (function, args, state)  # type: ignore[assignment]


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


def write(canary: Path) -> str:
    return f"open({str(canary)!r}, 'w')"


CALLS: dict[str, Callable[[Path], Any]] = {
    "os.system": lambda c: Reduced(os.system, touch(c)),
    "eval": lambda c: Reduced(builtins.eval, write(c)),
    "exec": lambda c: Reduced(builtins.exec, write(c)),
    "open": lambda c: Reduced(builtins.open, str(c), "w"),
    "import": lambda c: Reduced(__import__, "antigravity"),
    "partial": lambda c: Reduced(functools.partial(os.system, touch(c))),
    "pickled partial": lambda c: functools.partial(os.system, touch(c)),
    "getattr chain": lambda c: Reduced(
        Reduced(getattr, Reduced(__import__, "os"), "system"), touch(c)
    ),
    "bound method": lambda c: Reduced(Path(c).touch),
    "nested pickle": lambda c: Reduced(pickle.loads, pickle.dumps(Reduced(os.system, touch(c)))),
    "joblib.load": lambda c: Reduced(joblib.load, str(c)),
    "numpy.load": lambda c: Reduced(np.load, str(c)),
    "memmap": lambda c: Reduced(np.memmap, str(c), "uint8", "w+", 0, (1,)),
    "fromfunction": lambda c: Reduced(np.fromfunction, os.system, (1,)),
    "class with arguments": lambda c: Reduced(LogisticRegression, "l2"),
    "type": lambda c: Reduced(type, "Sneaky", (), {}),
    "object array": lambda c: np.array([Reduced(os.system, touch(c)), None], dtype=object),
    "state of a class": lambda c: WithState(
        getattr, (Reduced(__import__, "os"), "system"), {"a": 1}
    ),
}


@pytest.mark.parametrize("format", ["joblib", "pickle"])
@pytest.mark.parametrize("place", ["alone", "attribute", "parameter", "step"])
@pytest.mark.parametrize("call", CALLS)
def test_call_is_refused_and_does_not_happen(
    call: str, place: str, format: artifact.Format, canary: Path
) -> None:
    with pytest.raises(ArtefactRefused) as refused:
        artifact.load(dumped(placed(CALLS[call](canary), place), format), format)
    assert not canary.exists()
    assert refused.value.hint


def placed(thing: Any, place: str) -> Any:
    if place == "alone":
        return thing
    if place == "step":
        return Pipeline([("first", thing), ("last", logistic())])
    return model_holding(thing, "note_" if place == "attribute" else "C")


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


def test_canary_would_be_seen(canary: Path) -> None:
    pickle.loads(pickle.dumps(Reduced(os.system, touch(canary))))
    assert canary.exists()


@pytest.mark.parametrize(
    "opcodes",
    [
        b"cos\nsystem\n(S'touch /tmp/never'\ntR.",
        b"(S'touch /tmp/never'\nios\nsystem\n.",
        b"(cos\nsystem\nS'touch /tmp/never'\no.",
        b"Pid\n.",
        b"\x80\x02\x82\x01.",
        b"\x80\x04\x8c\x08builtins\x8c\x0ceval.__call__\x93\x8c\x011\x85R.",
        b"\x80\x04\x8c\x05numpy\x8c\x0elib.npyio.load\x93.",
        b"\x80\x05\x97.",
        b"csklearn.linear_model._logistic\nLogisticRegression\n.",
        b"csklearn.linear_model._logistic\nLogisticRegression\n}S'fit'\nI1\nsb.",
        b"cjoblib.numpy_pickle\nNumpyArrayWrapper\n(N}S'read'\nI1\nstb.",
        b"cnumpy\ndtype\n}S'a'\nI1\nsb.",
    ],
)
def test_handwritten_opcodes_are_refused(opcodes: bytes) -> None:
    with pytest.raises(ArtefactRefused):
        artifact.load(opcodes, "pickle")


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


@pytest.mark.parametrize("format", ["joblib", "pickle", "skops"])
@pytest.mark.parametrize("cls", [LogisticRegression, DecisionTreeClassifier])
def test_flipped_bits_are_refused_or_harmless(cls: Any, format: artifact.Format) -> None:
    data = artifact.dump(cls().fit(X, Y), format)
    rng = random.Random(11)
    outcomes = {"refused": 0, "loaded": 0}
    for _ in range(250):
        damaged = bytearray(data)
        damaged[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        try:
            loaded, _ = artifact.load_with_warnings(bytes(damaged), format)
        except ArtefactRefused:
            outcomes["refused"] += 1
        else:
            outcomes["loaded"] += 1
            assert type(loaded) is cls
    assert outcomes["refused"] > 20


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
