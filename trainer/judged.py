"""A judgement as a rule reads it, which is to say whether a version may go on serving.

A version is judged again and again as outcomes come; an ordinary interval, looked at so often,
would call equal versions worse far too often. What is decided on holds at all looks together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from scipy.stats import norm

from rescore.trainer.compare import FEWEST_GROUPS, Rules, Traffic
from rescore.trainer.database import Connection, query
from rescore.trainer.learning.intervals import LEVEL, Interval
from rescore.trainer.learning.sequential import always_valid, standard_error


@dataclass(frozen=True)
class Judged:
    """What came of a version's scores, beside what the version whose place it took would have said.

    Attributes
    ----------
    version, against: the two.
    metric: of the gain.
    examples, customers: resolved snapshots that it scored as champion, and whose they are.
    open: snapshots without an outcome yet.
    gain: by how much it was better, at any look; below 0, worse.
    """

    version: int
    against: int
    metric: str
    examples: int
    customers: int
    open: int
    gain: Interval

    def worse_by(self, margin: float) -> bool:
        """Say whether it was surely worse by more than a margin, in the metric's unit."""
        return self.gain.groups >= FEWEST_GROUPS and self.gain.high < -margin

    def sentence(self, margin: float) -> str:
        """Return the reason for the history."""
        gained = self.gain
        return (
            f"by rule: {self.metric} of version {self.version} as it served is worse than that of "
            f"version {self.against}, whose place it took, would have been, by "
            f"{-gained.estimate:.4g}, surely by {-gained.high:.4g}, more than {margin:g}; on "
            f"{self.examples} snapshots, {self.customers} customers"
        )

    def to_json(self) -> dict[str, Any]:
        """Return JSON-able values."""
        plain = {name: value for name, value in vars(self).items() if name != "gain"}
        return {**plain, "verdict": "worse", "gain_at_any_look": self.gain.to_json()}


def read_judged(conn: Connection, state: Traffic) -> Judged | None:
    """Return the judgement of the champion; None where it is not called worse, or of too few."""
    given = {"model": state.model, "champion": state.champion, "acted": state.acted}
    row = conn.execute(query("judged"), given).fetchone()
    if row is None or row[4] < state.rules.customers:
        return None
    version, against, metric, examples, customers, left, gain = row
    found = _at_any_look(gain, state.rules)
    return Judged(version, against, metric, examples, customers, left, found)


def _at_any_look(kept: Mapping[str, Any], rules: Rules) -> Interval:
    """Return the gain's interval for any number of looks, as sure as the rules ask."""
    fixed = Interval(kept["estimate"], kept["low"], kept["high"], LEVEL, kept["groups"])
    reach = float(norm.ppf((1 + rules.confidence) / 2)) * standard_error(fixed)
    low, high = fixed.estimate - reach, fixed.estimate + reach
    return always_valid(replace(fixed, level=rules.confidence, low=low, high=high), rules.effect)
