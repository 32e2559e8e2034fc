"""``make bench``: run the works, store the results, print and plot them."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console

from rescore.bench import growth, inserts, learning, publishing, reading, sites, sweeping
from rescore.bench.plot import plot
from rescore.bench.report import show
from rescore.bench.results import LATEST, Samples, machine, save, summarise
from rescore.bench.scale import FULL, QUICK, TINY, Scale
from rescore.server.account import default_home
from rescore.server.private import Server, remove, start

Works = dict[str, Callable[[Samples, Server, Scale], Iterator[str]]]
SCALES = {"full": FULL, "quick": QUICK, "tiny": TINY}


def main() -> None:
    """Parse, run, print."""
    given = _parse()
    console = Console()
    home = given.home or default_home() / "bench"
    remove(home)  # left behind by a run that was killed
    server = start(home, tuning="bench")
    try:
        samples = run(server, SCALES[given.scale], given.only, _teller(console))
    finally:
        remove(home)
    results = summarise(samples.all)
    save(results, given.output)
    show(console, results, f"PostgreSQL {server.version}; {machine()}; {given.scale}")
    for path in plot(results, given.output.parent):
        console.print(f"plot: {path}")
    console.print(f"results: {given.output}")


def run(
    server: Server, scale: Scale, only: list[str] | None, tell: Callable[[str], None]
) -> Samples:
    """Run the works on a running private server.

    Parameters
    ----------
    only: names of works; all if None.
    tell: is told what is being done.
    """
    sites.make_template(server)
    samples = Samples()
    for name, work in WORKS.items():
        if not only or name in only:
            for doing in work(samples, server, scale):
                tell(doing)
    return samples


def _inserts(samples: Samples, server: Server, scale: Scale) -> Iterator[str]:
    contenders = inserts.sites(server, scale)
    yield from inserts.single(samples, server, scale, contenders)
    yield from inserts.bulk(samples, server, scale, contenders)
    for site in contenders:
        site.drop()


def _reading(samples: Samples, server: Server, scale: Scale) -> Iterator[str]:
    yield f"{scale.scanned:,} profiles to read and sweep"
    site = sites.Site("rescore", server, 8, 1, scale.scanned).build()
    with site.connect() as conn:
        sites.add_tutorial(conn, site, trigger=False)
    yield from reading.scans(samples, site, scale)
    yield from reading.by_key(samples, site, scale)
    yield from reading.new_connection(samples, site, scale)
    yield from sweeping.sweeps(samples, site, scale)
    site.drop()


def _publishing(samples: Samples, server: Server, scale: Scale) -> Iterator[str]:
    site = sites.Site("rescore", server, 8, 1, scale.profiles).build()
    yield from publishing.dips(samples, site, scale)
    site.drop()


WORKS: Works = {
    "inserts": _inserts,
    "reading": _reading,
    "publish": _publishing,
    "learning": learning.learning,
    "growth": growth.growth,
}


def _teller(console: Console) -> Callable[[str], None]:
    began = time.monotonic()
    return lambda doing: console.print(f"[dim]{time.monotonic() - began:6.0f} s[/]  {doing}")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measurements side by side, as ratios.")
    scale = parser.add_mutually_exclusive_group()
    scale.add_argument("--quick", dest="scale", action="store_const", const="quick")
    scale.add_argument("--scale", choices=list(SCALES))
    parser.add_argument("--only", action="append", choices=list(WORKS), help="repeat for several")
    parser.add_argument("--output", type=Path, default=LATEST, help="where the results go")
    parser.add_argument("--home", type=Path, help="directory of the bench's private server")
    parser.set_defaults(scale="full")
    return parser.parse_args()


if __name__ == "__main__":
    main()
