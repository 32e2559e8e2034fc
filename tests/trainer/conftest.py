"""A shop with two years of orders, whose customers' habits are made to be learnable."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from rescore.compiler.apply import apply
from rescore.compiler.definition import load
from rescore.trainer.database import Connection, connection

START = datetime(2024, 1, 1, tzinfo=timezone.utc)
UNTIL = START + timedelta(days=540)

TABLES = """
CREATE TABLE orders (
    customer_id bigint, ordered_at timestamptz, amount numeric(10,2), channel text
);
CREATE INDEX ON orders (customer_id);
CREATE TABLE customers (customer_id bigint PRIMARY KEY, age int);
"""

DEFINITION = """
profile:
  table: customers
  key: {name: customer_id, type: bigint}
  clock: session
events:
  orders: {time: ordered_at}
features:
  orders: {from: orders, count: true}
  spend: {from: orders, sum: amount}
  last_channel: {from: orders, last: channel, one_hot: {top: 2, other: true}}
  days_since_order: {from: orders, days_since: last, missing: indicator}
  age: {column: age}
labels:
  churned: {none: orders, within: 60 days}
  returns: {any: orders, where: "channel = 'web'", after: 10 days, within: 60 days}
models:
  churn: {label: churned, features: {except: [age]}}
  back: {label: returns}
  forest:
    label: churned
    features: {except: [age]}
    estimator: {random_forest_classifier: {n_estimators: 5, max_depth: 3}}
    scaler: none
scores:
  churn_score: {model: churn}
"""

Order = tuple[int, datetime, float, str]


@pytest.fixture(scope="session")
def orders() -> list[Order]:
    """Orders of 300 customers: some buy every few days, some lose interest."""
    chance = random.Random(7)
    made: list[Order] = []
    for customer in range(300):
        at, gap = chance.uniform(0, 200), chance.choice([6, 15, 40])
        leaves = chance.choice([700, chance.uniform(at, 540)])
        while at < min(leaves, 700):
            channel = chance.choice(["web", "web", "web", "shop", "shop", "phone", "fax"])
            made.append((customer, START + timedelta(days=at), chance.randint(5, 99), channel))
            at += chance.expovariate(1 / gap)
    return made


@pytest.fixture
def definition(tmp_path: Path) -> Path:
    path = tmp_path / "customers.yaml"
    path.write_text(DEFINITION)
    return path


def fill(conn: Connection, orders: list[Order], definition: Path) -> None:
    conn.execute(TABLES)
    with conn.cursor() as cursor:
        with cursor.copy("COPY orders FROM STDIN") as copy:
            for order in orders:
                copy.write_row(order)
        cursor.execute("INSERT INTO customers SELECT DISTINCT customer_id, 40 FROM orders")
    apply(conn, load(definition))


@pytest.fixture
def shop(dsn: str, orders: list[Order], definition: Path) -> Iterator[Connection]:
    """The shop in a database with PL/Python."""
    with connection(dsn) as conn:
        fill(conn, orders, definition)
        yield conn


@pytest.fixture
def plain_shop(plain_dsn: str, orders: list[Order], definition: Path) -> Iterator[Connection]:
    """The shop of an ordinary role in a database without PL/Python."""
    with connection(plain_dsn) as conn:
        fill(conn, orders, definition)
        yield conn
