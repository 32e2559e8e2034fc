"""Examples read in bulk: one row of arrays, in the binary form in which the server has them.

psycopg reads an array of numbers into a list, number by number; the server's own binary form,
asked for as bytes, is read by NumPy without a loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rescore.trainer.learning.hashing import Hashes, hash_keys

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_LENGTHS = 12  # number of dimensions, whether there are NULLs, type of the items
_DIMENSION = 8  # its size and its first subscript


class Position(NamedTuple):
    """A place in the order of examples: the transaction that resolved one, and its id."""

    xid: int
    id: int


START = Position(0, 0)


@dataclass(frozen=True)
class Block:
    """Snapshots in the order in which they were resolved.

    Attributes
    ----------
    xids, ids: their positions, shape (n,).
    taken, due: moments they were taken and could be resolved, in seconds since 1970, shape (n,).
    labels: shape (n,), 0 or 1; NaN while open.
    scores: as served, shape (n,); NaN where there was none.
    released: whether somebody let them out of quarantine, shape (n,).
    holdout: whether the customer is kept untreated, shape (n,).
    hashes: of the keys, shape (n,).
    design: design rows as scored, shape (n, columns).
    """

    xids: Integers
    ids: Integers
    taken: Floats
    due: Floats
    labels: Floats
    scores: Floats
    released: NDArray[np.bool_]
    holdout: NDArray[np.bool_]
    hashes: Hashes
    design: Floats

    @classmethod
    def read(cls, row: Sequence[Any], salt: str, columns: int) -> Block:
        """Return the block of one row of ``learn_batch.sql`` and the like.

        Parameters
        ----------
        row: keys, and each other attribute as an array in binary form; NULL for no examples.
        columns: of the design row, which no examples do not tell.
        """
        keys, ids, xids, *floats, design = row
        values = [numbers(part, ">f8").astype(np.float64) for part in floats]
        taken, due, labels, scores, released, holdout = values
        return cls(
            numbers(xids, ">i8").astype(np.int64),
            numbers(ids, ">i8").astype(np.int64),
            taken,
            due,
            labels,
            scores,
            released > 0,
            holdout > 0,
            hash_keys(keys or (), salt),
            numbers(design, ">f8").astype(np.float64).reshape(-1, columns),
        )

    @classmethod
    def joined(cls, blocks: Sequence[Block]) -> Block:
        """Return several blocks, at least one, as one."""
        names = [field.name for field in fields(cls)]
        return cls(*(np.concatenate([getattr(b, name) for b in blocks]) for name in names))

    def take(self, rows: Any) -> Block:
        """Return the examples of a mask, a slice or indices."""
        return Block(*(getattr(self, field.name)[rows] for field in fields(self)))

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def end(self) -> Position:
        """Position of the last example."""
        return Position(int(self.xids[-1]), int(self.ids[-1]))


def numbers(data: bytes | None, item: str) -> NDArray[Any]:
    """Return the numbers of an array in the server's binary form, in order, whatever its shape.

    Parameters
    ----------
    data: what ``array_send`` gave: an array of 8-byte numbers without NULLs; None for no array.
    item: NumPy's name of such a number, such as ``>f8``.
    """
    if not data:
        return np.empty(0, dtype=item)
    dimensions = int.from_bytes(data[:4], "big")
    record = np.dtype([("length", ">i4"), ("value", item)])
    return np.frombuffer(data, record, offset=_LENGTHS + _DIMENSION * dimensions)["value"]
