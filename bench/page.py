"""The results as a page of the manual: the plot, the targets, a table for each work."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import files
from itertools import groupby
from pathlib import Path

import jinja2

from rescore.bench.report import conditions, markdown_table, number, target_table
from rescore.bench.results import Result

NAME = "benchmarks.md"
# In this order; a work has some of them.
METRICS = {
    "per_second": "a second",
    "rows_per_second": "rows a second",
    "throughput_left": "throughput left",
    "switch_ms": "switch, ms",
    "first_use_ms": "first use after, ms",
    "last_old_ms": "last old use after, ms",
    "replan_ms": "replanning, ms",
    "first_ms": "first call, ms",
    "private_mb": "private memory, MB",
    "p50_us": "p50, µs",
    "p99_us": "p99, µs",
    "added_p50_us": "added p50, µs",
    "added_p99_us": "added p99, µs",
    "server_cpu_us": "server's processor, µs",
    "wal_bytes": "WAL, bytes",
    "hot_share": "HOT share",
    "lock_waits": "waiting for locks",
}


def write(results: list[Result], plots: list[Path], title: str, folder: Path) -> Path:
    """Write the page beside its plots; return its path.

    Parameters
    ----------
    title: server, machine and scale, in one line.
    """
    template = jinja2.Template(
        files("rescore.bench").joinpath("page.md.j2").read_text(), keep_trailing_newline=True
    )
    tables = {work: table(found) for work, found in _by_work(results)}
    page = folder / NAME
    page.write_text(
        template.render(
            title=title,
            plots=[path.name for path in plots],
            tables=tables,
            targets=target_table(results),
        )
    )
    return page


def _by_work(results: Iterable[Result]) -> Iterable[tuple[str, list[Result]]]:
    """Return the results of each work; works may have been measured in turns."""
    named = sorted(results, key=lambda result: result.work)
    found = {work: list(group) for work, group in groupby(named, key=lambda result: result.work)}
    order = dict.fromkeys(result.work for result in results)
    return [(work, found[work]) for work in order]


def table(results: list[Result]) -> str:
    """Return one work's results in Markdown, a row for each contender and its conditions.

    A cell is the median, the lowest and highest seen, and the ratio to the baseline.
    """
    metrics = [name for name in METRICS if any(r.metric == name for r in results)]
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for result in results:
        row = rows.setdefault((conditions(result), result.contender), {})
        row[result.metric] = _cell(result)
    body = [(*place, *(row.get(name, "") for name in metrics)) for place, row in rows.items()]
    return markdown_table(("conditions", "contender", *(METRICS[m] for m in metrics)), body)


def _cell(result: Result) -> str:
    seen = f"{number(result.low)} … {number(result.high)}"
    spread = f" ({seen})" if result.low < result.high else ""
    is_ratio = result.ratio is not None and result.contender != result.baseline
    return f"{number(result.value)}{spread}" + (f" × {result.ratio:.2f}" if is_ratio else "")
