"""``rescore train``: examples of past moments, a fit, honest numbers, a new version."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rescore.errors import NotEnoughData
from rescore.plpython.contract import Contract
from rescore.plpython.prediction import score
from rescore.trainer import examples as ex
from rescore.trainer.database import Connection, one, query, translated
from rescore.trainer.estimators import make_estimator
from rescore.trainer.fit import Progress, Recipe, fit
from rescore.trainer.learning.target import Target, distances
from rescore.trainer.loop.reference import refer
from rescore.trainer.loop.treatment import standing_for
from rescore.trainer.metrics import evaluate, evaluate_numbers
from rescore.trainer.publish import publish as publish_artifact
from rescore.trainer.split import Moment, Split, time_split
from rescore.trainer.usage import WrongUsage, check_interval

Floats = NDArray[np.float64]

FITTING = 10  # steps of the progress bar for each fit


@dataclass(frozen=True)
class TrainingReport:
    """What was learnt from what, and how good it is.

    Attributes
    ----------
    until: nothing known later was used.
    train_moments: where the measured model learnt.
    test_moment: where it was measured; None when there was no earlier moment to learn from.
    moments: where the final model learnt: all of them.
    examples: rows at all moments together.
    base_rate: share of them whose label is 1; the mean of labels that are numbers.
    target: what the model tells.
    features: columns of the design row.
    left_out: features whose past is unknown.
    everybody: whether it learnt all rows, since the past of ``only`` is unknown.
    metrics: see `rescore.trainer.metrics.evaluate`; None without a test moment.
    pipeline: the final model.
    lineage: what is kept with the version, so that `rescore learn` goes on from it.
    version: published as; None when it was not.
    candidate: whether that version is only recorded.
    parent: the version that served before.
    seconds: from first query to last.
    """

    model: str
    until: datetime
    train_moments: tuple[datetime, ...]
    test_moment: datetime | None
    moments: tuple[datetime, ...]
    examples: int
    base_rate: float
    features: tuple[str, ...]
    left_out: tuple[str, ...]
    everybody: bool
    metrics: dict[str, Any] | None
    contract: Contract = field(repr=False)
    pipeline: Any = field(repr=False)
    lineage: dict[str, Any] = field(repr=False)
    version: int | None
    seconds: float
    candidate: bool = False
    target: Target = "outcome"
    parent: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return all but the model itself, for printing."""
        hidden = ("contract", "pipeline", "lineage")
        return {name: value for name, value in vars(self).items() if name not in hidden}


def train(
    conn: Connection,
    model: str,
    *,
    moments: str | Sequence[datetime] = "monthly",
    until: datetime | None = None,
    most: int = 24,
    passes: int | None = None,
    seed: int = 0,
    publish: bool = False,
    candidate: bool = False,
    reason: str | None = None,
    progress: Progress | None = None,
) -> TrainingReport:
    """Train a model on what was known at past moments, measure it, and publish it if asked.

    Parameters
    ----------
    moments: ``"monthly"``, an interval such as ``"2 weeks"``, counted back from ``until``; or
        the moments themselves.
    until: the present; outcomes after it are not known yet. Default: the profile's clock.
    most: so many moments, the newest, when counted back.
    passes: how often ``partial_fit`` sees each example; default: see `Recipe`.
    seed: of the shuffling; the same seed and data give the same weights.
    publish: make it a version that serves; with ``candidate``, one that is only recorded.
    progress: called with steps done and to do.

    Raises
    ------
    UnknownModel, NotEnoughData, NotFinite, BadDefinition: see their messages.
    WrongUsage: ``until`` is in the future, or ``moments`` no interval.
    """
    started = time.monotonic()
    with translated():
        source = ex.read_source(conn, model)
        recipe = _recipe(source, passes, seed)
        until = choose_until(conn, source, until)
        chosen = choose_moments(conn, source, moments, until, most)
        learnt = _learn(conn, source, chosen, until, recipe, progress)
    report = TrainingReport(
        model=model,
        until=until,
        left_out=source.left_out,
        everybody=source.everybody,
        version=None,
        parent=source.champion,
        target=source.target,
        seconds=time.monotonic() - started,
        **learnt,
    )
    if not publish:
        return report
    return publish_trained(conn, report, candidate=candidate, reason=reason)


