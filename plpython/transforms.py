"""Transforms of a number on its way into the design row, in this order: clip, log1p, buckets."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
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


def thresholds(clip: Clip | None, log1p: bool, edges: Sequence[float]) -> list[float]:
    """Return the numbers, before any transform, on whose sides they are treated differently."""
    bounds = [bound for bound in clip or () if bound is not None]
    if not log1p:
        return [*bounds, *edges]
    reached = [edge for edge in edges if abs(edge) <= math.log(LARGEST)]
    return [*bounds, *(math.copysign(math.expm1(abs(edge)), edge) for edge in reached)]


def number_text(number: float) -> str:
    """Return the shortest decimal that reads back as the number, as PostgreSQL writes it."""
    candidates = [repr(number + 0.0), *(f"{number:.{digits}e}" for digits in range(17))]
    found = Decimal(next(text for text in candidates if _reads_back(text, number))).normalize()
    if -4 <= found.adjusted() < 15:
        return f"{found:f}"
    mantissa, _, exponent = f"{found:e}".partition("e")
    return f"{mantissa}e{int(exponent):+03d}"


def _reads_back(text: str, number: float) -> bool:
    """Whether it does however halves are rounded: PostgreSQL, unlike Python, asks for that."""
    beside = (math.nextafter(number, end) for end in (-math.inf, math.inf))
    halves = [(Fraction(number) + Fraction(each)) / 2 for each in beside]
    return float(text) == number and Fraction(text) not in halves


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
