"""The shop all scenarios write to: tables, definition, models."""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import numpy as np
import psycopg
import yaml
from sklearn.linear_model import SGDClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from rescore.compiler.apply import apply
from rescore.compiler.definition import Definition, parse
from rescore.trainer.publish import publish as publish_estimator
from rescore.trainer.publish import read_deployment

Connection = psycopg.Connection[Any]
CUSTOMERS = 100
PROFILE = "customer_profile"
EVENTS = ("orders", "complaints")
MODELS = ("churn", "worth")
# Few enough that the queue is full now and then, and transactions count for themselves.
MOST_WAITING = 300
# An outcome that comes true now and then, and is known after a second.
LABELS = {"buys": {"any": "orders", "where": "amount > 90", "within": "1 second"}}
SNAPSHOTS = {"rounds": {"every": "1 second"}, "events": {"on": "orders", "share": 0.3}}
# Rounds of a second or two, let through whatever they have learnt: it is not quality that is tried.
LEARN: dict[str, Any] = {
    "batch": 50,
    "examples": 100,
    "margin": 1,
    "minimum": {"customers": 5, "positives": 1, "negatives": 1},
    "limits": {"weights": 1000, "scores": 1000},
}


def text(
    *,
    queued: Collection[str] = (),
    learning: Literal["", "rounds", "events"] = "",
    larger_than: int | None = None,
) -> str:
    """Return the definition as YAML.

    Parameters
    ----------
    queued: events that wait in the queue; the others are counted at once.
    learning: churn learns from scores that are logged in rounds, or in the events' transactions.
    larger_than: one more feature, which changes its meaning with the number.
    """
    made = yaml.safe_load((files("rescore.torture") / "shop.yaml").read_text(encoding="utf-8"))
    for event in queued:
        time = made["events"][event]["time"]
        made["events"][event] = {"time": time, "mode": "queued", "queue": {"limit": MOST_WAITING}}
    if learning:
        made |= {"labels": LABELS, "snapshot": SNAPSHOTS[learning]}
        made["models"]["churn"] |= {"label": "buys", "learn": LEARN}
    if larger_than is not None:
        counted = {"from": "orders", "count": True, "where": f"amount > {larger_than}"}
        made["features"]["large"] = counted
    return yaml.safe_dump(made, sort_keys=False)


def definition(**changes: Any) -> Definition:
    """Return the definition; changes as :func:`text` takes them."""
    return parse(text(**changes))


def open_shop(conn: Connection, *, customers: int = CUSTOMERS) -> None:
    """Make tables, profile and models, and an order for each customer."""
    conn.execute((files("rescore.torture") / "shop.sql").read_bytes())
    apply(conn, definition(), source=text())
    for model in MODELS:
        publish(conn, model)
    conn.execute(
        b"INSERT INTO orders (customer_id, amount, channel, ordered_at)"
        b" SELECT i, i, 'web', now() - i * interval '9 hours' FROM generate_series(1, %s) AS i",
        [customers],
    )


def publish(conn: Connection, model: str = "churn", seed: int = 7) -> int:
    """Publish a version; another seed is another model."""
    return publish_estimator(_estimator(_columns(conn, model), seed), model=model, conn=conn)


def _columns(conn: Connection, model: str) -> int:
    inputs = read_deployment(conn, model).inputs
    return sum(len(i.columns()) for i in inputs)


@cache
def _estimator(columns: int, seed: int) -> Any:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(200, columns)) * 20
    y = (x[:, 0] + rng.normal(size=200) > 0).astype(int)
    made = make_pipeline(
        StandardScaler(), SGDClassifier(loss="log_loss", alpha=0.5, random_state=seed)
    )
    return made.fit(x, y)
