"""What a round keeps of the examples that went through it: sums of all, and the newest of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rescore.trainer.loop.block import Block


@dataclass
class Newest:
    """The newest examples, at least so many: memory does not grow with the round.

    Those of whole rounds of snapshots, in which every customer is: where one alone has more than
    are kept, those of some of the customers, by their hashes. The last of a round would be those
    with the greatest keys, which are often the newest customers, and like nobody else.

    Attributes
    ----------
    most: how many are kept.
    enough: says whether so many will do; while they do not, twice as many are kept. None: always.
        What holds of some holds of more.
    every: seconds from one round of snapshots to the next; None where there are none.
    """

    most: int
    enough: Callable[[Block], bool] | None = None
    every: float | None = None
    _blocks: deque[Block] = field(default_factory=deque, init=False)
    _count: int = field(default=0, init=False)
    _latest: float = field(default=-np.inf, init=False)
    _halvings: int = field(default=0, init=False)

    def add(self, block: Block) -> None:
        """Take in examples that are newer than all others."""
        self._latest = max(self._latest, float(block.taken.max(initial=-np.inf)))
        kept = self._chosen(block) if self._halvings else block
        self._blocks.append(kept)
        self._count += len(kept)
        if self._count >= 2 * self.most:
            self._trim()

    def _trim(self) -> None:
        if not self._will_do():
            self.most *= 2
            return
        while self._count - len(self._blocks[0]) >= self.most and self._is_over(self._blocks[0]):
            self._count -= len(self._blocks.popleft())
        if self._count >= 2 * self.most:
            self._halve()

    def _is_over(self, block: Block) -> bool:
        """Say whether nothing of it is of the newest round."""
        return self.every is None or not (self._ages(block) == 0).any()

    def _ages(self, block: Block) -> NDArray[np.float64]:
        """Return how many rounds before the newest each was taken, shape (n,)."""
        ages: NDArray[np.float64] = (self._latest - block.taken) // (self.every or np.inf)
        return ages

    def _halve(self) -> None:
        """Keep those of half of the customers, unless these are too few."""
        self._halvings += 1
        half = [self._chosen(block) for block in self._blocks]
        count = sum(map(len, half))
        # A handful of customers may have all of them, where rounds were more frequent before.
        if count < self.most // 2 or not (self.enough is None or self.enough(Block.joined(half))):
            self._halvings -= 1
            self.most *= 2
            return
        self._blocks, self._count = deque(half), count

    def _chosen(self, block: Block) -> Block:
        # By other bits than those that tell who is tested on, and those of the groups.
        bits = (block.hashes >> np.uint64(12)) & np.uint64((1 << self._halvings) - 1)
        return block.take(bits == 0)

    def _will_do(self) -> bool:
        # Mostly a few of them do: to join all takes longer than to learn as many.
        sizes = (max(self.most // 16, 1), max(self.most // 4, 1), self.most)
        return self.enough is None or any(self.enough(self._last(size)) for size in sizes)

    @property
    def block(self) -> Block:
        """The newest, in order; at least one block must have been added."""
        if self.every is None or self._count <= self.most:
            return self._last(self.most)
        found = Block.joined(list(self._blocks))
        whole = self._whole_rounds(found)
        return whole if self.enough is None or self.enough(whole) else found

    def _whole_rounds(self, block: Block) -> Block:
        """Return those of as many of the newest rounds as hold so many or fewer, or of one."""
        ages = self._ages(block)
        first_too_many = np.sort(ages)[self.most]
        return block.take(ages < max(first_too_many, 1.0))

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
