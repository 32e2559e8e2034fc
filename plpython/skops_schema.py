"""The schema of a ``.skops`` file, written anew from what is known of each kind of node.

What skops is given was made here: it holds the keys each kind of node has and no others, names
of the allow-list only, and no references. skops's own are by number, and a node that refers to
another's number is replaced by it unseen.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np

from rescore.errors import ArtefactRefused
from rescore.plpython import attributes, estimators, limits, numpy_parts
from rescore.plpython.refusal import plain, refuse, shown
from rescore.plpython.stand_ins import check_tree_sizes

Node = dict[str, Any]

PROTOCOL = 2
"""Of the files that skops 0.11 and later write."""

_INTEGERS = tuple(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))
_NUMBERS = frozenset(
    f"numpy.{name}" for name in ("bool", "bool_", "float32", "float64", "str_", "intp", *_INTEGERS)
)
PLAIN = frozenset(f"builtins.{name}" for name in ("str", "int", "float", "bool"))
_NAMES: dict[str, frozenset[str]] = {
    "DictNode": frozenset(("builtins.dict",)),
    "ListNode": frozenset(("builtins.list",)),
    "TupleNode": frozenset(("builtins.tuple",)),
    "JsonNode": PLAIN,
    "TypeNode": PLAIN | _NUMBERS,
    "NdArrayNode": _NUMBERS | {"numpy.ndarray"},
    "ObjectNode": estimators.OBJECTS,
    "LossNode": frozenset(estimators.LOSSES),
    "TreeNode": frozenset((estimators.TREE,)),
    "RandomStateNode": frozenset(("numpy.random.mtrand.RandomState",)),
    "RandomGeneratorNode": frozenset(("numpy.random._generator.Generator",)),
}
TRUSTED = frozenset().union(*_NAMES.values())
"""Names a file may hold."""


class Rewriting:
    """Writes the nodes of one file anew.

    Parameters
    ----------
    members: the arrays of the file, by name.
    """

    def __init__(self, members: dict[str, bytes]) -> None:
        self._members = members
        self._bytes = 0
        self._nodes = 0
        self._by_loader: dict[str, Callable[[Node], Node]] = {
            "DictNode": self._dict,
            "ListNode": self._sequence,
            "TupleNode": self._sequence,
            "JsonNode": self._json,
            "TypeNode": lambda node: {},
            "NdArrayNode": self._array,
            "ObjectNode": self._object,
            "LossNode": self._loss,
            "TreeNode": self._tree,
            "RandomStateNode": self._random_state,
            "RandomGeneratorNode": self._generator,
        }

    def schema(self, schema: Any) -> Node:
        """Return the whole schema."""
        node = self.node(schema)
        protocol = schema.get("protocol")
        if type(protocol) is not int or protocol != PROTOCOL:
            raise refuse(f"artefact is of skops protocol {shown(protocol)}, not {PROTOCOL}")
        return node | {"protocol": protocol}

    def node(self, node: Any, *loaders: str) -> Node:
        """Return one node, of one of these loaders if any are named, and all below it."""
        if type(node) is not dict:
            raise refuse(f"artefact has {shown(node)} where an object belongs")
        self._nodes += 1
        limits.NODES.check(self._nodes)
        loader = _text(node, "__loader__")
        module, name = _text(node, "__module__"), _text(node, "__class__")
        qualified = estimators.current_name(f"{module}.{name}")
        if qualified not in _NAMES.get(loader, ()) or "." in name:
            raise _stranger(qualified, loader)
        if loaders and loader not in loaders:
            raise refuse(f"artefact has a {loader} where a {loaders[0]} belongs")
        made = self._by_loader[loader](node)
        return {"__class__": name, "__module__": module, "__loader__": loader} | made

    def _dict(self, node: Node) -> Node:
        content = _of_type(node, "content", dict)
        limits.KEYS.check(len(content))
        key_types = self.node(node.get("key_types"), "ListNode")
        kinds = [each["__loader__"] for each in key_types["content"]]
        if kinds != ["TypeNode"] * len(content):
            raise refuse("artefact holds a dictionary whose keys are of no known type")
        return {
            "content": {key: self.node(value) for key, value in content.items()},
            "key_types": key_types,
        }

    def _sequence(self, node: Node) -> Node:
        return {"content": [self.node(item) for item in _of_type(node, "content", list)]}

    def _json(self, node: Node) -> Node:
        value = json.loads(_of_type(node, "content", str))
        if value is not None and type(value) not in (bool, int, float, str):
            raise refuse(f"artefact has {shown(value)} where a plain value belongs")
        return {"content": json.dumps(value), "is_json": True}

    def _object(self, node: Node) -> Node:
        if node.get("content") is None:
            return {}
        content = self.node(node["content"], "DictNode", "JsonNode")
        if content["__loader__"] == "JsonNode":
            if content["content"] != "null":
                raise refuse("artefact gives an object a state that is no dictionary")
            return {}
        self._check_attributes(node, content)
        return {"content": content}

    def _check_attributes(self, node: Node, content: Node) -> None:
        name = estimators.current_name(f"{node['__module__']}.{node['__class__']}")
        cls = estimators.resolve(name)
        if cls is None:
            raise refuse(f"artefact names {name}, which the installed scikit-learn does not have")
        if any(each["__class__"] != "str" for each in content["key_types"]["content"]):
            raise refuse(f"artefact holds {name} with attributes that have no name")
        for attribute, value in content["content"].items():
            attributes.check(cls, attribute, _plain_value(value))

    def _array(self, node: Node) -> Node:
        kind = _text(node, "type")
        if kind == "json" and node["__class__"] == "ndarray":
            made = self._sequence(node) | {"shape": self.node(node.get("shape"), "TupleNode")}
        elif kind == "numpy":
            made = {"file": self._checked_file(node)}
        else:
            raise refuse(f"artefact holds an array of kind {shown(kind)}")
        return {"type": kind} | made

    def _checked_file(self, node: Node) -> str:
        name = _text(node, "file")
        if name not in self._members:
            raise refuse(f"artefact has no file {plain(name)} inside")
        # Each mention is read for itself.
        self._bytes += len(self._members[name])
        limits.UNPACKED.check(self._bytes)
        shape = check_array_file(self._members[name])
        if node["__class__"] != "ndarray" and shape:
            raise refuse("artefact holds an array where a number belongs")
        return name

    def _loss(self, node: Node) -> Node:
        args = self._arguments(node)
        numbers = [_plain_value(each) for each in args["content"]]
        if not all(type(number) in (int, float) for number in numbers):
            raise refuse("artefact builds a loss from something else than numbers")
        return {"__reduce__": {"args": args}, "content": _EMPTY}

    def _arguments(self, node: Node) -> Node:
        reduce = _of_type(node, "__reduce__", dict)
        return self.node(reduce.get("args"), "TupleNode")

    def _tree(self, node: Node) -> Node:
        """Check what the tree's constructor, in C, trusts: the sizes."""
        args = self._arguments(node)
        content = self.node(node.get("content"), "DictNode")
        if content["content"].keys() != {"max_depth", "node_count", "nodes", "values"}:
            raise refuse("artefact holds a damaged decision tree")
        if len(args["content"]) != 3 or args["content"][1].get("file") is None:
            raise refuse("artefact holds a decision tree of impossible shape")
        features, classes, outputs = args["content"]
        data = self._members[classes["file"]]
        counts = np.load(io.BytesIO(data), allow_pickle=False)
        check_tree_sizes(_plain_value(features), counts, _plain_value(outputs))
        if counts.dtype != np.intp:
            raise refuse(f"artefact counts the classes of a decision tree as {counts.dtype}")
        return {"__reduce__": {"args": args}, "content": content}

    def _random_state(self, node: Node) -> Node:
        return {"content": self.node(node.get("content"), "DictNode")}

    def _generator(self, node: Node) -> Node:
        content = _of_type(node, "content", dict)
        made = self.node(content.get("bit_generator"), "DictNode")
        kind = _plain_value(made["content"].get("bit_generator", {}))
        if kind not in ("PCG64", "MT19937"):
            # skops turns this string into an attribute of numpy.random and calls it.
            raise refuse(f"artefact holds random numbers of kind {shown(kind)}")
        # The state is whole: the seed it once came from is history.
        return {"content": {"bit_generator": made, "seed_seq": _EMPTY}}


