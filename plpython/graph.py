"""The check of a loaded estimator: every object in it, whatever format it came from.

The loaders refuse foreign names; this refuses foreign shapes: a Pipeline of unexpected steps,
an object that contains itself, trees whose links lead out of their arrays (scikit-learn follows
them unchecked, in C).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rescore.errors import ArtefactRefused
from rescore.plpython import estimators
from rescore.plpython.numpy_parts import refuse

_PLAIN = (type(None), bool, int, float, str)
_DEEPEST = 50


def check(estimator: Any) -> None:
    """Refuse an estimator that is not a fitted, allow-listed predictor through and through.

    Raises
    ------
    ArtefactRefused
        Naming the class, step or attribute at fault.
    """
    _check_structure(estimator)
    _check_fitted(estimator)
    _Walk(estimators.feature_count(estimator)).visit(
        estimator, estimators.qualified_name(type(estimator))
    )


def _check_structure(estimator: Any) -> None:
    if estimators.is_one_of(estimator, (estimators.PIPELINE,)):
        _check_pipeline(estimator)
    final = estimators.final_step(estimator)
    if not estimators.is_one_of(final, estimators.PREDICTORS):
        raise _not_allowed(final)
    _check_meaning(final)


def _check_meaning(final: Any) -> None:
    # Newer versions load this without a word and compute another probability.
    known = type(final)._get_param_names()
    if vars(final).get("multi_class") == "multinomial" and "multi_class" not in known:
        raise ArtefactRefused(
            "artefact is a LogisticRegression with multi_class='multinomial'",
            detail="The installed scikit-learn has no such option and would score it differently.",
            hint="Fit it again without multi_class.",
        )


def _check_pipeline(pipeline: Any) -> None:
    steps = vars(pipeline).get("steps")
    if type(steps) is not list or not steps or not all(_is_step(step) for step in steps):
        raise refuse("artefact holds a Pipeline whose steps are no list of (name, step)")
    if vars(pipeline).get("memory") is not None:
        raise refuse("artefact holds a Pipeline that caches to disk (memory is set)")
    for scaler in estimators.scaler_steps(pipeline):
        if not estimators.is_one_of(scaler, estimators.SCALERS):
            raise _not_allowed(scaler)


def _is_step(step: Any) -> bool:
    return type(step) is tuple and len(step) == 2 and type(step[0]) is str


def _not_allowed(step: Any) -> ArtefactRefused:
    name = estimators.qualified_name(type(step))
    allowed = sorted(item.rpartition(".")[2] for item in estimators.PREDICTORS)
    return ArtefactRefused(
        f"artefact holds {name}, which is not on the allow-list here",
        detail=f"Scalers may come first, then one of: {', '.join(allowed)}.",
        hint="Publish the predictor alone or behind scalers in one Pipeline.",
    )


def _check_fitted(estimator: Any) -> None:
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    try:
        for step in (*estimators.scaler_steps(estimator), estimators.final_step(estimator)):
            check_is_fitted(step)
        features = estimators.feature_count(estimator)
    except (NotFittedError, AttributeError) as error:
        name = type(estimator).__name__
        raise ArtefactRefused(
            f"{name} is not fitted", hint="Call fit (or partial_fit) before publishing."
        ) from error
    if features < 1:
        raise refuse(f"artefact says it takes {features} features")


class _Walk:
    """Visits every object once."""

    def __init__(self, features: int) -> None:
        self.features = features
        self.seen: set[int] = set()
        self.open: set[int] = set()

    def visit(self, thing: Any, place: str) -> None:
        if type(thing) in _PLAIN or isinstance(thing, np.generic):
            return
        if id(thing) in self.open or len(self.open) > _DEEPEST:
            raise refuse(f"artefact contains itself, or is nested too deep, at {place:.200}")
        if id(thing) in self.seen:
            return
        self.open.add(id(thing))
        self._visit_inside(thing, place)
        self.open.remove(id(thing))
        self.seen.add(id(thing))

    def _visit_inside(self, thing: Any, place: str) -> None:
        if type(thing) in (list, tuple):
            for number, item in enumerate(thing):
                self.visit(item, f"{place}[{number}]")
        elif type(thing) is dict:
            self._visit_dict(thing, place)
        elif type(thing) is np.ndarray:
            self._visit_array(thing, place)
        elif estimators.is_one_of(thing, estimators.OBJECTS):
            self._visit_object(thing, place)
        else:
            self._visit_leaf(thing, place)

    def _visit_dict(self, thing: dict[Any, Any], place: str) -> None:
        for key, value in thing.items():
            if type(key) not in _PLAIN and not isinstance(key, np.generic):
                raise refuse(f"artefact holds a dictionary with a key that is no value at {place}")
            self.visit(value, f"{place}[{key!r:.40}]")

    def _visit_array(self, array: np.ndarray[Any, Any], place: str) -> None:
        if array.dtype.kind == "O":
            for item in array.flat:
                self.visit(item, f"{place}[]")
        elif array.dtype.kind not in "biufUV" or array.dtype.hasobject:
            raise refuse(f"artefact holds an array of type {array.dtype} at {place}")

    def _visit_object(self, thing: Any, place: str) -> None:
        for name, value in vars(thing).items():
            if callable(getattr(type(thing), name, None)):
                raise refuse(f"artefact replaces the method {name!r} at {place}")
            self.visit(value, f"{place}.{name}")
        _check_compiled_inputs(thing, self.features)

    def _visit_leaf(self, thing: Any, place: str) -> None:
        if estimators.is_one_of(thing, (estimators.TREE,)):
            _check_tree(thing, self.features)
        elif type(thing) is np.random.RandomState:
            _check_random(thing)
        elif type(thing) is not np.random.Generator and not estimators.is_one_of(
            thing, estimators.LOSSES
        ):
            name = estimators.qualified_name(type(thing))
            raise refuse(f"artefact holds {name} at {place}, which is not on the allow-list")


def _check_random(state: np.random.RandomState) -> None:
    position = state.get_state(legacy=False)["state"]["pos"]
    if not 0 <= position <= 624:
        raise refuse(f"artefact holds a random state at position {position}")


def _check_compiled_inputs(thing: Any, features: int) -> None:
    """Check what scikit-learn hands to compiled code without looking."""
    name = type(thing).__name__
    if name == "TreePredictor":
        _check_tree_predictor(thing, features)
    elif name == "_BinMapper" and np.any(thing.is_categorical_):
        raise ArtefactRefused(
            "artefact treats columns as categories by itself (categorical_features)",
            hint="Declare the category as a one-hot feature of the profile instead.",
        )
    elif name.startswith("GradientBoosting") and np.shape(thing.estimators_)[1:] != (1,):
        raise ArtefactRefused(
            f"{name} has more than one score (multi-class or multi-output)",
            hint="rescore scores one number: train on two classes.",
        )


def _check_tree(tree: Any, features: int) -> None:
    if tree.node_count > tree.capacity or tree.n_outputs != 1:
        raise refuse("artefact holds a decision tree with nodes missing or several outputs")
    inner = tree.children_left != -1
    children = np.stack([tree.children_left[inner], tree.children_right[inner]])
    _check_links(children, np.flatnonzero(inner), tree.feature[inner], tree.node_count, features)


def _check_tree_predictor(predictor: Any, features: int) -> None:
    nodes = predictor.nodes
    if type(nodes) is not np.ndarray or nodes.ndim != 1 or nodes.dtype.names is None:
        raise refuse("artefact holds a boosting tree without nodes")
    inner = nodes["is_leaf"] == 0
    if np.any(nodes["is_categorical"][inner]):
        raise refuse("artefact holds a boosting tree that splits by categories")
    children = np.stack([nodes["left"][inner], nodes["right"][inner]]).astype(np.int64)
    split_by = nodes["feature_idx"][inner]
    _check_links(children, np.flatnonzero(inner), split_by, len(nodes), features)


def _check_links(children: Any, parents: Any, split_by: Any, nodes: int, features: int) -> None:
    forward = np.all(children > parents) and np.all(children < nodes)
    known = np.all(split_by >= 0) and np.all(split_by < features)
    if nodes < 1 or not forward or not known:
        raise refuse("artefact holds a decision tree whose links lead nowhere")
