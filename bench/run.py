"""``make bench``: run the works, store the results, print and plot them."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql
from rich.console import Console

from rescore.bench import (
    bulk,
    by_key,
    connecting,
    growth,
    inserts,
    learning,
    publishing,
    reading,
    sites,
    sweeping,
)
from rescore.bench.context import Context
from rescore.bench.page import write
from rescore.bench.plot import plot
from rescore.bench.report import show
from rescore.bench.results import LATEST, load, machine, merged, save, summarise
from rescore.bench.scale import FULL, QUICK, TINY
from rescore.bench.telling import Teller, telling
from rescore.server.account import default_home
from rescore.server.private import Server, remove, start, stop

MOST_BUFFERS = 8 * 2**30
SCALES = {"full": FULL, "quick": QUICK, "tiny": TINY}


@dataclass(frozen=True)
class Work:
    """One line of the table.

    Attributes
    ----------
    run: measures; yields what is being done.
    seconds: it may take in the full bench, on two processors; no turn begins that would end later.
    """

    run: Callable[[Context], Iterator[str]]
    seconds: float


WORKS = {
    "single": Work(inserts.single, 280),
    "bulk": Work(bulk.bulk, 110),
    "select": Work(reading.scans, 75),
    "by-key": Work(by_key.by_key, 40),
    "connection": Work(connecting.new_connection, 15),
    "written-back": Work(sweeping.sweeps, 130),
    "publish": Work(publishing.dips, 65),
    "learning": Work(learning.learning, 200),
    "growth-profiles": Work(growth.profiles, 170),
    "growth-features": Work(growth.features, 30),
    "growth-models": Work(growth.models, 30),
    "growth-categories": Work(growth.categories, 15),
    "growth-hot-key": Work(growth.hot_key, 40),
}


def main() -> None:
    """Parse, run, print."""
    given = _parse()
    home = given.home or default_home() / "bench"
    remove(home)  # left behind by a run that was killed
    server = _started(home, SCALES[given.scale].tuning)
    try:
        with telling(sum(_budgets(given.scale, given.only).values())) as teller:
            context = run(server, given.scale, given.only, teller)
    finally:
        remove(home)
    _report(given, context, server.version)


def _started(home: Path, tuning: str) -> Server:
    """Start the bench's server with a quarter of the memory for its buffers, as its manual says."""
    server = start(home, tuning=tuning)
    if tuning != "bench":
        return server
    quarter = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4
    size = sql.Literal(f"{min(quarter, MOST_BUFFERS) // 2**20}MB")
    with psycopg.connect(server.dsn, autocommit=True) as conn:
        conn.execute(sql.SQL("ALTER SYSTEM SET shared_buffers = {}").format(size))
    stop(home)
    return start(home, tuning=tuning)


def run(server: Server, scale: str, only: list[str] | None, teller: Teller) -> Context:
    """Run the works on a running private server.

    Parameters
    ----------
    scale: name of one of :data:`SCALES`.
    only: names of works; all if None.
    teller: is told what is being done.
    """
    sites.make_template(server)
    context = Context(server, SCALES[scale])
    for name, seconds in _budgets(scale, only).items():
        context.deadline = time.monotonic() + seconds
        with teller.work(name, seconds):
            for doing in WORKS[name].run(context):
                teller.tell(doing)
    return context


def _budgets(scale: str, only: list[str] | None) -> dict[str, float]:
    share = SCALES[scale].budget
    return {n: work.seconds * share for n, work in WORKS.items() if not only or n in only}


def _report(given: argparse.Namespace, context: Context, version: str) -> None:
    console = Console()
    results = summarise(context.samples.all)
    if given.only and given.output.exists():
        results = merged(load(given.output), results)
    title = f"PostgreSQL {version}; {machine()}; {given.scale}"
    save(results, given.output)
    show(console, results, title)
    folder = given.page or given.output.parent
    plots = plot(results, folder)
    page = write(results, plots, title, folder)
    for path in (*plots, page, given.output):
        console.print(f"written: {path}", soft_wrap=True)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measurements side by side, as ratios.")
    scale = parser.add_mutually_exclusive_group()
    scale.add_argument("--quick", dest="scale", action="store_const", const="quick")
    scale.add_argument("--scale", choices=list(SCALES))
    parser.add_argument(
        "--only",
        action="append",
        choices=list(WORKS),
        help="repeat for several; what else is stored stays",
    )
    parser.add_argument("--output", type=Path, default=LATEST, help="where the results go")
    parser.add_argument("--page", type=Path, help="directory of plot and table; the results' own")
    parser.add_argument("--home", type=Path, help="directory of the bench's private server")
    parser.set_defaults(scale="full")
    return parser.parse_args()


if __name__ == "__main__":
    main()