def _node(name: str, loader: str, **content: Any) -> Node:
    return {"__class__": name, "__module__": "builtins", "__loader__": loader, **content}


_EMPTY = _node("dict", "DictNode", content={}, key_types=_node("list", "ListNode", content=[]))


def _of_type(node: Node, key: str, expected: type[Any]) -> Any:
    value = node.get(key)
    if type(value) is not expected:
        raise refuse(f"artefact has {shown(value)} for {key} of an object")
    return value


def _text(node: Node, key: str) -> str:
    text: str = _of_type(node, key, str)
    return text


def _plain_value(node: Node) -> Any:
    """Return the value of a JsonNode; None for other nodes."""
    return json.loads(node["content"]) if node.get("__loader__") == "JsonNode" else None


def _stranger(name: str, loader: str) -> ArtefactRefused:
    return ArtefactRefused(
        f"artefact names {plain(name)} (as {plain(loader)}), which is not on the allow-list",
        detail="Nothing in the file was executed.",
        hint="Publish a Pipeline of allow-listed scalers and predictors.",
    )


def check_array_file(data: bytes) -> tuple[int, ...]:
    """Return the shape of an array in a ``.npy`` file; refuse one that is not as it says."""
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise refuse(f"artefact holds an array in version {version} of the format")
    shape, _, dtype = _HEADERS[version](file)
    known = dtype.kind == "U" or numpy_parts.is_number_type(dtype)
    if not known or not dtype.itemsize:
        raise refuse(f"artefact holds an array of type {plain(str(dtype))}")
    count = numpy_parts.checked_count(shape)
    if count * dtype.itemsize != len(data) - file.tell():
        raise refuse("artefact holds an array of another size than it says")
    return shape


_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
