"""Inserting many events at once: by INSERT … SELECT, and by COPY."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import product

import numpy as np

from rescore.bench import shop
from rescore.bench.context import Context
from rescore.bench.inserts import BASELINE, SLOW, contenders, rotated, vacuum
from rescore.bench.meter import Meter
from rescore.bench.pgbench import Measures
from rescore.bench.sites import Connection, Site, pipeline

Bulk = Callable[[Connection, Site, int], None]


def bulk(context: Context) -> Iterator[str]:
    """Measure statements of many rows; yield what is being done."""
    yield "building the contenders"
    fewest = min(context.scale.features)
    sites = [site for site in contenders(context) if site.features == fewest]
    for turn in context.turns():
        for rows, (name, run) in product(context.scale.bulk, WAYS.items()):
            work = f"{name} of {rows:,} rows"
            yield f"{work}, turn {turn + 1}"
            for site in rotated(sites, turn):
                measures = _bulk(site, run, rows, context.scale.slow_rows)
                context.add(work, site.label, measures, BASELINE, features=site.features)
        vacuum(sites)


def _bulk(site: Site, run: Bulk, rows: int, slow_rows: int) -> Measures:
    rows = min(rows, slow_rows) if site.contender in SLOW else rows
    with Meter(site) as meter, site.connect() as conn:
        run(conn, site, 1)  # what a session does once is measured elsewhere
        seconds = _timed(conn, site, run, rows)
    costs = meter.per(rows)
    return {"per_second": rows / seconds, "wal_bytes": costs["wal_bytes"]}


def _timed(conn: Connection, site: Site, run: Bulk, rows: int) -> float:
    began = time.perf_counter()
    run(conn, site, rows)
    if site.contender.startswith("worker"):
        _follow_up(conn, site, rows)
    return time.perf_counter() - began


def _insert(conn: Connection, site: Site, rows: int) -> None:
    conn.execute(shop.statement("insert_many.sql.j2", rows=rows, profiles=site.profiles))


def _copy(conn: Connection, site: Site, rows: int) -> None:
    text = "".join(shop.events(rows, site.profiles))
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
