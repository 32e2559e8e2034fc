"""Micro-batches cut from what was read: many at a time, which costs less than one by one."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby, pairwise

import numpy as np

from rescore.trainer.learning.batch import Batch
from rescore.trainer.learning.target import Target
from rescore.trainer.loop.block import Block, Floats, Position
from rescore.trainer.loop.guard import Mask


@dataclass(frozen=True)
class Piece:
    """A micro-batch: what of it can be learnt or tested, what not, and where it ends.

    Attributes
    ----------
    block: what can be of all that was read with it.
    rows: of the block, those of this micro-batch.
    batch: the same, to be learnt.
    newest: the last moment one of them was taken, in seconds since 1970; -inf where there is none.
    suspects: ids of what is to be quarantined, each with its reason.
    due: when the last of its examples could be resolved, in seconds since 1970.
    spoken_for: untreated examples that the holdout stands for.
    """

    block: Block
    rows: slice
    batch: Batch
    newest: float
    suspects: dict[int, str]
    end: Position
    due: float
    spoken_for: int

    @property
    def kept(self) -> Block:
        """What of it can be learnt or tested."""
        return self.block.take(self.rows)


def pieces(
    block: Block, size: int, kept: Mask, suspects: dict[int, str], target: Target
) -> Iterator[Piece]:
    """Yield the micro-batches of a block, the last of which may be short.

    Parameters
    ----------
    block: not empty.
    kept: what of them is wanted, shape (n,).
    suspects: positions in the block, each with its reason.

    Raises
    ------
    NotFinite, BadFeature: see `Batch`.
    """
    found = block if kept.all() else block.take(kept)
    batch = Batch(found.design, found.labels, found.hashes, found.weights, target)
    at = sorted(suspects)
    others = (block.weights == 0) & ~block.treated
    starts = range(0, len(block), size)
    kept_before = np.concatenate([[0], np.cumsum(kept)])[[*starts, len(block)]].tolist()
    newest = _most(np.where(kept, block.taken, -np.inf), starts)
    ends = zip(starts, pairwise(kept_before), newest, _most(block.due, starts), strict=True)
    for start, kept_from_to, last_taken, due in ends:
        stop = min(start + size, len(block))
        rows = slice(*kept_from_to)
        yield Piece(
            found,
            rows,
            batch.take(rows),
            last_taken,
            {
                int(block.ids[n]): suspects[n]
                for n in at[bisect_left(at, start) : bisect_left(at, stop)]
            },
            Position(int(block.xids[stop - 1]), int(block.ids[stop - 1])),
            due,
            int(np.count_nonzero(others[start:stop])),
        )


def runs(some: Iterable[Piece]) -> Iterator[Block]:
    """Yield the examples of successive micro-batches, those that were read together as one."""
    for _, together in groupby(some, key=lambda piece: id(piece.block)):
        first, *rest = together
        last = rest[-1] if rest else first
        yield first.block.take(slice(first.rows.start, last.rows.stop))


def _most(moments: Floats, starts: range) -> list[float]:
    found: list[float] = np.maximum.reduceat(moments, starts).tolist()
    return found
