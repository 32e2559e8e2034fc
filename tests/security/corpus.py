"""Files made to do harm: every one of them must be refused, and nothing in it may happen.

``python tests/security/corpus.py DIRECTORY`` writes them all to a directory.
"""

from __future__ import annotations

import builtins
import codecs
import copy
import functools
import importlib
import io
import operator
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from rescore.plpython.artifact import Format

VARIABLE = "RESCORE_CANARY"
MODULE = "this"
RNG = np.random.default_rng(7)
X = RNG.normal(size=(60, 3))
Y = (X[:, 0] > 0).astype(int)


@dataclass(frozen=True)
class Hostile:
    """One file, and what it is an attempt of."""

    name: str
    format: Format
    data: bytes


class Reduced:
    """An object that pickles as a call, with whatever else `__reduce__` may return."""

    def __init__(self, function: Any, *args: Any, more: tuple[Any, ...] = ()) -> None:
        self.call = (function, args, *more)

    def __reduce__(self) -> Any:
        return self.call

    def __call__(self) -> None:
        """Be callable: pickle insists on it where the result is to be called."""


class ReducedEx(Reduced):
    """The same by the other method."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.call


_FITTED = LogisticRegression().fit(X, Y)


def logistic() -> Any:
    """Return a small fitted model."""
    return copy.deepcopy(_FITTED)


def pickled(thing: Any, format: Format = "pickle", **options: Any) -> bytes:
    """Return a thing in a format, by the libraries' own means."""
    if format == "pickle":
        return pickle.dumps(thing, **options)
    buffer = io.BytesIO()
    joblib.dump(thing, buffer, **options)
    return buffer.getvalue()


def _calls(canary: Path) -> dict[str, Any]:
    """Things whose unpickling would touch the canary, by what they misuse."""
    touch, write = f"touch '{canary}'", f"open({str(canary)!r}, 'w').close()"
    run = Reduced(os.system, touch)
    memo = "x" * 300
    return {
        "os.system": run,
        "os.putenv": Reduced(os.putenv, VARIABLE, "1"),
        "os.popen": Reduced(os.popen, touch),
        "subprocess.run": Reduced(subprocess.run, touch, True),
        "subprocess.Popen": Reduced(subprocess.Popen, ["touch", str(canary)]),
        "builtins.eval": Reduced(builtins.eval, write),
        "builtins.exec": Reduced(builtins.exec, write),
        "builtins.open": Reduced(builtins.open, str(canary), "w"),
        "builtins.__import__": Reduced(__import__, MODULE),
        "builtins.map": Reduced(list, Reduced(map, os.system, [touch])),
        "importlib": Reduced(importlib.import_module, MODULE),
        "getattr of os": Reduced(Reduced(getattr, Reduced(__import__, "os"), "system"), touch),
        "getattr of a method": Reduced(Reduced(getattr, logistic(), "__class__")),
        "operator.attrgetter": Reduced(operator.attrgetter("system"), Reduced(__import__, "os")),
        "operator.methodcaller": Reduced(operator.methodcaller("touch"), canary),
        "functools.partial": functools.partial(os.system, touch),
        "called partial": Reduced(functools.partial(os.system, touch)),
        "functools.reduce": Reduced(functools.reduce, getattr, ["system"], "os"),
        "bound method": Reduced(canary.touch),
        "codecs.decode": Reduced(codecs.decode, b"x", "rot13"),
        "type": Reduced(type, "Sneaky", (), {}),
        "property of a class": Reduced(setattr, LogisticRegression, "predict", print),
        "pickle.loads": Reduced(pickle.loads, pickle.dumps(run)),
        "joblib.load": Reduced(joblib.load, str(canary)),
        "numpy.load": Reduced(np.load, str(canary)),
        "numpy.memmap": Reduced(np.memmap, str(canary), "uint8", "w+", 0, (1,)),
        "numpy.fromfunction": Reduced(np.fromfunction, os.system, (1,)),
        "numpy.testing": Reduced(np.testing.assert_raises, Exception, os.system, touch),
        "class with arguments": Reduced(LogisticRegression, "l2"),
        "__reduce_ex__": ReducedEx(os.system, touch),
        "state setter": Reduced(LogisticRegression, more=({"a": touch}, None, None, os.system)),
        "list items": Reduced(LogisticRegression, more=(None, iter([touch]))),
        "dict items": Reduced(LogisticRegression, more=(None, None, iter([("C", run)]))),
        "state of a class": Reduced(getattr, logistic(), "fit", more=({"a": 1},)),
        "array of objects": np.array([run, None], dtype=object),
        "array in an array": np.array([np.array([run, None], dtype=object), None], dtype=object),
        "pickle in bytes": [pickle.dumps(run), Reduced(pickle.loads, pickle.dumps(run))],
        "pickle in an array": Reduced(
            pickle.loads, np.frombuffer(pickle.dumps(run), dtype=np.uint8)
        ),
        "memoised name": [memo, memo, run, run],
        "key of a dictionary": {Reduced(str, "a"): run},
        "set": {1, 2},
        "frozenset": frozenset([1]),
        "complex": 1j,
        "slice": slice(1, 2),
    }


