"""A training report for people, and what they write for moments."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from rescore.trainer.moment import moment
from rescore.trainer.train import TrainingReport
from rescore.trainer.usage import WrongUsage

WIDTH = 80


def parse_moments(text: str) -> str | list[datetime]:
    """Return ``monthly`` or an interval as it is, timestamps separated by commas as a list.

    Examples
    --------
    >>> parse_moments("2 weeks")
    '2 weeks'
    >>> parse_moments("1997-06-30, 1997-07-31")[1].isoformat()
    '1997-07-31T00:00:00+00:00'
    """
    words = [word.strip() for word in text.split(",")]
    if len(words) == 1 and not words[0][:4].isdigit():
        return text
    try:
        return [moment(word) for word in words]
    except ValueError as error:
        raise WrongUsage(
            f'--moments "{text}": {error}',
            hint='write monthly, an interval such as "2 weeks", or 1997-06-30,1997-07-31',
        ) from error


def summary(report: TrainingReport) -> list[str]:
    """Return the report as lines."""
    return [
        f"{report.examples} examples at {len(report.moments)} moments "
        f"until {report.until:%Y-%m-%d}{_labels(report)}",
        *_wrapped("features: ", report.features),
        *_wrapped("left out, their past is unknown: ", report.left_out),
        *_everybody(report),
        *_measured(report),
        _outcome(report),
    ]


def _everybody(report: TrainingReport) -> list[str]:
    learnt = "learnt from all rows: which of them were scored then, `only` cannot tell"
    return [learnt] if report.everybody else []


def bins(report: TrainingReport) -> list[dict[str, Any]]:
    """Return the calibration table: ten groups of equal size, predicted and observed."""
    calibration = (report.metrics or {}).get("calibration", {})
    found: list[dict[str, Any]] = calibration.get("bins", [])
    return found


def _labels(report: TrainingReport) -> str:
    if report.target == "outcome":
        return f", label true in {report.base_rate:.1%}"
    return f", label {report.base_rate:.6g} on average" if report.target == "number" else ""


def _wrapped(title: str, names: Sequence[str]) -> list[str]:
    """Return lines of whole names: a name may hold spaces, and is never broken."""
    lines = [title] if names else []
    for name in (*(f"{name}, " for name in names[:-1]), *names[-1:]):
        if len(lines[-1]) + len(name) > WIDTH and lines[-1].strip():
            lines.append("  ")
        lines[-1] += name
    return [line.rstrip() for line in lines]


def _measured(report: TrainingReport) -> list[str]:
    found = report.metrics
    if not found or report.test_moment is None:
        return ["not measured: no moment left to test on, or one outcome only"]
    lines = [
        f"measured at {report.test_moment:%Y-%m-%d} on {found['examples']} examples, "
        f"learnt at {len(report.train_moments)} earlier moments",
        *_line("model", found),
    ]
    if "constant" in found:
        lines += _line("constant", found["constant"])
    if fitted := found.get("calibration"):
        lines.append(
            f"  calibration slope {fitted['slope']:.3f}, intercept {fitted['intercept']:+.3f}"
        )
    return lines


def _line(what: str, numbers: dict[str, Any]) -> list[str]:
    shown = ("auc", "log_loss", "brier", "r2", "rmse", "mae", "distance")
    names = [name for name in shown if name in numbers]
    return [f"  {what:<9}" + ", ".join(f"{name} {numbers[name]:.4f}" for name in names)]


def _outcome(report: TrainingReport) -> str:
    if report.version is None:
        done = "not published"
    elif report.candidate:
        done = (
            f"recorded as candidate version {report.version}; "
            f"`rescore promote {report.model} {report.version}` lets it serve"
        )
    else:
        done = f"published as version {report.version}"
    return f"{done}, {report.seconds:.1f} s"
