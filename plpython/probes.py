"""Probes: payloads on which compiled SQL and artefact are compared before a version serves."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

from rescore.plpython.contract import Contract, Input

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
_UNKNOWN = ("", "*", "Zürich ☂", 'it\'s "quoted"', "NULL", "a=b", "-- x")
_MODIFIED = re.compile(r"(?P<base>[^(]+?)\s*\(\s*(?P<first>\d+)\s*(?:,\s*(?P<second>-?\d+)\s*)?\)")


def probes(contract: Contract, n: int, seed: int = 0) -> list[dict[str, Any]]:
    """Return `n` payloads, the same ones for the same seed.

    First comes the payload of NULLs and zeros, then each input's extremes one at a time (two at
    once could cancel out, and leave nothing to compare), then ordinary random values.

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
    # Every other payload stays ordinary, however many extremes there are.
    rng.shuffle(extremes)
    for name, value in extremes[: max(0, (n - len(made)) // 2)]:
        made.append(_payload(contract, lambda each: _ordinary(each, rng)) | {name: value})
    while len(made) < n:
        made.append(_payload(contract, lambda each: _ordinary(each, rng)))
    return made


def _payload(contract: Contract, value: Callable[[Input], Any]) -> dict[str, Any]:
    return {each.name: value(each) for each in contract.inputs}


def _zero(each: Input) -> Any:
    if each.kind == "number":
        return False if each.type in ("boolean", "bool") else 0
    return _categories(each)[0] if each.kind == "category" else _stamp(each, CLOCK)


def _null_or_zero(each: Input) -> Any:
    return None if each.nullable else _zero(each)


def _ordinary(each: Input, rng: random.Random) -> Any:
    if each.nullable and rng.random() < 0.1:
        return None
    if each.kind == "category":
        return rng.choice(_categories(each))
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
    base, modifiers = split_type(each.type)
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
    values = _extreme_numbers(each) if each.kind == "number" else _extreme_moments(each)
    return values + ([None] if each.nullable else [])


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
    return [*(_stamp(each, moment) for moment in moments), "infinity", "-infinity"]


def _stamp(each: Input, moment: datetime) -> str:
    return moment.date().isoformat() if each.type == "date" else moment.isoformat()


def split_type(sql_type: str) -> tuple[str, tuple[int, ...]]:
    """Return a SQL type's name and its modifiers: ``numeric(10,2)`` is numeric, (10, 2)."""
    match = _MODIFIED.fullmatch(sql_type.strip().lower())
    if match is None:
        return sql_type.strip().lower(), ()
    found = (match["first"], match["second"])
    return match["base"], tuple(int(part) for part in found if part is not None)
