"""Where the time of a single insert goes: the generated trigger function beside edited copies.

Each variant leaves one thing out of the function that ``rescore apply`` made, or does it another
way; the difference to the whole is what that thing costs. Run it as
``python bench/variants.py --features 20``. The copies live in the bench's database only: most would
be wrong elsewhere.
"""

from __future__ import annotations

import argparse
import re
import statistics
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from rescore.bench import shop, sites
from rescore.bench.pgbench import Measures, measured
from rescore.bench.sites import Site
from rescore.errors import DoesNotFit
from rescore.server.account import default_home
from rescore.server.private import remove, start

PROFILES = 20_000
WHOLE = "as generated"
METRICS = ("per_second", "p50_us", "server_cpu_us")
Edit = Callable[[str], str]


def replaced(pattern: str, by: str = "") -> Edit:
    """Return an edit of the function's text; it fails where the pattern is not found."""

    def edit(text: str) -> str:
        new, count = re.subn(pattern, by, text, count=1, flags=re.DOTALL)
        if not count:
            raise DoesNotFit(f"the trigger function has no {pattern!r}", detail=text)
        return new

    return edit


def chained(*edits: Edit) -> Edit:
    """Return these edits, one after the other."""

    def edit(text: str) -> str:
        for each in edits:
            text = each(text)
        return text

    return edit


NO_SETTINGS = replaced(r" SET search_path[^\n]*\n SET row_security[^\n]*\n", "\n")
# All that follows the fast path: rows of several customers, and the handlers.
FAST_PATH = r"(        SELECT array_agg\(s\.k ORDER BY s\.k\)).*(\$function\$)"
NO_HANDLER = chained(
    replaced(FAST_PATH, "        RETURN NULL;\nEND\n\\2"),
    replaced(r"BEGIN\n    BEGIN\n", "BEGIN\n"),
)
SCORE = r',\n            "churn_score" = CASE.*?_clock END(?=\n            WHERE)'
UPDATE = r"        IF \w+_several IS NULL THEN.*?        END IF;\n(?=        SELECT array_agg)"
READ = r"        SELECT e\.\"customer_id\".*?FROM rescore_new AS e LIMIT 1;\n"
EDITS: dict[str, Edit] = {
    WHOLE: lambda text: text,
    "without SET search_path, row_security": NO_SETTINGS,
    "without EXCEPTION block": NO_HANDLER,
    "without either": chained(NO_HANDLER, NO_SETTINGS),
    "without the score": replaced(SCORE),
    "COALESCE(CASE …, 0) as CASE … ELSE 0": lambda text: re.sub(
        r"COALESCE\(CASE WHEN ((?:(?!THEN).)*) THEN ((?:(?!END).)*) END, 0\)(?!\)::)",
        r"CASE WHEN \1 THEN \2 ELSE 0 END",
        text,
    ),
    "reads the event, updates nothing": replaced(UPDATE, "RETURN NULL;\n"),
    "is called, does nothing": chained(
        replaced(UPDATE, "RETURN NULL;\n"), replaced(READ, "        NULL;\n")
    ),
    "is called, does nothing, without either": chained(
        replaced(UPDATE, "RETURN NULL;\n"),
        replaced(READ, "        NULL;\n"),
        NO_HANDLER,
        NO_SETTINGS,
    ),
}


def compare(site: Site, rounds: int, seconds: int) -> dict[str, list[Measures]]:
    """Measure every variant in turn, and the counter-only trigger; several rounds.

    Parameters
    ----------
    site: rescore with one model; it is left with the function as generated.
    """
    with site.connect() as conn:
        row = conn.execute(shop.statement("trigger_function.sql.j2")).fetchone()
    whole: str = row[0] if row else ""
    counter = Site("counter", site.server, site.features, 1, site.profiles).build()
    found: dict[str, list[Measures]] = {}
    for _ in range(rounds):
        found.setdefault("counter", []).append(_turn(counter, seconds))
        for name, edit in EDITS.items():
            with site.connect() as conn:
                conn.execute(edit(whole).encode())
            found.setdefault(name, []).append(_turn(site, seconds))
    return found


def _turn(site: Site, seconds: int) -> Measures:
    script = shop.statement("insert.pgbench.j2", profiles=site.profiles).decode()
    options = "-c synchronous_commit=off"
    return measured(site, script, clients=1, seconds=seconds, options=options)


def show(console: Console, found: dict[str, list[Measures]], title: str) -> None:
    """Print medians, and the differences of the server's time to the whole."""
    medians = {
        name: [statistics.median(turn[metric] for turn in turns) for metric in METRICS]
        for name, turns in found.items()
    }
    table = Table("variant", "inserts/s", "p50 µs", "server µs", "less than generated", title=title)
    for name, (rate, p50, cpu) in medians.items():
        less = medians[WHOLE][2] - cpu
        table.add_row(name, f"{rate:,.0f}", f"{p50:.0f}", f"{cpu:.1f}", f"{less:+.1f}")
    console.print(table)


def main() -> None:
    """Build, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--features", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--home", type=Path, default=default_home() / "bench-variants")
    given = parser.parse_args()
    remove(given.home)
    server = start(given.home, tuning="bench")
    try:
        sites.make_template(server)
        site = Site("rescore", server, given.features, 1, PROFILES).build()
        found = compare(site, given.rounds, given.seconds)
    finally:
        remove(given.home)
    show(Console(), found, f"{given.features} features, 1 client, synchronous_commit off")


if __name__ == "__main__":
    main()
