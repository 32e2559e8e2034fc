"""Examples read in bulk: a page of them is one row of the answer.

psycopg takes longer for a row, and for each number of an array, than learning it does. Here the
server joins what it would have sent one by one, and arrays are seen in it without a loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rescore.trainer.learning.hashing import Hashes
from rescore.trainer.loop.packed import Bytes, form_of, unpacked_designs, unpacked_fields

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_SINCE_1970 = 946_684_800_000_000  # microseconds until 2000, when PostgreSQL's time begins


class Position(NamedTuple):
    """A place in the order of examples: the transaction that resolved one, and its id."""

    xid: int
    id: int


START = Position(0, 0)


@dataclass(frozen=True)
class Sent:
    """Examples as they were sent.

    Attributes
    ----------
    fields: of each, see :func:`unpacked_fields`; None where there are none.
    designs: the design rows, as many; see :func:`unpacked_designs`.
    """

    fields: Bytes | None
    designs: Bytes | None

    @cached_property
    def _row(self) -> np.dtype[Any]:
        assert self.fields is not None
        return form_of(self.fields).row

    def __len__(self) -> int:
        return len(self.fields) // self._row.itemsize if self.fields else 0

    @property
    def end(self) -> Position:
        """Position of the last one, of at least one."""
        last = np.frombuffer(self.fields or b"", self._row)[-1]
        return Position(int(last["xids"]), int(last["ids"]))


@dataclass(frozen=True)
class Block:
    """Snapshots in the order in which they were resolved.

    Attributes
    ----------
    hashes: of the keys, shape (n,).
    ids, xids: their positions, shape (n,); xids 0 of the newest, which may be open.
    taken, due: moments they were taken and could be resolved, in seconds since 1970, shape (n,).
    labels: shape (n,), 0 or 1, or numbers; NaN while open, 0 for segments.
    scores: as served, shape (n,); NaN where there was none, or not asked for.
    holdout: whether the customer is kept untreated, shape (n,).
    treated: whether within the horizon they were treated, shape (n,); False where not asked for.
    weights: how many examples each stands for, shape (n,).
    design: design rows as scored, shape (n, columns).
    """

    hashes: Hashes
    ids: Integers
    xids: Integers
    taken: Floats
    due: Floats
    labels: Floats
    scores: Floats
    holdout: NDArray[np.bool_]
    treated: NDArray[np.bool_]
    weights: Floats
    design: Floats

    @classmethod
    def read(cls, parts: Sequence[Sent], columns: int) -> Block:
        """Return the block of what was sent in parts, with so many columns of the design row.

        Raises
        ------
        NotEnoughData: a design row has more or fewer, or a NULL.
        """
        read = unpacked_fields([part.fields for part in parts if part.fields is not None])
        # Copies: where one field lies between others, the processor is not at full speed.
        there = [name for name in _NAMES if name in (read.dtype.names or ())]
        found = _unread(len(read)) | {name: _native(read[name]) for name in there}
        for name in ("taken", "due"):
            found[name] = (found[name] + _SINCE_1970) / 1e6
        designs = [part.designs for part in parts if part.designs is not None]
        design = unpacked_designs(designs, (len(read), columns))
        return cls(**found, weights=np.ones(len(read)), design=_native(design, copy=False))

    @classmethod
    def joined(cls, blocks: Sequence[Block]) -> Block:
        """Return several blocks, at least one, as one."""
        if len(blocks) == 1:
            return blocks[0]
        return cls(*(np.concatenate([getattr(b, name) for b in blocks]) for name in _NAMES))

    def take(self, rows: Any) -> Block:
        """Return the examples of a mask, a slice or indices."""
        columns = (getattr(self, name) for name in _NAMES)
        if isinstance(rows, np.ndarray):
            # A mask takes five times as long for each column, indices as such one and a half times.
            found = np.flatnonzero(rows) if rows.dtype == bool else rows
            return Block(*(column.take(found, axis=0) for column in columns))
        return Block(*(column[rows] for column in columns))

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def end(self) -> Position:
        """Position of the last example."""
        return Position(int(self.xids[-1]), int(self.ids[-1]))


_NAMES = [field.name for field in fields(Block)]


def _unread(count: int) -> dict[str, NDArray[Any]]:
    """Return what ``learn_scores.sql`` reads, where nobody asked for it."""
    return {"scores": np.full(count, np.nan), "treated": np.zeros(count, dtype=bool)}


def _native(values: NDArray[Any], *, copy: bool = True) -> NDArray[Any]:
    return values.astype(values.dtype.newbyteorder("="), copy=copy)
