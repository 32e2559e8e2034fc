"""What every contender is about: orders, and a profile of features counted from them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import jinja2
from psycopg import sql

MODELS = ("churn", *(f"model_{n}" for n in range(2, 21)))
KINDS = 4
TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("rescore.bench", "."),
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    autoescape=False,
)


@dataclass(frozen=True)
class Feature:
    """One feature, in each contender's words.

    Attributes
    ----------
    name: in rescore's definition.
    column: of the profile.
    type: of the profile's column, for the contenders whose table is made by hand.
    zero: its default.
    definition: in rescore's definition.
    step: SQL, its new value from a profile row ``p`` and an event row ``NEW``.
    total: SQL, what a group of event rows ``NEW`` amounts to.
    number: SQL, the double precision that a model reads from a row ``p``.
    filled: SQL, a random value.
    """

    name: str
    column: str
    type: str
    zero: str
    definition: dict[str, Any]
    step: str
    total: str
    number: str
    filled: str

    @property
    def plain(self) -> str:
        """SQL, its value in a row ``p`` as double precision, as cheaply as can be."""
        if self.type == "timestamptz":
            return f"date_part('epoch', p.{self.column})"
        return f"p.{self.column}::double precision"

    @property
    def merge(self) -> str:
        """SQL, its new value from a profile row ``p`` and the totals ``d`` of a group of events."""
        if self.zero == "0":
            return f"p.{self.column} + d.{self.column}"
        return f"greatest(p.{self.column}, d.{self.column})"


def features(count: int) -> list[Feature]:
    """Return that many features: counts, sums, maxima and times of the last, in turn."""
    makers = (_count, _sum, _max, _last)
    return [makers[n % KINDS](f"f{n + 1}", n // KINDS) for n in range(count)]


def _count(name: str, least: int) -> Feature:
    step = f"p.{name} + {_only('1', ' ELSE 0', least)}"
    total = f"count(*) FILTER (WHERE NEW.quantity >= {least})"
    definition = {"count": True} | _where(least)
    return Feature(
        name, name, "bigint", "0", definition, step, total, f"p.{name}", "random() * 100"
    )


def _sum(name: str, least: int) -> Feature:
    step = f"p.{name} + {_only('NEW.amount', ' ELSE 0', least)}"
    total = f"COALESCE(sum(NEW.amount) FILTER (WHERE NEW.quantity >= {least}), 0)"
    definition = {"sum": "amount"} | _where(least)
    number, filled = f"p.{name}", "(random() * 1e4)::int"
    return Feature(name, name, "numeric", "0", definition, step, total, number, filled)


def _max(name: str, least: int) -> Feature:
    step = f"greatest(p.{name}, {_only('NEW.amount', '', least)})"
    total = f"max(NEW.amount) FILTER (WHERE NEW.quantity >= {least})"
    definition = {"max": "amount"} | _where(least)
    number, filled = f"COALESCE(p.{name}, 0)", "(random() * 1e3)::int"
    return Feature(name, name, "numeric", "NULL", definition, step, total, number, filled)


def _last(name: str, least: int) -> Feature:
    column = f"{name}__at"
    step = f"greatest(p.{column}, {_only('NEW.ordered_at', '', least)})"
    total = f"max(NEW.ordered_at) FILTER (WHERE NEW.quantity >= {least})"
    definition = {"days_since": "last"} | _where(least)
    number = f"COALESCE(extract(epoch FROM now() - p.{column}) / 86400, 0)"
    filled = "now() - random() * interval '90 days'"
    return Feature(name, column, "timestamptz", "NULL", definition, step, total, number, filled)


def _only(value: str, otherwise: str, least: int) -> str:
    return f"CASE WHEN NEW.quantity >= {least} THEN {value}{otherwise} END" if least else value


def _where(least: int) -> dict[str, str]:
    return {"where": f"quantity >= {least}"} if least else {}


MIXED: dict[str, dict[str, Any]] = {
    "orders_30d": {"count": True, "window": "30 days"},
    "spend_30d": {"sum": "amount", "window": "30 days"},
    "orders_before": {"count": True, "window": "30 days", "offset": "30 days"},
    "biggest_7d": {"max": "amount", "window": "7 days"},
    "avg_90d": {"avg": "amount", "window": "90 days"},
    "pace": {"count": True, "half_life": "14 days"},
    "spend_rate": {"sum": "amount", "half_life": "30 days"},
    "usual": {"ewma": "amount", "half_life": "30 days"},
    "first_amount": {"first": "amount"},
    "tenure": {"days_since": "first"},
    "avg_amount": {"avg": "amount"},
    "smallest": {"min": "amount"},
}
"""Features of other kinds, beside the first eight of :func:`features`."""


def definition(
    count: int, models: int, categories: int = 0, engine: str = "auto", *, mixed: bool = False
) -> Any:
    """Return rescore's definition, parsed YAML, of this many features and models.

    Parameters
    ----------
    categories: of a one-hot plain column ``channel``; 0 for none.
    mixed: with those of :data:`MIXED`, as many in all.
    """
    plain = features(count - len(MIXED) if mixed else count)
    defined: dict[str, Any] = {f.name: {"from": "orders", **f.definition} for f in plain}
    if mixed:
        defined |= {name: {"from": "orders", **kind} for name, kind in MIXED.items()}
    if categories:
        values = [f"channel {n}" for n in range(categories)]
        defined["channel"] = {"column": "channel", "one_hot": values}
    names = MODELS[:models]
    return {
        "profile": {"table": "customer_profile", "key": {"name": "customer_id", "type": "bigint"}},
        "events": {"orders": {"time": "ordered_at"}},
        "features": defined,
        "models": {name: {"features": "all", "engine": engine} for name in names},
        "scores": {f"{name}_score": {"model": name} for name in names},
    }


def statement(template: str, **given: Any) -> bytes:
    """Return the SQL of a template beside this module."""
    return TEMPLATES.get_template(template).render(given | {"literal": literal}).encode()


def literal(value: str) -> str:
    """Quote a string for SQL."""
    return sql.Literal(value).as_string(None)


def events(count: int, profiles: int, customers: int = 0) -> Iterator[str]:
    """Yield lines for ``COPY orders (customer_id, quantity, amount)``, spread over the profiles.

    Parameters
    ----------
    customers: from how many each line's is drawn at random; 0: each line is another's.
    """
    drawn = random.Random(7)
    for n in range(count):
        place = drawn.randrange(customers) if customers else n
        yield f"{place * 7919 % profiles + 1}\t{n % 9 + 1}\t{n % 200 + 0.5}\n"


@cache
def query(name: str, count: int = 0) -> bytes:
    """Return one of the external worker's statements, with psycopg's placeholders."""
    return statement(f"{name}.sql.j2", features=features(count), given=("%s",) * 4)
