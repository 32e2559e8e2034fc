"""Micro-batches cut from what was read: many at a time, which costs less than one by one."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from rescore.trainer.loop.block import Block, Position
from rescore.trainer.loop.guard import Mask


@dataclass(frozen=True)
class Piece:
    """A micro-batch: what of it can be learnt or tested, what not, and where it ends.

    Attributes
    ----------
    suspects: ids of what is to be quarantined, each with its reason.
    due: when the last of its examples could be resolved, in seconds since 1970.
    spoken_for: untreated examples that the holdout stands for.
    """

    kept: Block
    suspects: dict[int, str]
    end: Position
    due: float
    spoken_for: int


def pieces(block: Block, size: int, kept: Mask, suspects: dict[int, str]) -> Iterator[Piece]:
    """Yield the micro-batches of a block, the last of which may be short.

    Parameters
    ----------
    kept: what of them is wanted, shape (n,).
    suspects: positions in the block, each with its reason.
    """
    found = block if kept.all() else block.take(kept)
    before = np.concatenate([[0], np.cumsum(kept)]).tolist()
    at = sorted(suspects)
    others = (block.weights == 0) & ~block.treated
    for start in range(0, len(block), size):
        stop = min(start + size, len(block))
        yield Piece(
            found.take(slice(before[start], before[stop])),
            {
                int(block.ids[n]): suspects[n]
                for n in at[bisect_left(at, start) : bisect_left(at, stop)]
            },
            Position(int(block.xids[stop - 1]), int(block.ids[stop - 1])),
            float(block.due[start:stop].max()),
            int(np.count_nonzero(others[start:stop])),
        )
