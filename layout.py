"""How a table is fitted to a screen: which columns wrap, and where their text may break."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple

from rich.cells import cell_len, chop_cells

Cells = Sequence[str]

SHORT = 12
"""Characters of a word that stay together wherever a table can be had at all."""
LOOKED_AT = 50
"""Rows that say which columns had best wrap."""
FINELY = 64
"""Characters too many that are taken away one by one; of more, several at a time."""

GROUPS, WORDS, PARTS = range(3)
_UNITS = (
    re.compile(r"\([^()]*\)\S*|\S+"),  # what stands in parentheses is read together
    re.compile(r"\S+"),
    re.compile(r"[^_/:=,@]*[_/:=,@]+|.+"),
)


def wrap(text: str, width: int) -> list[str]:
    """Return the lines of a text: broken between words, within one only where it is too long.

    Examples
    --------
    >>> wrap("0.57 (0.55 to 0.59)", 15)
    ['0.57', '(0.55 to 0.59)']
    >>> wrap("calibration_in_the_large", 12)
    ['calibration_', 'in_the_large']
    """
    return [part for line in text.splitlines() or [""] for part in _wrapped(line, width)]


def fit(columns: Sequence[Cells], whole: Sequence[bool], room: int) -> list[int] | None:
    """Return how wide columns are to be; None where they cannot be had side by side.

    Parameters
    ----------
    columns: of each its name, and the texts below.
    whole: columns whose words are never broken: those of numbers.
    room: characters for all of them.
    """
    least = narrowest(columns, whole)
    return _narrowed(columns, least, room) if sum(least) <= room else None


def narrowest(columns: Sequence[Cells], whole: Sequence[bool]) -> list[int]:
    """Return how narrow columns can be; see `fit`."""
    return [_least(cells, uncut) for cells, uncut in zip(columns, whole, strict=True)]


def _wrapped(line: str, width: int) -> list[str]:
    if cell_len(line) <= width:
        return [line]
    lines = [""]
    for glue, piece in _pieces(line, width):
        longer = f"{lines[-1]}{glue}{piece}" if lines[-1] else piece
        if cell_len(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(piece)
    return lines


def _pieces(
    text: str, width: int, breaks: int = GROUPS, glue: str = " "
) -> Iterator[tuple[str, str]]:
    """Yield pieces that are no wider, each with what joins it to the one before."""
    for unit in _UNITS[breaks].findall(text):
        if cell_len(unit) <= width:
            yield glue, unit
        elif breaks < PARTS:
            yield from _pieces(unit, width, breaks + 1, glue)
        else:
            for part in chop_cells(unit, width):
                yield glue, part
                glue = ""
        if breaks == PARTS:
            glue = ""


def _least(cells: Cells, uncut: bool) -> int:
    """Return how narrow a column can be; its name may break at each underscore."""
    name, *texts = cells
    words = max((cell_len(word) for text in texts for word in text.split()), default=0)
    named = max(map(cell_len, re.findall(r"[^_ ]*_+|[^_ ]+", name)), default=0)
    return max(named, words if uncut else min(words, SHORT))


class _Column(NamedTuple):
    """A column at a width: lines of its cells; words and groups below its name that are broken."""

    width: int
    heights: list[int]
    broken: int


def _unbroken(cells: Cells) -> list[int]:
    """Return how long the words and the groups below a column's name are."""
    _, *texts = cells
    words = [word for text in texts for word in text.split()]
    groups = [each for text in texts for each in _UNITS[GROUPS].findall(text) if " " in each]
    return [cell_len(each) for each in (*words, *groups)]


def _at(cells: Cells, unbroken: Sequence[int], width: int) -> _Column:
    broken = sum(length > width for length in unbroken)
    return _Column(width, [len(wrap(cell, width)) for cell in cells], broken)


def _cost(columns: Sequence[_Column]) -> int:
    """Return how hard a table is to read: its lines, and, rather more of them, what is broken."""
    tall: int = sum(map(max, zip(*(column.heights for column in columns), strict=True)))
    return tall + 2 * sum(column.broken for column in columns)


def _narrowed(columns: Sequence[Cells], least: Sequence[int], room: int) -> list[int]:
    """Return the widths after one column was narrowed after another, each where it costs least."""
    looked_at = [cells[:LOOKED_AT] for cells in columns]
    widest = [min(room, _widest(cells)) for cells in columns]
    unbroken = [_unbroken(cells) for cells in looked_at]

    @cache  # of the columns that stay as they are, the same is asked at the next step
    def at(n: int, width: int) -> _Column:
        return _at(looked_at[n], unbroken[n], width)

    found = [at(n, width) for n, width in enumerate(widest)]

    def cost(choice: tuple[int, _Column]) -> tuple[int, int]:
        n, narrower = choice
        return _cost([*found[:n], narrower, *found[n + 1 :]]), -narrower.width

    while (excess := sum(column.width for column in found) - room) > 0:
        step = max(excess // FINELY, 1)
        step = 1 << (step.bit_length() - 1)  # few different ones
        can = [n for n, column in enumerate(found) if column.width > least[n]]
        narrower = ((n, at(n, max(found[n].width - step, least[n]))) for n in can)
        n, column = min(narrower, key=cost)
        found[n] = column
    return [column.width for column in found]


def _widest(cells: Cells) -> int:
    return max((cell_len(line) for cell in cells for line in cell.splitlines()), default=0)
