"""Feature kinds: one small class each.

A kind says which state columns it keeps in the profile, what one event adds to them, how
the events give them back (the recount), which column it shows and how it enters the score.
Everything else (triggers, as-of SQL, backfill, verification) is built from these.

SQL written here refers to the event row as ``e`` and is otherwise complete: identifiers
quoted, casts explicit, nothing that depends on the session.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from rescore.compiler.catalog import Column
from rescore.compiler.definition import Feature
from rescore.compiler.quoting import ident, literal
from rescore.compiler.windows import MOMENT, Recent, Window, first_changes, window_of
from rescore.errors import DoesNotFit

Combine = Literal["add", "min", "max", "first", "last", "fold"]
Refs = Callable[[str], str]

INTEGERS = ("smallint", "integer", "bigint")
FLOATS = ("real", "double precision")
TEXTS = ("text", "character varying", "character", "name")
FIRST, LAST = "4713-01-01 BC", "290000-01-01"
TIMES = ("timestamp with time zone", "timestamp without time zone", "date")
ONLY = "\0"  # no SQL holds it
DISTINCT = "{p} IS DISTINCT FROM {r}"
_MERGE = {"add": "{p} + {d}", "min": "LEAST({p}, {d})", "max": "GREATEST({p}, {d})"}


@dataclass(frozen=True)
class State:
    """A column of the profile that the triggers keep.

    Parameters
    ----------
    column, type: its name and SQL type.
    combine: how contributions come together.
    value: SQL over ``e``, what one event contributes; NULL contributes nothing. It may depend
        on the moment (``rescore_v_moment``): then the state is ``timed``.
    time: SQL over ``e``, the order of ``first`` and ``last`` (time first, then value); of a
        ``fold``: NULL where the event contributes nothing.
    at: the state column that holds that time; of a ``fold``: NULL where nothing was contributed.
    collate: ``COLLATE "C"`` for text, so that ties break the same way everywhere.
    fold: for ``fold``: SQL of the state after ``{d}`` (a state) reached ``{p}``, neither empty;
        ``{pt}`` and ``{dt}`` are those of ``at``, ``{p1}`` and ``{d1}`` … those of ``beside``.
    gather: for ``fold``: SQL aggregate over rows ``e`` that makes the state of all of them;
        :data:`ONLY` stands for its FILTER, which otherwise is appended.
    beside: other state columns that ``fold`` and ``differs`` (as ``{p1}`` …) need.
    past: the aggregate over the known events before ``rescore_v_moment``, where the state as of
        that moment is simpler than the state itself.
    step: for ``fold``: the same where a single event comes that is not before ``at``; one that is
        goes the way of several. Everything may be NULL.
    start: SQL of the value of a customer without events, where it is neither 0 nor NULL by itself.
    about: what the column's comment says.
    newest: how many of the newest events make the state, if not all do; ``order`` is their order.
    opens: the events before some day are gone, and what they had made is kept beside it.
    guard: SQL condition over ``p`` and ``rescore_v_time``, the time of a single event: it may be
        merged. Where it does not hold, and whenever several events come, the state is recounted.
    differs: SQL condition: the stored ``{p}`` is not the recount ``{r}``.
    counts: SQL condition over ``e``: the event has a time, and it has come.
    recent: ``value`` of an event that is recent to all windows of its source, where it is simpler.
    shortcut: as ``step``, for a state beside one with a step and the same ``at``.
    dear: computing it takes so long that it is done once for all that use it.
    timed: holds until a moment only, and is recounted rather than added to unless the row is
        known to hold.
    """

    column: str
    type: str
    combine: Combine
    value: str
    time: str = ""
    at: str = ""
    collate: str = ""
    fold: str = ""
    gather: str = ""
    guard: str = ""
    differs: str = DISTINCT
    counts: str = ""
    timed: bool = False
    beside: tuple[str, ...] = ()
    past: str = ""
    step: str = ""
    start: str = ""
    about: str = ""
    newest: int = 0
    order: str = ""
    # Not in the representation, as in Derived: the state means the same with and without.
    opens: bool = field(default=False, repr=False)
    # Not in the representation, by which a profile's plan is compared with the stored one.
    recent: str = field(default="", repr=False)
    shortcut: str = field(default="", repr=False)
    dear: bool = field(default=False, repr=False)

    @property
    def additive(self) -> bool:
        """Whether taking an event back is arithmetic; otherwise it takes a recount."""
        return self.combine == "add" and not self.timed

    @property
    def initial(self) -> str:
        """The value of a customer without events."""
        return self.start or ("0" if self.combine == "add" else "NULL")

    @property
    def declaration(self) -> str:
        """Type and constraints: NOT NULL where possible, which saves the score a COALESCE."""
        return (
            self.type if self.initial == "NULL" else f"{self.type} NOT NULL DEFAULT {self.initial}"
        )

    @property
    def single(self) -> str:
        """SQL over ``e``: the contribution of a single row, never NULL for sums."""
        value = self.recent or self.value
        return value if self.combine != "add" or value == "1" else f"COALESCE({value}, 0)"

    def filled(self, ref: str) -> str:
        """SQL: a reference to a recount, which has no row for a customer without events."""
        return ref if self.initial == "NULL" else f"COALESCE({ref}, {self.initial})"

    @property
    def opening(self) -> str:
        """The profile column with what the events before made; empty: there are none before."""
        return f"{self.column}__open" if self.opens else ""

    def opened(self, counted: Refs, row: str) -> str:
        """SQL: the state of all events, given those since and the row that keeps the rest."""
        if not self.opens:
            return self.filled(counted(self.column))
        if self.combine == "add":
            before = f"{row}.{ident(self.opening)}"
            return f"COALESCE({before}, 0) + COALESCE({counted(self.column)}, 0)"
        return self.filled(self.merging.merge(lambda c: f"{row}.{ident(f'{c}__open')}", counted))

    @property
    def merging(self) -> State:
        """The state without its times, where these say no more than whether there are any."""
        timed = self.combine in ("first", "last") or "{dt}" in self.fold
        return self if timed else replace(self, at="")

    @property
    def contributes(self) -> str:
        """SQL condition over ``e``: the event counts, and says something."""
        given = self.time if self.combine == "fold" and self.time else self.value
        return f"{given} IS NOT NULL" + (f" AND {self.counts}" if self.counts else "")

    def aggregate(self, signed: bool = False) -> str:
        """SQL aggregate over rows ``e``: all contributions; ``signed`` weighs by e.rescore_sign."""
        if self.combine == "add":
            return self._sum(signed)
        kept = " AND e.rescore_sign > 0" if signed else ""
        only = f"FILTER (WHERE {self.contributes}{kept})"
        if self.combine == "fold":
            put = ONLY in self.gather
            return self.gather.replace(ONLY, only) if put else f"{self.gather} {only}"
        if self.combine in ("min", "max"):
            return f"{self.combine}({self.value}) {only}"
        way = "ASC" if self.combine == "first" else "DESC"
        order = f"{self.time} {way}, ({self.value}){self.collate} {way}"
        return f"(array_agg({self.value} ORDER BY {order}) {only})[1]"

    def _sum(self, signed: bool) -> str:
        only = f" FILTER (WHERE {self.counts})" if self.counts else ""
        if self.value == "1":
            if not signed:
                return f"count(*){only}"
            return f"COALESCE(sum(e.rescore_sign){only}, 0)::bigint"
        weighed = f"e.rescore_sign * ({self.value})" if signed else self.value
        return f"COALESCE(sum({weighed}){only}, 0)::{self.type}"

    def merge(self, old: Refs, new: Refs) -> str:
        """SQL: the state after contributions ``new`` reached the state ``old``."""
        p, d = old(self.column), new(self.column)
        if self.combine == "fold":
            return self._folded(old, new)
        if self.combine not in ("first", "last"):
            return _MERGE[self.combine].format(p=p, d=d)
        pt, dt = old(self.at), new(self.at)
        sign = "<" if self.combine == "first" else ">"
        tie = f"{dt} = {pt} AND ({d}){self.collate} {sign} ({p}){self.collate}"
        return f"CASE WHEN {pt} IS NULL OR {dt} {sign} {pt} OR ({tie}) THEN {d} ELSE {p} END"

    def advance(self, old: Refs, new: Refs) -> str:
        """SQL: the state after a single event, not before ``at``, reached the state ``old``."""
        step = self.step or self.shortcut
        return step.format(**self._parts(old, new)) if step else self.merge(old, new)

    def _folded(self, old: Refs, new: Refs) -> str:
        parts = self._parts(old, new)
        merged = self.fold.format(**parts)
        none = "CASE WHEN {dt} IS NULL THEN {p} WHEN {pt} IS NULL THEN {d}".format(**parts)
        return f"{none} ELSE {merged} END"

    def _parts(self, old: Refs, new: Refs) -> dict[str, str]:
        own = self.at or self.column
        parts = {"p": old(self.column), "d": new(self.column), "pt": old(own), "dt": new(own)}
        for n, column in enumerate(self.beside, 1):
            parts |= {f"p{n}": old(column), f"d{n}": new(column)}
        return parts


@dataclass(frozen=True)
class Derived:
    """A profile column computed from states in the same UPDATE, so that BI tools can read it.

    ``start`` is SQL of its value for a customer without events, where that is not NULL.
    ``computed``: from other features, and so not necessarily NULL for a customer without events.
    """

    column: str
    type: str
    formula: str
    states: tuple[str, ...]
    differs: str = DISTINCT
    start: str = ""

    @property
    def declaration(self) -> str:
        """Type and constraints."""
        return f"{self.type} NOT NULL DEFAULT {self.start}" if self.start else self.type

    # Not in the representation, by which a profile's plan is compared with the stored one.
    computed: bool = field(default=False, repr=False)

    def expression(self, refs: Refs) -> str:
        """SQL of the value, given how each state is referred to."""
        return self.formula.format(*(refs(s) for s in self.states))


def differs(of: State | Derived, stored: str, counted: str, refs: Refs) -> str:
    """SQL condition: the stored value is not the one counted; ``refs`` are other stored values."""
    beside = of.beside if isinstance(of, State) else ()
    others = {f"p{n}": refs(c) for n, c in enumerate(beside, 1)}
    return of.differs.format(p=stored, r=counted, **others)


@dataclass(frozen=True)
class Input:
    """How a feature enters a model: the argument of the scorer and its contract.

    ``retired`` marks what only the serving version still reads, and no new one will.
    ``column`` is the profile column it is read from, ``beside`` others it needs; ``cast`` turns
    references to them into the argument: a format string of ``{}``, or ``{0}``, ``{1}`` … and
    ``{clock}``, all names and operators schema-qualified, since it is inlined into users' queries.
    ``computed``: from other features.
    """

    name: str
    column: str
    type: str
    kind: Literal["number", "days_since", "days_until", "category", "list"]
    cast: str = "{}"
    nullable: bool = True
    bounded: bool = False
    default: float | None = 0.0
    missing: bool = False
    categories: tuple[str, ...] | None = None
    top: int | None = None
    other: bool = False
    retired: bool = False
    beside: tuple[str, ...] = ()
    clip: tuple[float | None, float | None] | None = None
    log1p: bool = False
    buckets: tuple[float, ...] | None = None
    count: bool = False
    computed: bool = False

    def argument(self, refs: Refs, clock: str) -> str:
        """SQL of the argument, given how each profile column is referred to, and the clock."""
        if self.cast == "{}":
            return refs(self.column)
        given = [f"({refs(c)})" for c in (self.column, *self.beside)]
        return self.cast.format(*given, clock=clock)

    def contract(self) -> dict[str, Any]:
        """The JSON of docs/architecture.md."""
        made: dict[str, Any] = {"name": self.name, "type": self.type, "kind": self.kind}
        made |= {"nullable": self.nullable, "bounded": self.bounded}
        made |= {"default": self.default, "missing": self.missing}
        if self.retired:
            made["retired"] = True
        made |= self._transforms()
        if self.kind == "list":
            made["count"] = self.count
        if self.kind in ("category", "list"):
            made["other"] = self.other
            made |= {"top": self.top} if self.top else {"categories": list(self.categories or ())}
        return made

    def _transforms(self) -> dict[str, Any]:
        """What is done to the number, as far as anything is: other contracts stay as they were."""
        made: dict[str, Any] = {"clip": list(self.clip)} if self.clip else {}
        made |= {"log1p": True} if self.log1p else {}
        return made | ({"buckets": list(self.buckets)} if self.buckets else {})


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
                hint="Correct the name in the definition, or add the column.",
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
