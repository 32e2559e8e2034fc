"""Feature kinds: one small class each.

A kind says which state columns it keeps in the profile, what one event adds to them, how
the events give them back (the recount), which column it shows and how it enters the score.
Everything else (triggers, as-of SQL, backfill, verification) is built from these.

SQL written here refers to the event row as ``e`` and is otherwise complete: identifiers
quoted, casts explicit, nothing that depends on the session.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

from rescore.compiler.catalog import Column, column_hint
from rescore.compiler.definition import Feature
from rescore.compiler.inputs import Input
from rescore.compiler.quoting import ident, literal
from rescore.compiler.states import Derived, State
from rescore.compiler.windows import MOMENT, Recent, Window, first_changes, window_of
from rescore.errors import DoesNotFit

INTEGERS = ("smallint", "integer", "bigint")
FLOATS = ("real", "double precision")
TEXTS = ("text", "character varying", "character", "name")
FIRST, LAST = "4713-01-01 BC", "290000-01-01"
TIMES = ("timestamp with time zone", "timestamp without time zone", "date")


@dataclass(frozen=True)
class Source:
    """What a kind may ask of its event table: its columns, and its time as SQL over ``e``.

    ``hll`` is the schema of the extension of that name, empty where the database has none.
    ``opens``: events before some day are gone or incomplete.
    """

    name: str
    columns: Mapping[str, Column]
    time: str
    zone: str
    hll: str = ""
    opens: bool = False

    @property
    def counts(self) -> str:
        """SQL condition over ``e``: the event has a time, and it has come."""
        return f"isfinite({self.time}) AND {self.time} <= {MOMENT}" if self.time else ""

    def column(self, feature: str, name: str) -> Column:
        """Return the event column, or refuse naming the feature."""
        if name not in self.columns:
            raise DoesNotFit(
                f'feature {feature}: event table {self.name} has no column "{name}"',
                detail=f"Its columns are {', '.join(sorted(self.columns))}.",
                hint=column_hint(name, self.columns),
            )
        return self.columns[name]

    def need_time(self, feature: str) -> str:
        """Return the time of the event, or refuse when the definition names none."""
        if not self.time:
            raise DoesNotFit(
                f"feature {feature}: events.{self.name} has no time",
                detail="first, last and days_since need to know when an event happened.",
                hint=f"Add `time: <column>` to events.{self.name}.",
            )
        return self.time


def instant(ref: str, type_: str, zone: str) -> str:
    """SQL: a timestamptz of a date, timestamp or timestamptz, whatever the session's zone is.

    What only a date can be, or would be no timestamptz in that zone, is infinite.
    """
    if type_ == "timestamp with time zone":
        return ref
    inner = ref if type_ == "timestamp without time zone" else f"{ref}::pg_catalog.timestamp"
    own = "date" if type_ == "date" else "timestamp"
    first, last = (f"{literal(day)}::pg_catalog.{own}" for day in (FIRST, LAST))
    return (
        f"CASE WHEN {ref} OPERATOR(pg_catalog.>=) {first} AND {ref} OPERATOR(pg_catalog.<=) {last}"
        f" THEN pg_catalog.timezone({literal(zone)}, {inner})"
        f" WHEN {ref} OPERATOR(pg_catalog.<) {first} THEN '-infinity'::pg_catalog.timestamptz"
        f" WHEN {ref} OPERATOR(pg_catalog.>) {last} THEN 'infinity'::pg_catalog.timestamptz END"
    )


def text_of(column: Column) -> str:
    """SQL over ``e``: a built-in type or an enum as text; no cast of a user's is called."""
    ref = f"e.{ident(column.name)}"
    if column.category == "E":
        return f"enum_out({ref})::text"
    return ref if column.type == "text" else f"{ref}::text"


def usable(column: Column) -> str:
    """SQL over ``e``: whether a number counts; empty where every value of the type does."""
    ref = f"e.{ident(column.name)}"
    if column.type in INTEGERS:
        return ""
    # A numeric of fixed precision has one value that is no number.
    return f"{ref} <> 'NaN'" if column.bounded else f"{ref} BETWEEN -1e100 AND 1e100"


def refuse_type(feature: str, column: Column, expected: str) -> DoesNotFit:
    """Return the error for an event column of a type that a kind cannot use."""
    return DoesNotFit(
        f'feature {feature}: column "{column.name}" is of type {column.type}',
        detail=f"Expected {expected}.",
        hint="Choose another column or another kind of feature.",
    )


