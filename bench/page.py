"""The results as a page of the manual: the plot, the tables, the machine."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import jinja2

from rescore.bench.report import SHOWN, markdown
from rescore.bench.results import Result

NAME = "benchmarks.md"
# What the manual shows beyond what the terminal does.
METRICS = (*SHOWN, "added_p50_us", "added_p99_us", "wal_bytes", "hot_share", "lock_waits")


def write(results: list[Result], plots: list[Path], title: str, folder: Path) -> Path:
    """Write the page beside its plots; return its path.

    Parameters
    ----------
    title: server, machine and scale, in one line.
    """
    text = files("rescore.bench").joinpath("page.md.j2").read_text()
    page = folder / NAME
    given = {"title": title, "tables": markdown(results, METRICS), "plots": [p.name for p in plots]}
    page.write_text(jinja2.Template(text, keep_trailing_newline=True).render(given))
    return page
