"""Lengths of time as PostgreSQL writes them, without months and years, whose length varies."""

from __future__ import annotations

import re
from datetime import timedelta

_SECONDS = {"second": 1, "minute": 60, "hour": 3_600, "day": 86_400, "week": 604_800}
_SHORT = {"sec": "second", "min": "minute"}
_TERM = re.compile(r"\s*([0-9]{1,9}(?:\.[0-9]{1,6})?)\s*([a-z]+?)s?(?=\s|$)", re.IGNORECASE)
_LONGEST = timedelta(days=36_500)


def parse_interval(text: str) -> timedelta:
    """Return the length of time that ``text`` names.

    Parameters
    ----------
    text: amounts and units, such as ``90 days`` or ``2 weeks 12 hours``.

    Raises
    ------
    ValueError: not of that form, a unit of varying length, or more than 100 years.

    Examples
    --------
    >>> parse_interval("2 weeks 12 hours")
    datetime.timedelta(days=14, seconds=43200)
    """
    total, end = timedelta(), 0
    while match := _TERM.match(text, end):
        total += _term(float(match.group(1)), match.group(2).lower())
        end = match.end()
    if end == 0 or text[end:].strip():
        raise ValueError(f'"{text}" is no length of time; write it like "90 days" or "2 weeks"')
    if total > _LONGEST:
        raise ValueError(f'"{text}" is longer than 100 years')
    return total


def _term(amount: float, unit: str) -> timedelta:
    unit = _SHORT.get(unit, unit)
    if unit in ("month", "mon", "quarter", "year"):
        raise ValueError(f"a {unit} has no fixed length; say how many days")
    if unit not in _SECONDS:
        raise ValueError(f'"{unit}" is no unit of time; use {", ".join(_SECONDS)}')
    return timedelta(seconds=amount * _SECONDS[unit])


def interval_text(value: timedelta) -> str:
    """Return the length as text that :func:`parse_interval` and PostgreSQL read back.

    Examples
    --------
    >>> interval_text(timedelta(days=90, hours=1))
    '90 days 3600 seconds'
    """
    seconds = value.seconds + value.microseconds / 1_000_000
    terms = [f"{value.days} days"] if value.days or not seconds else []
    if seconds:
        terms.append(f"{seconds:.6f}".rstrip("0").rstrip(".") + " seconds")
    return " ".join(terms)
