"""An unpickler that can build allow-listed estimators and nothing else.

It reads plain pickles and joblib's variant, in which an array's bytes follow its description.
Unlike an unpickler that only overrides ``find_class``, it also decides what may be called,
created and given state, so an allowed name cannot be misused to reach another.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from typing import Any, BinaryIO, ClassVar

import numpy as np

from rescore.plpython import estimators, numpy_parts
from rescore.plpython.numpy_parts import refuse
from rescore.plpython.stand_ins import ArrayFollows, Constructor, Name, stand_in

# Persistent ids, classes by protocol 0, the extension registry, keyword construction and
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
    pickle.NEXT_BUFFER,
    pickle.READONLY_BUFFER,
)


def _check_attributes(instance: Any, state: Any) -> None:
    name = estimators.qualified_name(type(instance))
    if type(state) is not dict:
        raise refuse(f"artefact gives {name} a state that is no dictionary")
    for key in state:
        if (
            type(key) is not str
            or key.startswith("__")
            or callable(getattr(type(instance), key, None))
        ):
            raise refuse(f"artefact replaces {key!r} of {name}")


def _build_object(instance: Any, state: Any) -> None:
    _check_attributes(instance, state)
    if hasattr(type(instance), "__setstate__"):
        instance.__setstate__(state)
    else:
        instance.__dict__.update(state)


def _build_tree(tree: Any, state: Any) -> None:
    if type(state) is not dict or set(state) != {"max_depth", "node_count", "nodes", "values"}:
        raise refuse("artefact holds a damaged decision tree")
    if state["node_count"] != len(state["nodes"]):
        raise refuse("artefact holds a decision tree with nodes missing")
    tree.__setstate__(state)


class Unpickler(pickle._Unpickler):
    """Reads one allow-listed object from a binary file held in memory."""

    # The interpreter's pure Python unpickler, which joblib builds on too: the one in C does not
    # let a subclass decide what is called.
    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = dict(pickle._Unpickler.dispatch)
    stack: list[Any]

    def __init__(self, file: BinaryIO, size: int) -> None:
        super().__init__(file)
        self._file = file
        self._size = size

    def find_class(self, module: str, name: str) -> Any:
        """Return the stand-in for a name; refuse those not on the list, importing nothing."""
        return stand_in(estimators.current_name(f"{module}.{name}"))

    def load_forbidden(self) -> None:
        """Refuse an opcode."""
        raise refuse("artefact uses a pickle feature that no estimator needs")

    for _opcode in _FORBIDDEN_OPCODES:
        dispatch[_opcode[0]] = load_forbidden

    def load_reduce(self) -> None:
        """Call a stand-in of this module; never anything else on the stack."""
        args = self.stack.pop()
        function = self.stack[-1]
        if type(function) is not Constructor or type(args) is not tuple:
            raise refuse(f"artefact calls {function!r:.200}")
        self.stack[-1] = function.call(*args)

    dispatch[pickle.REDUCE[0]] = load_reduce

    def load_newobj(self) -> None:
        """Create an empty instance of an allow-listed class."""
        args = self.stack.pop()
        cls: Any = self.stack[-1]
        if type(args) is not tuple or args or not isinstance(cls, type):
            raise refuse(f"artefact creates {cls!r:.200} with arguments")
        self.stack[-1] = object.__new__(cls)

    dispatch[pickle.NEWOBJ[0]] = load_newobj

    def load_build(self) -> None:
        """Give an instance its state, and put the array in place of joblib's description."""
        state = self.stack.pop()
        self._build(self.stack[-1], state)
        if type(self.stack[-1]) is ArrayFollows:
            self.stack[-1] = self._read_array(self.stack[-1])

    dispatch[pickle.BUILD[0]] = load_build

    def _build(self, instance: Any, state: Any) -> None:
        if estimators.is_one_of(instance, estimators.OBJECTS):
            _build_object(instance, state)
        elif type(instance) is ArrayFollows:
            _check_attributes(instance, state)
            instance.__dict__.update(state)
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
        array = Unpickler(self._file, self._size).load()
        if type(array) is not np.ndarray:
            raise refuse(f"artefact holds {type(array).__name__} where an array belongs")
        return array


def unpickle(data: bytes) -> Any:
    """Return the object in a pickle or joblib file already decompressed.

    Raises
    ------
    ArtefactRefused
        If the file names anything not on the allow-list, misuses what is, or has bytes left over.
    """
    file = io.BytesIO(data)
    found = Unpickler(file, len(data)).load()
    if file.read(1):
        raise refuse("artefact has bytes left over after its end")
    return found
