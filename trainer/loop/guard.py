"""Keeping what cannot be true out of learning: a broken sensor, a bot, a wrong unit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from rescore.trainer.learning.drift import Reference, plausible
from rescore.trainer.loop.block import Block, Floats, Integers

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Guard:
    """Tells which examples are not to be learnt.

    Attributes
    ----------
    reference: what the columns held in training; None where nobody kept it: nothing is kept out.
    names: of the design columns.
    most: share of implausible rows from which on the whole batch is.
    released: says which ids somebody let in, whatever they hold; asked only where it matters.
    """

    reference: Reference | None
    names: tuple[str, ...]
    most: float
    released: Callable[[Integers], NDArray[np.bool_]]

    def suspects(self, block: Block) -> dict[int, str]:
        """Return the positions in a batch of what is to be kept out, each with its reason."""
        if self.reference is None or not len(block):
            return {}
        low, high = self._plausible
        bad = ((block.design < low) | (block.design > high)).any(axis=1)
        if not bad.any():
            return {}
        free = self.released(block.ids)
        return self._told(block, bad & ~free, free)

    @cached_property
    def _plausible(self) -> tuple[Floats, Floats]:
        assert self.reference is not None
        return plausible(self.reference, self.names)

    def _told(self, block: Block, bad: Mask, free: Mask) -> dict[int, str]:
        reasons = {int(n): self._reason(block, int(n)) for n in np.flatnonzero(bad)}
        share = float(bad.mean())
        if share < self.most or not reasons:
            return reasons
        first = next(iter(reasons.values()))
        why = f"in a batch of which {share:.0%} is implausible, such as: {first}"
        return {**{int(n): why for n in np.flatnonzero(~bad & ~free)}, **reasons}

    def _reason(self, block: Block, row: int) -> str:
        """Name the first column that is implausible, and the range of training."""
        assert self.reference is not None
        low, high = self._plausible
        name = self.names[int(np.argmax((block.design[row] < low) | (block.design[row] > high)))]
        edges = self.reference[name].edges
        return f"implausible {name}: far outside {edges[0]:g} to {edges[-1]:g} of training"
