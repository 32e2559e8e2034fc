"""``.skops`` files: schemas that name what they should not, and zips that are not what they say."""

from __future__ import annotations

import copy
import io
import json
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import skops.io

from rescore.plpython import limits
from rescore.tests.security.corpus import MODULE, Hostile
from rescore.tests.security.corpus_models import SPOILT, fitted

Node = dict[str, Any]
Schema = Callable[[Node], None]


def _node(name: str, loader: str, module: str = "builtins", **content: Any) -> Node:
    return {"__class__": name, "__module__": module, "__loader__": loader, **content}


def _json(value: Any) -> Node:
    return _node("str", "JsonNode", content=json.dumps(value), is_json=True)


def _dict(**content: Node) -> Node:
    kinds = _node("list", "ListNode", content=[_node("str", "TypeNode") for _ in content])
    return _node("dict", "DictNode", content=content, key_types=kinds)


def _tuple(*content: Node) -> Node:
    return _node("tuple", "TupleNode", content=list(content))


def _without_ids(node: Any) -> Any:
    if isinstance(node, dict):
        return {k: _without_ids(v) for k, v in node.items() if k != "__id__"}
    return [_without_ids(item) for item in node] if isinstance(node, list) else node


def _attribute(name: str, value: Node) -> Schema:
    """Give the model an attribute, or another value for one it has."""

    def edit(schema: Node) -> None:
        state = schema["content"]
        if name not in state["content"]:
            state["key_types"]["content"].append(_node("str", "TypeNode"))
        state["content"][name] = value

    return edit


def replaced_by_number(schema: Node) -> None:
    """Let the checked sizes of a tree be replaced, by their number, with others met before."""
    args = schema["content"]["content"]["tree_"]["__reduce__"]["args"]
    large = _without_ids(args)
    large["content"][2]["content"] = "400000000"
    args["__id__"] = large["__id__"] = 777
    items = schema["content"]["content"]
    schema["content"]["content"] = {"criterion": large} | {
        name: value for name, value in items.items() if name != "criterion"
    }


def _address(schema: Node) -> None:
    """Let NumPy read the memory at an address: an attribute of the model says it is an array."""
    interface = _dict(
        shape=_tuple(_json(100_000)),
        typestr=_json("|u1"),
        version=_json(3),
        data=_tuple(_json(4096), _json(False)),
    )
    _attribute("__array_interface__", interface)(schema)
    itself = _without_ids(copy.deepcopy(schema))
    array = _node("ndarray", "NdArrayNode", "numpy", type="json", content=[itself])
    _attribute("C", array | {"shape": _tuple(_json(1), _json(1))})(schema)


def _protocol(number: Any) -> Schema:
    return lambda schema: schema.update(protocol=number)


def _tree(place: int, value: Any) -> Schema:
    def edit(schema: Node) -> None:
        args = schema["content"]["content"]["tree_"]["__reduce__"]["args"]["content"]
        args[place] = _json(value)

    return edit


def _seed(schema: Node) -> None:
    generator = schema["content"]["content"]["_feature_subsample_rng"]
    state = generator["content"]["bit_generator"]["content"]
    state["bit_generator"] = _json("seed")


def _deep(schema: Node) -> None:
    node = _json(1)
    for _ in range(300):
        node = _node("list", "ListNode", content=[node])
    _attribute("C", node)(schema)


SCHEMAS: dict[str, tuple[str, Schema]] = {
    "function": ("logistic", _attribute("C", _node("system", "FunctionNode", "posix"))),
    "type": ("logistic", _attribute("C", _node("Popen", "TypeNode", "subprocess"))),
    "module": ("logistic", _attribute("C", _node("s", "TypeNode", MODULE))),
    "method": (
        "logistic",
        _attribute(
            "C",
            _node(
                "LogisticRegression",
                "MethodNode",
                "sklearn.linear_model._logistic",
                content={"func": "fit", "obj": _json(1)},
            ),
        ),
    ),
    "partial": ("logistic", _attribute("C", _node("partial", "PartialNode", "functools"))),
    "operator": (
        "logistic",
        _attribute("C", _node("methodcaller", "OperatorFuncNode", "operator", attrs=_tuple())),
    ),
    "constructor": (
        "logistic",
        _attribute(
            "C", _node("Popen", "ConstructorFromReduceNode", "subprocess", content=_tuple())
        ),
    ),
    "bytes": ("logistic", _attribute("C", _node("bytes", "BytesNode", file="schema.json"))),
    "default dictionary": (
        "logistic",
        _attribute("C", _node("defaultdict", "DefaultDictNode", "collections", content={})),
    ),
    "stranger": ("logistic", _attribute("C", _node("SVC", "ObjectNode", "sklearn.svm._classes"))),
    "name of another loader": (
        "logistic",
        _attribute("C", _node("LogisticRegression", "LossNode", "sklearn.linear_model._logistic")),
    ),
    "dotted name": (
        "logistic",
        _attribute(
            "C", _node("_logistic.LogisticRegression", "ObjectNode", "sklearn.linear_model")
        ),
    ),
    "no loader": ("logistic", _attribute("C", {"__class__": "system", "__module__": "os"})),
    "no object": ("logistic", lambda schema: schema["content"]["content"].update(C="x")),
    "list as JSON": ("logistic", _attribute("C", _node("str", "JsonNode", content="[1]"))),
    "deep JSON": ("logistic", _attribute("C", _node("str", "JsonNode", content="[" * 100_000))),
    "cached": ("logistic", _attribute("C", _node("str", "CachedNode", __id__=1))),
    "method replaced": ("logistic", _attribute("predict", _json(1))),
    "stray attribute": ("logistic", _attribute("note", _json(1))),
    "version that is no text": ("logistic", _attribute("_sklearn_version", _tuple(_json(1)))),
    "address in memory": ("logistic", _address),
    "tree of many outputs": ("tree", _tree(2, 100_000_000)),
    "tree of many features": ("tree", _tree(0, 10**12)),
    "tree of other classes": ("tree", _tree(1, 2)),
    "random numbers by name": ("histogram", _seed),
    "old protocol": ("logistic", _protocol(0)),
    "no protocol": ("logistic", _protocol(None)),
    "deep": ("logistic", _deep),
    "file that is not there": (
        "logistic",
        _attribute("C", _node("ndarray", "NdArrayNode", "numpy", type="numpy", file="9.npy")),
    ),
    "schema as an array": (
        "logistic",
        _attribute("C", _node("ndarray", "NdArrayNode", "numpy", type="numpy", file="schema.json")),
    ),
}


