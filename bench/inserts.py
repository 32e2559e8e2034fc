"""Inserting events: one by one, many at once, and by COPY."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import product

import numpy as np

from rescore.bench import shop, worker
from rescore.bench.meter import Meter
from rescore.bench.pgbench import measured
from rescore.bench.results import Samples
from rescore.bench.scale import Scale
from rescore.bench.sites import MIXED, Connection, Site, build_all, pipeline
from rescore.server.private import Server

BASELINE = "counter"
PLAIN = ("bare", "counter", "tutorial", "worker", "worker by hand")
# A millisecond a row: their rate is measured on fewer rows.
SLOW = ("tutorial",)
# Inserts of theirs in a second; they are counted, since nobody knows how long a session imports.
SLOW_RATE = 500
Bulk = Callable[[Connection, Site, int], None]


def sites(server: Server, scale: Scale) -> list[Site]:
    """Build a database for each contender and number of features."""
    made = []
    for features in scale.features:
        made += [Site(name, server, features, 1, scale.profiles) for name in PLAIN]
        models = (m for m in (1, 3, 10) if m in scale.growth_models)
        made += [Site("rescore", server, features, m, scale.profiles) for m in models]
        if features > len(shop.MIXED):
            made.append(Site(MIXED, server, features, 1, scale.profiles))
    return build_all(made)


def single(samples: Samples, server: Server, scale: Scale, contenders: list[Site]) -> Iterator[str]:
    """Measure single-row inserts; yield what is being done."""
    for turn, commit, clients in product(range(scale.rounds), scale.commits, scale.clients):
        yield f"single inserts, {clients} clients, synchronous_commit {commit}, turn {turn + 1}"
        for site in _rotated(contenders, turn):
            measures = _single(site, scale, clients, f"-c synchronous_commit={commit}")
            conditions = {"features": site.features, "clients": clients}
            samples.add(
                "single inserts",
                site.label,
                measures,
                baseline=BASELINE,
                **conditions,
                synchronous_commit=commit,
            )
        _vacuum(contenders)


def _single(site: Site, scale: Scale, clients: int, options: str) -> dict[str, float]:
    if site.contender.startswith("worker"):
        return worker.measured(site, clients=clients, seconds=scale.seconds, options=options)
    script = shop.statement("insert.pgbench.j2", profiles=site.profiles).decode()
    if site.contender not in SLOW:
        return measured(site, script, clients=clients, seconds=scale.seconds, options=options)
    count = scale.seconds * SLOW_RATE
    found = measured(site, script, clients=clients, transactions=count, options=options)
    del found["server_cpu_us"]  # mostly the loading of scikit-learn
    return found


def _rotated(contenders: list[Site], turn: int) -> list[Site]:
    """Each turn begins with another contender: what drifts does not always hit the same."""
    start = turn * 3 % len(contenders)
    return contenders[start:] + contenders[:start]


def _vacuum(contenders: list[Site]) -> None:
    for site in contenders:
        with site.connect() as conn:
            conn.execute("VACUUM orders, customer_profile")


def bulk(samples: Samples, server: Server, scale: Scale, contenders: list[Site]) -> Iterator[str]:
    """Measure statements of many rows, and COPY; yield what is being done."""
    contenders = [site for site in contenders if site.features == min(scale.features)]
    for turn, rows in product(range(scale.rounds), scale.bulk):
        for work, run in (("insert", _insert), ("COPY", _copy)):
            if work == "COPY" and rows != max(scale.bulk):
                continue
            yield f"{work} of {rows:,} rows, turn {turn + 1}"
            for site in _rotated(contenders, turn):
                measures = _bulk(site, run, rows, scale.slow_rows)
                samples.add(
                    f"{work} of {rows:,} rows",
                    site.label,
                    measures,
                    baseline=BASELINE,
                    features=site.features,
                )
        _vacuum(contenders)


def _bulk(site: Site, run: Bulk, rows: int, slow_rows: int) -> dict[str, float]:
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


def _follow_up(conn: Connection, site: Site, rows: int) -> None:
    """The external worker at its best: count as a set, score as a batch, write as a set."""
    found = conn.execute(
        shop.statement("count_many.sql.j2", features=shop.features(site.features), rows=rows)
    ).fetchall()
    X = np.array([numbers for _, numbers in found])
    scores = pipeline(site.features).predict_proba(X)[:, 1]
    given = ([key for key, _ in found], scores.tolist())
    conn.execute(shop.statement("write_many.sql.j2"), given)
