"""Reading ``.skops`` files: a zip of a schema and arrays.

skops trusts every scikit-learn estimator by default, FunctionTransformer included, so the schema
is compared with rescore's own, shorter list before skops builds anything.
"""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import numpy as np

from rescore.errors import ArtefactRefused
from rescore.plpython import estimators
from rescore.plpython.numpy_parts import refuse

_INTEGERS = tuple(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))
_NUMBERS = frozenset(
    f"numpy.{name}"
    for name in ("ndarray", "bool", "bool_", "float32", "float64", "str_", "intp", *_INTEGERS)
)
_PLAIN = frozenset(f"builtins.{name}" for name in ("str", "int", "float", "bool"))
_LOSSES = frozenset(estimators.LOSSES)
_TREES = frozenset((estimators.TREE,))
_BY_LOADER: dict[str, frozenset[str]] = {
    "DictNode": frozenset(("builtins.dict",)),
    "ListNode": frozenset(("builtins.list",)),
    "TupleNode": frozenset(("builtins.tuple",)),
    "JsonNode": _PLAIN,
    "TypeNode": _PLAIN | _NUMBERS,
    "NdArrayNode": _NUMBERS,
    "ObjectNode": estimators.OBJECTS,
    "LossNode": _LOSSES,
    "TreeNode": _TREES,
    "RandomStateNode": frozenset(("numpy.random.mtrand.RandomState",)),
    "RandomGeneratorNode": frozenset(("numpy.random._generator.Generator",)),
}
_ANY = frozenset().union(*_BY_LOADER.values())


def load(data: bytes, largest: int) -> Any:
    """Return the estimator of a .skops file whose unpacked size is at most `largest` bytes."""
    import skops.io

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > largest:
            raise refuse(f"artefact unpacks to {unpacked} bytes, more than {largest}")
        _Audit(archive).visit(json.loads(archive.read("schema.json")))
    return skops.io.loads(data, trusted=sorted((_ANY | _former_names()) - _PLAIN))


def _former_names() -> set[str]:
    return {f"_loss.{name.rpartition('.')[2]}" for name in _LOSSES}


class _Audit:
    """Visits every node of the schema."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self.archive = archive

    def visit(self, node: Any) -> None:
        if isinstance(node, dict):
            if "__loader__" in node or "__class__" in node:
                self._check(node)
            for child in node.values():
                self.visit(child)
        elif isinstance(node, list):
            for child in node:
                self.visit(child)

    def _check(self, node: dict[str, Any]) -> None:
        name = estimators.current_name(f"{node.get('__module__')}.{node.get('__class__')}")
        loader = node.get("__loader__")
        allowed = _ANY if loader == "CachedNode" else _BY_LOADER.get(str(loader), frozenset())
        if name not in allowed:
            raise ArtefactRefused(
                f"artefact names {name} (as {loader}), which is not on the allow-list",
                detail="Nothing in the file was executed.",
                hint="Publish a Pipeline of allow-listed scalers and predictors.",
            )
        if loader == "TreeNode":
            self._check_tree(node["__reduce__"]["args"]["content"])
        elif loader == "RandomGeneratorNode":
            _check_generator(node["content"]["bit_generator"]["content"])

    def _check_tree(self, args: list[dict[str, Any]]) -> None:
        # The tree's constructor, in C, trusts these sizes.
        n_features, n_classes, n_outputs = args
        classes = np.load(io.BytesIO(self.archive.read(n_classes["file"])), allow_pickle=False)
        one_output = classes.shape == (1,) and json.loads(n_outputs["content"]) == 1
        sizes = 0 < json.loads(n_features["content"]) <= 100_000 and 0 < classes[0] <= 1000
        if not one_output or not sizes or classes.dtype != np.intp:
            raise refuse("artefact holds a decision tree of impossible or multi-output shape")


def _check_generator(content: dict[str, Any]) -> None:
    # skops turns this string into an attribute of numpy.random and calls it.
    kind = json.loads(content["bit_generator"]["content"])
    if kind not in ("PCG64", "MT19937"):
        raise refuse(f"artefact holds random numbers of kind {kind!r:.50}")