def edited(data: bytes, edit: Schema) -> bytes:
    """Return a file with another schema."""
    members = _members(data)
    schema = json.loads(members["schema.json"])
    edit(schema)
    return packed(members | {"schema.json": json.dumps(schema).encode()})


def _members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """Return a zip."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return target.getvalue()


def schemas(canary: Path) -> Iterator[Hostile]:
    """Files with a schema of another's making, and spoilt models as skops writes them."""
    for name, (kind, edit) in SCHEMAS.items():
        yield Hostile(f"schema: {name}", "skops", edited(skops.io.dumps(fitted(kind)), edit))
    for name, (kind, spoil) in SPOILT.items():
        model = fitted(kind)
        spoil(model)
        try:
            data = skops.io.dumps(model)
        except Exception:  # what skops cannot write it need not read
            continue
        yield Hostile(f"skops model: {name}", "skops", data)


def _lying(data: bytes, field: int, value: int) -> bytes:
    """Return a zip whose last entry says another value in both of its headers."""
    changed = bytearray(data)
    entry = changed.rindex(b"PK\x01\x02")
    changed[entry + field : entry + field + 4] = struct.pack("<I", value)
    return bytes(changed)


def _array_file(shape: tuple[int, ...], dtype: str) -> bytes:
    file = io.BytesIO()
    header = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue()


def _with_array(content: bytes) -> bytes:
    """Return a model's file in which one array is another."""
    members = _members(skops.io.dumps(fitted("logistic")))
    name = next(name for name in members if name.endswith(".npy"))
    return packed(members | {name: content})


def _same_array_often(times: int) -> bytes:
    """Return a file in which one array is meant by every item of a list."""
    members = _members(skops.io.dumps(fitted("logistic"))) | {"1.npy": b""}
    members["1.npy"] = _array_file((1_000_000,), "<f8") + bytes(8_000_000)
    array = _node("ndarray", "NdArrayNode", "numpy", type="numpy", file="1.npy")
    schema = json.loads(members["schema.json"])
    _attribute("C", _node("list", "ListNode", content=[array] * times))(schema)
    members["schema.json"] = json.dumps(schema).encode()
    return packed(members, zipfile.ZIP_DEFLATED)


def zips(canary: Path) -> Iterator[Hostile]:
    """Files whose zip is the trouble."""
    good = _members(skops.io.dumps(fitted("logistic")))
    zeros = bytes(limits.UNPACKED.most + 1)
    deflated = packed({"schema.json": zeros}, zipfile.ZIP_DEFLATED)
    found = {
        "bomb": deflated,
        "bomb that says it is small": _lying(deflated, 24, 100),
        "bomb by bzip2 that says it is small": _lying(
            packed({"schema.json": zeros}, zipfile.ZIP_BZIP2), 24, 100
        ),
        "bomb by lzma": _lying(packed({"schema.json": zeros}, zipfile.ZIP_LZMA), 24, 100),
        "one array often": _same_array_often(1_000),
        "name that leads away": packed(good | {"../../1.npy": b""}),
        "name from the root": packed(good | {str(canary): b"x"}),
        "name with a backslash": packed(good | {"..\\1.npy": b""}),
        "name of a program": packed(good | {"1.py": b""}),
        "folder": packed(good | {"a/": b""}),
        "encrypted": _lying(packed(good), 8, 1),
        "many files": packed(good) + b"PK\x01\x02" * (limits.ARRAYS.most + 1),
        "no schema": packed({name: good[name] for name in good if name != "schema.json"}),
        "schema of brackets": packed({"schema.json": b"[" + b"[]," * 600_000 + b"[]]"}),
        "schema of words": packed({"schema.json": b'"x",' * 9_000_000}),
        "schema that is no object": packed({"schema.json": b"1"}),
        "schema that is no JSON": packed({"schema.json": b"\xff"}),
        "no zip": b"PK\x03\x04" + bytes(100),
        "array of huge dimensions": _with_array(_array_file((10**12,), "<f8")),
        "array of empty words": _with_array(_array_file((10**12,), "<U0")),
        "array of objects": _with_array(_array_file((1,), "|O") + b"cos\nsystem\n."),
        "array of code": _with_array(b"\x93NUMPY\x01\x00\x20\x00__import__('this')" + b" " * 14),
        "array that is none": _with_array(b"cos\nsystem\n."),
        "array cut short": _with_array(_array_file((1, 3), "<f8") + bytes(23)),
    }
    for name, data in found.items():
        yield Hostile(f"zip: {name}", "skops", data)