def calls(canary: Path) -> Iterator[Hostile]:
    """Calls of what is not on the list, in every place, format and protocol."""
    for name, thing in _calls(canary).items():
        for place, held in _placed(thing).items():
            for format in ("pickle", "joblib"):
                yield Hostile(f"{name}, {place}", format, pickled(held, format))
        for state, data in (("state", thing), ("attribute in a state", {"C": thing})):
            body = pickled(data, protocol=3)[2:-1]
            yield Hostile(f"{name}, {state}", "pickle", handmade(body))
        for protocol in (0, 1, 2, 3):
            held = pickled(_placed(thing)["parameter"], protocol=protocol)
            yield Hostile(f"{name}, protocol {protocol}", "pickle", held)


def _placed(thing: Any) -> dict[str, Any]:
    holding = {name: logistic() for name in ("fitted attribute", "parameter")}
    holding["fitted attribute"].coef_ = thing
    holding["parameter"].class_weight = thing
    return {
        "alone": thing,
        "step": Pipeline([("first", thing), ("last", logistic())]),
        **holding,
    }


def short(text: str) -> bytes:
    return b"\x8c" + bytes([len(text)]) + text.encode()


def handmade(
    state: bytes, name: str = "sklearn.linear_model._logistic LogisticRegression"
) -> bytes:
    module, cls = name.split()
    return b"\x80\x04" + short(module) + short(cls) + b"\x93)\x81" + state + b"b."


