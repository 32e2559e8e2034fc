"""Types of single values in the definition file: how they are written, and what they become."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema

from rescore.compiler.definition_errors import refuse
from rescore.compiler.intervals import interval_text, parse_interval

Kind: TypeAlias = Literal[
    "count", "sum", "avg", "min", "max", "first", "last", "days_since", "column", "days_until",
    "ewma", "distinct", "gap", "ratio", "expr",
]  # fmt: skip
Parameter: TypeAlias = (
    bool | int | float | str | Annotated[tuple[int, ...], Field(strict=False)] | None
)

EVENT_KINDS: tuple[Kind, ...] = (
    "count", "sum", "avg", "min", "max", "first", "last", "days_since", "ewma",
    "distinct", "gap",
)  # fmt: skip
COMPUTED_KINDS: tuple[Kind, ...] = ("ratio", "expr")
CATEGORY_KINDS: frozenset[Kind] = frozenset({"first", "last", "column"})
MOST_KEPT = 100
"""How many of the last values a list holds at most."""

DEFAULT_ESTIMATOR: dict[str, dict[str, Parameter]] = {
    "sgd_classifier": {"loss": "log_loss", "alpha": 1e-4, "average": True}
}


def _as_interval(value: Any) -> Any:
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str):
        raise refuse(f"{value!r} is no length of time", 'Text such as "90 days" or "2 weeks".')
    try:
        return parse_interval(value)
    except ValueError as error:
        raise refuse(str(error)) from None


def _as_category(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if not isinstance(value, str):
        raise refuse(f"{value!r} is no category", 'Text or a whole number; quote others: "1.5".')
    return value


def _as_day(value: Any) -> Any:
    if isinstance(value, date) and not isinstance(value, datetime):
        return value.isoformat()
    try:
        return date.fromisoformat(value).isoformat()
    except (TypeError, ValueError):
        raise refuse(f"{value!r:.80} is no day", "A day such as 2025-10-01.") from None


def as_one_hot(value: Any) -> Any:
    """Return the mapping form of a plain list of categories."""
    return {"values": value} if isinstance(value, list) else value


def as_last(value: Any) -> Any:
    """Return a column, or how many of the last values are kept, unchanged once it is either."""
    fits = isinstance(value, str) if type(value) is not int else 2 <= value <= MOST_KEPT
    if not fits and value is not None:
        expected = f"A column, or how many of the last values: 2 to {MOST_KEPT}."
        raise refuse(f"`last`: {value!r:.80} is wrong", expected)
    return value


def as_estimator(value: Any) -> Any:
    """Return the mapping form of an estimator given by name, or without parameters."""
    if isinstance(value, str):
        return {value: {}}
    if not isinstance(value, dict):
        raise refuse(f"{value!r} names no estimator", "{sgd_classifier: {alpha: 1.0e-4}}")
    return {name: _as_parameters(name, body) for name, body in value.items()}


def _as_parameters(name: str, body: Any) -> Any:
    if body is None:
        return {}
    if not isinstance(body, dict):
        raise refuse(f"the parameters of {name} are no mapping", f"{{{name}: {{alpha: 0.1}}}}")
    for key, value in body.items():
        scalar = value is None or isinstance(value, bool | int | float | str)
        if not scalar and not (isinstance(value, list) and all(type(v) is int for v in value)):
            raise refuse(
                f"parameter {key} of {name}: {value!r}", "One value, or a list of integers."
            )
    return body


def as_features(value: Any) -> Any:
    """Return a model's choice of features unchanged, once it has one of its three forms."""
    names = value.get("except") if isinstance(value, dict) and len(value) == 1 else value
    listed = isinstance(names, list) and all(isinstance(n, str) and n.strip() for n in names)
    if value != "all" and not listed:
        raise refuse(
            f"features: {value!r} is wrong", "`all`, a list of names, or {except: [names]}."
        )
    return value


Text: TypeAlias = Annotated[str, Field(min_length=1, pattern=r"\S")]
Day: TypeAlias = Annotated[str, BeforeValidator(_as_day, json_schema_input_type=str)]

Interval: TypeAlias = Annotated[
    timedelta,
    BeforeValidator(_as_interval),
    PlainSerializer(interval_text),
    WithJsonSchema({"type": "string", "examples": ["90 days", "2 weeks"]}),
]
Category: TypeAlias = Annotated[
    str, BeforeValidator(_as_category, json_schema_input_type=str | int | bool)
]
# Values are not converted, but YAML and JSON know no tuples: these take lists.
Names: TypeAlias = Annotated[tuple[Text, ...], Field(strict=False)]
Categories: TypeAlias = Annotated[tuple[Category, ...], Field(strict=False)]
Number: TypeAlias = Annotated[float, Field(ge=-1e100, le=1e100)]
Clip: TypeAlias = Annotated[tuple[Number | None, Number | None], Field(strict=False)]
Kept: TypeAlias = Annotated[int, Field(ge=2, le=MOST_KEPT)]
Pair: TypeAlias = Annotated[tuple[Text, Text], Field(strict=False)]
Edges: TypeAlias = Annotated[tuple[Number, ...], Field(strict=False)]
