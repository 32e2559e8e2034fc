"""Alerts of ``rescore run``: what the rules find is told once, and again when it comes back."""

from __future__ import annotations

import http.client
import json
import statistics
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from threading import Event
from typing import Any, NamedTuple

import numpy as np
from psycopg import sql

from rescore.trainer.alert_rules import Alerts, Drift, Health, Latency, Quality, Stale, Tell
from rescore.trainer.database import Connection, one, query
from rescore.trainer.learning.gate import PairedScores
from rescore.trainer.learning.hashing import hash_keys
from rescore.trainer.learning.intervals import Interval, intervals
from rescore.trainer.learning.metrics import METRICS
from rescore.trainer.rounds import Facts

CALLS = 20
FEWEST = 50  # resolved snapshots; of fewer, quality says nothing


class Found(NamedTuple):
    """Something wrong: its cause, which stays the same while it lasts, and what is seen now."""

    cause: str
    message: str


def _health(conn: Connection, rule: Health) -> Iterator[Found]:
    statuses = ["error"] if rule.status == "error" else ["warning", "error"]
    for check, status, detail in conn.execute(query("alert_health"), (statuses,)):
        yield Found(f"health: {check}", f"{check}: {status}: {detail}")


def _quality(conn: Connection, rule: Quality) -> Iterator[Found]:
    metric = METRICS[rule.metric]
    for (model,) in conn.execute(query("known_models")).fetchall():
        found = _live(conn, model, rule)
        if found is None or not found.known:
            continue
        bad = found.high < rule.worse_than if metric.better > 0 else found.low > rule.worse_than
        if bad:
            shown = f"{found.estimate:.4g} ({found.low:.4g} to {found.high:.4g})"
            text = f"{metric.name} of model {model} is {shown}, worse than {rule.worse_than:g}"
            yield Found(f"quality: {metric.name} of {model}", text)


def _live(conn: Connection, model: str, rule: Quality) -> Interval | None:
    """Return a model's quality on the newest resolved snapshots, treated customers left out."""
    given = {"model": model, "within": rule.within}
    rows = conn.execute(query("alert_quality"), given).fetchall()
    if len(rows) < FEWEST:
        return None
    keys, labels, scores = zip(*rows, strict=True)
    values = np.array(scores, dtype=np.float64)
    probability = bool(((values >= 0) & (values <= 1)).all())
    outcomes = np.array(labels).astype(np.int8)
    pairs = PairedScores(outcomes, hash_keys(keys, "compare"), values, values, probability)
    return intervals(pairs.histograms()[0], [METRICS[rule.metric]]).get(rule.metric)


def _drift(conn: Connection, rule: Drift) -> Iterator[Found]:
    for model, feature, psi in conn.execute(query("alert_drift"), (rule.psi,)):
        text = f"{feature} of model {model} has moved: population stability index {psi:.3g}"
        yield Found(f"drift: {feature} of {model}", text)


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
    """

    every: float
    alerts: Alerts
    name: str = "alerts"

    def work(self, conn: Connection, stop: Event) -> Facts:
        """Do one round; what could not be told is told in the next one."""
        open_ = 0
        told: list[str] = []
        failed: list[str] = []
        for rule, check in CHECKS.items():
            asked = getattr(self.alerts.rules, rule)
            if asked is None or stop.is_set():
                continue
            found = list(check(conn, asked))
            open_ += len(found)
            for each in found:
                if one(conn, query("alert_found"), (each.cause, rule, each.message)):
                    why = self._tell(conn, rule, each)
                    (failed if why else told).append(why or each.message)
            conn.execute(query("alert_gone"), (rule, [each.cause for each in found]))
        facts: Facts = {"open": open_}
        facts |= {"told": "; ".join(told)} if told else {}
        return facts | ({"error": "; ".join(failed)} if failed else {})

    def _tell(self, conn: Connection, rule: str, found: Found) -> str:
        """Tell, and return why it could not be done; empty when it was."""
        text = json.dumps({"rule": rule, "cause": found.cause, "message": found.message})
        why = tell(self.alerts.tell, text)
        if not why:
            conn.execute(query("alert_sent"), (found.cause,))
        return why


def tell(whom: Tell, text: str) -> str:
    """Run the command and post to the webhook; return why one failed, empty when none did."""
    try:
        if whom.command:
            subprocess.run(
                whom.command,
                input=text.encode(),
                timeout=whom.timeout,
                check=True,
                stdout=subprocess.DEVNULL,
            )
        if whom.webhook:
            headers = {"Content-Type": "application/json"}
            request = urllib.request.Request(whom.webhook, text.encode(), headers)
            with urllib.request.urlopen(request, timeout=whom.timeout):
                return ""
    # ValueError: what is no address, or cannot be an argument.
    except (OSError, subprocess.SubprocessError, http.client.HTTPException, ValueError) as error:
        return f"could not tell: {error}"
    return ""
