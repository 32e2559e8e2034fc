"""Alerts of ``rescore run``: what the rules find is told once, and again when it comes back."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timezone
from threading import Event
from typing import Any, NamedTuple

import numpy as np
from psycopg import sql

from rescore.trainer.alert_rules import (
    Alerts,
    Drift,
    Health,
    Judged,
    Latency,
    Quality,
    Stale,
)
from rescore.trainer.compare import FEWEST_GROUPS
from rescore.trainer.database import Connection, one, query
from rescore.trainer.failing import Patience
from rescore.trainer.learning.errors import NUMBERS
from rescore.trainer.learning.gate import PairedScores
from rescore.trainer.learning.hashing import hash_keys
from rescore.trainer.learning.intervals import Interval, intervals
from rescore.trainer.learning.target import Target, metric_of, typed
from rescore.trainer.rounds import Facts, Round, failures, sums
from rescore.trainer.tell import tell

CALLS = 20
FEWEST = 50  # resolved snapshots; of fewer, quality says nothing
MOST_BYTES = 64_000_000
"""Of snapshots that are read to tell a model's quality: some hundred thousand of them."""


class Found(NamedTuple):
    """Something wrong: its cause, which stays the same while it lasts, and what is seen now."""

    cause: str
    message: str


def _health(conn: Connection, rule: Health) -> Iterator[Found]:
    statuses = ["error"] if rule.status == "error" else ["warning", "error"]
    for check, status, detail in conn.execute(query("alert_health"), (statuses,)):
        yield Found(f"health: {check}", f"{check}: {status}: {detail}")


def _quality(conn: Connection, rule: Quality) -> Iterator[Found]:
    target: Target = "number" if rule.metric in NUMBERS else "outcome"
    metric = metric_of(rule.metric, target)
    for model in _defined(conn):
        found = _live(conn, model, rule, target)
        if found is None or not found.known or found.groups < FEWEST_GROUPS:
            continue
        bad = found.high < rule.worse_than if metric.better > 0 else found.low > rule.worse_than
        if bad:
            shown = f"{found.estimate:.4g} ({found.low:.4g} to {found.high:.4g})"
            text = f"{metric.name} of model {model} is {shown}, worse than {rule.worse_than:g}"
            yield Found(f"quality: {metric.name} of {model}", text)


def _defined(conn: Connection) -> list[str]:
    """Return the models that a definition has: what served before tells nobody anything now."""
    known = conn.execute(query("known_models")).fetchall()
    return [model for model, _, is_defined in known if is_defined]


def _live(
    conn: Connection, model: str, rule: Quality, target: Target = "outcome"
) -> Interval | None:
    """Return a model's quality on the newest resolved snapshots, treated customers left out."""
    given = {"model": model, "within": rule.within, "bytes": MOST_BYTES}
    since, percent = conn.execute(query("alert_window"), given).fetchone() or (None, 0.0)
    given |= {"since": since, "percent": percent, "number": target == "number"}
    rows = conn.execute(query("alert_quality"), given).fetchall()
    if len(rows) < FEWEST:
        return None
    keys, labels, scores = zip(*rows, strict=True)
    values = np.array(scores, dtype=np.float64)
    probability = bool(((values >= 0) & (values <= 1)).all())
    outcomes, hashes = typed(np.array(labels, dtype=np.float64), target), hash_keys(keys, "compare")
    pairs = PairedScores(outcomes, hashes, values, values, probability, target=target)
    return intervals(pairs.histograms()[0], [metric_of(rule.metric, target)]).get(rule.metric)


def _judged(conn: Connection, rule: Judged) -> Iterator[Found]:
    for row in conn.execute(query("alert_judged"), vars(rule)).fetchall():
        model, version, against, metric, gain, examples, customers, serving = row
        text = (
            f"version {version} of model {model} served worse than version {against}, whose place "
            f"it took, would have: {metric} by {-gain['estimate']:.4g} ({-gain['high']:.4g} to "
            f"{-gain['low']:.4g}), on {examples} snapshots of {customers} customers; "
            f"it {'still serves' if serving else 'serves no more'}"
        )
        yield Found(f"judged: version {version} of {model}", text)


