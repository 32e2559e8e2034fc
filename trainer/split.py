"""Which moments train and which one tests: always by time, never at random."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Moment:
    """A past moment to learn from.

    Attributes
    ----------
    at: features are as they stood here.
    settled: the end of the label's horizon; the outcome is known from here on.
    """

    at: datetime
    settled: datetime


@dataclass(frozen=True)
class Split:
    """Moments before the gap, and the newest moment, on which the model is measured."""

    train: tuple[Moment, ...]
    test: Moment


def time_split(moments: Sequence[Moment]) -> Split | None:
    """Hold out the newest moment; train on those whose outcomes were known by then.

    A moment whose label horizon reaches past the test moment shares outcomes with
    it, and is in neither part. None when no moment is left to train on.
    """
    ordered = sorted(moments, key=lambda moment: moment.at)
    if not ordered:
        return None
    test = ordered[-1]
    train = tuple(moment for moment in ordered[:-1] if moment.settled <= test.at)
    return Split(train, test) if train else None
