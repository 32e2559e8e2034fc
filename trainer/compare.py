"""``rescore compare``: two versions of a model on what came of the customers they scored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Event
from typing import Any

from rescore.compiler.intervals import parse_interval
from rescore.errors import NotSupported
from rescore.trainer.compare_rows import Tally, overview, pages, thresholds, too_early
from rescore.trainer.database import Connection, query, translated
from rescore.trainer.failing import go_on
from rescore.trainer.learning.intervals import Interval, intervals
from rescore.trainer.learning.sequential import (
    always_valid,
    apart,
    gain,
    gain_apart,
    mean_of_groups,
)
from rescore.trainer.learning.target import DEFAULTS, Target, metric_of, metrics_of
from rescore.trainer.loop.terms import target_of
from rescore.trainer.usage import WrongUsage, unknown_model

FEWEST_GROUPS = 10
"""With fewer groups of customers than this, a jackknife says little: nothing is decided."""


@dataclass(frozen=True)
class Rules:
    """By what versions are compared, and from which difference on a rule acts.

    Attributes
    ----------
    metric: name of a metric of `rescore.trainer.learning.metrics`.
    challenge: share that a version which learning let through is given; None for none.
    promote, demote, rollback, judged: margins in the metric's unit; None where no rule acts.
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
    judged: float | None = None
    confidence: float = 0.95
    effect: float = 0.02
    customers: int = 200
    cool_down: timedelta = timedelta(days=7)

    @classmethod
    def of(cls, stored: Mapping[str, Any] | None, target: Target = "outcome") -> Rules:
        """Return the rules of a model's definition; the defaults, by which none acts, for none."""
        given = {name: value for name, value in (stored or {}).items() if value is not None}
        given.setdefault("metric", DEFAULTS[target])
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
    target: what the model tells.
    labelled: whether it has a label; the outcomes of any other are not known.
    treats: whether the definition says who is treated, and who is held out.
    """

    model: str
    champion: int | None
    challenger: int | None
    shadows: tuple[int, ...]
    predecessor: int | None
    rules: Rules
    now: datetime
    acted: datetime | None
    target: Target = "outcome"
    labelled: bool = True
    treats: bool = False

    def rival(self) -> int | None:
        """Return the version one would ask about first."""
        return next((v for v in (self.challenger, *self.shadows, self.predecessor) if v), None)

    def is_cooling(self) -> bool:
        """Whether a rule has acted too lately for another one to act."""
        # Later than now where the clock has gone back: that is not waited out.
        cooling = self.rules.cool_down
        return self.acted is not None and self.acted <= self.now < self.acted + cooling


@dataclass(frozen=True)
class Comparison:
    """Two versions, the candidate's gain over the baseline above 0 where it is better.

    Attributes
    ----------
    baseline: what the candidate is compared with: the champion, or the version that was named.
    paired: whether both scored the same snapshots; else each its own, at times of its own.
    examples, customers: what the gain rests on.
    metrics: both sides' metrics with intervals, and the gain.
    fixed, sequential: the gain by the metric of the rules, for one look, and for any number.
    verdict: ``better`` or ``worse`` once the sequential interval excludes 0, else ``open``.
    groups: outcomes of the customers each has served, treated ones too; none without a challenge.
    """

    model: str
    baseline: int
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
        plain = ("model", "baseline", "candidate", "metric", "paired", "examples", "customers")
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
    champion, challenger, shadows, predecessor, spec, now, acted, number, treats = row
    target, labelled = target_of(spec, number=number), spec.get("label") is not None
    rules = Rules.of(spec.get("traffic"), target)
    beside = (champion, challenger, tuple(shadows), predecessor)
    return Traffic(model, *beside, rules, now, acted, target, labelled, treats)


def check_outcomes(found: Traffic, what: str, *, instead: str) -> None:
    """Refuse what outcomes are needed for, of a model that has none.

    Parameters
    ----------
    what: cannot be told, such as ``versions of model churn cannot be compared``.
    instead: what to do where the score is the number of a segment.

    Raises
    ------
    NotSupported
    """
    if found.target == "segments":
        raise NotSupported(
            what,
            detail="Its score is the number of a segment; no outcome says which is better.",
            hint=instead,
        )
    if not found.labelled:
        raise NotSupported(
            what,
            detail="It has no label: what came of its scores is not known.",
            hint=f"name one under models.{found.model}.label, and run `rescore apply`",
        )


def compare(
    conn: Connection,
    model: str,
    candidate: int | None = None,
    champion: int | None = None,
    *,
    since: datetime | None = None,
    rules: Rules | None = None,
    stop: Event | None = None,
) -> Comparison:
    """Compare two versions on resolved snapshots.

    Parameters
    ----------
    candidate: by default the challenger, else the first shadow, else the version before.
    champion: by default the one that serves.
    since: only snapshots taken from then on.
    rules: by default those of the definition.
    stop: once set, nothing is compared.

    Raises
    ------
    UnknownModel, UnknownVersion
    WrongUsage: nobody stands beside the champion, and none was named.
    NotEnoughData: no resolved snapshot has a score of one of them; it says since when some will.
    NotSupported: the model has no outcome to compare by.
    Stopped: ``stop`` was set.
    """
    found = traffic(conn, model)
    check_outcomes(
        found,
        f"versions of model {model} cannot be compared",
        instead="see the gate's `distance` in rescore.learn_log",
    )
    chosen = _chosen(found, candidate, champion)
    given = {"model": model, "candidate": chosen[0], "champion": chosen[1], "since": since}
    with translated(), conn.transaction():
        conn.execute(query("one_snapshot"))
        tally = _tallied(conn, given, found, rules or found.rules, stop or Event())
    return compared(model, tally, rules or found.rules)


def _tallied(
    conn: Connection, given: dict[str, Any], found: Traffic, rules: Rules, stop: Event
) -> Tally:
    go_on(stop)
    there = overview(conn, given)
    apart_ = bool(there.candidates and there.champions)
    if not there.both and not apart_:
        raise too_early(conn, given, there, {found.champion, found.challenger, *found.shadows})
    paired = there.customers >= rules.customers or not apart_
    limits = thresholds(conn, given, rules.metric)
    tally = Tally((given["candidate"], given["champion"]), there, found.target, paired, limits)
    for page in pages(conn, given, there.trial):
        go_on(stop)
        tally.add(page)
    return tally


def _chosen(found: Traffic, candidate: int | None, champion: int | None) -> tuple[int, int]:
    rival, serving = candidate or found.rival(), champion or found.champion
    beside = f"`rescore shadow {found.model} VERSION` lets one score beside the champion"
    if rival is None or serving is None:
        raise WrongUsage(
            f"model {found.model} has no two versions to compare",
            detail=f"Champion: {found.champion or 'none'}; none challenges it or is a shadow.",
            hint=f"name a version that has scored customers; {beside}",
        )
    if rival == serving:
        raise WrongUsage(
            f"version {rival} of model {found.model} cannot be compared with itself",
            detail=f"Champion: {found.champion or 'none'}.",
            hint="name two versions: rescore compare MODEL VERSION --with OTHER",
        )
    return rival, serving


def compared(model: str, tally: Tally, rules: Rules) -> Comparison:
    """Return the comparison of the candidate, first of the versions, with the champion.

    By AUC where the metric of the rules needs probabilities and the scores are none.
    """
    there, metric = tally.found, metric_of(rules.metric, tally.target)
    if metric.probability and not there.probability:
        metric = metric_of("auc", tally.target)
    assert tally.sides is not None  # there is a page, at least an empty one
    measure = gain if tally.paired else gain_apart
    fixed = measure(*tally.sides, metric, rules.confidence)
    apart_ = min(there.candidates, there.champions)
    return Comparison(
        model,
        tally.versions[1],
        tally.versions[0],
        metric.name,
        tally.paired,
        there.both if tally.paired else there.own,
        there.customers if tally.paired else apart_,
        _metrics(tally, rules.confidence),
        fixed,
        always_valid(fixed, rules.effect),
        _served(tally, rules.confidence),
    )


SHOWN = (
    "log_loss", "brier", "auc", "pr_auc", "calibration_in_the_large", "base_rate",
    "r2", "mse", "rmse", "mae", "bias", "mean",
)  # fmt: skip


def _metrics(tally: Tally, level: float) -> dict[str, dict[str, Interval]]:
    """Return each metric of both sides with ordinary intervals, and the candidate's gain."""
    assert tally.sides is not None
    known, found = metrics_of(tally.target), {}
    shown = [known[name] for name in SHOWN if name in known]
    candidate, baseline = (intervals(side, shown, level) for side in tally.sides)
    for metric in (each for each in shown if each.name in candidate):
        sides = {"candidate": candidate[metric.name], "baseline": baseline[metric.name]}
        gained = (gain if tally.paired else gain_apart)(*tally.sides, metric, level)
        found[metric.name] = sides | ({"gain": gained} if metric.better else {})
    return found


def _served(tally: Tally, level: float) -> dict[str, Interval]:
    """Return the mean outcome of whom each version has served, and the difference."""
    if not all(each.counts.any() for each in tally.served):
        return {}
    one, other = (mean_of_groups(each.sums, each.counts, level) for each in tally.served)
    return {"candidate": one, "baseline": other, "uplift": apart(one, other)}
