"""An unpickler that can build allow-listed estimators and nothing else.

It reads plain pickles and joblib's variant, in which an array's bytes follow its description.
Unlike an unpickler that only overrides ``find_class``, it also decides what may be called,
created, filled and given state, so an allowed name cannot be misused to reach another; and it
counts, so that a small file cannot ask for much memory or time.
"""

from __future__ import annotations

import io
import pickle
import struct
from collections.abc import Callable
from typing import Any, BinaryIO, ClassVar

import numpy as np

from rescore.plpython import attributes, estimators, limits, numpy_parts
from rescore.plpython.refusal import refuse, shown
from rescore.plpython.stand_ins import ArrayFollows, Constructor, Name, stand_in

# Persistent ids, classes by protocol 0, the extension registry, keyword construction, sets and
# out-of-band buffers: no estimator needs them.
_FORBIDDEN_OPCODES = (
    pickle.PERSID,
    pickle.BINPERSID,
    pickle.INST,
    pickle.OBJ,
    pickle.EXT1,
    pickle.EXT2,
    pickle.EXT4,
    pickle.NEWOBJ_EX,
    pickle.EMPTY_SET,
    pickle.ADDITEMS,
    pickle.FROZENSET,
    pickle.NEXT_BUFFER,
    pickle.READONLY_BUFFER,
)
_DESCRIPTION = {"subclass", "shape", "order", "dtype", "allow_mmap", "numpy_array_alignment_bytes"}

Handler = Callable[[Any], None]


class Steps:
    """How many steps reading one file has taken."""

    def __init__(self) -> None:
        self.taken = 0

    def take(self, steps: int = 1) -> None:
        """Count; refuse the file once they are too many."""
        self.taken += steps
        if self.taken > limits.STEPS.most:
            limits.STEPS.check(self.taken)


def _counted(handler: Handler) -> Handler:
    def counting(unpickler: Any) -> None:
        unpickler.steps.take()
        handler(unpickler)

    return counting


def check_key(key: Any) -> None:
    """Refuse a dictionary's key that is no plain value.

    Hashing a tuple that holds another many times over, or a million deep, never ends well.
    """
    if not (key is None or type(key) in (str, int, float, bool) or isinstance(key, np.number)):
        raise refuse("artefact holds a dictionary with a key that is no plain value")


def _build_object(instance: Any, state: Any) -> None:
    if type(state) is not dict:
        raise refuse(f"artefact gives {type(instance).__name__} a state that is no dictionary")
    for name, value in state.items():
        attributes.check(type(instance), name, value)
    if hasattr(type(instance), "__setstate__"):
        instance.__setstate__(state)
    else:
        instance.__dict__.update(state)


def _build_description(described: ArrayFollows, state: Any) -> None:
    if type(state) is not dict or not state.keys() <= _DESCRIPTION:
        raise refuse("artefact holds a damaged description of an array")
    described.__dict__.update(state)


def _build_tree(tree: Any, state: Any) -> None:
    if type(state) is not dict or set(state) != {"max_depth", "node_count", "nodes", "values"}:
        raise refuse("artefact holds a damaged decision tree")
    arrays = type(state["nodes"]) is np.ndarray and type(state["values"]) is np.ndarray
    counts = type(state["max_depth"]) is int and type(state["node_count"]) is int
    if not arrays or not counts or state["node_count"] != len(state["nodes"]):
        raise refuse("artefact holds a decision tree with nodes missing")
    tree.__setstate__(state)