def publish_trained(
    conn: Connection, report: TrainingReport, *, candidate: bool = False, reason: str | None = None
) -> TrainingReport:
    """Publish what :func:`train` made; return its report with the version's number.

    Raises
    ------
    As `rescore.publish` does.
    """
    started = time.monotonic()
    with translated(), conn.transaction():
        version = publish_artifact(
            report.pipeline,
            model=report.model,
            conn=conn,
            contract=report.contract,
            metrics=_metrics(report),
            parent=report.parent,
            candidate=candidate,
            reason=reason
            or f"trained on {len(report.moments)} moments until {report.until:%Y-%m-%d}",
            lineage=report.lineage,
        )
    seconds = report.seconds + time.monotonic() - started
    return replace(report, version=version, candidate=candidate, seconds=seconds)


def choose_until(conn: Connection, source: ex.Source, until: datetime | None) -> datetime:
    """Return the present to learn at, which no clock of the profile may be behind."""
    present = _present(conn, source.clock)
    if until is None:
        return present
    latest = max(present, _present(conn, "now"))
    if until > latest:
        raise WrongUsage(
            f"--until {until.isoformat(sep=' ')} is in the future",
            detail="What did not happen yet would be learnt as what never happens; "
            f"the present is {latest.isoformat(sep=' ', timespec='seconds')}.",
            hint="name a past moment, or leave --until out",
        )
    return until


def _present(conn: Connection, clock: str) -> datetime:
    moment: datetime = one(conn, query("clock" if clock == "session" else "now"))
    return moment


def _recipe(source: ex.Source, passes: int | None, seed: int) -> Recipe:
    make_estimator(source.spec["estimator"], seed=seed)  # refused before anything is read
    return Recipe(source.spec["estimator"], source.spec.get("scaler"), passes=passes, seed=seed)


def choose_moments(
    conn: Connection,
    source: ex.Source,
    moments: str | Sequence[datetime],
    until: datetime,
    most: int,
) -> list[Moment]:
    """Return the moments to learn from, oldest first; NotEnoughData when there is none."""
    label = source.label
    if label is None:
        return _unlabelled(moments, until)
    if isinstance(moments, str):
        step = "1 month" if moments == "monthly" else moments
        check_interval(conn, step, "--moments")
        found = ex.regular_moments(conn, label, step=step, until=until, most=most)
    else:
        found = ex.named_moments(conn, label, moments, until)
    if not found:
        raise NotEnoughData(
            f'no moment to learn "{label.name}" from: none has an outcome known by {until}',
            detail=f"the label looks {label.within} ahead of a moment",
            hint="name other moments with --moments, or a later present with --until",
        )
    return found


def _unlabelled(moments: str | Sequence[datetime], until: datetime) -> list[Moment]:
    """Return moments whose outcomes nobody waits for: the present, unless others are named."""
    if not isinstance(moments, str):
        return [Moment(at, at) for at in sorted(set(moments)) if at <= until]
    if moments != "monthly":
        raise WrongUsage(
            f'--moments "{moments}" for a model without a label',
            detail="It learns how customers are now, not what follows.",
            hint="leave --moments out, or name the moments",
        )
    return [Moment(until, until)]


def _learn(
    conn: Connection,
    source: ex.Source,
    moments: list[Moment],
    until: datetime,
    recipe: Recipe,
    progress: Progress | None,
) -> dict[str, Any]:
    """Measure on the newest moment what the older ones teach; then learn from all."""
    split = time_split(moments)
    steps = _Steps(progress, len(moments) + FITTING * (2 if split else 1))
    contract = ex.frozen_contract(conn, source, moments)
    names, columns = zip(*ex.design_columns(conn, contract), strict=True)
    read = {m: steps.after(ex.read_examples(conn, source, columns, m, until)) for m in moments}
    metrics = _measure(source, read, split, recipe, steps) if split else None
    design, labels, pipeline = _fitted(source, [read[m] for m in moments], recipe, steps)
    customers = max(len(each.labels) for each in read.values())  # different at one moment
    return {
        "train_moments": tuple(m.at for m in split.train) if split else (),
        "test_moment": split.test.at if split else None,
        "moments": tuple(m.at for m in moments),
        "examples": len(labels),
        "base_rate": float(labels.mean()) if len(labels) else float("nan"),
        "features": names,
        "metrics": metrics,
        "contract": contract,
        "pipeline": pipeline,
        "lineage": _lineage(moments, labels)
        | refer(list(names), design, pipeline, None if source.target == "segments" else labels)
        | {"customers": customers},
    }


