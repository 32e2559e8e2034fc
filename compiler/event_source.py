"""An event table as the profile sees it. Pure values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from rescore.compiler.catalog import Table
from rescore.compiler.quoting import ident
from rescore.compiler.states import State


@dataclass(frozen=True)
class Link:
    """How an event without the key finds it: ``e.<on>`` → row of ``table`` → ``l.<gives>``."""

    name: str
    table: Table
    on: str
    gives: str

    @property
    def join(self) -> str:
        """SQL: the join that reaches the key."""
        return f" JOIN {self.relation} AS l ON l.{ident(self.on)} = e.{ident(self.on)}"

    @property
    def relation(self) -> str:
        return ident(self.table.schema, self.table.name)


@dataclass(frozen=True)
class EventSource:
    """An event table as the profile sees it.

    ``key`` is SQL over ``e`` (and ``l`` behind a link) in the profile's key type; ``key_ref``
    the bare column, for index scans; ``time`` a timestamptz over ``e`` or empty; ``columns``
    the event columns that matter, all others may change freely. ``most_waiting``: how many rows
    may wait in the queue, 0 where events are counted at once; ``first_day`` SQL of the
    moment before which events are gone or incomplete, and not looked at; empty: all are there.
    ``recent``: SQL of an interval;
    younger events stand to every window as new ones do.
    """

    name: str
    slug: str
    table: Table
    key: str
    key_ref: str
    key_column: str
    time: str
    known_at: str
    link: Link | None
    row_trigger: bool
    replicated: bool
    index: bool
    counted: tuple[State, ...]
    hidden: tuple[State, ...]
    columns: tuple[str, ...]
    reach: str
    time_column: str
    most_waiting: int = 0
    first_day: str = ""
    last_day: str = ""
    recent: str = field(default="", repr=False)

    @property
    def since(self) -> str:
        """SQL condition over ``e``: the event is of the days that are looked at; empty: all are."""
        first = f"{self.time} >= {self.first_day}" if self.first_day else ""
        last = f"{self.time} < {self.last_day}" if self.last_day else ""
        return " AND ".join(c for c in (first, last) if c)

    @property
    def queued(self) -> bool:
        """Whether its events wait in the queue, and are counted by a fold."""
        return self.most_waiting > 0

    @property
    def index_columns(self) -> tuple[str, ...]:
        """Columns that recounts want an index on: the key, and the time where it narrows them."""
        timed = self.reach or any(s.newest for s in self.counted)
        return (self.key_column, self.time_column) if timed else (self.key_column,)

    @property
    def states(self) -> tuple[State, ...]:
        """What the profile keeps of this source, until when it holds included."""
        return self.counted + self.hidden

    @property
    def next(self) -> str:
        """The profile column with the time of the earliest event to come; empty without times."""
        return f"{self.slug}__next" if self.time else ""

    @property
    def until(self) -> str:
        """The profile column with the moment until which windows hold; empty if there are none."""
        return f"{self.slug}__until" if any(s.timed for s in self.counted) else ""

    def holds(self, row: str, moment: str) -> str:
        """SQL condition: what the row stores of this source holds at the moment; empty: always."""
        limits = [f"{row}.{ident(c)}" for c in (self.next, self.until) if c]
        return " AND ".join(f"({at} OPERATOR(pg_catalog.>) {moment}) IS NOT FALSE" for at in limits)

    @property
    def timely(self) -> tuple[State, ...]:
        """The states that an event whose time has come can change."""
        return tuple(s for s in self.states if s.column != self.next)

    @property
    def past(self) -> tuple[State, ...]:
        """The states as a query over known events of the past counts them."""
        plain = (replace(s, counts="") for s in self.counted)
        return tuple(replace(s, combine="fold", gather=s.past) if s.past else s for s in plain)

    def within(self, states: Sequence[State]) -> str:
        """SQL condition over ``e``: the events these states can depend on; empty: all."""
        return self.reach if self.reach and all(s.timed for s in states) else ""

    def seeks(self, states: Sequence[State]) -> bool:
        """Whether to read the newest events of each key, rather than all: no state needs more."""
        rest = [s for s in states if not s.newest]
        narrow = not rest or bool(self.within(rest))
        by_key = self.table.indexed_by(self.key_column) and not self.link
        return narrow and len(rest) < len(states) and by_key

    @property
    def relation(self) -> str:
        return ident(self.table.schema, self.table.name)

    @property
    def join(self) -> str:
        """SQL: the join to the link, or nothing."""
        return self.link.join if self.link else ""

    @property
    def recounted(self) -> tuple[State, ...]:
        """States that a retraction must recount; behind a link, all of them."""
        return self.states if self.link else tuple(s for s in self.timely if not s.additive)

    @property
    def refreshed(self) -> tuple[State, ...]:
        """States that every set of new events recounts; behind a link, all of them."""
        return self.states if self.link else tuple(s for s in self.states if s.timed or s.guard)

    def merges(self, row: str, moment: str) -> str:
        """SQL condition: a single event whose time has come may be merged into the row."""
        last = dict.fromkeys(f"{row}.{ident(s.at)}" for s in self.states if s.step)
        later = f"(GREATEST({', '.join(last)}) > rescore_v_time) IS NOT TRUE" if last else ""
        given = (self.holds(row, moment), later, *(s.guard for s in self.states))
        return " AND ".join(c for c in given if c)

    def known_by(self, moment: str) -> str:
        """SQL condition: the event had happened, and was known, at the moment."""
        known = f" AND {self.known_at} <= {moment}" if self.known_at else ""
        return f"isfinite({self.time}) AND {self.time} <= {moment}{known}"
