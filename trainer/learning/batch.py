"""A micro-batch of resolved examples, in the order in which they are to be learnt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rescore.errors import BadFeature, NotFinite
from rescore.trainer.learning.hashing import Hashes
from rescore.trainer.learning.histogram import checked_weights
from rescore.trainer.learning.target import Target, typed

Floats = NDArray[np.float64]
Labels = NDArray[np.int8]
_NAMES = ("design", "labels", "hashes", "weights")


@dataclass(frozen=True)
class Batch:
    """Examples whose outcomes are known.

    Attributes
    ----------
    design: shape (n, columns), the design rows as scored; finite.
    labels: shape (n,), 0 or 1; finite numbers where the target is a number.
    hashes: shape (n,), of the customers, from `rescore.trainer.learning.hashing.hash_keys`.
    weights: shape (n,), not negative; an example of weight 0 is neither tested nor learnt.

    Raises
    ------
    NotFinite: a number of the design row is not: the contract's cleaning was left out.
    BadFeature: lengths that differ, a label that is neither 0 nor 1 (no number), a negative weight.
    """

    design: Floats
    labels: NDArray[Any]
    hashes: Hashes
    weights: Floats
    target: Target

    def __init__(
        self,
        design: Any,
        labels: Any,
        hashes: Any,
        weights: Any = None,
        target: Target = "outcome",
    ) -> None:
        design = np.asarray(design, dtype=np.float64)
        labels = np.asarray(labels)
        _check(design, labels, hashes)
        _check_labels(labels, target)
        given = checked_weights(weights, len(design))
        kept = slice(None) if given.all() else given > 0
        object.__setattr__(self, "design", design[kept])
        object.__setattr__(self, "labels", typed(labels[kept], target))
        object.__setattr__(self, "target", target)
        object.__setattr__(self, "hashes", np.asarray(hashes, dtype=np.uint64)[kept])
        object.__setattr__(self, "weights", given[kept])

    @classmethod
    def joined(cls, batches: Sequence[Batch]) -> Batch:
        """Return several batches as one."""
        parts = {n: np.concatenate([getattr(b, n) for b in batches]) for n in _NAMES}
        return cls._known(parts, batches[0].target)

    def take(self, rows: slice) -> Batch:
        """Return some of the examples."""
        return self._known({name: getattr(self, name)[rows] for name in _NAMES}, self.target)

    @classmethod
    def _known(cls, parts: dict[str, Any], target: Target) -> Batch:
        """Return a batch of what was checked before."""
        made = object.__new__(cls)
        for name, part in {**parts, "target": target}.items():
            object.__setattr__(made, name, part)
        return made

    def __len__(self) -> int:
        return len(self.labels)


def _check(design: Floats, labels: NDArray[Any], hashes: Any) -> None:
    if design.ndim != 2 or not len(design) == len(labels) == len(hashes):
        raise BadFeature(
            f"{len(labels)} labels and {len(hashes)} keys for a design of shape {design.shape}"
        )
    if not np.isfinite(design).all():
        rows, columns = np.nonzero(~np.isfinite(design))
        raise NotFinite(
            f"example {rows[0] + 1} has {design[rows[0], columns[0]]} in column {columns[0] + 1}",
            detail=f"{len(np.unique(rows))} of {len(design)} examples hold numbers not finite.",
            hint="Read design rows by the expressions that score: they clean every value.",
        )


def _check_labels(labels: NDArray[Any], target: Target) -> None:
    right = np.isfinite(labels) if target == "number" else (labels == 0) | (labels == 1)
    if not right.all():
        wanted = "a number" if target == "number" else "0 or 1"
        raise BadFeature(f"label {labels[~right][0]} is not {wanted}")
