"""What the names in a pickle stand for: classes of the allow-list, and functions that check.

A name that is not listed here is refused before anything of it is imported.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from rescore.errors import ArtefactRefused
from rescore.plpython import estimators, limits, numpy_parts
from rescore.plpython.refusal import plain, refuse


@dataclass(frozen=True)
class Name:
    """A class that a pickle may mention as an argument but not create."""

    qualified: str

    @property
    def last(self) -> str:
        """The name without its module."""
        return self.qualified.rpartition(".")[2]


@dataclass(frozen=True)
class Constructor:
    """A function that a pickle may call, and the steps of unpickling that a call counts for."""

    qualified: str
    call: Callable[..., Any]
    steps: int = 10


class ArrayFollows:
    """Joblib's description of an array whose bytes follow it in the file."""

    subclass: Any = None
    shape: Any = None
    order: Any = None
    dtype: Any = None
    numpy_array_alignment_bytes: int | None = None


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "_codecs.encode": numpy_parts.encoded_bytes,
    "__builtin__.bytes": lambda: b"",
    "numpy.dtype": numpy_parts.PickledType,
    "numpy._core.multiarray.scalar": numpy_parts.scalar,
    "numpy._core.multiarray._reconstruct": numpy_parts.empty_array,
    "numpy._core.numeric._frombuffer": numpy_parts.array_from_buffer,
    "numpy.random._pickle.__bit_generator_ctor": numpy_parts.bit_generator,
    "numpy.random._pickle.__randomstate_ctor": numpy_parts.random_state,
    "numpy.random._pickle.__generator_ctor": numpy_parts.random_generator,
    "numpy.random.bit_generator.__pyx_unpickle_SeedSequence": numpy_parts.seed_sequence,
}
# A generator of random numbers holds kilobytes: a thousand of them are enough.
_STEPS = {
    name: 3_000
    for name in _FUNCTIONS
    if name.startswith("numpy.random.") and name.endswith(("_ctor", "_SeedSequence"))
}
_MENTIONED = {
    "numpy.ndarray",
    "numpy.random._mt19937.MT19937",
    "numpy.random._pcg64.PCG64",
    "numpy.random.bit_generator.SeedSequence",
}
_ARRAY_WRAPPER = "joblib.numpy_pickle.NumpyArrayWrapper"
_CYTHON = "sklearn._loss._loss.__pyx_unpickle_"


def _stranger(name: str) -> ArtefactRefused:
    return ArtefactRefused(
        f"artefact names {plain(name)}, which is not on the allow-list",
        detail="Only fitted scikit-learn estimators of the allow-list, alone or behind scalers in "
        "a Pipeline, are loaded; nothing else in the file was executed.",
        hint="Publish a Pipeline of allow-listed steps; make other transformations features of "
        "the profile.",
    )


def _installed(name: str) -> type[Any]:
    cls = estimators.resolve(name)
    if cls is None:
        raise refuse(f"artefact names {name}, which the installed scikit-learn does not have")
    return cls


def _loss_constructor(name: str) -> Constructor:
    cls = _installed(name)
    return Constructor(name, lambda *args: cls(*_numbers(args)))


def _cython_constructor(name: str) -> Constructor:
    loss = f"sklearn._loss._loss.{name.removeprefix(_CYTHON)}"
    if loss not in estimators.LOSSES:
        raise _stranger(name)
    make = _loss_constructor(loss).call
    return Constructor(name, lambda _cls, _checksum, state: make(*_state(state)))


def _state(state: Any) -> tuple[Any, ...]:
    if state is not None and type(state) is not tuple:
        raise refuse("artefact builds a loss from a state that is no tuple")
    return state or ()


def _numbers(args: tuple[Any, ...]) -> tuple[Any, ...]:
    if not all(isinstance(arg, (int, float, np.floating)) for arg in args):
        raise refuse("artefact builds a loss from something else than numbers")
    return args


def check_tree_sizes(n_features: Any, n_classes: Any, n_outputs: Any) -> None:
    """Check what a decision tree is made of: its constructor, in C, trusts the sizes."""
    counted = type(n_classes) is np.ndarray and n_classes.dtype.kind in "iu"
    one_output = counted and n_classes.shape == (1,) and type(n_outputs) is int and n_outputs == 1
    sizes = type(n_features) is int and 0 < n_features <= limits.COLUMNS.most
    if not (one_output and sizes and 0 < n_classes[0] <= limits.CLASSES.most):
        raise refuse("artefact holds a decision tree of impossible or multi-output shape")


def _tree(n_features: Any, n_classes: Any, n_outputs: Any) -> Any:
    check_tree_sizes(n_features, n_classes, n_outputs)
    return _installed(estimators.TREE)(n_features, n_classes.astype(np.intp), 1)


@lru_cache(maxsize=256)
def stand_in(name: str) -> Any:
    """Return what an allow-listed name stands for inside a pickle; refuse any other."""
    if name in estimators.OBJECTS:
        return _installed(name)
    if name in _FUNCTIONS:
        return Constructor(name, _FUNCTIONS[name], _STEPS.get(name, 10))
    if name == _ARRAY_WRAPPER:
        return ArrayFollows
    if name == estimators.TREE:
        return Constructor(name, _tree)
    if name in estimators.LOSSES:
        return _loss_constructor(name)
    if name.startswith(_CYTHON):
        return _cython_constructor(name)
    if name in _MENTIONED:
        return Name(name)
    raise _stranger(name)
