"""Whether the numbers inside an estimator fit together.

scikit-learn checks what it is given to learn from and to score, not what it was unpickled with.
Compiled code follows a tree's links and indices unchecked; NumPy broadcasts weights of any shape
against every row, and fills the memory. Both are refused here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from rescore.errors import ArtefactRefused
from rescore.plpython import estimators, limits
from rescore.plpython.refusal import refuse, shown

# One row of weights for each class or output.
_WEIGHTS = ("coef_", "theta_", "var_", "sigma_", "feature_log_prob_")
# One number for each.
_PER_CLASS = ("intercept_", "class_prior_", "class_log_prior_", "constant_", "_baseline_prediction")
_SINGLE_TREES = tuple(name for name in estimators.TREES if name.startswith("sklearn.tree."))


def check(thing: Any, features: int) -> None:
    """Refuse an object of the allow-list whose attributes do not fit together.

    Parameters
    ----------
    thing: an estimator or a part of one, all it holds already known to be allowed.
    features: how many columns the artefact takes.
    """
    held = vars(thing)
    _check_counts(thing, held)
    _check_labels(thing, held)
    for name in _WEIGHTS:
        if name in held and estimators.is_one_of(thing, estimators.PREDICTORS):
            _check_numbers(thing, name, held[name], limits.CLASSES.most * features)
    for name in _PER_CLASS:
        if name in held:
            _check_numbers(thing, name, held[name], limits.CLASSES.most)
    if special := _SPECIAL.get(estimators.qualified_name(type(thing))):
        special(thing, features)


def _check_counts(thing: Any, held: dict[str, Any]) -> None:
    for name in ("n_outputs_", "n_trees_per_iteration_"):
        if _whole(held.get(name, 1)) != 1:
            raise more_than_one_score(thing)
    if (classes := held.get("n_classes_")) is not None:
        if _whole(classes) < 1:
            raise refuse(f"{type(thing).__name__} has {shown(classes)} for n_classes_")
        limits.CLASSES.check(_whole(classes))


def more_than_one_score(thing: Any) -> ArtefactRefused:
    """Return the refusal of an estimator of several classes or outputs."""
    return ArtefactRefused(
        f"{type(thing).__name__} has more than one score (multi-class or multi-output)",
        hint="rescore scores one number: train on two classes.",
    )


def _whole(value: Any) -> int:
    """Return a whole number as one, anything else as -1."""
    return int(value) if type(value) is int or isinstance(value, np.integer) else -1


def _check_labels(thing: Any, held: dict[str, Any]) -> None:
    for name, limit in (("classes_", limits.CLASSES), ("feature_names_in_", limits.COLUMNS)):
        values = held.get(name)
        if values is None:
            continue
        if type(values) is not np.ndarray or values.ndim != 1 or values.dtype.kind not in "biufUO":
            raise refuse(f"{type(thing).__name__} has {shown(values)} for {name}")
        limit.check(len(values))
        # As a list: what is no text in an array of text is told by reading it.
        if not all(map(_is_label, values.tolist())):
            raise refuse(f"{type(thing).__name__} has something else than names in {name}")


def _is_label(value: Any) -> bool:
    return type(value) in (str, int, float, bool) or isinstance(value, np.number)


def _check_numbers(thing: Any, name: str, value: Any, most: int) -> None:
    """Check an array of numbers, a number, or (of Dummies) a list of numbers."""
    if type(value) is list:
        value = np.array(value) if all(map(_is_label, value)) else None
    numbers = type(value) is np.ndarray and value.dtype.kind in "biuf" and value.ndim <= 2
    if value is not None and not numbers and not _is_label(value):
        raise refuse(f"{type(thing).__name__} has {shown(value)} for {name}")
    if (size := np.size(value)) > most:
        raise refuse(f"{type(thing).__name__} has {size} values in {name}, more than {most}")


def _check_layers(network: Any, features: int) -> None:
    """Check that each layer of a perceptron takes what the one before gives."""
    weights, biases = vars(network).get("coefs_"), vars(network).get("intercepts_")
    if type(weights) is not list or type(biases) is not list or not weights:
        raise refuse(f"{type(network).__name__} has no layers")
    if not len(weights) == len(biases) == _whole(vars(network).get("n_layers_")) - 1:
        raise refuse(f"{type(network).__name__} has {len(weights)} layers of weights, not as said")
    width = features
    for weight, bias in zip(weights, biases, strict=True):
        if not (_is_matrix(weight, width) and _is_vector(bias, weight.shape[1])):
            raise refuse(f"{type(network).__name__} has a layer that does not fit the one before")
        limits.UNITS.check(width := weight.shape[1])
    limits.CLASSES.check(width)


def _check_clusters(clusters: Any, features: int) -> None:
    """Check the centres: compiled code reads as many columns of each as a row has."""
    centres = vars(clusters).get("cluster_centers_")
    if not _is_float(centres) or centres.ndim != 2 or centres.shape[1] != features:
        raise refuse(f"{type(clusters).__name__} has {shown(centres)} for cluster_centers_")
    if centres.dtype != np.float64 or not centres.flags.c_contiguous or not len(centres):
        raise refuse(f"{type(clusters).__name__} has centres that no training makes")
    limits.UNITS.check(len(centres))


def _is_matrix(array: Any, rows: int) -> bool:
    return _is_float(array) and array.ndim == 2 and len(array) == rows


def _is_vector(array: Any, size: int) -> bool:
    return _is_float(array) and array.shape == (size,)


def _is_float(array: Any) -> bool:
    return type(array) is np.ndarray and array.dtype.kind == "f"


def _check_forest(forest: Any, _: int) -> None:
    """Check that a fitted forest has trees and nothing else."""
    trees = vars(forest).get("estimators_")
    if trees is None:
        return
    if type(trees) is not list or not trees or not all(map(_is_fitted_tree, trees)):
        raise refuse(f"{type(forest).__name__} holds something else than fitted trees")


def _is_fitted_tree(thing: Any) -> bool:
    fitted = estimators.is_one_of(thing, _SINGLE_TREES)
    return fitted and estimators.is_one_of(vars(thing).get("tree_"), (estimators.TREE,))


def _check_stages(boosting: Any, _: int) -> None:
    """Check the trees of gradient boosting: compiled code reads them without asking."""
    trees = vars(boosting).get("estimators_")
    if type(trees) is not np.ndarray or trees.dtype.kind != "O" or trees.ndim != 2:
        raise refuse(f"{type(boosting).__name__} has no trees")
    if trees.shape[1] != 1:
        raise more_than_one_score(boosting)
    if not trees.size or not all(map(_is_fitted_tree, trees.flat)):
        raise refuse(f"{type(boosting).__name__} holds something else than fitted trees")


def _check_single_tree(tree: Any, _: int) -> None:
    if "tree_" in vars(tree) and not _is_fitted_tree(tree):
        raise refuse(f"{type(tree).__name__} holds something else than a tree")


def _check_iterations(boosting: Any, _: int) -> None:
    """Check that each round of histogram boosting has one tree."""
    rounds = vars(boosting).get("_predictors")
    if type(rounds) is not list or not rounds or any(type(trees) is not list for trees in rounds):
        raise refuse(f"{type(boosting).__name__} has no trees")
    if any(len(trees) != 1 for trees in rounds):
        raise more_than_one_score(boosting)
    if not all(estimators.is_one_of(trees[0], (estimators.TREE_PREDICTOR,)) for trees in rounds):
        raise refuse(f"{type(boosting).__name__} holds something else than trees")


def _check_bins(mapper: Any, _: int) -> None:
    if np.any(vars(mapper).get("is_categorical_")):
        raise ArtefactRefused(
            "artefact treats columns as categories by itself (categorical_features)",
            hint="Declare the category as a one-hot feature of the profile instead.",
        )


def check_tree(tree: Any, features: int) -> None:
    """Refuse a decision tree whose links lead out of its arrays, or round in circles."""
    if not 1 <= tree.node_count <= tree.capacity or tree.n_outputs != 1:
        raise refuse("artefact holds a decision tree with nodes missing or several outputs")
    inner = tree.children_left != -1
    children = np.stack([tree.children_left[inner], tree.children_right[inner]])
    _check_links(children, np.flatnonzero(inner), tree.feature[inner], tree.node_count, features)


def _check_tree_predictor(predictor: Any, features: int) -> None:
    from sklearn.ensemble._hist_gradient_boosting.common import PREDICTOR_RECORD_DTYPE

    nodes = vars(predictor).get("nodes")
    if type(nodes) is not np.ndarray or nodes.ndim != 1 or nodes.dtype != PREDICTOR_RECORD_DTYPE:
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


def _special() -> dict[str, Callable[[Any, int], None]]:
    found: dict[str, Callable[[Any, int], None]] = dict.fromkeys(_SINGLE_TREES, _check_single_tree)
    for name in (*estimators.TREES, *estimators.OTHERS, *estimators.PARTS):
        last = name.rpartition(".")[2]
        if last.startswith(("RandomForest", "ExtraTrees")):
            found[name] = _check_forest
        elif last.startswith("GradientBoosting"):
            found[name] = _check_stages
        elif last.startswith("HistGradientBoosting"):
            found[name] = _check_iterations
        elif last.startswith("MLP"):
            found[name] = _check_layers
        elif last == "MiniBatchKMeans":
            found[name] = _check_clusters
        elif last == "_BinMapper":
            found[name] = _check_bins
    return found | {estimators.TREE_PREDICTOR: _check_tree_predictor}


_SPECIAL = _special()
