"""What each kind of feature costs in bytes: of the profile row, and of WAL for one more event.

``python bench/width.py`` prints the table of ``docs/limits.md``.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import yaml
from psycopg import sql
from psycopg.conninfo import make_conninfo

from rescore.bench import shop, sites
from rescore.compiler.apply import apply
from rescore.compiler.definition import parse
from rescore.server.account import default_home
from rescore.server.private import Server, remove, start

DATABASE = "bench_width"
CUSTOMERS = 20
INSERTS = 200
WINDOW = {"window": "30 days"}
BEFORE = WINDOW | {"offset": "30 days"}
MINUTE = {"count": True, "tumbling": "1 minute"}
FADES = {"half_life": "30 days"}


@dataclass(frozen=True)
class Case:
    """One line of the table.

    Attributes
    ----------
    name: of the kind.
    features: those it has beyond the baseline's.
    pages: how many values its event column has.
    events: of each customer before the measurement.
    """

    name: str
    features: tuple[dict[str, Any], ...]
    pages: int = 5
    events: int = 120
    extensions: tuple[str, ...] = field(default=())


def _of(name: str, *features: dict[str, Any], pages: int = 5, events: int = 120) -> Case:
    needed = ("hll",) if "distinct" in features[0] else ()
    return Case(name, tuple({"from": "orders"} | f for f in features), pages, events, needed)


def _computed(name: str, expression: str) -> Case:
    return Case(name, ({"expr": expression},))


CASES = (
    _of("another `count`", {"count": True}),
    _of("`sum` of `numeric(10,2)`", {"sum": "amount"}),
    _of("`avg` of `numeric(10,2)`", {"avg": "amount"}),
    _of("`min` or `max` of `numeric(10,2)`", {"max": "amount"}),
    _of("`first` or `last` of `text`", {"last": "page", "one_hot": ["p1", "p2"]}),
    _of("`days_since: first` or `last`", {"days_since": "last"}),
    _of("`count`, `half_life`", {"count": True} | FADES),
    _of("`sum`, `half_life`", {"sum": "amount"} | FADES),
    _of("`ewma`", {"ewma": "amount"} | FADES),
    _of("`ewma`, `stat: deviation`", {"ewma": "amount", "stat": "deviation"} | FADES),
    _of("`count`, `window`", {"count": True} | WINDOW),
    _of("that and a second one", {"count": True} | WINDOW, {"count": True, "window": "7 days"}),
    _of("`count`, `window` and `offset`", {"count": True} | BEFORE),
    _of("`sum`, `window`", {"sum": "amount"} | WINDOW),
    _of("`avg`, `window`", {"avg": "amount"} | WINDOW),
    _of("`max`, `window`", {"max": "amount"} | WINDOW),
    _of("`count`, `tumbling`", MINUTE),
    _of("`count`, `tumbling`, `closed`", MINUTE | {"closed": True}),
    _of("`distinct`, 5 values", {"distinct": "page"}),
    _of("`distinct`, 50 values", {"distinct": "page"}, pages=50, events=500),
    _of("`distinct`, 1,000 values", {"distinct": "page"}, pages=1000, events=8000),
    _of("`distinct`, 5 values, `window`", {"distinct": "page"} | WINDOW),
    *(
        _of(f"`last: {n}`", {"last": n, "of": "page", "one_hot": ["p1", "p2"]})
        for n in (5, 20, 100)
    ),
    _of("`gap: avg`", {"gap": "avg"}),
    _of("`gap: last`", {"gap": "last"}),
    _computed("`expr` or `ratio`, of stored numbers", "orders / 2"),
    _computed("`expr` or `ratio`, of the clock or plain columns", "orders / (since + 1)"),
)
# What the computed features are computed from, and all others are measured beside.
BASE: dict[str, dict[str, Any]] = {
    "orders": {"from": "orders", "count": True},
    "since": {"from": "orders", "days_since": "last"},
}


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description="Bytes of each kind of feature, as Markdown.")
    parser.add_argument("--home", type=Path, default=default_home() / "bench-width")
    home = parser.parse_args().home
    remove(home)
    try:
        server = start(home, tuning="bench")
        sites.make_template(server)
        for line in table(server):
            print(line, flush=True)
    finally:
        remove(home)


def table(server: Server, cases: tuple[Case, ...] = CASES) -> Iterator[str]:
    """Yield the lines of the table; each case in a database of its own."""
    row, wal = measure(server, Case("baseline", ()))
    yield f"Beyond {row:.0f} B of the row and {wal:.0f} B of WAL, on PostgreSQL {server.version}:"
    yield ""
    yield from ("| kind | row | WAL |", "|---|---|---|")
    for case in cases:
        wide, logged = measure(server, case)
        yield f"| {case.name} | {wide - row:.0f} | {logged - wal:.0f} |"


def measure(server: Server, case: Case) -> tuple[float, float]:
    """Return bytes of a profile row, and bytes of WAL of a single insert, in the median."""
    dsn = make_conninfo(server.dsn, dbname=DATABASE)
    with psycopg.connect(server.dsn, autocommit=True) as conn:
        names = {"new": sql.Identifier(DATABASE), "template": sql.Identifier(sites.TEMPLATE)}
        for text in ("DROP DATABASE IF EXISTS {new}", "CREATE DATABASE {new} TEMPLATE {template}"):
            conn.execute(sql.SQL(text).format(**names))
    with psycopg.connect(dsn, autocommit=True) as conn:
        _prepare(conn, case)
        logged = [_insert(conn, case, n) for n in range(2 * INSERTS)][INSERTS:]
        row = conn.execute(shop.statement("width.sql.j2")).fetchone()
    assert row is not None
    return float(row[0]), statistics.median(logged)


def _prepare(conn: psycopg.Connection[Any], case: Case) -> None:
    for name in case.extensions:
        conn.execute(sql.SQL("CREATE EXTENSION {}").format(sql.Identifier(name)))
    conn.execute(shop.statement("width_shop.sql.j2"))
    apply(conn, parse(yaml.safe_dump(definition(case), sort_keys=False)))
    sites.publish_linear(conn, "churn")
    given = {"customers": CUSTOMERS, "events": case.events, "pages": case.pages}
    conn.execute(shop.statement("width_fill.sql.j2", **given))


def _insert(conn: psycopg.Connection[Any], case: Case, turn: int) -> float:
    """Insert one event in a transaction of its own; return its bytes of WAL."""
    before = _position(conn)
    given = {"customer": turn % CUSTOMERS + 1, "page": f"p{turn % case.pages + 1}"}
    conn.execute(shop.statement("width_insert.sql.j2"), given)
    return _position(conn) - before


def _position(conn: psycopg.Connection[Any]) -> float:
    row = conn.execute(shop.statement("width_position.sql.j2")).fetchone()
    assert row is not None
    return float(row[0])


def definition(case: Case) -> dict[str, Any]:
    """Return the definition of a profile with a score and the features of this case."""
    added = {f"added_{n}": each for n, each in enumerate(case.features, 1)}
    return {
        "profile": {"table": "customers", "key": {"name": "customer_id", "type": "bigint"}},
        "events": {"orders": {"time": "ordered_at"}},
        "features": BASE | added,
        "models": {"churn": {"features": "all"}},
        "scores": {"churn_score": {"model": "churn"}},
    }


if __name__ == "__main__":
    main()
