"""``rescore uplift``: what treating customers has changed, beside those held out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rescore.errors import NotEnoughData
from rescore.trainer.database import Connection, query, translated
from rescore.trainer.learning.histogram import GROUPS
from rescore.trainer.learning.intervals import LEVEL, Interval, jackknife
from rescore.trainer.usage import unknown_model

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Uplift:
    """Outcomes of the customers who may be treated, and of the holdout, with 95% intervals.

    Attributes
    ----------
    snapshots, customers, held_out: resolved ones; different customers of the two groups.
    treated_share: of the snapshots of those who may be, how many were within the horizon.
    rate, rate_held_out: mean outcomes.
    difference: the former less the latter, which is the treatments' doing.
    per_treated: the difference for each who was treated.
    """

    model: str
    snapshots: int
    customers: int
    held_out: int
    treated_share: Interval
    rate: Interval
    rate_held_out: Interval
    difference: Interval
    per_treated: Interval

    def intervals(self) -> dict[str, Interval]:
        """Return the numbers that have one, by name."""
        return {name: each for name, each in vars(self).items() if isinstance(each, Interval)}

    def to_json(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return {**vars(self), **{name: i.to_json() for name, i in self.intervals().items()}}


def uplift(conn: Connection, model: str, *, since: datetime | None = None) -> Uplift:
    """Say what treating has changed, over all resolved snapshots.

    Whole groups of customers are left out in turn, hence daily snapshots of one customer make
    nothing look surer than it is. The server sums; memory does not grow with the snapshots.

    Parameters
    ----------
    since: only snapshots taken from then on.

    Raises
    ------
    UnknownModel
    NotEnoughData: nobody is held out, or nothing is resolved of either group.
    """
    with translated():
        rows = conn.execute(query("uplift"), {"model": model, "since": since}).fetchall()
        known = [name for name, *_ in conn.execute(query("known_models"))]
    if model not in known:
        raise unknown_model(conn, model)
    sums, people = np.zeros((2, 3, GROUPS)), [0, 0]
    for members, holdout, *numbers, customers in rows:
        sums[int(holdout), :, members] = numbers
        people[int(holdout)] += customers
    if not all(people):
        raise NotEnoughData(
            f"no resolved snapshots of model {model} to compare: {people[0]} customers who may be "
            f"treated, {people[1]} held out",
            hint="name `interventions` in the definition; a snapshot resolves after its horizon",
        )
    return Uplift(model, int(sums[:, 0].sum()), people[0], people[1], **_numbers(sums))


def _numbers(sums: Floats) -> dict[str, Interval]:
    """Return every number over all groups, and with each left out in turn.

    Parameters
    ----------
    sums: snapshots, outcomes and treated ones, shape (2, 3, groups); the holdout last.
    """
    known = sums[:, :, sums[:, 0].sum(axis=0) > 0]
    whole = known.sum(axis=2, keepdims=True)
    copies = np.concatenate([whole, whole - known], axis=2)
    with np.errstate(divide="ignore", invalid="ignore"):
        rate, held_out = copies[:, 1] / copies[:, 0]
        share = copies[0, 2] / copies[0, 0]
        per_treated = (rate - held_out) / share
    values = {
        "treated_share": share,
        "rate": rate,
        "rate_held_out": held_out,
        "difference": rate - held_out,
        "per_treated": per_treated,
    }
    return {name: jackknife(each, LEVEL) for name, each in values.items()}