class Unpickler(pickle._Unpickler):
    """Reads one allow-listed object from a binary file held in memory."""

    # The interpreter's pure Python unpickler, which joblib builds on too: the one in C does not
    # let a subclass decide what is called.
    dispatch: ClassVar[dict[int, Handler]] = dict(pickle._Unpickler.dispatch)
    stack: list[Any]
    append: Callable[[Any], None]
    read: Callable[[int], bytes]
    pop_mark: Callable[[], list[Any]]

    def __init__(self, file: BinaryIO, size: int, steps: Steps | None = None) -> None:
        super().__init__(file)
        self._file = file
        self._size = size
        self.steps = steps or Steps()

    def find_class(self, module: str, name: str) -> Any:
        """Return the stand-in for a name; refuse those not on the list, importing nothing."""
        return stand_in(estimators.current_name(f"{module}.{name}"))

    def load_forbidden(self) -> None:
        """Refuse an opcode."""
        raise refuse("artefact uses a pickle feature that no estimator needs")

    for _opcode in _FORBIDDEN_OPCODES:
        dispatch[_opcode[0]] = load_forbidden

    def load_bytearray8(self) -> None:
        """Take bytes that are there, rather than make room for as many as are promised."""
        (length,) = struct.unpack("<Q", self.read(8))
        data = self.read(length) if length <= self._size else b""
        if len(data) != length:
            raise refuse(f"artefact is truncated: {length} bytes are not there")
        self.append(bytearray(data))

    dispatch[pickle.BYTEARRAY8[0]] = load_bytearray8

    def load_dict(self) -> None:
        """Make a dictionary of plain keys."""
        items = self.pop_mark()
        self.append({})
        self._fill(items)

    dispatch[pickle.DICT[0]] = load_dict

    def load_setitem(self) -> None:
        """Put one value into a dictionary; never into anything else."""
        value, key = self.stack.pop(), self.stack.pop()
        self._fill([key, value])

    dispatch[pickle.SETITEM[0]] = load_setitem

    def load_setitems(self) -> None:
        """Put values into a dictionary; never into anything else."""
        self._fill(self.pop_mark())

    dispatch[pickle.SETITEMS[0]] = load_setitems

    def _fill(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not dict or len(items) % 2:
            raise refuse(f"artefact puts keys into {shown(target)}")
        for key in items[::2]:
            check_key(key)
        target.update(zip(items[::2], items[1::2], strict=True))
        limits.KEYS.check(len(target))

    def load_append(self) -> None:
        """Lengthen a list; never anything else."""
        value = self.stack.pop()
        self._extend([value])

    dispatch[pickle.APPEND[0]] = load_append

    def load_appends(self) -> None:
        """Lengthen a list; never anything else."""
        self._extend(self.pop_mark())

    dispatch[pickle.APPENDS[0]] = load_appends

    def _extend(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not list:
            raise refuse(f"artefact appends to {shown(target)}")
        target.extend(items)

    def load_reduce(self) -> None:
        """Call a stand-in of this module; never anything else on the stack."""
        args = self.stack.pop()
        function = self.stack[-1]
        if type(function) is not Constructor or type(args) is not tuple:
            raise refuse(f"artefact calls {_callee(function)}")
        self.steps.take(function.steps)
        self.stack[-1] = function.call(*args)

    dispatch[pickle.REDUCE[0]] = load_reduce

    def load_newobj(self) -> None:
        """Create an empty instance of an allow-listed class."""
        args = self.stack.pop()
        cls: Any = self.stack[-1]
        if type(args) is not tuple or args or not isinstance(cls, type):
            raise refuse(f"artefact creates {_callee(cls)} with arguments")
        self.steps.take(10)
        self.stack[-1] = object.__new__(cls)

    dispatch[pickle.NEWOBJ[0]] = load_newobj

    def load_build(self) -> None:
        """Give an instance its state, and put the array in place of joblib's description."""
        state = self.stack.pop()
        self._build(self.stack[-1], state)
        if type(self.stack[-1]) is ArrayFollows:
            self.stack[-1] = self._read_array(self.stack[-1])

    dispatch[pickle.BUILD[0]] = load_build

    for _code, _handler in dispatch.items():
        dispatch[_code] = _counted(_handler)

    def _build(self, instance: Any, state: Any) -> None:
        if estimators.is_one_of(instance, estimators.OBJECTS):
            _build_object(instance, state)
        elif type(instance) is ArrayFollows:
            _build_description(instance, state)
        elif estimators.is_one_of(instance, (estimators.TREE,)):
            _build_tree(instance, state)
        elif type(instance) is np.ndarray:
            numpy_parts.build_array(instance, state)
        else:
            self._build_small(instance, state)

    def _build_small(self, instance: Any, state: Any) -> None:
        if isinstance(instance, numpy_parts.PickledType):
            instance.build(state)
        elif isinstance(instance, np.random.BitGenerator):
            numpy_parts.build_bit_generator(instance, state)
        elif type(instance) is np.random.RandomState:
            instance.set_state(state)
        elif type(instance) is np.random.Generator and state:
            numpy_parts.build_bit_generator(instance.bit_generator, state)
        elif type(instance) is np.random.SeedSequence or not state:
            return
        else:
            raise refuse(f"artefact gives state to {type(instance).__name__}")

    def _read_array(self, described: ArrayFollows) -> np.ndarray[Any, Any]:
        dtype = numpy_parts.real_dtype(described.dtype)
        if described.subclass != Name("numpy.ndarray"):
            raise refuse("artefact holds an array of a foreign class")
        self.steps.take(10)
        if dtype.hasobject:
            return self._read_nested()
        count = numpy_parts.checked_count(described.shape)
        data = self._read_bytes(count * dtype.itemsize, described.numpy_array_alignment_bytes)
        return numpy_parts.array_of(bytearray(data), dtype, described.shape, described.order)

    def _read_bytes(self, length: int, alignment: int | None) -> bytes:
        if alignment is not None:
            padding = self._file.read(1)
            self._file.read(padding[0] if padding else 0)
        data = self._file.read(length) if length <= self._size else b""
        if len(data) != length:
            raise refuse(f"artefact is truncated: an array of {length} bytes is not there")
        return data

    def _read_nested(self) -> np.ndarray[Any, Any]:
        # Column names are an array of Python strings: a pickle within the pickle, read under
        # the same rules.
        array = Unpickler(self._file, self._size, self.steps).load()
        if type(array) is not np.ndarray:
            raise refuse(f"artefact holds {type(array).__name__} where an array belongs")
        return array


def _callee(thing: Any) -> str:
    """Return the name of what a pickle would call."""
    name = getattr(thing, "__qualname__", None) or getattr(thing, "qualified", None)
    return name if type(name) is str else shown(thing)


def unpickle(data: bytes) -> Any:
    """Return the object in a pickle or joblib file already decompressed.

    Raises
    ------
    ArtefactRefused
        If the file names anything not on the allow-list, misuses what is, is out of proportion,
        or has bytes left over.
    """
    file = io.BytesIO(data)
    found = Unpickler(file, len(data)).load()
    if file.read(1):
        raise refuse("artefact has bytes left over after its end")
    return found
