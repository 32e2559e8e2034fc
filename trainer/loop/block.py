"""Examples read in bulk: a page of them is one row of the answer, each column one array.

psycopg takes longer for a row, and for each number of an array, than learning it does. Here the
server joins what it would have sent one by one, and arrays are seen in it without a loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rescore.trainer.learning.hashing import Hashes
from rescore.trainer.loop.packed import incomplete, unpacked, unpacked_rows

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_SINCE_1970 = 946_684_800_000_000  # microseconds until 2000, when PostgreSQL's time begins
_COLUMNS = {
    "ids": "i8", "xids": "i8", "taken": "i8", "due": "i8", "labels": "f8",
    "scores": "f8", "holdout": "?", "treated": "?",
}  # fmt: skip
_UNREAD = {"scores": np.nan, "treated": False}


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
    def read(cls, row: Sequence[Any], columns: int) -> Block:
        """Return the block of a row of ``learn_page.sql``.

        Parameters
        ----------
        row: how many examples there are, their hashes joined, the columns of ``_COLUMNS`` and the
            design rows, in binary form; None for what was not asked for.
        columns: of the design row.

        Raises
        ------
        NotEnoughData: a column is not as long as it should be.
        """
        count, hashes, *joined, design = row
        parts = dict(zip(_COLUMNS, joined, strict=True))
        found = {name: _column(data, name, count) for name, data in parts.items()}
        for name in ("taken", "due"):
            found[name] = (found[name] + _SINCE_1970) / 1e6
        rows = unpacked_rows(design or b"", (count, columns)) if count else np.empty((0, columns))
        return cls(_hashes(hashes, count), **found, weights=np.ones(count), design=rows)

    @staticmethod
    def end_of(row: Sequence[Any]) -> Position:
        """Return the position of the last example of such a row, which has at least one."""
        count, _, ids, xids, *_ = row
        last = (_column(data, "ids", count)[-1] for data in (xids, ids))
        return Position(*map(int, last))

    @classmethod
    def joined(cls, blocks: Sequence[Block]) -> Block:
        """Return several blocks, at least one, as one."""
        if len(blocks) == 1:
            return blocks[0]
        return cls(*(np.concatenate([getattr(b, name) for b in blocks]) for name in _FIELDS))

    def take(self, rows: Any) -> Block:
        """Return the examples of a mask, a slice or indices."""
        columns = (getattr(self, name) for name in _FIELDS)
        if isinstance(rows, np.ndarray) and rows.dtype == bool:
            # For rows of a matrix in a quarter of the time that indexing takes.
            return Block(*(np.compress(rows, column, axis=0) for column in columns))
        return Block(*(column[rows] for column in columns))

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def end(self) -> Position:
        """Position of the last example."""
        return Position(int(self.xids[-1]), int(self.ids[-1]))


_FIELDS = [field.name for field in fields(Block)]


def _column(data: bytes | None, name: str, count: int) -> NDArray[Any]:
    kind = _COLUMNS[name]
    if data is None and (name in _UNREAD or not count):
        return np.full(count, _UNREAD.get(name, 0), kind)
    return unpacked(data or b"", kind, (count,))


def _hashes(data: bytes | None, count: int) -> Hashes:
    if len(data or b"") != 8 * count:
        raise incomplete()
    return np.frombuffer(data or b"", ">u8").astype(np.uint64)
