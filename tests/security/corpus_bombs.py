"""Small files that ask for much memory or time."""

from __future__ import annotations

import bz2
import gzip
import lzma
import pickle
import struct
import zlib
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
from sklearn.preprocessing import StandardScaler

from rescore.plpython import limits
from rescore.plpython.artifact import Format
from rescore.tests.security.corpus import Hostile, handmade, logistic, pickled, short
from rescore.tests.security.corpus_models import fitted

TOO_MANY = limits.UNPACKED.most + 1


def _doubling(times: int) -> bytes:
    """A tuple that holds a tuple twice, that holds a tuple twice, and so on."""
    return b")" + b"2\x86" * times


def _deep(times: int) -> bytes:
    return b")" + b"\x85" * times


def _doubling_list(times: int) -> bytes:
    """The same of lists, by the memo."""
    place = [struct.pack("<I", 10_000 + number) for number in range(times + 1)]
    made = b"]r" + place[0]
    for before, after in pairwise(place):
        made += b"0](j" + before + b"j" + before + b"er" + after
    return made


def _array(shape: bytes, dtype: str = "f8", data: bytes = b"C\x00") -> bytes:
    """An array as a plain pickle describes it."""
    make = b"cnumpy._core.multiarray\n_reconstruct\n)R"
    kind = b"cnumpy\ndtype\n" + short(dtype) + b"\x85R"
    return make + b"(K\x01" + shape + kind + b"\x89" + data + b"tb"


def _compressed() -> dict[str, bytes]:
    """What unpacks to more than it may, by each of joblib's compressors."""
    zeros = bytes(TOO_MANY)
    small = lzma.compress(b"x", format=lzma.FORMAT_ALONE, preset=0)
    return {
        "zlib": zlib.compress(zeros, 9),
        "gzip": gzip.compress(zeros, 9),
        "bz2": bz2.compress(zeros),
        "xz": lzma.compress(zeros, preset=0),
        "lzma": lzma.compress(zeros, format=lzma.FORMAT_ALONE, preset=0),
        "lzma of a large dictionary": b"\x5d" + struct.pack("<I", 2**30) + small[5:],
        "zlib cut short": zlib.compress(pickled(logistic()))[:-4],
        "zlib with more behind": zlib.compress(pickled(logistic())) + b"x",
        "zlib in zlib": zlib.compress(zlib.compress(pickled(logistic()))),
    }


def _random_states(how_many: int) -> bytes:
    make = b"cnumpy.random._pickle\n__randomstate_ctor\n\x940" + short("MT19937") + b"\x85\x940"
    return b"\x80\x04" + make + b"(" + b"h\x00h\x01R" * how_many + b"l."


def _of_opcodes() -> dict[str, bytes]:
    huge, none = b"J\xff\xff\xff\x7f", b"K\x00"
    version = b"}" + short("_sklearn_version")
    key = {"deep": _deep(200_000), "doubling": _doubling(60)}
    shapes = {
        "huge": huge * 2 + b"\x86",
        "empty but wide": none + huge + b"\x86",
        "of a great many dimensions": b"(" + b"K\x01" * 500 + b"t",
        "negative": b"J\xff\xff\xff\xff\x85",
        "of large numbers": b"\x8a\xff" + b"\x7f" * 255 + b"\x85",
    }
    return {
        "bytes promised": b"\x80\x05\x96" + struct.pack("<Q", 2**33) + b".",
        "bytes promised by BINBYTES8": b"\x80\x05\x8e" + struct.pack("<Q", 2**40) + b".",
        "frame promised": b"\x80\x04\x95" + struct.pack("<Q", 2**40) + b".",
        "key, deep": handmade(b"}" + key["deep"] + b"K\x01s"),
        "key, doubling": handmade(b"}" + key["doubling"] + b"K\x01s"),
        "keys, doubling": handmade(b"}(" + key["doubling"] + b"K\x01u"),
        "DICT, doubling": b"(" + key["doubling"] + b"K\x01d.",
        "set, doubling": b"\x80\x04\x8f(" + key["doubling"] + b"\x90.",
        "called, doubling": b"\x80\x04" + _doubling(60) + b")R.",
        "made, doubling": b"\x80\x04" + _doubling(60) + b")\x81.",
        "version, doubling": handmade(version + _doubling(60) + b"s"),
        "type, doubling": b"\x80\x04cnumpy\ndtype\n" + _doubling(60) + b"\x85R.",
        "random, doubling": b"\x80\x04cnumpy.random._pickle\n__randomstate_ctor\n"
        + _doubling(60)
        + b"\x85R.",
        "random states": _random_states(2_000),
        "long name": b"\x80\x04c" + b"x" * 1_000_000 + b"\ny\n.",
        "long number": b"L" + b"9" * 100_000 + b"L\n.",
        **{
            f"array, {name}": handmade(b"}" + short("coef_") + _array(shape) + b"s")
            for name, shape in shapes.items()
        },
        "array of fewer objects than it says": handmade(
            b"}" + short("coef_") + _array(b"K\x63\x85", "O8", b"](K\x01e") + b"s"
        ),
        "array of more objects than it says": handmade(
            b"}" + short("coef_") + _array(b"K\x01\x85", "O8", b"](K\x01K\x02e") + b"s"
        ),
        "array of empty words": handmade(
            b"}" + short("coef_") + _array(huge + b"\x85", "U0") + b"s"
        ),
        "array of empty records": handmade(
            b"}" + short("coef_") + _array(huge + b"\x85", "V0") + b"s"
        ),
    }


