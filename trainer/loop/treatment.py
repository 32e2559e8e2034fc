"""Examples of customers who may be treated because of their score: who speaks for whom.

Whoever was treated shows nothing of what would have come without. Those left untreated beside them
do not show it either: who leaves at once is never treated, so that among the untreated, leaving
looks more frequent than it is. Only the holdout shows it, and is a known share of the customers.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from rescore.trainer.loop.block import Block

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
STRATA = 10


def weighed(block: Block, held_out: float | None) -> Block:
    """Return examples weighted by the inverse probability of being counted.

    Examples are parted into tenths by the score that was served. Where nobody of a tenth was
    treated, all count, by 1. Where somebody was, only those held out count, by 1 / ``held_out``,
    and stand for all; the others weigh nothing. All divided by their mean.

    Parameters
    ----------
    block: treated examples among them.
    held_out: share of the customers that is never treated; None: all weigh the same.
    """
    if held_out is None or not len(block):
        return block
    scores = np.nan_to_num(block.scores, nan=-np.inf)
    return replace(block, weights=standing_for(scores, block.treated, block.holdout, held_out))


def standing_for(scores: Floats, treated: Mask, holdout: Mask, held_out: float) -> Floats:
    """Return how many examples each stands for, shape (n,); see `weighed`.

    Parameters
    ----------
    scores: by which customers may have been chosen, shape (n,).
    """
    edges = np.unique(np.quantile(scores, np.arange(1, STRATA) / STRATA, method="higher"))
    stratum = np.searchsorted(edges, scores, side="right")
    touched = np.bincount(stratum, treated, STRATA)[stratum] > 0
    alone = np.where(holdout, 1 / held_out, 0.0)
    weights: Floats = np.where(treated, 0.0, np.where(touched, alone, 1.0))
    total = float(weights.sum())
    # One on average, so that the steps of learning are as long as they would be without.
    return weights * (np.count_nonzero(weights) / total) if total else weights