def _fitted(
    source: ex.Source, parts: Sequence[ex.Examples], recipe: Recipe, steps: _Steps
) -> tuple[Floats, NDArray[Any], Any]:
    """Fit on examples, those of treated customers left out, or stood for by the holdout.

    Who would have been treated goes by a score: that of a first fit on all who were not.
    """
    design, labels = _joined(parts)
    treated = np.concatenate([part.treated for part in parts])
    if source.held_out is None or not treated.any():
        return design, labels, fit(design, labels, recipe, steps.fitting())
    first = fit(design[~treated], labels[~treated], recipe)
    holdout = np.concatenate([part.holdout for part in parts])
    weights = standing_for(score(first, design), treated, holdout, source.held_out)
    kept = weights > 0
    made = fit(design[kept], labels[kept], recipe, steps.fitting(), weights[kept])
    return design[kept], labels[kept], made


def _lineage(moments: Sequence[Moment], labels: NDArray[Any]) -> dict[str, Any]:
    """Return what learning on must know: the last moment learnt, and the last outcome."""
    examples, positives = len(labels), int((labels > 0).sum())
    last, known = max(m.at for m in moments), max(m.settled for m in moments)
    memory = {"examples": float(examples), "positives": float(positives)}
    return {
        "examples": examples,
        "positives": positives,
        "began": min(m.at for m in moments).isoformat(),
        "ended": last.isoformat(),
        "known_until": known.isoformat(),
        "memory": {**memory, "after": last.isoformat(), "known": known.isoformat()},
    }


def _measure(
    source: ex.Source,
    read: dict[Moment, ex.Examples],
    split: Split,
    recipe: Recipe,
    steps: _Steps,
) -> dict[str, Any] | None:
    """Return the numbers at the test moment, or None where one class only makes them impossible.

    Where the holdout stands for those treated, it alone is measured on.
    """
    parts, test = [read[m] for m in split.train], read[split.test]
    shown = test.holdout & ~test.treated if source.held_out else ~test.treated
    outcomes = [np.concatenate([p.labels[~p.treated] for p in parts]), test.labels[shown]]
    if source.target != "segments" and any(len(np.unique(each)) < 2 for each in outcomes):
        return None
    _, labels, fitted = _fitted(source, parts, recipe, steps)
    if source.target == "segments":
        return {"examples": len(test.labels), "distance": distances(fitted, test.design).mean()}
    told = score(fitted, test.design[shown])
    if source.target == "number":
        return evaluate_numbers(outcomes[1], told, constant=float(labels.mean()))
    return evaluate(outcomes[1], told, constant=float(labels.mean()))


def _joined(
    parts: Sequence[ex.Examples],
) -> tuple[Floats, NDArray[Any]]:
    return np.concatenate([p.design for p in parts]), np.concatenate([p.labels for p in parts])


def _metrics(report: TrainingReport) -> dict[str, Any]:
    """What is kept beside the version: its numbers, and on what they were had."""
    test = report.test_moment
    return {
        **(report.metrics or {}),
        "until": report.until.isoformat(),
        "moments": [m.isoformat() for m in report.moments],
        "test_moment": test.isoformat() if test else None,
        "training_examples": report.examples,
        "training_base_rate": report.base_rate,
        "left_out": list(report.left_out),
        "everybody": report.everybody,
    }


class _Steps:
    """One count over reading and fitting, for a progress bar."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self.progress, self.total, self.done = progress, total, 0

    def after(self, value: ex.Examples) -> ex.Examples:
        """Count one moment read."""
        self._to(self.done + 1)
        return value

    def fitting(self) -> Progress:
        """Return what counts the passes of one fit, however many they are, as `FITTING` steps."""
        before = self.done
        return lambda done, total: self._to(before + FITTING * done // total)

    def _to(self, done: int) -> None:
        self.done = done
        if self.progress:
            self.progress(done, self.total)
