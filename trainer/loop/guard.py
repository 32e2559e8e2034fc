"""Keeping what cannot be true out of learning: a broken sensor, a bot, a wrong unit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from rescore.trainer.learning.drift import Reference, plausible
from rescore.trainer.loop.block import Block, Floats, Integers
from rescore.trainer.loop.reference import LABEL

Mask = NDArray[np.bool_]


SIDE_BY_SIDE = 64
"""Rows whose numbers are compared in one go: over a few columns numpy's loops are slow."""


def bounds(values: Floats) -> tuple[Floats, Floats]:
    """Return the least and the greatest of each column, shape (columns,); NaN where one is."""
    whole = len(values) // SIDE_BY_SIDE * SIDE_BY_SIDE
    columns = values.shape[1]
    wide, rest = values[:whole].reshape(-1, SIDE_BY_SIDE * columns), values[whole:]
    least = wide.min(axis=0, initial=np.inf).reshape(-1, columns)
    most = wide.max(axis=0, initial=-np.inf).reshape(-1, columns)
    return np.vstack([least, rest]).min(axis=0), np.vstack([most, rest]).max(axis=0)


@dataclass(frozen=True)
class Guard:
    """Tells which examples are not to be learnt.

    Attributes
    ----------
    reference: what the columns held in training; None where nobody kept it: nothing is kept out.
    names: of the design columns.
    numbers: whether labels are numbers, which are looked at like columns where training kept them.
    most: share of implausible rows from which on the whole batch is.
    released: says which ids somebody let in, whatever they hold; asked only where it matters.
    """

    reference: Reference | None
    names: tuple[str, ...]
    numbers: bool
    most: float
    released: Callable[[Integers], NDArray[np.bool_]]

    def suspects_of_batches(self, block: Block, size: int) -> dict[int, str]:
        """Return the same of several micro-batches of so many examples, each judged by itself."""
        if self.reference is None or self._near(self._looked_at(block)):
            return {}
        starts = range(0, len(block), size)
        found = ((n, self.suspects(block.take(slice(n, n + size)))) for n in starts)
        return {start + n: why for start, some in found for n, why in some.items()}

    def suspects(self, block: Block) -> dict[int, str]:
        """Return the positions in a batch of what is to be kept out, each with its reason."""
        if self.reference is None or not len(block):
            return {}
        far = self._far(self._looked_at(block))
        bad = far.any(axis=1)
        if not bad.any():
            return {}
        free = self.released(block.ids)
        return self._told(far, bad & ~free, free)

    @cached_property
    def _looked(self) -> tuple[str, ...]:
        labelled = self.numbers and LABEL in (self.reference or {}) and LABEL not in self.names
        return (*self.names, LABEL) if labelled else self.names

    def _looked_at(self, block: Block) -> Floats:
        labelled = len(self._looked) > len(self.names)
        return np.column_stack([block.design, block.labels]) if labelled else block.design

    @cached_property
    def _plausible(self) -> tuple[Floats, Floats]:
        assert self.reference is not None
        return plausible(self.reference, self._looked)

    def _near(self, values: Floats) -> bool:
        """Say that no value is far outside; NaN counts as such, to be looked at more closely."""
        low, high = self._plausible
        least, most = bounds(values)
        return bool(((least >= low) & (most <= high)).all())

    def _far(self, values: Floats) -> Mask:
        low, high = self._plausible
        far: Mask = (values < low) | (values > high)
        return far

    def _told(self, far: Mask, bad: Mask, free: Mask) -> dict[int, str]:
        reasons = {int(n): self._reason(far[n]) for n in np.flatnonzero(bad)}
        if bad.mean() < self.most or not reasons:
            return reasons
        first = next(iter(reasons.values()))
        # The same words for each batch: people look at reasons one by one.
        why = f"in a batch of which {self.most:.0%} or more is implausible, such as: {first}"
        return {**{int(n): why for n in np.flatnonzero(~bad & ~free)}, **reasons}

    def _reason(self, far: Mask) -> str:
        """Name the first column that is implausible, and the range of training."""
        assert self.reference is not None
        name = self._looked[int(np.argmax(far))]
        edges = self.reference[name].edges
        return f"implausible {name}: far outside {edges[0]:g} to {edges[-1]:g} of training"
