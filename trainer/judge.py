"""How well each version served, told when the outcomes of what it scored are known.

A version is replaced within days, and its outcomes come within months: by then it is long gone.
They are of its scores all the same, and say whether it was right to let it serve. Neither it nor
the version whose place it took, which is scored on the same rows, had learnt them.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from threading import Event
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg.types.json import Jsonb

from rescore.errors import ArtefactRefused
from rescore.plpython.prediction import score
from rescore.trainer.compare import FEWEST_GROUPS
from rescore.trainer.database import Connection, one, query, translated
from rescore.trainer.failing import Patience
from rescore.trainer.learning.gate import PairedScores
from rescore.trainer.learning.hashing import below, hash_keys
from rescore.trainer.learning.histogram import THRESHOLD
from rescore.trainer.learning.intervals import Interval, difference, intervals
from rescore.trainer.learning.metrics import METRICS, Metric, metric
from rescore.trainer.learning.target import threshold_of
from rescore.trainer.loop.state import Version, read_version
from rescore.trainer.rounds import Facts, Round, failures

Floats = NDArray[np.float64]

MOST = 20_000
"""Examples of a judgement; where there are more, those of a share of the customers."""


@dataclass(frozen=True)
class Judgement:
    """What came of a version's scores.

    Attributes
    ----------
    snapshots, open: it scored as champion, and of these without an outcome yet.
    metrics: of its scores as served, with intervals.
    against: the version whose place it took; None where there is none to compare with.
    gain: by how much its metric was better on the same snapshots; None without the other.
    verdict: ``better`` or ``worse`` where the interval says so, of ten groups of customers or
        more; else ``even``, or ``open`` as long as outcomes are.
    """

    version: int
    snapshots: int
    open: int
    examples: int
    customers: int
    metric: str
    metrics: Mapping[str, Interval]
    against: int | None
    gain: Interval | None

    @property
    def verdict(self) -> str:
        """What is to be said of it."""
        gain = self.gain
        enough = gain is not None and gain.known and gain.groups >= FEWEST_GROUPS
        if gain is not None and enough and not gain.holds(0.0):
            return "better" if gain.low > 0 else "worse"
        return "open" if self.open else "even"


@dataclass(frozen=True)
class Served:
    """Scores a version gave, and what came of them; see `rescore.trainer.judge.Judgement`.

    Attributes
    ----------
    keys: n of them, of the customers.
    labels: 0 or 1, shape (n,).
    scores: as served, shape (n,).
    design: shape (n, columns).
    threshold: from which score on the version says that it happens.
    """

    keys: list[str]
    labels: NDArray[np.int8]
    scores: Floats
    design: Floats
    threshold: float

    def pairs(self, other: Floats, threshold: float) -> PairedScores:
        """Return them beside other scores of the same rows, and from which on these say so."""
        both = np.concatenate([self.scores, other])
        probability = bool(((both >= 0) & (both <= 1)).all())
        hashes = hash_keys(self.keys, "judge")
        limits = self.threshold, threshold
        return PairedScores(self.labels, hashes, self.scores, other, probability, thresholds=limits)


def judge(conn: Connection, model: str) -> list[Judgement]:
    """Judge the versions of a model of whose scores enough more outcomes are known; record it.

    Parameters
    ----------
    conn: in autocommit mode.
    """
    with translated():
        specs = _specs(conn)
        return _judge_due(conn, model, specs[model], Event()) if model in specs else []


def _specs(conn: Connection) -> dict[str, Any]:
    return dict(conn.execute(query("judge_models")).fetchall())


def _judge_due(
    conn: Connection, model: str, spec: Mapping[str, Any], stop: Event
) -> list[Judgement]:
    due = conn.execute(query("judge_due"), {"model": model}).fetchall()
    metric, done, faults = _metric_of(spec), [], []
    for row in due:
        if stop.is_set():
            break
        try:
            done.append(_judge(conn, model, metric, *row))
        except ArtefactRefused as error:  # of an old version, perhaps: the others are judged
            faults.append(error)
    if faults:
        raise faults[0]
    return done


def _metric_of(spec: Mapping[str, Any]) -> Metric:
    """Return the metric by which the definition compares versions."""
    parts = [spec.get(name) or {} for name in ("traffic", "learn")]
    return metric(next((part["metric"] for part in parts if part.get("metric")), "log_loss"))


def _judge(
    conn: Connection, model: str, compared: Metric, version: int, began: datetime
) -> Judgement:
    given = {"model": model, "version": version, "began": began}
    row = conn.execute(query("judge_counts"), given).fetchone()
    assert row is not None  # an aggregate of no rows is one
    snapshots, left, period, resolved = row
    share = min(1.0, MOST / max(snapshots - left, 1))
    against = one(conn, query("judge_against"), (model, version))
    mine, other = _both(conn, model, version, against)
    limit = threshold_of(mine.estimator) if mine else THRESHOLD
    served = _read(conn, given | {"least": below(1 - share)}, limit)
    if not served.keys:
        other = None
    made = Judgement(
        version,
        snapshots,
        left,
        len(served.keys),
        len(set(served.keys)),
        compared.name,
        _metrics(served),
        None if other is None else other.number,
        None if other is None else _gain(served, other.estimator, compared),
    )
    conn.execute(query("judge_record"), _row(model, made, period, resolved))
    return made


def _both(
    conn: Connection, model: str, version: int, against: int | None
) -> tuple[Version | None, Version | None]:
    """Return a version and the other; this one only where it is of the same columns.

    Raises
    ------
    ArtefactRefused: one of the two cannot be read any more; alone, the first need not be.
    """
    if against is None:
        with suppress(ArtefactRefused):
            return read_version(conn, model, version), None
        return None, None
    mine, other = (read_version(conn, model, each) for each in (version, against))
    return mine, other if mine.contract.columns() == other.contract.columns() else None


def _read(conn: Connection, given: dict[str, Any], threshold: float) -> Served:
    with conn.cursor(binary=True) as cursor:
        rows = cursor.execute(query("judge_rows"), given).fetchall()
    return Served(
        [row[0] for row in rows],
        np.array([row[1] for row in rows], dtype=np.int8),
        np.array([row[2] for row in rows], dtype=np.float64),
        np.array([row[3] for row in rows], dtype=np.float64),
        threshold,
    )


def _metrics(served: Served) -> dict[str, Interval]:
    if not served.keys:
        return {}
    pairs = served.pairs(served.scores, served.threshold)
    return intervals(pairs.histograms()[0], list(METRICS.values()))


def _gain(served: Served, other: Any, compared: Metric) -> Interval | None:
    """Compare with what another estimator would have said."""
    pairs = served.pairs(score(other, served.design), threshold_of(other))
    if compared.probability and not pairs.probability:
        return None
    sides = pairs.histograms()
    return difference(*(sides if compared.better > 0 else sides[::-1]), compared)


def _row(model: str, made: Judgement, period: Any, resolved: str) -> dict[str, Any]:
    plain = ("version", "snapshots", "open", "examples", "customers", "metric", "against")
    metrics = {name: found.to_json() for name, found in made.metrics.items()}
    return {
        **{name: getattr(made, name) for name in (*plain, "verdict")},
        "model": model,
        "period": period,
        "resolved": resolved,
        "metrics": Jsonb(metrics),
        "gain": Jsonb(made.gain.to_json() if made.gain else {}),
    }


@dataclass(frozen=True)
class ServedQuality:
    """A periodic job: judges versions as the outcomes of what they scored become known.

    Attributes
    ----------
    every: seconds.
    """

    every: float
    name: str = "quality"
    patience: Patience = field(default_factory=Patience, repr=False)

    def work(self, conn: Connection, stop: Event) -> Facts:
        """Judge the versions of each model that are due; say nothing when none is."""
        specs = _specs(conn)
        judged = Round(conn, "model", self.patience, stop)
        done = judged.each(specs, lambda m: _told(_judge_due(conn, m, specs[m], stop)))
        told = [facts for facts in done if len(facts) > 1]
        return ({"models": told} if told else {}) | failures("model", told)


def _told(done: list[Judgement]) -> Facts:
    return {f"version {made.version}": made.verdict for made in done}
