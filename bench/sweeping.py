"""Scoring every profile and writing the scores back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from rescore.bench import shop
from rescore.bench.context import Context
from rescore.bench.meter import Meter
from rescore.bench.pgbench import Measures
from rescore.bench.reading import big, fetch_scores
from rescore.bench.sites import Connection, Site
from rescore.trainer.sweep import Terms, sweep

BASELINE = "bare UPDATE"
Write = Callable[[Connection, Site], None]


def sweeps(context: Context) -> Iterator[str]:
    """Measure writing all scores; yield what is being done."""
    yield f"building {context.scale.scanned:,} profiles"
    site = big(context)
    _settle(site)
    for turn in context.turns():
        for contender, work in WORKS.items():
            yield f"{contender}, turn {turn + 1}"
            context.add("written back", contender, _written(site, work), BASELINE)
            _clean(site)


def _written(site: Site, work: Write) -> Measures:
    with Meter(site) as meter, site.connect() as conn:
        began = time.perf_counter()
        work(conn, site)
        seconds = time.perf_counter() - began
    # Processor time says the same on a machine that others use too.
    return {"rows_per_second": site.profiles / seconds} | meter.per(site.profiles)


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


WORKS: dict[str, Write] = {
    BASELINE: _update,
    "bare UPDATE of three columns": _update_three,
    "sweep": _sweep,
    "sweep, 2 jobs": _sweep_by_two,
    "fetch, score, COPY, join-update": _by_client,
}


def _clean(site: Site) -> None:
    """Make room again: every contender finds the table as the last one did."""
    with site.connect() as conn:
        conn.execute("VACUUM customer_profile")
