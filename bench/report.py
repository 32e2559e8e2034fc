"""The results as tables for the terminal, and pieces of those in the manual."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table

from rescore.bench.results import Result
from rescore.bench.targets import Verdict, verdicts

# What a reader looks for first; the file has every metric.
SHOWN = ("per_second", "rows_per_second", "p99_us", "first_ms", "private_mb", "throughput_left")
NARROWEST = 130
HEADINGS = ("work", "conditions", "contender", "metric", "median", "low … high", "ratio", "to")


def show(console: Console, results: list[Result], title: str) -> None:
    """Print all results that are shown, and which targets are reached."""
    console.width = max(console.width, NARROWEST)
    table = Table(*HEADINGS, title=title)
    last: tuple[str, ...] = ()
    for row in rows(results, (*SHOWN, "server_cpu_us")):
        same = row[:2] == last
        table.add_row(*(("", "", *row[2:]) if same else row))
        last = row[:2]
    console.print(table)
    targets = Table("target", "wanted", "reached", "", title="Targets")
    for verdict in verdicts(results):
        targets.add_row(*_verdict_row(verdict))
    console.print(targets)


def rows(results: Iterable[Result], metrics: tuple[str, ...] = SHOWN) -> list[tuple[str, ...]]:
    """Return the cells of results with one of these metrics."""
    return [_row(result) for result in results if result.metric in metrics]


def _row(result: Result) -> tuple[str, ...]:
    ratio = "" if result.ratio is None else f"{result.ratio:.2f}"
    return (
        result.work,
        conditions(result),
        result.contender,
        result.metric,
        number(result.value),
        f"{number(result.low)} … {number(result.high)}",
        ratio,
        result.baseline,
    )


def conditions(result: Result) -> str:
    """Return under what it was measured, for people."""
    return ", ".join(f"{name.replace('_', ' ')} {v}" for name, v in result.conditions.items())


def number(value: float) -> str:
    """Return three digits, or all of a large number's."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _verdict_row(verdict: Verdict) -> tuple[str, str, str, str]:
    reached = "not measured" if verdict.value is None else f"{verdict.value:.2f}"
    return verdict.name, verdict.wanted, reached, {True: "yes", False: "no", None: ""}[verdict.met]


def target_table(results: list[Result]) -> str:
    """Return which targets are reached, in Markdown."""
    headings = ("target", "wanted", "here", "reached")
    return markdown_table(headings, [_verdict_row(v) for v in verdicts(results)])


def markdown_table(headings: tuple[str, ...], body: Iterable[tuple[str, ...]]) -> str:
    """Return a table in Markdown."""
    lines = [headings, tuple("---" for _ in headings), *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
