"""``rescore compare``: two versions of a model on what came of the customers they scored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rescore.compiler.intervals import parse_interval
from rescore.errors import NotEnoughData
from rescore.trainer.database import Connection, query, translated
from rescore.trainer.learning.gate import PairedScores
from rescore.trainer.learning.hashing import Hashes, groups, hash_keys
from rescore.trainer.learning.histogram import GROUPS
from rescore.trainer.learning.intervals import Interval, jackknife
from rescore.trainer.learning.metrics import METRICS, Metric, leave_one_out
from rescore.trainer.learning.sequential import (
    always_valid,
    apart,
    gain,
    gain_apart,
    mean_by_group,
)
from rescore.trainer.usage import WrongUsage, unknown_model

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
FEWEST_GROUPS = 10
"""With fewer groups of customers than this, a jackknife says little: nothing is decided."""


@dataclass(frozen=True)
class Rules:
    """By what versions are compared, and from which difference on a rule acts.

    Attributes
    ----------
    metric: name of a metric of `rescore.trainer.learning.metrics`.
    challenge: share that a version which learning let through is given; None for none.
    promote, demote, rollback: margins in the metric's unit; None where no rule acts.
    confidence: of intervals, over all looks together.
    effect: difference that the sequential test finds soonest.
    customers: fewest before anything is decided.
    cool_down: after a rule has acted.
    """

    metric: str = "log_loss"
    challenge: float | None = None
    promote: float | None = None
    demote: float | None = None
    rollback: float | None = None
    confidence: float = 0.95
    effect: float = 0.02
    customers: int = 200
    cool_down: timedelta = timedelta(days=7)

    @classmethod
    def of(cls, stored: Mapping[str, Any] | None) -> Rules:
        """Return the rules of a model's definition; the defaults, by which none acts, for none."""
        given = dict(stored or {})
        if "cool_down" in given:
            given["cool_down"] = parse_interval(given["cool_down"])
        return cls(**given)


@dataclass(frozen=True)
class Traffic:
    """Who serves a model and who stands beside.

    Attributes
    ----------
    now: by the profile's clock.
    acted: when a rule last acted, by that clock; None when none ever has.
    """

    model: str
    champion: int | None
    challenger: int | None
    shadows: tuple[int, ...]
    predecessor: int | None
    rules: Rules
    now: datetime
    acted: datetime | None

    def rival(self) -> int | None:
        """Return the version one would ask about first."""
        return next((v for v in (self.challenger, *self.shadows, self.predecessor) if v), None)

    def is_cooling(self) -> bool:
        """Whether a rule has acted too lately for another one to act."""
        return self.acted is not None and self.acted + self.rules.cool_down > self.now


@dataclass(frozen=True)
class Comparison:
    """Two versions, the candidate's gain over the champion above 0 where it is better.

    Attributes
    ----------
    paired: whether both scored the same snapshots; else each its own, at times of its own.
    examples, customers: what the gain rests on.
    metrics: both sides' metrics with intervals, and the gain.
    fixed, sequential: the gain by the metric of the rules, for one look, and for any number.
    verdict: ``better`` or ``worse`` once the sequential interval excludes 0, else ``open``.
    groups: outcomes of the customers each has served, treated ones too; none without a challenge.
    """

    model: str
    champion: int
    candidate: int
    metric: str
    paired: bool
    examples: int
    customers: int
    metrics: Mapping[str, Mapping[str, Interval]]
    fixed: Interval
    sequential: Interval
    groups: Mapping[str, Interval]

    @property
    def verdict(self) -> str:
        """What the stop rule says."""
        if not self.sequential.known or self.sequential.groups < FEWEST_GROUPS:
            return "open"
        if self.sequential.low > 0:
            return "better"
        return "worse" if self.sequential.high < 0 else "open"

    def to_json(self) -> dict[str, Any]:
        """Return JSON-able values."""
        plain = ("model", "champion", "candidate", "metric", "paired", "examples", "customers")
        sides = {
            name: {side: each.to_json() for side, each in of.items()}
            for name, of in self.metrics.items()
        }
        return {
            **{name: getattr(self, name) for name in plain},
            "verdict": self.verdict,
            "gain": self.fixed.to_json(),
            "gain_at_any_look": self.sequential.to_json(),
            "metrics": sides,
            "served": {name: each.to_json() for name, each in self.groups.items()},
        }


def traffic(conn: Connection, model: str) -> Traffic:
    """Return who serves a model, and by which rules that changes.

    Raises
    ------
    UnknownModel
    """
    with translated():
        row = conn.execute(query("traffic_of"), (model,)).fetchone()
    if row is None:
        raise unknown_model(conn, model)
    champion, challenger, shadows, predecessor, rules, now, acted = row
    beside = (champion, challenger, tuple(shadows), predecessor)
    return Traffic(model, *beside, Rules.of(rules), now, acted)


def compare(
    conn: Connection,
    model: str,
    candidate: int | None = None,
    champion: int | None = None,
    *,
    since: datetime | None = None,
    rules: Rules | None = None,
) -> Comparison:
    """Compare two versions on resolved snapshots.

    Parameters
    ----------
    candidate: by default the challenger, else the first shadow, else the version before.
    champion: by default the one that serves.
    since: only snapshots taken from then on.
    rules: by default those of the definition.

    Raises
    ------
    UnknownModel
    WrongUsage: nobody stands beside the champion, and none was named.
    NotEnoughData: no resolved snapshot has a score of either.
    """
    found = traffic(conn, model)
    chosen = _chosen(found, candidate, champion)
    given = {"model": model, "candidate": chosen[0], "champion": chosen[1], "since": since}
    with translated():
        rows = conn.execute(query("compare"), given).fetchall()
    return compared(model, chosen, Rows.of(rows), rules or found.rules)


