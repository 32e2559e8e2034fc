"""What the command line prints: tables, JSON, progress bars, errors."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from threading import Event, Thread
from typing import Any

from rich.box import SIMPLE
from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.segment import Segments
from rich.table import Table
from rich.text import Text

from rescore.errors import RescoreError
from rescore.layout import SHORT, fit, narrowest, wrap

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

AGAIN = "call it again: it goes on where it stopped, or begins anew"
"""What most commands that take long do."""

FIRST_LINE_SECONDS = 2.0
LINE_SECONDS = 60.0
"""Off a terminal: what takes less is not told, and so far apart are lines at most."""

WIDEST = 40
"""Characters of an item of a list that stays on one line with others."""
GAP = 2
"""Characters between two columns of a table."""


def show(
    rows: Sequence[Mapping[str, Any]],
    *,
    as_json: bool,
    columns: Sequence[str] = (),
    title: str = "",
    empty: str = "nothing",
    heading: bool = True,
) -> None:
    """Print rows as a table (or, of none, a word), or as one JSON array.

    The table is as wide as the screen at most: columns wrap. Where so many columns have no room, a
    row is printed as names and values, a line each, without those that are empty. Where no screen
    is, words stay whole, for who looks for them: lines get longer instead.

    Parameters
    ----------
    columns: of the table; none for all. JSON has all.
    heading: whether the table says what its columns are; not where it goes on from one before.
    """
    if as_json:
        print_json(rows)
    elif rows:
        _show_rows([{name: row[name] for name in columns or row} for row in rows], title, heading)
    else:
        out.print(empty)


def show_one(values: Mapping[str, Any], as_json: bool) -> None:
    """Print names and values, a line each, or as one JSON object."""
    if as_json:
        print_json(values)
        return
    width = max(map(len, values))
    for name, value in values.items():
        first, *others = _listed(value)
        print_lines([f"{name:<{width}}  {first}".rstrip()])
        print_lines(f"{'':<{width}}  {line}" for line in others)


def command() -> str:
    """Return how the user can call this command: its name if on the path, else where it is."""
    if shutil.which("rescore"):
        return "rescore"
    return os.path.relpath(Path(sys.executable).parent / "rescore")


def print_json(value: Any) -> None:
    """Print a value as JSON on one line."""
    print(json.dumps(value, default=_plain, ensure_ascii=False), flush=True)


def print_lines(lines: Iterable[str]) -> None:
    """Print text as it is: no markup, no wrapping."""
    for line in lines:
        print(line, flush=True)


def say(line: str) -> None:
    """Print what a long command is doing."""
    print_lines([line])


def print_error(error: RescoreError) -> None:
    """Print an error as message, DETAIL and HINT on standard error."""
    err.print(f"rescore: {error}", style="red" if err.is_terminal else None, markup=False)


def ask(question: str) -> bool:
    """Ask on standard error; anything but yes is no.

    As `typer.confirm`, which makes a "no" of Ctrl-C and SIGTERM.
    """
    try:
        print(f"{question} [y/N]:", end=" ", file=sys.stderr, flush=True)
        return sys.stdin.readline().strip().lower() in ("y", "yes")
    except KeyboardInterrupt:
        print(file=sys.stderr)  # what ended it is told on a line of its own
        raise


def size(count: int) -> str:
    """Return a number of bytes as people read it.

    Examples
    --------
    >>> size(12296874)
    '12.3 MB'
    """
    number, units = float(count), ["B", "kB", "MB", "GB", "TB"]
    while number >= 1000 and len(units) > 1:
        number /= 1000
        units.pop(0)
    return f"{number:.0f} B" if units[0] == "B" else f"{number:.1f} {units[0]}"


class Steps:
    """How far a long command has come; called with what is done and what there is to do."""

    def __init__(self, title: str, shown: Callable[[Steps], None]) -> None:
        self.title, self._shown = title, shown
        self.what = ""
        self.done, self.total = 0, 0

    def __call__(self, done: int, total: int) -> None:
        """Note how many steps are done, and how many there are."""
        self.done, self.total = done, total
        self._shown(self)

    def doing(self, what: str) -> None:
        """Note what is being done now, whose steps begin at 0."""
        self.what, self.done, self.total = what, 0, 0
        self._shown(self)

    def __str__(self) -> str:
        """Return it as text: ``train churn: 12 of 44``."""
        # Of a total that only keeps up with what is done nobody knows how much there is.
        counted = f"{self.done} of {self.total}" if self.total > self.done else f"{self.done or ''}"
        return ": ".join(part for part in (self.title, self.what, counted) if part)


@contextmanager
def progress(title: str, *, quiet: bool = False, again: str = AGAIN) -> Iterator[Steps]:
    """Show a progress bar on a terminal, and lines elsewhere, of what takes longer than a moment.

    It goes to standard error, so that output can be piped.

    Parameters
    ----------
    quiet: no lines; a bar all the same.
    again: hint to who ends it before it is done.
    """
    from rescore.trainer.signals import interrupted

    with interrupted(again), _shown(title, quiet=quiet) as steps:
        yield steps


@contextmanager
def _shown(title: str, *, quiet: bool) -> Iterator[Steps]:
    if err.is_terminal:
        with _bar() as bar:
            task = bar.add_task(title, total=None)
            yield Steps(title, lambda steps: _advance(bar, task, steps))
    elif quiet:
        yield Steps(title, lambda steps: None)
    else:
        steps = Steps(title, lambda steps: None)
        with _lines(steps):
            yield steps


def _advance(bar: Progress, task: TaskID, steps: Steps) -> None:
    shown = f"{steps.title}: {steps.what}" if steps.what else steps.title
    bar.update(task, description=escape(shown), completed=steps.done, total=steps.total or None)


@contextmanager
def _lines(steps: Steps) -> Iterator[None]:
    """Print how far it is, after a moment and then ever more rarely, and that it has ended.

    By a thread: a step may take minutes itself.
    """
    started, ended = time.monotonic(), Event()
    told: list[float] = []

    def tell() -> None:
        pause = FIRST_LINE_SECONDS
        while not ended.wait(pause):
            told.append(_tell(str(steps), started))
            pause = min(told[-1], LINE_SECONDS)

    teller = Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield
    finally:
        ended.set()
        teller.join()
    if told:
        _tell(f"{steps.title}: done", started)


def _tell(what: str, started: float) -> float:
    """Print what is done after how long, on a line of standard error; return the seconds."""
    seconds = time.monotonic() - started
    print(f"{what}, after {seconds:.0f} s", file=sys.stderr, flush=True)
    return seconds


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=err,
        transient=True,
    )


def _show_rows(rows: Sequence[Mapping[str, Any]], title: str, heading: bool) -> None:
    texts = {name: [name, *(_cell(row[name]) for row in rows)] for name in rows[0]}
    numeric = [_numeric(rows, name) for name in texts]
    columns, room = [*texts.values()], out.width - GAP * (len(texts) - 1)
    is_screen = out.is_terminal or "COLUMNS" in os.environ
    whole = numeric if is_screen else [True] * len(columns)
    widths = fit(columns, whole, room)
    if widths is None and is_screen:
        print_lines(_records(texts, title))
    else:
        _print_table(columns, widths or narrowest(columns, whole), numeric, title, heading)


def _print_table(
    columns: Sequence[Sequence[str]],
    widths: Sequence[int],
    numeric: Sequence[bool],
    title: str,
    heading: bool,
) -> None:
    table = Table(
        box=SIMPLE,
        pad_edge=False,
        collapse_padding=True,
        show_header=heading,
        show_edge=False,
    )
    lines = [
        ["\n".join(wrap(cell, width)) for cell in cells]
        for cells, width in zip(columns, widths, strict=True)
    ]
    for (name, *_), width, number in zip(lines, widths, numeric, strict=True):
        table.add_column(Text(name), justify="right" if number else "left", width=width)
    for cells in zip(*(below for _, *below in lines), strict=True):
        table.add_row(*map(Text, cells))
    around = [""] if heading else []
    print_lines([*([title] if title else []), *around])
    wide = out.options.update(width=sum(widths) + GAP * len(widths))  # `print` takes the screen's
    out.print(Segments(out.render(table, wide)))
    print_lines(around)


def _records(texts: Mapping[str, Sequence[str]], title: str) -> Iterator[str]:
    """Yield each row as names and values, and an empty line after it."""
    indent = max(map(cell_len, texts)) + GAP
    if title:
        yield from (title, "")
    for number in range(1, len(next(iter(texts.values())))):
        for name, cells in texts.items():
            values = wrap(cells[number], max(out.width - indent, SHORT)) if cells[number] else []
            yield from (f"{name if not n else '':<{indent}}{line}" for n, line in enumerate(values))
        yield ""


def _numeric(rows: Sequence[Mapping[str, Any]], name: str) -> bool:
    values = [row[name] for row in rows if row[name] is not None]
    return bool(values) and all(isinstance(value, (int, float, Decimal)) for value in values)


def _listed(value: Any) -> list[str]:
    """Return the lines that stand for a value: of a list of sentences, one for each."""
    if not isinstance(value, list):
        return ["none" if value is None else _cell(value)]
    cells = [_cell(item) for item in value]
    short = all(len(cell) <= WIDEST for cell in cells)
    return [", ".join(cells) or "none"] if short else cells


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    if isinstance(value, (dict, list)):
        return json.dumps(value, default=_plain, ensure_ascii=False)
    return str(value)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, (Decimal, Path)):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
