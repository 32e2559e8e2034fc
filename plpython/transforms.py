"""Transforms of a number on its way into the design row, in this order: clip, log1p, buckets."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise

from rescore.plpython.linear import LARGEST, SMALLEST

Clip = tuple[float | None, float | None]
"""Lowest and highest value; None is no bound."""

MOST_EDGES = 100


def transformed(number: float, clip: Clip | None, log1p: bool) -> float:
    """Return the number a model sees, or that is sorted into buckets.

    Parameters
    ----------
    number: cleaned, or the default of a missing one.
    clip: moves numbers beyond these bounds to them.
    log1p: takes ``sign(x) * ln(1 + abs(x))``, which is defined for every number.
    """
    low, high = clip or (None, None)
    if high is not None:
        number = min(number, high)
    if low is not None:
        number = max(number, low)
    # Not math.log1p: SQL has none, and both sides must give the same bits.
    return math.copysign(math.log(1.0 + abs(number)), number) if log1p else number


def one_hot_bucket(number: float | None, edges: Sequence[float]) -> list[float]:
    """Return len(edges) + 1 columns: 1 for the half-open interval of the number; None has none."""
    place = None if number is None else bisect_right(edges, number)
    return [float(place == each) for each in range(len(edges) + 1)]


def bucket_names(name: str, edges: Sequence[float]) -> list[str]:
    """Return the names of the columns: ``x<10``, ``x[10,20)``, ``x>=20``."""
    texts = [number_text(edge) for edge in edges]
    between = [f"{name}[{low},{high})" for low, high in pairwise(texts)]
    return [f"{name}<{texts[0]}", *between, f"{name}>={texts[-1]}"]


def number_text(number: float) -> str:
    """Return the shortest decimal that reads back as the number, as PostgreSQL writes it."""
    text = repr(number + 0.0).removesuffix(".0")
    # Python changes to exponents one digit later.
    return f"{Decimal(text).normalize():e}" if 1e15 <= abs(number) < 1e16 else text


def clip_problem(clip: Sequence[float | None]) -> str:
    """Return what is wrong with the bounds; empty if nothing is."""
    bounds = [bound for bound in clip if bound is not None]
    if len(clip) != 2 or not bounds:
        return "needs a lowest and a highest value, of which one may be null"
    return _rising_problem(bounds)


def edges_problem(edges: Sequence[float]) -> str:
    """Return what is wrong with the edges of buckets; empty if nothing is."""
    if not 1 <= len(edges) <= MOST_EDGES:
        return f"needs 1 to {MOST_EDGES} edges, not {len(edges)}"
    return _rising_problem(edges)


def _rising_problem(numbers: Sequence[float]) -> str:
    for number in numbers:
        if not (number == 0 or SMALLEST <= abs(number) <= LARGEST):
            return f"{number!r} is neither 0 nor of a magnitude from {SMALLEST:g} to {LARGEST:g}"
    for before, after in pairwise(numbers):
        if not before < after:
            return f"{after!r} does not exceed {before!r}"
    return ""
