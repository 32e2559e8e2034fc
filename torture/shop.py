"""The shop all scenarios write to: tables, definition, models."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import psycopg
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


def text() -> str:
    """Return the definition as YAML."""
    return (files("rescore.torture") / "shop.yaml").read_text(encoding="utf-8")


def definition(more: str = "") -> Definition:
    """Return the definition, with more features if any are given."""
    return parse(text().replace("models:", f"{more}models:", 1))


def extra(number: int) -> str:
    """Return a feature that changes its meaning with the number."""
    return f"  large: {{from: orders, count: true, where: 'amount > {number}'}}\n"


def open_shop(conn: Connection, *, customers: int = CUSTOMERS) -> None:
    """Make tables, profile and models, and an order for each customer."""
    conn.execute((files("rescore.torture") / "shop.sql").read_bytes())
    apply(conn, definition(), source=text())
    for model in ("churn", "worth"):
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
