"""What rescore must reach, as ratios within one run, and whether it does."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from rescore.bench.results import Result


@dataclass(frozen=True)
class Target:
    """A ratio, or a difference, of two contenders' medians, and its bound.

    Attributes
    ----------
    bound: None where the ratio is only shown, beside one that is judged.
    least: True when the bound is the smallest allowed value.
    difference: compare value minus baseline in place of value over baseline.
    conditions: those of the numbers that are compared; the first that fit are taken.
    """

    name: str
    work: str
    contender: str
    baseline: str
    metric: str
    bound: float | None
    least: bool = True
    difference: bool = False
    conditions: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class Verdict:
    """A target's value in a run; None where the run did not measure it."""

    name: str
    wanted: str
    value: float | None
    met: bool | None


def _single(name: str, baseline: str, bound: float, features: int, commit: str) -> Target:
    conditions = (("features", features), ("clients", 1), ("synchronous_commit", commit))
    return Target(
        f"single inserts, {features} features, commit {commit}: rescore {name}",
        "single inserts",
        "rescore",
        baseline,
        "per_second",
        bound,
        conditions=conditions,
    )


TARGETS = (
    *(_single("/ counter", "counter", 0.90, 8, commit) for commit in ("on", "off")),
    *(_single("/ counter", "counter", 0.80, 20, commit) for commit in ("on", "off")),
    _single("/ tutorial", "tutorial", 15, 8, "off"),
    _single("/ external worker", "worker", 10, 8, "off"),
    _single("/ worker by hand", "worker by hand", 3, 8, "off"),
    *(
        Target(
            f"{work}: rescore / counter",
            *(work, "rescore", "counter", "per_second", bound),
            conditions=(("features", 8),),
        )
        for way in ("insert", "COPY")
        for work, bound in (
            (f"{way} of 50,000 rows", 2.0),
            (f"{way} of 50,000 rows, 2.5 a customer", None),
        )
    ),
    Target(
        "SELECT predict, serial: rescore / floor scan",
        *("SELECT predict", "rescore", "floor scan", "rows_per_second", 1 / 1.5),
        conditions=(("parallel_workers", 0),),
    ),
    Target(
        "SELECT predict, parallel: rescore / floor scan",
        *("SELECT predict", "rescore", "floor scan", "rows_per_second", 1 / 1.5),
        conditions=(("parallel_workers", 2),),
    ),
    Target(
        "by key: predict_key / point SELECT",
        *("by key", "predict_key", "point SELECT", "per_second", 0.7),
    ),
    Target(
        "sweep / bare UPDATE",
        *("written back", "sweep", "bare UPDATE", "rows_per_second", 0.85),
    ),
    Target(
        "sweep, 2 jobs / bare UPDATE",
        *("written back", "sweep, 2 jobs", "bare UPDATE", "rows_per_second", 0.85),
    ),
    Target(
        "new connection: first predict − plain query, ms",
        *("new connection", "rescore", "plain query", "first_ms", 3.0),
        least=False,
        difference=True,
    ),
    Target(
        "new connection: private memory − plain query, MB",
        *("new connection", "rescore", "plain query", "private_mb", 4.0),
        least=False,
        difference=True,
    ),
    *(
        Target(
            f"learn in micro-batches of {batch:,} / partial_fit in memory",
            "training from 5,000,000 resolved examples",
            *("rescore learn", "partial_fit in memory", "rows_per_second", bound),
            conditions=(("batch", batch),),
        )
        for batch, bound in ((500, 0.5), (1_000, 0.95), (100_000, 0.35))
    ),
    Target(
        "publish: writers' throughput in the second around it / no publish",
        *("publish", "publish", "no publish", "throughput_left", 0.9),
    ),
    Target(
        "growth: µs at 10,000,000 profiles / at 10,000",
        *("growth: profiles", "10,000,000 profiles", "10,000 profiles", "server_cpu_us", 1.3),
        least=False,
    ),
)


def verdicts(results: Iterable[Result]) -> list[Verdict]:
    """Return every target with its value in these results, a further model and a publish too."""
    found = list(results)
    return [*(_verdict(t, found) for t in TARGETS), _further_model(found), _visible(found)]


def _verdict(target: Target, results: list[Result]) -> Verdict:
    wanted = f"{'≥' if target.least else '≤'} {target.bound:.3g}" if target.bound else ""
    value = _find(target, target.contender, results)
    base = _find(target, target.baseline, results)
    if value is None or not base:
        return Verdict(target.name, wanted, None, None)
    reached = value - base if target.difference else value / base
    met = None if target.bound is None else (reached >= target.bound) == target.least
    return Verdict(target.name, wanted, reached, met)


def _find(target: Target, contender: str, results: list[Result]) -> float | None:
    conditions = dict(target.conditions).items()
    fitting = (
        r.value
        for r in results
        if (r.work, r.contender, r.metric) == (target.work, contender, target.metric)
        and conditions <= r.conditions.items()
    )
    return next(fitting, None)


def _further_model(results: list[Result]) -> Verdict:
    """Cost of each further model at 20 features, as a share of the event with one."""
    name = "each further model at 20 features, share of the event's server time"
    costs = {
        r.contender: r.value
        for r in results
        if r.work == "growth: models" and r.metric == "server_cpu_us"
    }
    one, three = costs.get("1 model"), costs.get("3 models")
    if not one or not three:
        return Verdict(name, "≤ 0.15", None, None)
    share = (three - one) / 2 / one
    return Verdict(name, "≤ 0.15", share, share <= 0.15)


def _visible(results: list[Result]) -> Verdict:
    """Whether every transaction that began after the commit of a publish used its version."""
    name = "publish: begin of the last transaction with the old version − commit, ms"
    found = [r.high for r in results if (r.work, r.metric) == ("publish", "last_old_ms")]
    return (
        Verdict(name, "≤ 0", max(found), max(found) <= 0)
        if found
        else Verdict(name, "≤ 0", None, None)
    )