class Kind(ABC):
    """A feature of an event table.

    Parameters
    ----------
    name: the feature's name, and that of the column it shows.
    feature: its definition.
    source: its event table.
    where: the condition as SQL over ``e``, or empty.
    """

    def __init__(self, name: str, feature: Feature, source: Source, where: str) -> None:
        self.name = name
        self.feature = feature
        self.source = source
        self.where = where
        self.window = window_of(feature, source.time)

    @abstractmethod
    def states(self) -> tuple[State, ...]:
        """The state columns."""

    @abstractmethod
    def input(self) -> Input:
        """How it enters a model."""

    def derived(self) -> Derived | None:
        """The column computed from the states, if there is one."""
        return None

    def when(self, value: str, *conditions: str) -> str:
        """SQL: ``value`` where the feature's condition and these hold, NULL elsewhere."""
        lasts = self.window.holds if self.window else ""
        found = [f"({c})" for c in (self.where, *conditions, lasts) if c]
        return f"CASE WHEN {' AND '.join(found)} THEN {value} END" if found else value

    def when_ever(self, value: str) -> str:
        """SQL: ``value`` where the feature's condition holds, whether the event counts or not."""
        return f"CASE WHEN {self.where} THEN {value} END" if self.where else value

    def kept(self) -> tuple[State, ...]:
        """The state columns as the profile keeps them: an event counts once its time has come."""
        counts, windowed = self.source.counts, self.window is not None
        pairs = zip(self.states(), self.recently().states(), strict=True)
        timed = [
            replace(s, counts=counts, timed=s.timed or windowed, recent=r.value) for s, r in pairs
        ]
        return tuple(replace(s, opens=self.source.opens and not s.timed) for s in timed)

    def recently(self) -> Kind:
        """The kind as it is for an event that is recent to its window; itself if it has none."""
        if not self.window or not self.window.recent:
            return self
        made = copy(self)
        made.window = Recent(**vars(self.window))
        return made

    def value_column(self) -> Column:
        """The event column the feature aggregates."""
        return self.source.column(self.name, self.feature.column or "")

    def number_input(self, column: str, type_: str, *, nullable: bool, bounded: bool) -> Input:
        """The input of a numeric column, with the definition's default and indicator."""
        return Input(
            self.name, column, type_, "number", nullable=nullable, bounded=bounded, **common(self)
        )


def common(kind: Kind) -> dict[str, Any]:
    """Return what an input takes from any feature's definition."""
    return number_options(kind.feature)


def number_options(feature: Feature) -> dict[str, Any]:
    """Return what the input of a number takes from its feature."""
    # Without a default, a missing number is in no bucket.
    absent = None if feature.bucketize else 0.0
    return {
        "default": absent if feature.default is None else feature.default,
        "missing": feature.missing_indicator,
        "clip": feature.clip,
        "log1p": bool(feature.log1p),
        "buckets": feature.bucketize,
    }


def column_input(name: str, feature: Feature, column: Column, zone: str) -> Input:
    """Return the input of a column read as it stands (a plain column, or a first/last value)."""
    common = number_options(feature)
    if feature.one_hot is not None:
        return _category(name, feature, column)
    if feature.kind == "days_until":
        if column.type not in TIMES:
            raise refuse_type(name, column, "date, timestamp or timestamptz")
        cast = instant("{0}", column.type, zone)
        return Input(name, column.name, "timestamp with time zone", "days_until", cast, **common)
    number = (*INTEGERS, *FLOATS, "numeric", "boolean")
    if column.type not in number:
        raise refuse_type(name, column, "a number or boolean, or `one_hot` for a category")
    exact = column.type in (*INTEGERS, "boolean")
    cast = "{}::pg_catalog.float8" if column.type == "real" else "{}"
    type_ = "double precision" if column.type == "real" else column.type
    return Input(
        name, name if feature.source else column.name, type_, "number", cast, True, exact, **common
    )


def _category(name: str, feature: Feature, column: Column) -> Input:
    hot = feature.one_hot
    assert hot is not None
    kept = name if feature.source else column.name
    return Input(
        name,
        kept,
        "text",
        "category",
        "{}::pg_catalog.text",
        default=0.0,
        missing=feature.missing_indicator,
        categories=tuple(hot.categories) if hot.categories else None,
        top=hot.top,
        other=hot.other,
    )


def hidden_states(slug: str, time: str, kinds: Sequence[Kind]) -> tuple[State, ...]:
    """Return the columns that say until when the others hold; none where times are not known."""
    if not time:
        return ()
    type_ = "timestamp with time zone"
    coming = f"CASE WHEN {time} > {MOMENT} AND isfinite({time}) THEN {time} END"
    found = [State(f"{slug}__next", type_, "min", coming)]
    windowed = [(k, k.window) for k in kinds if k.window]
    changes = dict.fromkeys(k.when_ever(w.changes) for k, w in windowed)
    if changes:
        soonest = f"LEAST({', '.join(changes)})"
        counts, recent = kinds[0].source.counts, _recent_changes(windowed)
        found.append(
            State(f"{slug}__until", type_, "min", soonest, counts=counts, timed=True, recent=recent)
        )
    return tuple(found)


def _recent_changes(windowed: Sequence[tuple[Kind, Window]]) -> str:
    """SQL: when a recent event first enters or leaves a window; empty if that is not simpler."""
    if not all(w.recent for _, w in windowed):
        return ""
    always = first_changes([w for k, w in windowed if not k.where])
    given = [k.when_ever(w.enters or w.leaves) for k, w in windowed if k.where]
    return f"LEAST({', '.join(dict.fromkeys((*always, *given)))})"
