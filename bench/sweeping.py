"""Scoring every profile and writing the scores back."""

from __future__ import annotations

import time
from collections.abc import Iterator

from rescore.bench import shop
from rescore.bench.meter import Meter
from rescore.bench.reading import fetch_scores
from rescore.bench.results import Samples
from rescore.bench.scale import Scale
from rescore.bench.sites import Connection, Site
from rescore.trainer.sweep import Terms, sweep

BASELINE = "bare UPDATE"


def sweeps(samples: Samples, site: Site, scale: Scale) -> Iterator[str]:
    """Measure writing all scores; yield what is being done."""
    works = {
        BASELINE: _update,
        "bare UPDATE of three columns": _update_three,
        "sweep": _sweep,
        "sweep, 2 jobs": _sweep_by_two,
        "fetch, score, COPY, join-update": _by_client,
    }
    _settle(site)
    for turn in range(scale.rounds):
        yield f"scores of {site.profiles:,} profiles written back, turn {turn + 1}"
        for contender, work in works.items():
            with Meter(site) as meter, site.connect() as conn:
                began = time.perf_counter()
                work(conn, site)
                seconds = time.perf_counter() - began
            costs = meter.per(site.profiles)
            # Processor time says the same on a machine that others use too.
            kept = {name: costs[name] for name in ("server_cpu_us", "wal_bytes")}
            measures = {"rows_per_second": site.profiles / seconds} | kept
            samples.add("written back", contender, measures, baseline=BASELINE)
            _clean(site)


def _settle(site: Site) -> None:
    """Let the table grow to the size it keeps under updates, before anybody is timed."""
    with site.connect() as conn:
        _update(conn, site)
    _clean(site)


def _update(conn: Connection, site: Site) -> None:
    conn.execute(shop.statement("update_one.sql.j2"))


def _update_three(conn: Connection, site: Site) -> None:
    conn.execute(shop.statement("update_three.sql.j2"))


def _sweep(conn: Connection, site: Site) -> None:
    conn.execute("CALL rescore.sweep('customer_profile')")


def _sweep_by_two(conn: Connection, site: Site) -> None:
    sweep(conn, "customer_profile", Terms(), jobs=2)


def _by_client(conn: Connection, site: Site) -> None:
    keys, scores = fetch_scores(conn, site)
    with conn.transaction():
        conn.execute(shop.statement("scored.sql.j2"))
        with conn.cursor() as cursor, cursor.copy("COPY scored FROM STDIN (FORMAT binary)") as copy:
            copy.set_types(["int8", "float8"])
            for row in zip(keys, scores, strict=True):
                copy.write_row(row)
        conn.execute(shop.statement("join_update.sql.j2"))


def _clean(site: Site) -> None:
    """Make room again: every contender finds the table as the last one did."""
    with site.connect() as conn:
        conn.execute("VACUUM customer_profile")
