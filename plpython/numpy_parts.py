"""Safe stand-ins for the NumPy functions that pickles call.

A pickle names functions to call and the arguments for them. Nothing it names is called: each
name maps to a function here that checks its arguments and builds the same value.
"""

from __future__ import annotations

import math
import re
from typing import Any, Literal

import numpy as np

from rescore.plpython import limits
from rescore.plpython.refusal import refuse, shown

_SPEC = re.compile(r"[<>|=]?(?:b1|[iu][1248]|f[248]|U\d{1,6}|O8?|V\d{1,6}|\?)")


class PickledType:
    """A dtype on its way out of a pickle: first named, then given its byte order or fields.

    NumPy's own dtypes are changed in place by unpickling, fields at any offset included, so the
    pickle never sees a real one.
    """

    def __init__(self, spec: Any, *_: Any) -> None:
        if not isinstance(spec, str) or not _SPEC.fullmatch(spec):
            raise refuse(f"artefact holds an array of type {shown(spec)}")
        self.dtype: np.dtype[Any] = _of_some_size(np.dtype(spec))

    def build(self, state: Any) -> None:
        """Take the byte order, or the fields of a record, from a dtype's pickled state."""
        if not isinstance(state, tuple) or len(state) != 8 or state[2] is not None:
            raise refuse("artefact holds a damaged array type")
        if self.dtype.kind == "V":
            self.dtype = _record(state[3], state[4], self.dtype.itemsize)
        elif state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])


def _of_some_size(dtype: np.dtype[Any]) -> np.dtype[Any]:
    # Of values without a byte, an array of any shape takes no space in the file.
    if not dtype.itemsize:
        raise refuse(f"artefact holds an array of the empty type {dtype.str}")
    return dtype


def _record(names: Any, fields: Any, itemsize: int) -> np.dtype[Any]:
    named = isinstance(names, tuple) and all(type(name) is str for name in names)
    if not named or not names or type(fields) is not dict:
        raise refuse("artefact holds a damaged record type")
    types = [real_dtype(fields[name][0]) for name in names]
    if any(dtype.kind not in "biuf" for dtype in types):
        raise refuse("artefact holds records of something else than numbers")
    offsets = [int(fields[name][1]) for name in names]
    return np.dtype(
        {"names": list(names), "formats": types, "offsets": offsets, "itemsize": itemsize}
    )


def real_dtype(pickled: Any) -> np.dtype[Any]:
    """Return the dtype that a pickled one stands for."""
    if not isinstance(pickled, PickledType):
        raise refuse(f"artefact holds {type(pickled).__name__} where an array type belongs")
    return pickled.dtype


def _plain_dtype(pickled: Any) -> np.dtype[Any]:
    dtype = real_dtype(pickled)
    if dtype.hasobject:
        raise refuse("artefact holds Python objects where numbers belong")
    return dtype


def is_number_type(dtype: np.dtype[Any]) -> bool:
    """Say whether arrays of a type hold numbers or records of them, and nothing else."""
    if dtype.names is None:
        return dtype.kind in "biuf" and not dtype.subdtype
    return all(is_number_type(dtype[name]) for name in dtype.names)


def scalar(pickled: Any, data: Any) -> Any:
    """Rebuild a NumPy scalar from its bytes."""
    dtype = _plain_dtype(pickled)
    if not isinstance(data, bytes) or len(data) != dtype.itemsize:
        raise refuse("artefact holds a damaged number")
    return np.frombuffer(data, dtype=dtype, count=1)[0]


def empty_array(*_: Any) -> np.ndarray[Any, Any]:
    """Return the array that :func:`build_array` fills; the shape asked for is not believed."""
    return np.empty(0, dtype=np.uint8)


def build_array(array: np.ndarray[Any, Any], state: Any) -> None:
    """Give an array made by :func:`empty_array` its shape, type and values, in place."""
    if not isinstance(state, tuple) or len(state) != 5:
        raise refuse("artefact holds a damaged array")
    version, shape, pickled, fortran, data = state
    target: Any = array
    dtype = real_dtype(pickled)
    count = checked_count(shape)
    if type(version) is not int or array.size:
        raise refuse("artefact gives an array its values twice")
    if not isinstance(data, list if dtype.hasobject else (bytes, bytearray)):
        raise refuse("artefact holds an array whose values are not of its type")
    if dtype.hasobject and len(data) != count:  # NumPy reads on, beyond the list
        raise refuse(f"artefact holds an array of {count} objects and {len(data)} values")
    target.__setstate__((version, shape, dtype, bool(fortran), data))


def array_from_buffer(data: Any, pickled: Any, shape: Any, order: Any) -> np.ndarray[Any, Any]:
    """Rebuild an array from raw bytes (pickle protocol 5)."""
    dtype = _plain_dtype(pickled)
    if not isinstance(data, (bytes, bytearray)):
        raise refuse("artefact holds a damaged array")
    checked_count(shape)
    return array_of(bytearray(data), dtype, shape, order)


def array_of(data: bytearray, dtype: np.dtype[Any], shape: Any, order: Any) -> np.ndarray[Any, Any]:
    """Return an array of the machine's byte order over raw bytes."""
    columns_first: Literal["C", "F"] = "F" if order == "F" else "C"
    array = np.frombuffer(data, dtype=dtype).reshape(shape, order=columns_first)
    native: np.ndarray[Any, Any] = array.astype(dtype.newbyteorder("="), order="K", copy=False)
    return native


def encoded_bytes(text: Any, encoding: Any) -> bytes:
    """Return bytes that pickle protocol 2 wrote as Latin-1 text."""
    if not isinstance(text, str) or encoding != "latin1":
        raise refuse("artefact holds damaged bytes")
    return text.encode("latin1")


def checked_count(shape: Any) -> int:
    """Return how many values a shape asks for, having checked that it is one."""
    if not isinstance(shape, tuple) or any(type(n) is not int or n < 0 for n in shape):
        raise refuse("artefact holds an array of no possible shape")
    limits.DIMENSIONS.check(len(shape))
    limits.ELEMENTS.check(max(shape, default=0))
    limits.ELEMENTS.check(count := math.prod(shape))
    return count


_BIT_GENERATORS = {"MT19937": np.random.MT19937, "PCG64": np.random.PCG64}


def bit_generator(name: Any) -> np.random.BitGenerator:
    """Return a bit generator of the kind named, to be given its state."""
    kind = name if type(name) is str else getattr(name, "last", None)
    if type(kind) is not str or kind not in _BIT_GENERATORS:
        raise refuse(f"artefact holds random numbers of kind {shown(kind)}")
    return _BIT_GENERATORS[kind](0)


def build_bit_generator(generator: np.random.BitGenerator, state: Any) -> None:
    """Give a bit generator its state; the seed it once came from is not needed."""
    generator.state = state[0] if isinstance(state, tuple) else state


def random_state(generator: Any, *_: Any) -> np.random.RandomState:
    """Return a RandomState over a bit generator, or over a new one of the kind named."""
    made = generator if isinstance(generator, np.random.MT19937) else bit_generator(generator)
    return np.random.RandomState(made)


def random_generator(generator: Any, *_: Any) -> np.random.Generator:
    """Return a Generator over a bit generator, or over a new one of the kind named."""
    known = tuple(_BIT_GENERATORS.values())
    made = generator if isinstance(generator, known) else bit_generator(generator)
    return np.random.Generator(made)


def seed_sequence(*_: Any) -> np.random.SeedSequence:
    """Return some SeedSequence: bit generators carry their whole state, the seed is history."""
    return np.random.SeedSequence(0)