def _chosen(found: Traffic, candidate: int | None, champion: int | None) -> tuple[int, int]:
    rival, serving = candidate or found.rival(), champion or found.champion
    if rival is None or serving is None or rival == serving:
        raise WrongUsage(
            f"model {found.model} has no two versions to compare",
            detail=f"Champion: {serving or 'none'}; compared with it: {rival or 'none'}.",
            hint="name a version, or let one challenge or be a shadow",
        )
    return rival, serving


@dataclass(frozen=True)
class Rows:
    """Resolved snapshots, each shape (n,); scores are NaN where a version gave none."""

    hashes: Hashes
    labels: Floats
    versions: NDArray[np.int64]
    challenged: Mask
    treated: Mask
    candidate: Floats
    champion: Floats
    trial: Mask

    @classmethod
    def of(cls, rows: list[Any]) -> Rows:
        """Return the columns of the query ``compare``.

        Raises
        ------
        NotEnoughData: there are none.
        """
        if not rows:
            raise NotEnoughData(
                "no resolved snapshot has a score of either version",
                detail="A snapshot is resolved once its horizon has passed.",
                hint="see rescore.snapshots; rescore run takes and resolves them",
            )
        keys, labels, versions, serving, treated, candidate, champion, trial = zip(
            *rows, strict=True
        )
        return cls(
            hash_keys(keys, "compare"),
            np.array(labels, dtype=np.float64),
            np.array(versions, dtype=np.int64),
            np.array([s == "challenger" for s in serving]),
            np.array(treated, dtype=bool),
            np.array(candidate, dtype=np.float64),
            np.array(champion, dtype=np.float64),
            np.array([bool(t) for t in trial]),
        )


def compared(model: str, versions: tuple[int, int], rows: Rows, rules: Rules) -> Comparison:
    """Return the comparison of the candidate, first of the versions, with the champion."""
    both = np.isfinite(rows.candidate) & np.isfinite(rows.champion) & ~rows.treated
    customers = len(np.unique(rows.hashes[both]))
    metric = METRICS[rules.metric]
    if customers >= rules.customers:
        one, other = _histograms(rows, rows.candidate, rows.champion, both, both)
        fixed = gain(one, other, metric, rules.confidence)
        paired, used = True, both
    else:
        own = [(rows.versions == v) & ~rows.treated for v in versions]
        one, other = _histograms(rows, rows.candidate, rows.champion, *own)
        fixed = gain_apart(one, other, metric, rules.confidence)
        paired, used = False, own[0] | own[1]
        customers = min(len(np.unique(rows.hashes[mask])) for mask in own)
    return Comparison(
        model,
        versions[1],
        versions[0],
        rules.metric,
        paired,
        int(used.sum()),
        customers,
        _metrics(one, other, rules.confidence, paired=paired),
        fixed,
        always_valid(fixed, rules.effect),
        _served(rows, versions, rules.confidence),
    )


def _histograms(
    rows: Rows, candidate: Floats, champion: Floats, of_one: Mask, of_other: Mask
) -> tuple[Any, Any]:
    """Return each side's histogram over its mask."""
    known = np.concatenate([candidate[of_one], champion[of_other]])
    probability = bool(((known >= 0) & (known <= 1)).all())
    made = []
    for scores, mask in ((candidate, of_one), (champion, of_other)):
        pairs = PairedScores(
            rows.labels[mask].astype(np.int8),
            rows.hashes[mask],
            scores[mask],
            scores[mask],
            probability,
        )
        made.append(pairs.histograms()[0])
    return made[0], made[1]


SHOWN = ("log_loss", "brier", "auc", "pr_auc", "calibration_in_the_large", "base_rate")


def _metrics(one: Any, other: Any, level: float, *, paired: bool) -> dict[str, dict[str, Interval]]:
    """Return each metric of both sides with ordinary intervals, and the candidate's gain."""
    found = {}
    for metric in (METRICS[name] for name in SHOWN):
        if metric.probability and not one.probability:
            continue
        sides = {
            "candidate": _fixed(one, metric, level),
            "champion": _fixed(other, metric, level),
        }
        gained = (gain if paired else gain_apart)(one, other, metric, level)
        found[metric.name] = sides | ({"gain": gained} if metric.better else {})
    return found


def _fixed(histogram: Any, metric: Metric, level: float) -> Interval:
    return jackknife(metric.of(leave_one_out(histogram)), level)


def _served(rows: Rows, versions: tuple[int, int], level: float) -> dict[str, Interval]:
    """Return the mean outcome of whom each version has served, and the difference."""
    means = {}
    for name, version, by in (
        ("challenger", versions[0], rows.challenged),
        ("champion", versions[1], ~rows.challenged),
    ):
        mask = rows.trial & by & (rows.versions == version)
        if not mask.any():
            return {}
        members = groups(rows.hashes[mask], GROUPS)
        means[name] = mean_by_group(rows.labels[mask], members, level)
    return means | {"uplift": apart(means["challenger"], means["champion"])}
