"""A report of learning for people."""

from __future__ import annotations

from typing import Any

from rescore.trainer.loop.learn import LearningReport
from rescore.trainer.loop.record import Outcome

_SHOWN = ("auc", "log_loss", "calibration_slope", "r2", "rmse", "distance")
_SIDES = {
    "candidate": "candidate, on what nobody learnt",
    "champion": "champion, on the same",
}


def summary(report: LearningReport) -> list[str]:
    """Return the report as lines."""
    lines = [line for each in report.rounds for line in _of_round(report.model, each)]
    return [*lines, f"{report.seconds:.1f} s"]


def _of_round(model: str, outcome: Outcome) -> list[str]:
    gate = outcome.metrics.get("gate", {})
    return [
        _headline(model, outcome),
        *(f"  {reason}" for reason in outcome.reasons),
        *_measured("tested before it was learnt", outcome.metrics.get("prequential", {})),
        *(line for side, what in _SIDES.items() for line in _measured(what, gate.get(side, {}))),
        *_of_holdout(gate.get("segments", {}).get("holdout", {})),
        *_left_out(outcome),
        *_way_out(model, outcome),
    ]


def _of_holdout(sides: dict[str, Any]) -> list[str]:
    """Return what both are on those nobody treats."""
    return [
        line
        for side, found in sides.items()
        for line in _measured(f"{side}, on the holdout of these", found)
    ]


def _headline(model: str, outcome: Outcome) -> str:
    made = f" version {outcome.version}" if outcome.version else ""
    learnt = f", {outcome.examples} examples learnt" if outcome.examples else ""
    return f"{model}: {outcome.action}{made}, from version {outcome.parent}{learnt}"


def _measured(what: str, found: dict[str, Any]) -> list[str]:
    shown = [f"{name} {_interval(found[name])}" for name in _SHOWN if name in found]
    return [f"  {what}: {', '.join(shown)}"] if shown else []


def _interval(found: dict[str, Any]) -> str:
    numbers = [found["estimate"], found["low"], found["high"]]
    told = ["unknown" if number is None else f"{number:.4f}" for number in numbers]
    return f"{told[0]} ({told[1]} to {told[2]})"


def _left_out(outcome: Outcome) -> list[str]:
    counts = {"kept out by the guard": outcome.quarantined, **outcome.skipped}
    shown = [f"{count} {reason}" for reason, count in counts.items() if count]
    return [f"  not learnt: {', '.join(shown)}"] if shown else []


def _way_out(model: str, outcome: Outcome) -> list[str]:
    if not outcome.quarantined:
        return []
    return [
        f"  `rescore quarantine` lists what the guard keeps out, `rescore release {model}` "
        "lets it be learnt"
    ]
