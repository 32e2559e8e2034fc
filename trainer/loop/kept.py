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
        What holds of some holds of more.
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
        if not self._will_do():
            self.most *= 2
            return
        while self._count - len(self._blocks[0]) >= self.most:
            self._count -= len(self._blocks.popleft())

    def _will_do(self) -> bool:
        # Mostly a few of them do: to join all takes longer than to learn as many.
        sizes = (max(self.most // 16, 1), max(self.most // 4, 1), self.most)
        return self.enough is None or any(self.enough(self._last(size)) for size in sizes)

    @property
    def block(self) -> Block:
        """The newest, in order; at least one block must have been added."""
        return self._last(self.most)

    def _last(self, most: int) -> Block:
        blocks: list[Block] = []
        wanted = most
        for block in reversed(self._blocks):
            blocks.append(block)
            wanted -= len(block)
            if wanted <= 0:
                break
        return Block.joined(blocks[::-1]).take(slice(-most, None))


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
