"""The check of a loaded estimator: every object in it, whatever format it came from.

The loaders refuse foreign names; this refuses foreign structures: a Pipeline of unexpected steps,
estimators inside others that never hold any, an object that contains itself, or one that is small
only because it holds the same thing many times over.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rescore.errors import ArtefactRefused
from rescore.plpython import attributes, estimators, limits, shapes
from rescore.plpython.numpy_parts import is_number_type
from rescore.plpython.refusal import refuse, shown

_WIDEST = 2**64
_STEPS = frozenset((*estimators.PREDICTORS, *estimators.SCALERS))
_MEMBERS = frozenset(
    (*estimators.TREES, "sklearn.dummy.DummyClassifier", "sklearn.dummy.DummyRegressor")
)
_ESTIMATORS = _STEPS | _MEMBERS | {estimators.PIPELINE}
_ENSEMBLES = tuple(name for name in estimators.TREES if name.startswith("sklearn.ensemble."))


def check(estimator: Any) -> None:
    """Refuse an estimator that is not a fitted, allow-listed predictor through and through.

    Raises
    ------
    ArtefactRefused
        Naming the class, step, attribute or limit at fault.
    """
    _check_structure(estimator)
    features = _features(estimators.final_step(estimator))
    # Before anything of scikit-learn touches what is inside.
    _Walk(features).visit(estimator, type(estimator).__name__)
    _check_fitted(estimator)


def _features(final: Any) -> int:
    """Return how many columns a predictor takes; it is not fitted when it does not say."""
    features = vars(final).get("n_features_in_")
    if features is None:
        raise _not_fitted(final)
    if not (type(features) is int or isinstance(features, np.integer)) or features < 1:
        raise refuse(f"artefact says it takes {shown(features)} features")
    limits.COLUMNS.check(int(features))
    return int(features)


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
    limits.PIPELINE.check(len(steps))
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

    for step in (*estimators.scaler_steps(estimator), estimators.final_step(estimator)):
        try:
            check_is_fitted(step)
        except (NotFittedError, AttributeError) as error:
            raise _not_fitted(step) from error


def _not_fitted(step: Any) -> ArtefactRefused:
    return ArtefactRefused(
        f"{type(step).__name__} is not fitted",
        hint="Call fit (or partial_fit) before publishing.",
    )


class _Walk:
    """Visits every object once, and adds up what it would be written out.

    An object met again is not visited again, but counts again: whatever prints, compares or
    scores the whole meets it as often.
    """

    def __init__(self, features: int) -> None:
        self.features = features
        self.elements = 0
        self.arrays = 0
        self.sizes: dict[int, tuple[int, int]] = {}
        self.open: set[int] = set()
        self.holders: list[Any] = []
        self.path: list[str | int] = []

    def visit(self, thing: Any, step: str | int) -> None:
        """Check a value and all it holds; `step` leads to it from what was visited before."""
        if not self._is_plain(thing):
            self.path.append(step)
            self._visit(thing)
            self.path.pop()

    def _place(self) -> str:
        """Say where in the artefact the walk is."""
        steps = (f"[{step}]" if type(step) is int else str(step) for step in self.path)
        return f"{''.join(steps):.300}"

    def _visit(self, thing: Any) -> None:
        if id(thing) in self.open:
            raise refuse(f"artefact contains itself at {self._place()}")
        limits.DEPTH.check(len(self.open))
        if id(thing) in self.sizes:
            self._add(*self.sizes[id(thing)])
            return
        elements, arrays = self.elements, self.arrays
        self.open.add(id(thing))
        self._add(1)
        self._visit_inside(thing)
        self.open.remove(id(thing))
        self.sizes[id(thing)] = self.elements - elements, self.arrays - arrays

    def _add(self, elements: int, arrays: int = 0) -> None:
        self.elements += elements
        self.arrays += arrays
        limits.ELEMENTS.check(self.elements)
        limits.ARRAYS.check(self.arrays)

    def _is_plain(self, thing: Any) -> bool:
        if type(thing) is str:
            self._add(1 + len(thing) // 8)
        elif type(thing) is int:
            if abs(thing) > _WIDEST:
                raise refuse(f"artefact holds a number of {thing.bit_length()} bits")
            self._add(1)
        elif thing is None or type(thing) in (bool, float) or _is_numpy_value(thing):
            self._add(1)
        else:
            return False
        return True

    def _visit_inside(self, thing: Any) -> None:
        if type(thing) in (list, tuple):
            for number, item in enumerate(thing):
                self.visit(item, number)
        elif type(thing) is dict:
            self._visit_dict(thing)
        elif type(thing) is np.ndarray:
            self._visit_array(thing)
        elif estimators.is_one_of(thing, estimators.OBJECTS):
            self._visit_object(thing)
        else:
            self._visit_leaf(thing)

    def _visit_dict(self, thing: dict[Any, Any]) -> None:
        limits.KEYS.check(len(thing))
        for key, value in thing.items():
            if not self._is_plain(key):
                raise refuse(f"artefact holds a key that is no plain value at {self._place()}")
            self.visit(value, f"[{shown(key)}]")

    def _visit_array(self, array: np.ndarray[Any, Any]) -> None:
        limits.DIMENSIONS.check(array.ndim)
        if not array.dtype.itemsize:
            raise refuse(f"artefact holds an array of an empty type at {self._place()}")
        limits.ELEMENTS.check(max(array.shape, default=0))
        self._add(array.nbytes // 8, 1)
        if array.dtype.kind == "O":
            for number, item in enumerate(array.flat):
                self.visit(item, number)
        elif not (
            array.dtype.itemsize and (array.dtype.kind == "U" or is_number_type(array.dtype))
        ):
            kind = f"{array.dtype!s:.80}"
            raise refuse(f"artefact holds an array of type {kind} at {self._place()}")

    def _visit_object(self, thing: Any) -> None:
        self._check_holder(thing)
        self.holders.append(thing)
        for name, value in vars(thing).items():
            attributes.check(type(thing), name, value)
            self.visit(value, f".{name}")
        self.holders.pop()
        shapes.check(thing, self.features)

    def _check_holder(self, thing: Any) -> None:
        """Let a Pipeline hold steps, an ensemble trees, and nothing else an estimator."""
        if not self.holders or not estimators.is_one_of(thing, _ESTIMATORS):
            return
        allowed: frozenset[str] = frozenset()
        if estimators.is_one_of(self.holders[-1], (estimators.PIPELINE,)):
            allowed = _STEPS
        elif estimators.is_one_of(self.holders[-1], _ENSEMBLES):
            allowed = _MEMBERS - frozenset(_ENSEMBLES)
        if not estimators.is_one_of(thing, allowed):
            holder = type(self.holders[-1]).__name__
            inside = f"{type(thing).__name__} inside {holder}"
            raise refuse(f"artefact holds {inside} at {self._place()}")

    def _visit_leaf(self, thing: Any) -> None:
        if estimators.is_one_of(thing, (estimators.TREE,)):
            self._add(_tree_elements(thing), 2)
            shapes.check_tree(thing, self.features)
        elif type(thing) is np.random.RandomState:
            self._add(625, 1)
            _check_random(thing.get_state(legacy=False))
        elif type(thing) is np.random.Generator:
            self._add(625, 1)
            _check_random(dict(thing.bit_generator.state))
        elif not estimators.is_one_of(thing, estimators.LOSSES):
            name = estimators.qualified_name(type(thing))
            place = self._place()
            raise refuse(f"artefact holds {name} at {place}, which is not on the allow-list")


def _is_numpy_value(thing: Any) -> bool:
    kind = thing.dtype.kind if isinstance(thing, np.generic) else ""
    return kind != "" and kind in "biufU"


def _tree_elements(tree: Any) -> int:
    # Eight fields a node, and a value for each class.
    return int(tree.node_count) * (8 + int(tree.max_n_classes))


def _check_random(state: Any) -> None:
    """Check the position of a Mersenne Twister, which compiled code trusts."""
    position = state["state"].get("pos", 0)
    if not 0 <= position <= 624:
        raise refuse(f"artefact holds a random state at position {position}")
