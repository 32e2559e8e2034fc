"""Inserting many events at once: by INSERT … SELECT, and by COPY."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from rescore.bench import shop
from rescore.bench.context import Context
from rescore.bench.inserts import BASELINE, SLOW, contenders, rotated, vacuum
from rescore.bench.meter import Meter
from rescore.bench.pgbench import Measures
from rescore.bench.sites import Connection, Site, pipeline

REPEATED = 2.5


@dataclass(frozen=True)
class Load:
    """Rows of one statement.

    Attributes
    ----------
    rows: how many.
    repeated: each row's customer is drawn at random from so few that there are
        :data:`REPEATED` rows a customer; otherwise every row is another customer's.
    """

    rows: int
    repeated: bool = False

    @property
    def customers(self) -> int:
        """From how many the customers are drawn; 0: none is drawn."""
        return round(self.rows / REPEATED) if self.repeated else 0

    def __str__(self) -> str:
        return f"{self.rows:,} rows" + (f", {REPEATED} a customer" if self.repeated else "")


Bulk = Callable[[Connection, Site, Load], None]


def bulk(context: Context) -> Iterator[str]:
    """Measure statements of many rows; yield what is being done."""
    yield "building the contenders"
    fewest = min(context.scale.features)
    sites = [site for site in contenders(context) if site.features == fewest]
    most = Load(max(context.scale.bulk), repeated=True)
    loads = [*map(Load, context.scale.bulk), most]
    for turn in context.turns():
        for load, (name, run) in product(loads, WAYS.items()):
            work = f"{name} of {load}"
            yield f"{work}, turn {turn + 1}"
            for site in rotated(sites, turn):
                measures = _bulk(site, run, load, context.scale.slow_rows)
                context.add(work, site.label, measures, BASELINE, features=site.features)
        vacuum(sites)


def _bulk(site: Site, run: Bulk, load: Load, slow_rows: int) -> Measures:
    if site.contender in SLOW:
        load = replace(load, rows=min(load.rows, slow_rows))
    with Meter(site) as meter, site.connect() as conn:
        run(conn, site, Load(1))  # what a session does once is measured elsewhere
        seconds = _timed(conn, site, run, load)
    costs = meter.per(load.rows)
    return {"per_second": load.rows / seconds, "wal_bytes": costs["wal_bytes"]}


def _timed(conn: Connection, site: Site, run: Bulk, load: Load) -> float:
    began = time.perf_counter()
    run(conn, site, load)
    if site.contender.startswith("worker"):
        _follow_up(conn, site, load.rows)
    return time.perf_counter() - began


def _insert(conn: Connection, site: Site, load: Load) -> None:
    given = {"rows": load.rows, "customers": load.customers, "profiles": site.profiles}
    conn.execute(shop.statement("insert_many.sql.j2", **given))


def _copy(conn: Connection, site: Site, load: Load) -> None:
    text = "".join(shop.events(load.rows, site.profiles, load.customers))
    with conn.cursor() as cursor, cursor.copy(shop.statement("copy.sql.j2")) as copy:
        copy.write(text)


WAYS: dict[str, Bulk] = {"insert": _insert, "COPY": _copy}


def _follow_up(conn: Connection, site: Site, rows: int) -> None:
    """The external worker at its best: count as a set, score as a batch, write as a set."""
    found = conn.execute(
        shop.statement("count_many.sql.j2", features=shop.features(site.features), rows=rows)
    ).fetchall()
    X = np.array([numbers for _, numbers in found])
    scores = pipeline(site.features).predict_proba(X)[:, 1]
    given = ([key for key, _ in found], scores.tolist())
    conn.execute(shop.statement("write_many.sql.j2"), given)