def _of_models() -> dict[str, bytes]:
    """Models that are small in the file and large at work."""
    names = logistic()
    state = pickle.dumps(names, protocol=3)[:-2]
    doubled = short("feature_names_in_") + _doubling_list(40) + b"sb."
    chain, layers, wide = fitted("forest"), fitted("layers"), logistic()
    chain.estimators_ = chain.estimators_ * 200_000
    shared = np.zeros((4, 4))
    layers.coefs_ = [layers.coefs_[0], *[shared] * 200_000]
    layers.intercepts_ = [layers.intercepts_[0], *[np.zeros(4)] * 200_000]
    layers.n_layers_ = 200_002
    wide.n_features_in_ = 1
    wide.coef_, wide.intercept_ = np.zeros((500_000, 1)), np.zeros(500_000)
    rounds, outputs, many = fitted("histogram"), fitted("forest"), fitted("pipeline")
    rounds.n_trees_per_iteration_ = 10**8
    outputs.n_classes_ = 10**8
    many.steps = [("a", StandardScaler().fit(np.eye(3)))] * 1_000 + many.steps[-1:]
    bernoulli = fitted("bernoulli")
    bernoulli.feature_log_prob_ = np.zeros((500_000, 3))
    return {
        "names, doubling": state + doubled,
        "values, doubling": state + doubled.replace(b"feature_names_in_", b"feature_value_in_"),
        "one tree many times": pickled(chain),
        "one layer many times": pickled(layers),
        "weights of many outputs": pickled(wide),
        "weights of many classes": pickled(bernoulli),
        "many trees a round": pickled(rounds),
        "many classes": pickled(outputs),
        "one scaler many times": pickled(many),
    }


def _instructions() -> dict[str, bytes]:
    """As many objects as fit, each of one byte."""
    return {"lists": zlib.compress(b"\x80\x04" + b"]" * (TOO_MANY - 10) + b".")}


def bombs(canary: Path) -> Iterator[Hostile]:
    """All of them."""
    made: list[tuple[Format, Callable[[], dict[str, bytes]]]] = [
        ("joblib", _compressed),
        ("pickle", _of_opcodes),
        ("pickle", _of_models),
        ("joblib", _instructions),
    ]
    for format, make in made:
        for name, data in make().items():
            yield Hostile(f"bomb: {name}", format, data)
    yield Hostile("bomb: large file", "joblib", bytes(limits.BYTES.most + 1))
    yield Hostile("bomb: joblib's array", "joblib", _wrapped())


def _wrapped() -> bytes:
    """A joblib file whose array is said to be larger than the file."""
    data = pickled(logistic(), "joblib")
    small, large = b"K\x01K\x03\x86", b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86"
    assert small in data
    return data.replace(small, large, 1)