def opcodes(canary: Path) -> Iterator[Hostile]:
    """Files no pickler writes."""
    touch = f"touch '{canary}'".encode()
    system = short("os") + short("system") + b"\x93"
    own = b"csklearn.linear_model._logistic\nLogisticRegression\n"
    call = b"\x8c" + bytes([len(touch)]) + touch + b"\x85R."
    found: dict[str, bytes] = {
        "GLOBAL": b"cos\nsystem\n(S'" + touch.replace(b"'", b'"') + b"'\ntR.",
        "INST": b"(S'" + touch.replace(b"'", b'"') + b"'\nios\nsystem\n.",
        "OBJ": b"(cos\nsystem\nS'" + touch.replace(b"'", b'"') + b"'\no.",
        "STACK_GLOBAL": b"\x80\x04" + system + call,
        "dotted name": b"\x80\x04" + short("builtins") + short("eval.__call__") + b"\x93" + call,
        "dotted module": b"\x80\x04" + short("numpy") + short("lib.npyio.load") + b"\x93" + call,
        "through an allowed module": b"\x80\x04"
        + short("sklearn.linear_model._logistic")
        + short("np.f2py.os.system")
        + b"\x93"
        + call,
        "through an allowed class": b"\x80\x04"
        + short("sklearn.linear_model._logistic")
        + short("LogisticRegression.fit.__globals__")
        + b"\x93.",
        "empty name": b"\x80\x04" + short("") + short("") + b"\x93.",
        "name of zeros": b"\x80\x04" + short("o\0s") + short("system") + b"\x93.",
        "name beyond Unicode": b"\x80\x04\x8c\x03\xed\xa0\x80" + short("system") + b"\x93.",
        "name that is no text": b"\x80\x04K\x01K\x02\x93.",
        "name from the memo": b"\x80\x04" + short("os") + b"\x940" + b"h\x00" + system[4:] + call,
        "PERSID": b"Pcanary\n.",
        "BINPERSID": b"\x80\x04" + short("canary") + b"Q.",
        "EXT1": b"\x80\x02\x82\x01.",
        "EXT2": b"\x80\x02\x83\x01\x00.",
        "EXT4": b"\x80\x02\x84\x01\x00\x00\x00.",
        "NEXT_BUFFER": b"\x80\x05\x97.",
        "READONLY_BUFFER": b"\x80\x05C\x01x\x98.",
        "NEWOBJ_EX": b"\x80\x04" + own + b")}\x92.",
        "NEWOBJ with arguments": b"\x80\x04" + own + b"K\x01\x85\x81.",
        "NEWOBJ of no class": b"\x80\x04K\x01)\x81.",
        "class itself": own + b".",
        "state for a class": own + b"}S'fit'\nI1\nsb.",
        "state for a constructor": b"cnumpy\ndtype\n}S'call'\nI1\nsb.",
        "state for joblib's class": b"cjoblib.numpy_pickle\nNumpyArrayWrapper\n(N}S'read'\nI1\nstb.",
        "items into an object": b"\x80\x04" + own + b")\x81K\x01K\x02s.",
        "items into an array": b"\x80\x04"
        + b"cnumpy._core.multiarray\n_reconstruct\n)RK\x00K\x01s.",
        "appended to an object": b"\x80\x04" + own + b")\x81K\x01a.",
        "append method of its own": handmade(b"}" + short("append") + own + b"s")[:-1] + b"K\x01a.",
        "slots": handmade(b"N}" + short("fit") + b"K\x01s\x86"),
        "state that is a list": handmade(b"]"),
        "dunder attribute": handmade(b"}" + short("__array_interface__") + b"}s"),
        "method replaced": handmade(b"}" + short("predict_proba") + b"K\x01s"),
        "stray attribute": handmade(b"}" + short("note") + b"K\x01s"),
        "name that is a number": handmade(b"}K\x01K\x02s"),
        "nothing": b"",
        "no end": b"\x80\x04",
        "empty stack": b".",
        "unknown opcode": b"\xff.",
        "unknown protocol": b"\x80\x7f.",
        "two pickles": pickled(logistic()) + pickled(logistic()),
    }
    for name, data in found.items():
        yield Hostile(f"opcode: {name}", "pickle", data)


def corpus(canary: Path) -> list[Hostile]:
    """Return all files; `canary` is what those that run code would make."""
    from rescore.tests.security import corpus_bombs, corpus_models, corpus_skops

    made: list[Callable[[Path], Iterator[Hostile]]] = [
        calls,
        opcodes,
        corpus_models.models,
        corpus_bombs.bombs,
        corpus_skops.schemas,
        corpus_skops.zips,
    ]
    return [hostile for make in made for hostile in make(canary)]


if __name__ == "__main__":
    for number, each in enumerate(corpus(Path(sys.argv[2] if sys.argv[2:] else "/tmp/canary"))):
        name = "".join(letter if letter.isalnum() else "-" for letter in each.name)
        (Path(sys.argv[1]) / f"{number:03}-{name}.{each.format}").write_bytes(each.data)
