"""Probes: payloads on which compiled SQL and artefact are compared before a version serves."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import Any

from rescore.plpython.contract import Contract, Input
from rescore.plpython.design import single
from rescore.plpython.transforms import thresholds

CLOCK = datetime(2026, 1, 1, tzinfo=timezone.utc)
"""The present moment of every proof: a proof gives the same numbers on any day."""

_INTEGERS = {
    "smallint": 2**15,
    "int2": 2**15,
    "integer": 2**31,
    "int": 2**31,
    "int4": 2**31,
    "bigint": 2**63,
    "int8": 2**63,
}
_TEXTS = ("text", "character varying", "varchar")
# Of letters that every encoding of a database has.
_UNKNOWN = ("", "*", "no such place", 'it\'s "quoted"', "NULL", "a=b", "-- x")
_MODIFIED = re.compile(r"(?P<base>[^(]+?)\s*\(\s*(?P<first>\d+)\s*(?:,\s*(?P<second>-?\d+)\s*)?\)")


def probes(contract: Contract, n: int, seed: int = 0) -> list[dict[str, Any]]:
    """Return `n` payloads, the same ones for the same seed.

    First comes the payload of NULLs and zeros, then each input's extremes one at a time (two at
    once could cancel out, and leave nothing to compare), then ordinary random values. Inputs with
    `clip` or `buckets` take values on both sides of each bound and edge in turn.

    Parameters
    ----------
    contract: frozen contract of the version.
    n: how many payloads; the extremes of many inputs need about ten each.
    seed: of the random values.

    Returns
    -------
    list of n payloads, JSON-able
    """
    rng = random.Random(seed)
    made = [_payload(contract, _zero), _payload(contract, _null_or_zero)][:n]
    extremes = [(each.name, value) for each in contract.inputs for value in _extremes(each)]
    turns = {each.name: _turns(each, rng) for each in contract.inputs if _straddling(each)}
    ordinary = partial(_ordinary, rng=rng, turns=turns)
    # Every other payload stays ordinary, however many extremes there are.
    rng.shuffle(extremes)
    for name, value in extremes[: max(0, (n - len(made)) // 2)]:
        others = [each for each in contract.inputs if each.name != name]
        made.append({each.name: ordinary(each) for each in others} | {name: value})
    while len(made) < n:
        made.append(_payload(contract, ordinary))
    return made


def _payload(contract: Contract, value: Callable[[Input], Any]) -> dict[str, Any]:
    return {each.name: value(each) for each in contract.inputs}


def _zero(each: Input) -> Any:
    if each.kind == "number":
        return False if each.type in ("boolean", "bool") else 0
    if each.kind == "list":
        return []
    return _categories(each)[0] if each.kind == "category" else _stamp(each, CLOCK)


def _null_or_zero(each: Input) -> Any:
    return None if each.nullable else _zero(each)


def _turns(each: Input, rng: random.Random) -> Iterator[Any]:
    """Yield every value around a threshold before any comes again, with random ones between."""
    while True:
        sides = _straddling(each)
        # First what reaches each interval: there may be more sides than probes.
        above = [values[-1] for values in sides]
        others = [value for values in sides for value in values[:-1]]
        others += [_ordinary(each, rng, {}) for _ in range(2)]
        rng.shuffle(above)
        rng.shuffle(others)
        yield from above + others


def _ordinary(each: Input, rng: random.Random, turns: Mapping[str, Iterator[Any]]) -> Any:
    if each.nullable and rng.random() < 0.1:
        return None
    if each.name in turns:
        return next(turns[each.name])
    if each.kind == "category":
        return rng.choice(_categories(each))
    if each.kind == "list":
        return [rng.choice(_categories(each)) for _ in range(rng.choice((1, 2, 5, 20)))]
    if each.kind == "number":
        return _ordinary_number(each, rng)
    return _stamp(each, CLOCK - timedelta(seconds=round(rng.gauss(100, 200) * 86400)))


def _ordinary_number(each: Input, rng: random.Random) -> Any:
    base, _ = split_type(each.type)
    value = rng.gauss(0, 1) * 10 ** rng.uniform(-1, 4)
    if base in ("boolean", "bool"):
        return rng.random() < 0.5
    if base in _INTEGERS:
        return max(-(2**15), min(2**15 - 1, round(value)))
    return _within(each, [value])[0] if _within(each, [value]) else 0


def _categories(each: Input) -> list[Any]:
    """Return the values to try: those with a column, and for texts some that have none."""
    base, modifiers = split_type(each.type.removesuffix("[]"))
    known: list[Any] = list(each.categories)
    if base in ("boolean", "bool"):
        return [True, False]
    if base in _INTEGERS:
        return [*map(int, known), 0, -7]
    if base in _TEXTS:
        longest = modifiers[0] if modifiers else 100
        known += [text for text in _UNKNOWN if len(text) <= longest]
    return known or [None]


def _extremes(each: Input) -> list[Any]:
    if each.kind == "category":
        return _categories(each)
    if each.kind == "list":
        return [[], None, *_lists_of(each)]
    values = _extreme_numbers(each) if each.kind == "number" else _extreme_moments(each)
    return values + ([None] if each.nullable else [])


def _lists_of(each: Input) -> list[Any]:
    """Return lists with each value to try alone, and many times."""
    return [[text] * times for text in _categories(each) for times in (1, 100)]


def _extreme_numbers(each: Input) -> list[Any]:
    base, _ = split_type(each.type)
    if base in ("boolean", "bool"):
        return [True, False]
    if base in _INTEGERS:
        limit = _INTEGERS[base]
        return [-limit, limit - 1, -1, 1]
    if base in ("real", "float4"):
        return [3e38, -3e38, 1e-37, -1.5, "NaN", "Infinity", "-Infinity"]
    large = [1e99, 1e101, -1e300, 1e-101, -1e-99, -1.5, 123456.789]
    return _within(each, large) + ([] if each.bounded else ["NaN", "Infinity", "-Infinity"])


def _within(each: Input, values: list[float]) -> list[Any]:
    """Return the values that a bounded type can hold."""
    _, modifiers = split_type(each.type)
    if not modifiers:
        return [value for value in values if not each.bounded or abs(value) < 1e15]
    precision, scale = modifiers[0], modifiers[1] if len(modifiers) > 1 else 0
    held = [value for value in values if abs(value) < 10.0 ** (precision - scale) / 2]
    return [round(value, scale) for value in held]


def _extreme_moments(each: Input) -> list[Any]:
    moments = [
        datetime(1, 1, 2, tzinfo=timezone.utc),
        CLOCK + timedelta(microseconds=1),
        CLOCK - timedelta(microseconds=1),
        CLOCK + timedelta(days=400),
        datetime(9999, 12, 30, tzinfo=timezone.utc),
    ]
    endless = [] if each.bounded else ["infinity", "-infinity"]
    return [*(_stamp(each, moment) for moment in moments), *endless]


def _straddling(each: Input) -> list[list[Any]]:
    """Return values on both sides of each threshold, the upper last, as the type can hold them."""
    sides = _moment_sides if each.kind in ("days_since", "days_until") else _number_sides
    found = (sides(each, at) for at in thresholds(each.clip, each.log1p, each.buckets))
    return [values for values in found if values]


def _moment_sides(each: Input, days: float) -> list[str]:
    sign = -1 if each.kind == "days_since" else 1
    try:
        moment = CLOCK + sign * timedelta(days=days)
        return [_stamp(each, moment + timedelta(microseconds=step)) for step in (-1, 0, 1)]
    except OverflowError:
        return []


def _number_sides(each: Input, at: float) -> list[Any]:
    base, modifiers = split_type(each.type)
    if base in ("boolean", "bool"):
        return []
    if base in _INTEGERS:
        whole, limit = math.ceil(at), _INTEGERS[base]
        return [value for value in (whole - 1, whole) if -limit <= value < limit]
    scale = modifiers[1] if len(modifiers) > 1 else 0
    gap = max(abs(at) * 1e-6, 10.0**-scale if modifiers else 1e-6)
    # Right at the threshold of a logarithm, another machine's may differ by a rounding.
    values = _within(each, [at - gap, at + gap if each.log1p else at])
    if base in ("real", "float4"):
        return [single(value) for value in values if abs(value) < 3e38]
    return values


def _stamp(each: Input, moment: datetime) -> str:
    return moment.date().isoformat() if each.type == "date" else moment.isoformat()


def split_type(sql_type: str) -> tuple[str, tuple[int, ...]]:
    """Return a SQL type's name and its modifiers: ``numeric(10,2)`` is numeric, (10, 2)."""
    match = _MODIFIED.fullmatch(sql_type.strip().lower())
    if match is None:
        return sql_type.strip().lower(), ()
    found = (match["first"], match["second"])
    return match["base"], tuple(int(part) for part in found if part is not None)
