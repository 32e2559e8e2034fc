"""Separating what is learnt from what is tested, so that no outcome is on both sides.

By customer, an outcome belongs to one customer, and so to one side, however often that customer
was snapshotted. By time, one horizon is left out between the sides: an outcome that a training
example looked ahead to must have been known before the first test example was scored.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rescore.errors import NotEnoughData
from rescore.trainer.learning.hashing import Hashes, among

Mask = NDArray[np.bool_]
Times = NDArray[np.datetime64]


@dataclass(frozen=True)
class Sides:
    """Which examples are learnt and which are tested; the others are in the gap between.

    Attributes
    ----------
    train, test: shape (n,), never both true.
    """

    train: Mask
    test: Mask

    @property
    def gap(self) -> int:
        """How many examples are on neither side."""
        return int(np.count_nonzero(~(self.train | self.test)))


def by_customer(hashes: Hashes, test_share: float) -> Sides:
    """Test on a fixed share of the customers, whom no version ever learns from.

    Parameters
    ----------
    hashes: shape (n,), from `rescore.trainer.learning.hashing.hash_keys`, with a salt of its own.
    test_share: share of the customers, between 0 and 1.
    """
    test = among(hashes, test_share)
    return Sides(~test, test)


def by_time(at: Times, settled: Times, since: np.datetime64) -> Sides:
    """Test on what was scored from ``since`` on; learn what was settled by then.

    Parameters
    ----------
    at: shape (n,), when the examples were scored.
    settled: shape (n,), the end of their label's horizon.
    """
    test = at >= since
    return Sides(~test & (settled <= since), test)


def newest(at: Times, least: int) -> np.datetime64:
    """Return the latest moment from which on there are at least so many examples.

    Raises
    ------
    NotEnoughData: there are not so many at all.
    """
    if not 0 < least <= len(at):
        raise NotEnoughData(
            f"{len(at)} resolved examples, {least} are needed to test on",
            hint="wait for more labels, or test on fewer",
        )
    moment: np.datetime64 = np.partition(at, len(at) - least)[len(at) - least]
    return moment
