"""Examples read in bulk: rows of one length, as COPY writes them, seen as arrays.

psycopg reads row by row, and an array of numbers number by number. Here nothing is read in a loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rescore.errors import NotEnoughData
from rescore.trainer.learning.hashing import Hashes

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_SIGNATURE = b"PGCOPY\n\xff\r\n\x00"
_HEADER = len(_SIGNATURE) + 8  # signature, flags, length of the extension
_TRAILER = 2
_COLUMNS = {
    "hashes": ">u8", "ids": ">i8", "xids": ">i8", "taken": ">f8", "due": ">f8", "labels": ">f8",
    "scores": ">f8", "released": "?", "holdout": "?", "treated": "?",
}  # fmt: skip


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
    labels: shape (n,), 0 or 1, or numbers; NaN while open, 0 for segments.
    scores: as served, shape (n,); NaN where there was none.
    released: whether somebody let them out of quarantine, shape (n,).
    holdout: whether the customer is kept untreated, shape (n,).
    treated: whether the customer was treated within the horizon, shape (n,).
    weights: how many examples each stands for, shape (n,).
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
    treated: NDArray[np.bool_]
    weights: Floats
    hashes: Hashes
    design: Floats

    @classmethod
    def read(cls, data: bytes, columns: int) -> Block:
        """Return the block of what COPY gave of ``learn_batch.sql`` and the like.

        Parameters
        ----------
        columns: of the design row.

        Raises
        ------
        NotEnoughData: a row is not as long as it should be.
        """
        record = _record(columns)
        rows, rest = divmod(len(data) - _HEADER - _TRAILER, record.itemsize)
        if rest or not data.startswith(_SIGNATURE):
            raise NotEnoughData(
                "the snapshots read are not complete",
                detail="A value is NULL, or a design row has not as many columns as its contract.",
                hint="Install the same version of rescore in the database and here.",
            )
        found = np.frombuffer(data, record, offset=_HEADER, count=rows)
        parts = {n: found[n].astype(record[n].newbyteorder("=")) for n in _COLUMNS}
        design = found["design"]["value"].astype(np.float64)
        return cls(**parts, weights=np.ones(rows), design=design)

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


def _record(columns: int) -> np.dtype[Any]:
    """Return the layout of one row of COPY BINARY: plain columns, and an array without NULLs."""
    plain = [each for n, kind in _COLUMNS.items() for each in ((f"{n} length", ">i4"), (n, kind))]
    item = np.dtype([("length", ">i4"), ("value", ">f8")])
    array = [("bytes", ">i4"), ("array", ">i4", (5,)), ("design", item, (columns,))]
    return np.dtype([("fields", ">i2"), *plain, *array])
