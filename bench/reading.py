"""Reading scores: of a whole table, by key, and the first one of a connection."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import numpy as np

from rescore.bench import shop
from rescore.bench.pgbench import measured
from rescore.bench.results import Samples
from rescore.bench.scale import Scale
from rescore.bench.sites import Connection, Site, pipeline

# Rows that PL/Python scores one by one, at about a millisecond each.
SLOW_SHARE = 500
Read = Callable[[Connection, Site], object]


def scans(samples: Samples, site: Site, scale: Scale) -> Iterator[str]:
    """Measure the score of every profile in a SELECT; yield what is being done."""
    for turn, workers in product(range(scale.rounds), (0, 2)):
        yield f"score of {site.profiles:,} profiles, {workers} parallel workers, turn {turn + 1}"
        for name, (read, rows) in _scanners(site, workers).items():
            with site.connect() as conn:
                _set_workers(conn, workers)
                seconds = _timed(read, conn, site)
            rates = {"rows_per_second": rows / seconds}
            conditions = {"parallel_workers": workers, "features": site.features}
            samples.add("SELECT predict", name, rates, baseline="floor scan", **conditions)


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


def by_key(samples: Samples, site: Site, scale: Scale) -> Iterator[str]:
    """Measure reading one customer's score; yield what is being done."""
    names = {"point SELECT": "point", "predict_key": "predict_key", "predict_payload": "payload"}
    for turn in range(scale.rounds):
        yield f"by key, turn {turn + 1}"
        for contender, name in names.items():
            script = shop.statement(f"{name}.pgbench.j2", profiles=site.profiles).decode()
            measures = measured(site, script, clients=1, seconds=scale.seconds)
            kept = {k: measures[k] for k in ("per_second", "p50_us", "p99_us")}
            samples.add("by key", contender, kept, baseline="point SELECT")


def new_connection(samples: Samples, site: Site, scale: Scale) -> Iterator[str]:
    """Measure the first score of a connection and its private memory; yield what is done."""
    names = {
        "plain query": "first_plain",
        "rescore": "first_rescore",
        "PL/Python, scikit-learn": "first_python",
    }
    for turn in range(scale.rounds * 3):
        yield f"first score of a connection, turn {turn + 1}"
        for contender, name in names.items():
            text = shop.statement(f"{name}.sql.j2", features=shop.features(site.features))
            measures = _first(site, text)
            samples.add("new connection", contender, measures, baseline="plain query")


def _first(site: Site, text: bytes) -> dict[str, float]:
    with site.connect() as conn:
        began = time.perf_counter()
        conn.execute(text).fetchall()
        milliseconds = (time.perf_counter() - began) * 1e3
        return {"first_ms": milliseconds, "private_mb": private_memory(conn.info.backend_pid)}


def private_memory(pid: int) -> float:
    """Return what a process shares with no other, in MB."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = re.findall(r"^Private_\w+:\s+(\d+) kB", text, re.MULTILINE)
    return sum(map(int, found)) / 1024
