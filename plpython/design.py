"""The design row in plain Python: what the compiled SQL must compute, written a second time."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta, timezone
from typing import Any

from rescore.errors import BadFeature
from rescore.plpython.contract import Contract, Input
from rescore.plpython.linear import LARGEST, SMALLEST
from rescore.plpython.transforms import one_hot_bucket, transformed

Moment = datetime | float
"""A point in time, or ±infinity."""

_DAY = 86_400_000_000


def design_row(contract: Contract, values: Mapping[str, Any], clock: datetime | str) -> list[float]:
    """Return the numbers a model sees for one payload.

    Parameters
    ----------
    contract: frozen contract of the version.
    values: JSON-able value of each input; one that is absent counts as NULL.
    clock: the present moment; without an offset it is UTC.

    Returns
    -------
    list of len(contract.columns()) finite numbers

    Raises
    ------
    BadFeature
        If a value has no input, or is not of its input's type.
    """
    unknown = sorted(set(values) - {each.name for each in contract.inputs})
    if unknown:
        known = ", ".join(each.name for each in contract.inputs)
        raise BadFeature(f"unknown feature {unknown[0]!r}", hint=f"The model's inputs: {known}.")
    now = _moment(clock, "clock")
    row: list[float] = []
    for each in contract.inputs:
        row += _columns(each, values.get(each.name), now)
    return row


def _columns(each: Input, value: Any, now: Moment) -> list[float]:
    if each.kind == "category":
        return _one_hot(each, value)
    if each.kind == "list":
        return _list(each, value)
    number = clean(_number(each, value, now))
    columns = _encoded(each, clean(each.default) if number is None else number)
    return columns + ([float(number is None)] if each.missing else [])


def _encoded(each: Input, number: float | None) -> list[float]:
    """Return the columns of a number, or of the default that stands for it."""
    if each.buckets:
        known = None if number is None else transformed(number, each.clip, each.log1p)
        return one_hot_bucket(known, each.buckets)
    return [transformed(number or 0.0, each.clip, each.log1p)]


def _one_hot(each: Input, value: Any) -> list[float]:
    text = None if value is None else _text(value)
    columns = [float(text == category) for category in each.categories]
    if each.other:
        columns.append(float(text is not None and text not in each.categories))
    return columns + ([float(text is None)] if each.missing else [])


def _list(each: Input, value: Any) -> list[float]:
    """Return how often each category is in the list, or, unless they are counted, whether."""
    given = [_text(item) for item in _items(each, value)]
    numbers = [float(given.count(category)) for category in each.categories]
    if each.other:
        numbers.append(float(len(given) - sum(numbers)))
    columns = numbers if each.count else [min(number, 1.0) for number in numbers]
    return columns + ([float(not given)] if each.missing else [])


def _items(each: Input, value: Any) -> list[Any]:
    fits = value is None or isinstance(value, list | tuple)
    items = list(value or ()) if fits else []
    if not fits or any(item is None or isinstance(item, list | tuple | dict) for item in items):
        raise BadFeature(
            f"{value!r:.80} is no value of feature {each.name!r}",
            detail="Expected a list of texts.",
        )
    return items


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def clean(number: float | None) -> float | None:
    """Return a number as models see it: None if missing or not finite, clamped to ±1e100."""
    if number is None or not math.isfinite(number):
        return None
    if abs(number) < SMALLEST:
        return 0.0
    return max(-LARGEST, min(LARGEST, number))


def _number(each: Input, value: Any, now: Moment) -> float | None:
    if value is None:
        return None
    if each.kind == "number":
        return _float(each, value)
    moment = _moment(value, each.name)
    if each.kind == "days_since":
        return max(_days(moment, now), 0.0)
    return _days(now, moment)


def _float(each: Input, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise BadFeature(
            f"{value!r:.80} is no value of feature {each.name!r}",
            detail=f"Its type is {each.type}.",
        ) from error
    return single(number) if each.type in ("real", "float4") else number


def single(number: float) -> float:
    """Return the nearest number that PostgreSQL's ``real`` can hold."""
    if not math.isfinite(number):
        return number
    rounded: float = struct.unpack("f", struct.pack("f", number))[0]
    return rounded


def _days(start: Moment, end: Moment) -> float:
    if isinstance(start, datetime) and isinstance(end, datetime):
        microseconds = (end - start) // timedelta(microseconds=1)
        days = abs(microseconds) // _DAY * (1 if microseconds > 0 else -1)
        # In PostgreSQL's order, which may round otherwise than one division does.
        return ((microseconds - days * _DAY) / 1e6 + 86400.0 * days) / 86400.0
    return math.nan


def _moment(value: Any, name: str) -> Moment:
    if value in ("infinity", "-infinity"):
        return float(value)
    try:
        moment = _datetime(value)
    except (AttributeError, TypeError, ValueError) as error:
        raise BadFeature(
            f"{value!r:.80} is no value of feature {name!r}",
            detail="Expected an ISO 8601 timestamp.",
        ) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def _datetime(value: Any) -> datetime:
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime.combine(value, time())
    # Python 3.10 does not read the suffix Z.
    return datetime.fromisoformat(value[:-1] + "+00:00" if value.endswith("Z") else value)
