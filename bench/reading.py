"""Scoring a whole table in a SELECT, or at the client."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np

from rescore.bench import shop
from rescore.bench.context import Context
from rescore.bench.sites import Connection, Site, add_tutorial, pipeline

# Rows that PL/Python scores one by one, at about a millisecond each.
SLOW_SHARE = 500
Read = Callable[[Connection, Site], object]


def big(context: Context) -> Site:
    """Build the profiles that are read and swept: rescore's, with PL/Python functions beside."""
    site = context.site("rescore", profiles=context.scale.scanned)
    if not context.is_built(site):
        context.built(site)
        with site.connect() as conn:
            add_tutorial(conn, site, trigger=False)
    return site


def scans(context: Context) -> Iterator[str]:
    """Measure the score of every profile in a SELECT; yield what is being done."""
    yield f"building {context.scale.scanned:,} profiles"
    site = big(context)
    for turn in context.turns():
        for workers in (0, 2):
            yield f"{site.profiles:,} profiles, {workers} parallel workers, turn {turn + 1}"
            for name, (read, rows) in _scanners(site, workers).items():
                with site.connect() as conn:
                    _set_workers(conn, workers)
                    rates = {"rows_per_second": rows / _timed(read, conn, site)}
                where = {"parallel_workers": workers, "features": site.features}
                context.add("SELECT predict", name, rates, "floor scan", **where)


def _scanners(site: Site, workers: int) -> dict[str, tuple[Read, int]]:
    """Return how each contender reads, and how many rows; what the client does is serial."""
    in_server: dict[str, tuple[Read, int]] = {
        "floor scan": (_select("scan_floor", site), site.profiles),
        "rescore": (_select("scan_rescore", site), site.profiles),
    }
    if orbital := _orbital(site):
        in_server["orbital"] = (lambda conn, _: conn.execute(orbital).fetchall(), site.profiles)
    if workers:
        return in_server
    sampled = max(1, site.profiles // SLOW_SHARE)
    return in_server | {
        "PL/Python, cached scikit-learn": (_select("scan_python", site, rows=sampled), sampled),
        "fetch, scikit-learn": (fetch_scores, site.profiles),
    }


def _select(name: str, site: Site, rows: int = 0) -> Read:
    text = shop.statement(f"{name}.sql.j2", features=shop.features(site.features), rows=rows)
    return lambda conn, _: conn.execute(text).fetchall()


def _orbital(site: Site) -> bytes:
    """SQL that orbital makes of the pipeline; empty where it is not installed."""
    try:
        from rescore.bench.orbital_sql import score_sql
    except ImportError:
        return b""
    return score_sql(pipeline(site.features), shop.features(site.features))


def _set_workers(conn: Connection, workers: int) -> None:
    for name in ("max_parallel_workers_per_gather", "max_parallel_workers"):
        conn.execute("SELECT set_config(%s, %s, false)", [name, str(workers)])


def _timed(read: Read, conn: Connection, site: Site) -> float:
    """Read twice, time the second: the first loads pages, plans, and what PL/Python imports."""
    read(conn, site)
    began = time.perf_counter()
    read(conn, site)
    return time.perf_counter() - began


def fetch_scores(conn: Connection, site: Site) -> tuple[list[int], list[float]]:
    """Fetch all profiles' numbers in batches, score them here; return keys and scores."""
    keys: list[int] = []
    scores: list[float] = []
    estimator = pipeline(site.features)
    text = shop.statement("fetch.sql.j2", features=shop.features(site.features))
    with conn.transaction(), conn.cursor("profiles", binary=True) as cursor:
        cursor.execute(text)
        while batch := cursor.fetchmany(50_000):
            rows = np.array(batch)
            keys += rows[:, 0].astype(int).tolist()
            scores += estimator.predict_proba(rows[:, 1:])[:, 1].tolist()
    return keys, scores
