"""A comparison of two versions as rows and sentences for people."""

from __future__ import annotations

from math import isfinite
from typing import Any

from rescore.trainer.compare import Comparison
from rescore.trainer.learning.intervals import Interval
from rescore.trainer.uplift import Uplift

MEANS = {
    "better": "stop: version {candidate} is better",
    "worse": "stop: version {candidate} is worse",
    "open": "go on: neither is surely better yet",
}


def table(found: Comparison) -> list[dict[str, Any]]:
    """Return one row per metric."""
    return [
        {
            "metric": name,
            f"version {found.candidate}": _text(sides["candidate"]),
            f"version {found.baseline}": _text(sides["baseline"]),
            "gain": _text(sides["gain"]) if "gain" in sides else "",
        }
        for name, sides in found.metrics.items()
    ]


def served_rows(found: Comparison) -> list[dict[str, Any]]:
    """Return the mean outcome of whom each version has served, and the difference."""
    called = {
        "candidate": f"version {found.candidate}",
        "baseline": f"version {found.baseline}",
        "uplift": "uplift",
    }
    return [
        {"served by": called[name], "mean outcome": _text(i)} for name, i in found.groups.items()
    ]


def uplift_rows(found: Uplift) -> list[dict[str, Any]]:
    """Return what treating has changed, a number a row."""
    shown = {
        "treated_share": "share treated",
        "rate": "outcome of those who may be treated",
        "rate_held_out": "outcome of the holdout",
        "difference": "difference",
        "per_treated": "difference for each who was treated",
    }
    return [{"": shown[name], "at 95%": _text(i)} for name, i in found.intervals().items()]


def lines(found: Comparison) -> list[str]:
    """Return what the comparison rests on, and what the stop rule says."""
    both = "the same" if found.paired else "its own"
    verdict = MEANS[found.verdict].format(candidate=found.candidate)
    return [
        f"each on {both} snapshots: {found.examples} in all, {found.customers} customers",
        f"gain in {found.metric}, at any number of looks: {_text(found.sequential)}",
        verdict,
    ]


def _text(interval: Interval) -> str:
    if not isfinite(interval.estimate):
        return "not known"
    if not interval.known:
        return f"{interval.estimate:.4g} (not known how surely)"
    return f"{interval.estimate:.4g} ({interval.low:.4g} to {interval.high:.4g})"
