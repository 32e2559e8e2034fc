"""Keeping what cannot be true out of learning: a broken sensor, a bot, a wrong unit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from rescore.trainer.learning.drift import Reference, implausible
from rescore.trainer.loop.block import Block
from rescore.trainer.loop.reference import LABEL


@dataclass(frozen=True)
class Guard:
    """Tells which examples are not to be learnt.

    Attributes
    ----------
    reference: what the columns held in training; None where nobody kept it: nothing is kept out.
    names: of the design columns.
    most: share of implausible rows from which on the whole batch is.

    Labels that are numbers are looked at like columns, where the reference has them.
    """

    reference: Reference | None
    names: tuple[str, ...]
    most: float

    def suspects(self, block: Block) -> dict[int, str]:
        """Return the positions in a batch of what is to be kept out, each with its reason."""
        if self.reference is None or not len(block):
            return {}
        bad = self._implausible(block)
        share = float(bad.mean())
        if share <= 0:
            return {}
        reasons = {int(n): self._reason(block, int(n)) for n in np.flatnonzero(bad)}
        if share < self.most:
            return reasons
        first = next(iter(reasons.values()))
        why = f"in a batch of which {share:.0%} is implausible, such as: {first}"
        others = np.flatnonzero(~bad & ~block.released)
        return {**{int(n): why for n in others}, **reasons}

    def _implausible(self, block: Block) -> Any:
        assert self.reference is not None
        found = implausible(self.reference, self.names, block.design)
        if self._labelled:
            found = found | implausible(self.reference, [LABEL], block.labels[:, None])
        return found & ~block.released

    @property
    def _labelled(self) -> bool:
        return LABEL in (self.reference or {}) and LABEL not in self.names

    def _reason(self, block: Block, row: int) -> str:
        """Name the first column that is implausible, and the range of training."""
        assert self.reference is not None
        values = list(zip(self.names, block.design[row], strict=True))
        values += [(LABEL, block.labels[row])] if self._labelled else []
        for name, value in values:
            if implausible(self.reference, [name], np.array([[value]]))[0]:
                edges = self.reference[name].edges
                return f"implausible {name}: far outside {edges[0]:g} to {edges[-1]:g} of training"
        return "implausible"