def _drift(conn: Connection, rule: Drift) -> Iterator[Found]:
    for model, feature, psi, moved, since in conn.execute(query("alert_drift"), vars(rule)):
        index = f"moved: population stability index {psi:.3g}" if moved else ""
        how = index or f"changed since about {since.astimezone(timezone.utc):%Y-%m-%d %H:%M} UTC"
        yield Found(f"drift: {feature} of {model}", f"{feature} of model {model} has {how}")


def _stale(conn: Connection, rule: Stale) -> Iterator[Found]:
    for profile, schema, table, column, clock in conn.execute(query("alert_scores")).fetchall():
        parts = {
            "relation": sql.Identifier(schema, table),
            **{name: sql.Identifier(f"{column}_{name}") for name in ("at", "version")},
        }
        given = {"clock": clock, "older_than": rule.older_than}
        share = one(conn, query("alert_stale", **parts), given)
        if share is not None and share > rule.share:
            text = f"{share:.1%} of the rows of {profile} have a stale {column}"
            yield Found(f"stale: {column} of {profile}", text)


def _latency(conn: Connection, rule: Latency) -> Iterator[Found]:
    for model, schema, table, key in conn.execute(query("alert_models")).fetchall():
        parts = {"relation": sql.Identifier(schema, table), "key": sql.Identifier(key)}
        keys = conn.execute(query("alert_keys", **parts), (CALLS,)).fetchall()
        took = [_timed(conn, model, name) for (name,) in keys]
        if took and statistics.median(took) > rule.ms:
            text = f"predict_key of model {model} takes {statistics.median(took):.3g} ms"
            yield Found(f"latency: {model}", text)


def _timed(conn: Connection, model: str, key: str) -> float:
    started = time.perf_counter()
    conn.execute(query("alert_call"), (model, key))
    return (time.perf_counter() - started) * 1000


CHECKS: dict[str, Callable[[Connection, Any], Iterator[Found]]] = {
    "health": _health,
    "quality": _quality,
    "judged": _judged,
    "drift": _drift,
    "stale": _stale,
    "latency": _latency,
}


@dataclass(frozen=True)
class Alerting:
    """A periodic job: looks at what the rules name, and tells each cause once.

    Attributes
    ----------
    every: seconds.
    partly: by cause, who has been told, where somebody else could not be.
    """

    every: float
    alerts: Alerts
    name: str = "alerts"
    partly: dict[str, set[str]] = field(default_factory=dict, repr=False)
    patience: Patience = field(default_factory=Patience, repr=False)

    def work(self, conn: Connection, stop: Event) -> Facts:
        """Do one round; what could not be told, or a rule that fails, is taken up in the next."""
        asked = [rule for rule in CHECKS if getattr(self.alerts.rules, rule) is not None]
        looked = Round(conn, "rule", self.patience, stop)
        done = looked.each(asked, lambda rule: self._one(conn, rule, stop))
        told = [message for facts in done for message in facts.get("told", ())]
        facts = sums(done, ("open",)) | ({"told": "; ".join(told)} if told else {})
        return facts | failures("rule", done)

    def _one(self, conn: Connection, rule: str, stop: Event) -> Facts:
        """Look at what a rule names, and tell what is new."""
        told, failed = list[str](), list[str]()
        found = list(CHECKS[rule](conn, getattr(self.alerts.rules, rule)))
        for each in found:
            if one(conn, query("alert_found"), (each.cause, rule, each.message)):
                why = self._tell(conn, rule, each, stop)
                (failed if why else told).append(why or each.message)
        causes = [each.cause for each in found]
        conn.execute(query("alert_gone"), (rule, causes))
        for gone in [c for c in self.partly if c.startswith(f"{rule}: ") and c not in causes]:
            del self.partly[gone]
        return {"open": len(found), "told": told} | ({"error": "; ".join(failed)} if failed else {})

    def _tell(self, conn: Connection, rule: str, found: Found, stop: Event) -> str:
        """Tell, and return why it could not be done; empty when it was."""
        text = json.dumps({"rule": rule, "cause": found.cause, "message": found.message})
        why = tell(self.alerts.tell, text, self.partly.setdefault(found.cause, set()), stop)
        if not why:
            conn.execute(query("alert_sent"), (found.cause,))
            del self.partly[found.cause]
        return why
