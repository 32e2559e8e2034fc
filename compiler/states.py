"""What the profile keeps of events: state columns, and what is shown of them. Pure values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

from rescore.compiler.quoting import ident

Combine = Literal["add", "min", "max", "first", "last", "fold"]
Refs = Callable[[str], str]
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

    @property
    def alone(self) -> str:
        """SQL over ``e``: what :meth:`aggregate` makes of one row, without aggregating."""
        if self.combine != "add":
            return f"CASE WHEN {self.contributes} THEN {self.value} END"
        value = self.value if self.value == "1" else f"COALESCE({self.value}, 0)"
        only = f"CASE WHEN {self.counts} THEN {value} ELSE 0 END" if self.counts else value
        return f"({only})::{self.type}"

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
