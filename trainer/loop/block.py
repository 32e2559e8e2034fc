"""Examples read in bulk: a page of them is one row of the answer, each column one binary value.

psycopg takes longer for a row, and for each number of an array, than learning it does. Here the
server joins what it would have sent one by one, and arrays are seen in it without a loop.
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

_SINCE_1970 = 946_684_800_000_000  # microseconds until 2000, when PostgreSQL's time begins
_COLUMNS = {
    "hashes": ">u8", "ids": ">i8", "xids": ">i8", "taken": ">i8", "due": ">i8", "labels": ">f8",
    "scores": ">f8", "holdout": "?", "treated": "?",
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
        row: how many examples there are, and the columns of ``_COLUMNS`` and the design rows, each
            joined as their types send them; None for what was not asked for.
        columns: of the design row.

        Raises
        ------
        NotEnoughData: a column is not as long as it should be.
        """
        count, *joined, design = row
        parts = dict(zip(_COLUMNS, joined, strict=True))
        found = {name: _column(data, name, count) for name, data in parts.items()}
        for name in ("taken", "due"):
            found[name] = (found[name] + _SINCE_1970) / 1e6
        return cls(**found, weights=np.ones(count), design=_design(design, count, columns))

    @classmethod
    def joined(cls, blocks: Sequence[Block]) -> Block:
        """Return several blocks, at least one, as one."""
        if len(blocks) == 1:
            return blocks[0]
        return cls(*(np.concatenate([getattr(b, name) for b in blocks]) for name in _FIELDS))

    def take(self, rows: Any) -> Block:
        """Return the examples of a mask, a slice or indices."""
        return Block(*(getattr(self, name)[rows] for name in _FIELDS))

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def end(self) -> Position:
        """Position of the last example."""
        return Position(int(self.xids[-1]), int(self.ids[-1]))


_FIELDS = [field.name for field in fields(Block)]


def _column(data: bytes | None, name: str, count: int) -> Any:
    kind = np.dtype(_COLUMNS[name])
    if data is None and (name in _UNREAD or not count):
        return np.full(count, _UNREAD.get(name, 0), kind.newbyteorder("="))
    return _viewed(data, kind, count).astype(kind.newbyteorder("="))


def _design(data: bytes | None, count: int, columns: int) -> Floats:
    """Return design rows, joined as arrays without NULLs are sent."""
    item = np.dtype([("length", ">i4"), ("value", ">f8")])
    kind = np.dtype([("array", ">i4", (5,)), ("items", item, (columns,))])
    return _viewed(data, kind, count)["items"]["value"].astype(np.float64)


def _viewed(data: bytes | None, kind: np.dtype[Any], count: int) -> NDArray[Any]:
    if len(data or b"") != count * kind.itemsize:
        raise NotEnoughData(
            "the snapshots read are not complete",
            detail="A value is NULL, or a design row has not as many columns as its contract.",
            hint="Install the same version of rescore in the database and here.",
        )
    return np.frombuffer(data or b"", kind)
