"""Customers who have left, by an event: the example of docs/definition.md, run as it stands there."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from rescore.tests.support import define, one
from rescore.trainer.export import export
from rescore.trainer.train import train

Connection = psycopg.Connection[Any]
PAGE = Path(__file__).parents[1] / "docs" / "definition.md"
EVENTS = """
INSERT INTO customers SELECT generate_series(1, 90);
INSERT INTO orders
SELECT c, now() - d * interval '10 days', 5 + c % 7
FROM generate_series(1, 90) AS c, generate_series(0, 72) AS d WHERE d >= least(c / 10, 6) * (c % 3);
-- Thirty left within a month, a year ago or so; later somebody leaves each week.
INSERT INTO cancellations SELECT c, now() - interval '400 days' + c * interval '1 day' FROM generate_series(1, 30) AS c;
INSERT INTO cancellations SELECT c, now() - (c - 30) * interval '7 days' FROM generate_series(31, 70) AS c;
"""


def block(of: str) -> str:
    """The code of the page below a mark."""
    found = re.search(rf"<!-- left: {of} -->\n```\w+\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert found is not None
    return found[1]


@pytest.fixture
def conn(dsn: str) -> Iterator[Connection]:
    tables, once = block("tables").split("-- Once,")
    with psycopg.connect(dsn, autocommit=True) as made:
        made.execute("SET TimeZone = 'UTC'")
        made.execute(tables.encode())
        made.execute(EVENTS.encode())
        made.execute(f"-- Once,{once}".encode())
        yield made


def learnt(conn: Connection, path: Path) -> list[tuple[int, datetime, float]]:
    """Key, moment and label of each example."""
    export(conn, "churn", path)
    with path.open() as file:
        return [
            (int(row["customer_id"]), datetime.fromisoformat(row["moment"]), float(row["label"]))
            for row in csv.DictReader(file)
        ]


def test_who_has_left_is_neither_learnt_nor_scored_nor_logged(
    conn: Connection, tmp_path: Path
) -> None:
    define(conn, block("definition"))
    left = dict(conn.execute("SELECT customer_id, left_at FROM cancellations").fetchall())
    examples = learnt(conn, tmp_path / "with.csv")
    assert all(key not in left or at < left[key] for key, at, _ in examples)
    learnt_from = {key for key, *_ in examples}
    assert learnt_from >= set(range(31, 91))
    assert learnt_from & set(range(1, 31))  # they were customers once
    gone = [(key, at, label) for key, at, label in examples if label]
    assert gone and all((left[key] - at).days < 30 for key, at, _ in gone)
    made = train(conn, "churn", publish=True)
    assert (made.everybody, made.left_out) == (False, ())
    conn.execute("CALL rescore.sweep('customers', '0')")
    scored = "SELECT array_agg(customer_id ORDER BY customer_id) FROM customers WHERE churn_score IS NOT NULL"
    assert one(conn, scored) == list(range(71, 91))
    conn.execute("SELECT rescore.snapshot('customers')")
    logged = "SELECT array_agg(key::int ORDER BY key::int) FROM rescore.snapshots"
    assert one(conn, logged) == list(range(71, 91))
    conn.execute("INSERT INTO cancellations VALUES (80, now())")
    conn.execute("INSERT INTO orders VALUES (80, now(), 1), (1, now(), 1), (71, now(), 1)")
    assert one(conn, scored) == [c for c in range(71, 91) if c != 80]
    assert one(conn, "SELECT rescore.predict_key('churn', 80)") is None
    assert conn.execute("SELECT * FROM rescore.verify('customers')").fetchall() == []


def test_without_it_who_has_left_is_learnt_as_one_who_stays(
    conn: Connection, tmp_path: Path
) -> None:
    """What the page says it is for: examples of people who cannot leave any more."""
    text = block("definition")
    define(conn, text)
    kept = learnt(conn, tmp_path / "with.csv")
    without = re.sub(r" +(only|history): .*\n", "", text)
    define(conn, without)
    left = dict(conn.execute("SELECT customer_id, left_at FROM cancellations").fetchall())
    examples = learnt(conn, tmp_path / "without.csv")
    diluting = [label for key, at, label in examples if key in left and at >= left[key]]
    assert len(diluting) > 200 and not any(diluting)
    assert len(examples) == len(kept) + len(diluting)


def test_without_the_past_of_it_everybody_is_learnt_and_the_report_says_so(
    conn: Connection,
) -> None:
    define(conn, re.sub(r" +history: .*\n", "", block("definition")))
    assert train(conn, "churn").everybody
