"""Estimators of the allow-list with something in them that does not belong there."""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.cluster import MiniBatchKMeans
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.naive_bayes import BernoulliNB, GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from rescore.tests.security.corpus import Hostile, X, Y, logistic, pickled

Edit = Callable[[Any], None]


@cache
def _fitted(name: str) -> Any:
    made = {
        "forest": RandomForestClassifier(n_estimators=2, random_state=np.random.RandomState(1)),
        "stages": GradientBoostingClassifier(n_estimators=2),
        "histogram": HistGradientBoostingClassifier(max_iter=2, min_samples_leaf=5),
        "tree": DecisionTreeClassifier(),
        "bayes": GaussianNB(),
        "bernoulli": BernoulliNB(),
        "layers": MLPClassifier(hidden_layer_sizes=(4,), max_iter=2),
        "pipeline": make_pipeline(StandardScaler(), logistic()),
        "dummy": DummyClassifier(),
        "clusters": MiniBatchKMeans(3, n_init=1, random_state=0),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # two iterations do not converge
        return made[name].fit(X, Y)


def fitted(name: str) -> Any:
    """Return a model of one's own to spoil."""
    return logistic() if name == "logistic" else copy.deepcopy(_fitted(name))


def _set(name: str, value: Any) -> Edit:
    return lambda model: model.__dict__.update({name: value})


def _nodes(field: str, value: Any) -> Edit:
    def edit(model: Any) -> None:
        tree = model.tree_
        state = tree.__getstate__()
        state["nodes"][field][0] = value
        tree.__setstate__(state)

    return edit


def _contains_itself(model: Any) -> None:
    model.class_weight = {"a": [model]}


def _cyclic(model: Any) -> None:
    model.steps[0] = ("again", model)


def _nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def _first_stage(model: Any) -> None:
    model.estimators_[0, 0].tree_ = None


def _histogram_node(field: str, value: Any) -> Edit:
    def edit(model: Any) -> None:
        model._predictors[0][0].nodes[field][0] = value

    return edit


SPOILT: dict[str, tuple[str, Edit]] = {
    "function inside": ("logistic", _set("class_weight", os.path.basename)),
    "class inside": ("logistic", _set("class_weight", StandardScaler)),
    "ufunc inside": ("logistic", _set("solver_", np.log1p)),
    "method replaced": ("logistic", _set("decision_function", 1)),
    "constant replaced": ("logistic", _set("_parameter_constraints", {})),
    "property replaced": ("pipeline", _set("n_features_in_", 3)),
    "stray attribute": ("logistic", _set("comment", "hello")),
    "attribute of no name": ("logistic", _set("a b_", 1)),
    "contains itself": ("logistic", _contains_itself),
    "pipeline in itself": ("pipeline", _cyclic),
    "bytes inside": ("logistic", _set("note_", b"cos\nsystem\n.")),
    "bytes in an array": ("logistic", _set("note_", np.array([b"cos\nsystem\n."]))),
    "raw records": ("logistic", _set("note_", np.zeros(2, dtype="V8"))),
    "objects in records": ("logistic", _set("note_", np.zeros(1, dtype=[("a", "O")]))),
    "dates": ("logistic", _set("note_", np.zeros(1, dtype="M8[s]"))),
    "set inside": ("logistic", _set("note_", {1})),
    "complex inside": ("logistic", _set("note_", np.array([1j]))),
    "memory-mapped": ("logistic", _set("coef_", np.memmap("/proc/self/exe", "uint8", "r", 0, 4))),
    "masked": ("logistic", _set("coef_", np.ma.masked_array([1.0], [True]))),
    "nested deep": ("logistic", _set("note_", _nested(200))),
    "large number": ("logistic", _set("note_", 2**100_000)),
    "another estimator inside": ("logistic", _set("note_", StandardScaler())),
    "no features": ("logistic", _set("n_features_in_", 0)),
    "features in words": ("logistic", _set("n_features_in_", "3")),
    "fewer features": ("forest", _set("n_features_in_", 1)),
    "names that are none": ("logistic", _set("feature_names_in_", np.array([[1], [2]], dtype="O"))),
    "names that are lists": ("logistic", _set("feature_names_in_", [["a"], "b", "c"])),
    "classes that are lists": ("logistic", _set("classes_", [0, 1])),
    "many outputs": ("forest", _set("n_outputs_", 2)),
    "many trees a round": ("histogram", _set("n_trees_per_iteration_", 3)),
    "classes in words": ("forest", _set("n_classes_", "2")),
    "cache on disk": ("pipeline", _set("memory", "/tmp")),
    "steps that are none": ("pipeline", _set("steps", [("a", "b", "c")])),
    "no steps": ("pipeline", _set("steps", [])),
    "model before the last": ("pipeline", lambda m: m.steps.insert(0, ("a", logistic()))),
    "function as a step": (
        "pipeline",
        lambda m: m.steps.insert(0, ("a", FunctionTransformer(os.path.basename))),
    ),
    "pipeline as the last step": (
        "pipeline",
        lambda m: m.steps.append(("a", make_pipeline(logistic()))),
    ),
    "forest in a forest": ("forest", lambda m: m.estimators_.append(fitted("forest"))),
    "logistic in a forest": ("forest", lambda m: m.estimators_.append(logistic())),
    "forest of nothing": ("forest", _set("estimators_", [])),
    "forest in a tuple": ("forest", lambda m: m.__dict__.update(estimators_=tuple(m.estimators_))),
    "stage without a tree": ("stages", _first_stage),
    "stage of a forest": ("stages", lambda m: m.estimators_.fill(fitted("forest"))),
    "stages of several classes": (
        "stages",
        lambda m: m.__dict__.update(estimators_=m.estimators_.T),
    ),
    "stages in a list": ("stages", lambda m: m.__dict__.update(estimators_=list(m.estimators_))),
    "first stage of a forest": ("stages", _set("init_", fitted("forest"))),
    "link to nowhere": ("tree", _nodes("left_child", 10**6)),
    "link to itself": ("tree", _nodes("right_child", 0)),
    "link before the start": ("tree", _nodes("left_child", -7)),
    "split by no feature": ("tree", _nodes("feature", 3)),
    "split by a feature before the first": ("tree", _nodes("feature", -3)),
    "tree without a tree": ("tree", _set("tree_", None)),
    "histogram link to nowhere": ("histogram", _histogram_node("right", 10**6)),
    "histogram link to itself": ("histogram", _histogram_node("left", 0)),
    "histogram split by no feature": ("histogram", _histogram_node("feature_idx", 3)),
    "histogram split by a category": ("histogram", _histogram_node("is_categorical", 1)),
    "histogram of nothing": ("histogram", _set("_predictors", [])),
    "nodes of numbers": (
        "histogram",
        lambda m: setattr(m._predictors[0][0], "nodes", np.zeros(3)),
    ),
    "categories of its own": (
        "histogram",
        lambda m: m._bin_mapper.__dict__.update(is_categorical_=np.ones(3, dtype=np.uint8)),
    ),
    "layers that do not fit": ("layers", lambda m: m.coefs_.reverse()),
    "layer missing": ("layers", _set("n_layers_", 9)),
    "weights that are words": ("logistic", _set("coef_", np.array(["a", "b", "c"]))),
    "weights that are a tree": ("logistic", _set("coef_", fitted("tree").tree_)),
    "centres of fewer columns": ("clusters", _set("cluster_centers_", np.zeros((3, 2)))),
    "centres of more columns": ("clusters", _set("cluster_centers_", np.zeros((3, 4)))),
    "centres in a row": ("clusters", _set("cluster_centers_", np.zeros(3))),
    "centres in a list": ("clusters", _set("cluster_centers_", [[0.0, 0.0, 0.0]])),
    "centres of whole numbers": ("clusters", _set("cluster_centers_", np.zeros((3, 3), dtype=int))),
    "centres of less precision": (
        "clusters",
        _set("cluster_centers_", np.zeros((3, 3), dtype=np.float32)),
    ),
    "centres by column": ("clusters", _set("cluster_centers_", np.zeros((3, 3), order="F"))),
    "no centres": ("clusters", _set("cluster_centers_", np.zeros((0, 3)))),
    "centres missing": ("clusters", lambda m: m.__dict__.pop("cluster_centers_")),
    "dummy alone": ("dummy", lambda model: None),
}


def models(canary: Path) -> Iterator[Hostile]:
    """Spoilt models, as joblib and pickle write them."""
    for name, (kind, edit) in SPOILT.items():
        model = fitted(kind)
        edit(model)
        for format in ("pickle", "joblib"):
            yield Hostile(f"model: {name}", format, pickled(model, format))
    for name, stranger in {
        "SVC": SVC().fit(X, Y),
        "FunctionTransformer": FunctionTransformer(os.path.basename),
        "scaler alone": StandardScaler().fit(X),
        "Pipeline of strangers": Pipeline([("a", FunctionTransformer()), ("b", logistic())]),
        "not fitted": RandomForestClassifier(),
        "no estimator": [1, 2, 3],
        "nothing": None,
    }.items():
        yield Hostile(f"stranger: {name}", "pickle", pickled(stranger))
