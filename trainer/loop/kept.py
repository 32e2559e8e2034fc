"""What a round keeps of the examples that went through it: sums of all, and the newest of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from rescore.trainer.loop.block import Block


@dataclass
class Newest:
    """The newest examples, at least so many: memory does not grow with the round.

    Attributes
    ----------
    most: how many are kept.
    enough: says whether so many will do; while they do not, twice as many are kept. None: always.
    """

    most: int
    enough: Callable[[Block], bool] | None = None
    _blocks: deque[Block] = field(default_factory=deque, init=False)
    _count: int = field(default=0, init=False)

    def add(self, block: Block) -> None:
        """Take in examples that are newer than all others."""
        self._blocks.append(block)
        self._count += len(block)
        if self._count >= 2 * self.most:
            self._trim()

    def _trim(self) -> None:
        if self.enough and not self.enough(self.block):
            self.most *= 2
            return
        while self._count - len(self._blocks[0]) >= self.most:
            self._count -= len(self._blocks.popleft())

    @property
    def block(self) -> Block:
        """The newest, in order; at least one block must have been added."""
        return Block.joined(list(self._blocks)).take(slice(-self.most, None))


@dataclass
class Learnt:
    """What a round has learnt from.

    Attributes
    ----------
    examples, positives: how many.
    began, ended: first and last moment, in seconds since 1970.
    known: when the last outcome could be resolved, in seconds since 1970.
    newest: of the examples.
    """

    newest: Newest
    examples: int = 0
    positives: int = 0
    began: float = np.inf
    ended: float = -np.inf
    known: float = -np.inf

    def add(self, block: Block) -> None:
        """Take in examples, at least one."""
        self.newest.add(block)
        self.examples += len(block)
        self.positives += int(np.count_nonzero(block.labels > 0))
        self.began = min(self.began, float(block.taken.min()))
        self.ended = max(self.ended, float(block.taken.max()))
        self.known = max(self.known, float(block.due.max()))
