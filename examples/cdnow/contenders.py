"""What became of the replay: three ways of keeping a model, on the same snapshots."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timezone
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rescore.examples.cdnow.replay import MODEL, moment, statement
from rescore.trainer.database import Connection
from rescore.trainer.learning.gate import PairedScores
from rescore.trainer.learning.hashing import Hashes, hash_keys
from rescore.trainer.learning.intervals import Interval, difference, intervals
from rescore.trainer.learning.metrics import METRICS, Metric
from rescore.trainer.learning.target import Counted

LOOP, MONTHLY, NEVER = "learnt weekly by the loop", "trained anew each month", "never trained again"
SHOWN = ("auc", "log_loss", "calibration_slope", "calibration_in_the_large")
PLOTTED = ("auc", "log_loss")
CLAIMS = ((LOOP, MONTHLY, "auc"), (LOOP, MONTHLY, "log_loss"), (LOOP, NEVER, "log_loss"))
"""One minus the other, by metric."""

Floats = NDArray[np.float64]


@dataclass
class Contenders:
    """Who scores beside what the loop serves.

    Attributes
    ----------
    first: the version that is never trained again.
    monthly: versions trained from scratch, each with the day after which it scores.
    """

    first: int
    monthly: list[tuple[date, int]]

    def versions_on(self, day: date, served: int) -> dict[str, int]:
        """Return whose scores of that day are whose."""
        anew = next((v for since, v in reversed(self.monthly) if since < day), self.first)
        return {LOOP: served, MONTHLY: anew, NEVER: self.first}


@dataclass(frozen=True)
class Outcomes:
    """Resolved snapshots.

    Attributes
    ----------
    taken: moments, in seconds since 1970, shape (n,).
    labels, hashes: outcomes, and hashes of the customers, shape (n,).
    scores: of each contender, shape (n,).
    """

    taken: Floats
    labels: NDArray[np.int8]
    hashes: Hashes
    scores: Mapping[str, Floats]

    @classmethod
    def read(cls, conn: Connection, beside: Contenders, since: date, until: date) -> Outcomes:
        """Read the snapshots taken from one day on, before another."""
        bounds = (MODEL, moment(since), moment(until))
        rows = conn.execute(statement("loop_scores"), bounds).fetchall()
        scores: dict[str, list[float]] = {LOOP: [], MONTHLY: [], NEVER: []}
        for _, taken, _, version, score, others in rows:
            for name, wanted in beside.versions_on(taken.date(), version).items():
                scores[name].append(score if wanted == version else others[str(wanted)])
        return cls(
            np.array([row[1].timestamp() for row in rows]),
            np.array([row[2] for row in rows], dtype=np.int8),
            hash_keys([row[0] for row in rows], "contenders"),
            {name: np.array(each) for name, each in scores.items()},
        )

    def between(self, since: date, until: date) -> Outcomes:
        """Return those taken from one day on, before another."""
        begin, end = (moment(day).timestamp() for day in (since, until))
        rows = (self.taken >= begin) & (self.taken < end)
        scores = {name: each[rows] for name, each in self.scores.items()}
        return Outcomes(self.taken[rows], self.labels[rows], self.hashes[rows], scores)

    def metrics(self, names: Sequence[str] = SHOWN) -> dict[str, dict[str, Interval]]:
        """Return each contender's metrics, with intervals that know which rows are a customer's."""
        asked = [METRICS[name] for name in names]
        return {name: intervals(self._pair(name, name)[0], asked) for name in self.scores}

    def differences(self) -> list[tuple[str, str, str, Interval]]:
        """Return the differences of `CLAIMS`, on the same snapshots."""
        return [
            (one, other, name, self._difference(one, other, METRICS[name]))
            for one, other, name in CLAIMS
        ]

    def weekly(self) -> Iterator[dict[str, Any]]:
        """Yield AUC and log loss of each contender and week."""
        weeks = np.floor((self.taken - self.taken.min()) / (7 * 86_400)) if len(self.taken) else []
        for week in np.unique(weeks):
            rows = weeks == week
            some = {name: each[rows] for name, each in self.scores.items()}
            part = Outcomes(self.taken[rows], self.labels[rows], self.hashes[rows], some)
            day = datetime.fromtimestamp(part.taken.min(), timezone.utc).date().isoformat()
            for name, found in part.metrics(PLOTTED).items():
                told = {metric: found[metric].estimate for metric in PLOTTED}
                yield {"week": day, "contender": name, **told}

    def _difference(self, one: str, other: str, metric: Metric) -> Interval:
        left, right = self._pair(one, other)
        return difference(left, right, metric)

    def _pair(self, one: str, other: str) -> tuple[Counted, Counted]:
        scores = self.scores[one], self.scores[other]
        return PairedScores(self.labels, self.hashes, *scores).histograms()


def table(outcomes: Outcomes) -> list[str]:
    """Return contenders, metrics and intervals as a table in Markdown."""
    lines = [f"| | {' | '.join(SHOWN)} |", "|---|" + "---|" * len(SHOWN)]
    for name, found in outcomes.metrics().items():
        lines.append(f"| {name} | {' | '.join(_told(found[m]) for m in SHOWN)} |")
    lines += ["", "| difference | | |", "|---|---|---|"]
    for one, other, name, gap in outcomes.differences():
        lines.append(f"| {one}, less {other} | {name} | {_told(gap, '+.4f')} |")
    return lines


def _told(found: Interval, form: str = ".4f") -> str:
    return f"{found.estimate:{form}} ({found.low:{form}} to {found.high:{form}})"
