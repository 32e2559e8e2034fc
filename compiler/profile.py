"""The plan of a profile: the definition resolved against the catalogue. Pure values.

``build`` (in :mod:`rescore.compiler.build`) makes it; the templates print it as SQL.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from rescore.compiler.catalog import Table
from rescore.compiler.definition import Snapshots
from rescore.compiler.features import Derived, Input, Refs, State, differs
from rescore.compiler.outcomes import Outcome, Treatment
from rescore.compiler.quoting import ident, literal, part, short

if TYPE_CHECKING:
    from rescore.compiler.ensemble import Ensemble

MAX_ARGUMENTS = 90
COMPILED = "rescore_compiled"


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


@dataclass(frozen=True)
class Model:
    """A model over this profile: its inputs, in order, and how it is defined."""

    name: str
    inputs: tuple[Input, ...]
    engine: str
    spec: Mapping[str, Any]
    key: str

    @property
    def parts(self) -> tuple[tuple[Input, ...], ...]:
        """The inputs in groups a function can take."""
        step = MAX_ARGUMENTS
        return tuple(self.inputs[i : i + step] for i in range(0, len(self.inputs), step)) or ((),)

    def function(self, suffix: str = "") -> str:
        """The qualified, quoted name of one of the model's functions."""
        return ident(COMPILED, self.name + suffix)

    @property
    def models(self) -> tuple[Model, ...]:
        """Itself: an ensemble has several."""
        return (self,)

    @property
    def version(self) -> str:
        """SQL: the champion; NULL while there is none."""
        return f"{self.function('_version')}()"

    @property
    def deferred(self) -> str:
        """SQL: whether the champion is scored by Python, in batches after the counters."""
        return f"{self.function('_deferred')}()"

    def reads(self, inputs: Sequence[str]) -> str:
        """SQL: whether a version that serves reads one of these inputs."""
        names = ", ".join(map(literal, inputs))
        return f"rescore._reads({literal(self.name)}, ARRAY[{names}]::text[])"

    def call(self, refs: Refs, clock: str) -> str:
        """SQL: the score by the version that serves the key, given how columns are referred to.

        Free of unqualified names and operators: it is inlined into users' queries. Without a
        challenger the planner drops its branch; no function takes an argument twice.
        """
        challenger = self._summed("_challenger", refs, clock)
        return (
            f"CASE WHEN {self.challenged(refs)} THEN {challenger}"
            f" ELSE {self._champion(refs, clock)} END"
        )

    def challenged(self, refs: Refs) -> str:
        """SQL: whether the challenger serves the row."""
        return f"{self.function('_challenged')}({self._key(refs)})"

    def served(self, refs: Refs) -> str:
        """SQL: the version that serves the row; NULL while none does."""
        return f"{self.function('_served')}({self._key(refs)})"

    def served_row(self, refs: Refs, clock: str) -> str:
        """SQL: the design row of the version that serves the row, as float8[]."""
        champion, challenger = (self.design_row(refs, clock, r) for r in ("", "_challenger"))
        return f"CASE WHEN {self.challenged(refs)} THEN {challenger} ELSE {champion} END"

    def others(self, refs: Refs, clock: str) -> str:
        """SQL: scores of versions beside the served one, as jsonb by number; NULL when none."""
        if len(self.parts) > 1:
            return "NULL::pg_catalog.jsonb"
        made = f"{self.function('_others')}({self._arguments(0, refs, clock)})"
        return f"{made} OPERATOR(pg_catalog.-) {self.served(refs)}::pg_catalog.text"

    def _key(self, refs: Refs) -> str:
        return f"{refs(self.key)}::pg_catalog.text"

    def _champion(self, refs: Refs, clock: str) -> str:
        linear = self._summed("", refs, clock)
        if len(self.parts) == 1:
            return linear
        row = self.design_row(refs, clock)
        python = f"rescore._python_score({literal(self.name)}, {self.version}, {row})"
        return f"CASE WHEN {self.deferred} THEN {python} ELSE {linear} END"

    def _summed(self, role: str, refs: Refs, clock: str) -> str:
        """SQL: the compiled score by champion or challenger, from partial sums if it is split."""
        if len(self.parts) == 1:
            return f"{self.function(role)}({self._arguments(0, refs, clock)})"
        numbers = range(len(self.parts))
        parts = (self._part(f"{role}_p{i + 1}", i, refs, clock) for i in numbers)
        return f"{self.function(role + '_link')}({' OPERATOR(pg_catalog.+) '.join(parts)})"

    def design_row(self, refs: Refs, clock: str, role: str = "") -> str:
        """SQL: the numbers the estimator sees, as float8[]."""
        if len(self.parts) == 1:
            return f"{self.function(role + '_x')}({self._arguments(0, refs, clock)})"
        numbers = range(len(self.parts))
        parts = (self._part(f"{role}_x_p{i + 1}", i, refs, clock) for i in numbers)
        return " OPERATOR(pg_catalog.||) ".join(parts)

    def _part(self, suffix: str, part: int, refs: Refs, clock: str) -> str:
        return f"{self.function(suffix)}({self._arguments(part, refs, clock)})"

    def _arguments(self, part: int, refs: Refs, clock: str) -> str:
        given = [i.argument(refs, clock) for i in self.parts[part]]
        return ", ".join([*given, clock])


@dataclass(frozen=True)
class Score:
    """A score column, the model that writes it, and what is made of it.

    ``bands`` are names with rising lower bounds; ``moved_by`` and ``by_band`` say which moves are
    reported, none unless ``reports``.
    """

    column: str
    model: Model | Ensemble
    bands: tuple[tuple[str, float], ...] = ()
    moved_by: float | None = None
    by_band: bool = False

    @property
    def is_ensemble(self) -> bool:
        """Whether several models make it."""
        return len(self.model.models) > 1

    @property
    def version_column(self) -> str:
        return f"{self.column}_version"

    @property
    def at_column(self) -> str:
        return f"{self.column}_at"

    @property
    def band_column(self) -> str:
        return f"{self.column}_band"

    @property
    def reported_column(self) -> str:
        return f"{self.column}_reported"

    @property
    def reports(self) -> bool:
        """Whether some of its moves are written to the outbox."""
        return self.moved_by is not None or self.by_band

    @property
    def columns(self) -> tuple[tuple[str, str], ...]:
        """Its profile columns and their types."""
        return (
            (self.column, "double precision"),
            (self.version_column, "integer[]" if self.is_ensemble else "integer"),
            (self.at_column, "timestamp with time zone"),
            *(((self.band_column, "text"),) if self.bands else ()),
            *(((self.reported_column, "double precision"),) if self.reports else ()),
        )


@dataclass(frozen=True)
class Only:
    """Who is scored: an expression over plain columns, compiled to a function of its own."""

    sql: str
    columns: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Profile:
    """Everything the templates need to know.

    ``past`` maps each feature to where its past is found: ``events``, ``static``, the name of
    a history event table, or nothing when it is not known.
    """

    name: str
    schema: str
    table: str
    key: str
    key_type: str
    exists: bool
    can_create: bool
    clock: str
    on_error: str
    only: Only | None
    sources: tuple[EventSource, ...]
    histories: Mapping[str, EventSource]
    links: tuple[Link, ...]
    plain: tuple[str, ...]
    inputs: tuple[Input, ...]
    derived: tuple[Derived, ...]
    models: tuple[Model, ...]
    scores: tuple[Score, ...]
    past: Mapping[str, str]
    outcomes: tuple[Outcome, ...] = ()
    treatment: Treatment | None = None
    snapshots: Snapshots | None = None

    @property
    def slug(self) -> str:
        """Prefix of the generated functions: the table's name, shortened when long."""
        name = self.table if self.schema == "public" else f"{self.schema}_{self.table}"
        return part(name, 28)

    @property
    def relation(self) -> str:
        return ident(self.schema, self.table)

    @property
    def states(self) -> tuple[State, ...]:
        """All state columns, source by source."""
        return tuple(s for source in self.sources for s in source.states)

    @property
    def queued(self) -> bool:
        """Whether events of some table wait in the queue."""
        return any(s.queued for s in self.sources)

    def waits(self, key: str) -> str:
        """SQL condition: events of this customer wait in the queue; empty: none ever do."""
        return f"rescore._is_queued({literal(self.name)}, {key}::text)" if self.queued else ""

    @property
    def openings(self) -> tuple[State, ...]:
        """States beside which is kept what events that are gone had made."""
        return tuple(s for s in self.states if s.opens)

    @property
    def clock_sql(self) -> str:
        """SQL: the moment scores are for."""
        return "pg_catalog.now()" if self.clock == "now" else "rescore.clock()"

    @property
    def moment_sql(self) -> str:
        """SQL: the moment events are counted for; it moves on within a transaction."""
        real = "pg_catalog.clock_timestamp()"
        if self.clock == "now":
            return real
        setting = "NULLIF(pg_catalog.current_setting('rescore.clock', true), '')"
        return f"COALESCE({setting}::timestamptz, {real})"

    def due(self, row: str, moment: str) -> str:
        """SQL condition: what the row stores of events no longer holds; empty: it always does."""
        held = [s.holds(row, moment) for s in self.sources if s.holds(row, moment)]
        return f"NOT ({' AND '.join(held)})" if held else ""

    @property
    def unknown_past(self) -> tuple[str, ...]:
        """Features that no past moment can be trained on, and ``only`` where that is so."""
        unknown = [i.name for i in self.inputs if not self.past.get(i.name)]
        lost = self.only and any(not self.past.get(f"only:{c}") for c, _ in self.only.columns)
        return (*unknown, "only") if lost else tuple(unknown)

    @property
    def watched(self) -> tuple[str, ...]:
        """Plain columns whose direct update rescores the row."""
        read = {c for i in self.inputs for c in (i.column, *i.beside)} & set(self.plain)
        return tuple(sorted(read | {c for c, _ in (self.only.columns if self.only else ())}))

    @property
    def moves_after(self) -> bool:
        """Whether a row is recounted after its key has changed, not before.

        A BEFORE trigger locks every row that is updated, whatever changes; so it is made only where
        plain columns are watched, moves are reported (which needs one anyway), or events that
        follow by ON UPDATE CASCADE would be added to a count that holds them already.
        """
        idempotent = all(s.time or s.queued or s.link for s in self.sources)
        reported = any(s.bands or s.reports for s in self.scores)
        return idempotent and not self.watched and not reported

    def function(self, suffix: str) -> str:
        """The qualified, quoted name of one of the profile's functions."""
        return ident(COMPILED, f"{self.slug}__{suffix}")

    def trigger(self, source: EventSource, operation: str) -> str:
        """Name of a trigger on an event table."""
        return short(f"rescore_{self.slug}__{source.slug}_{operation}", 63)

    def link_trigger(self, link: Link, operation: str) -> str:
        """Name of a trigger on a link table."""
        return short(f"rescore_{self.slug}__link_{link.name}_{operation}", 63)

    @property
    def own_triggers(self) -> dict[str, str]:
        """Names of the triggers on the profile table itself, by operation."""
        operations = ["insert", "update"]
        if self.can_create and self.sources:
            operations += ["move", "delete", "truncate"]
        return {op: short(f"rescore_{self.slug}__row_{op}", 63) for op in operations}

    def value(self, column: str, changed: Mapping[str, str], row: str = "p") -> str:
        """SQL: the value of a profile column once these states have changed."""
        if column in changed:
            return changed[column]
        for d in self.derived:
            if d.column == column and any(s in changed for s in d.states):
                return d.expression(lambda s: changed.get(s, f"{row}.{ident(s)}"))
        return f"{row}.{ident(column)}"

    def counters(self, changed: Mapping[str, str], row: str = "p") -> list[tuple[str, str]]:
        """Column and SQL of each state and derived column that changes."""
        derived = [d for d in self.derived if any(s in changed for s in d.states)]
        return [
            *changed.items(),
            *((d.column, self.value(d.column, changed, row)) for d in derived),
        ]

    def wrong(self, counted: Mapping[str, str], row: str = "p") -> str:
        """SQL condition: some state or derived column is not what was counted."""
        pairs = dict(self.counters(counted))
        kinds: dict[str, State | Derived] = {s.column: s for s in self.states}
        kinds |= {d.column: d for d in self.derived}

        def ref(column: str) -> str:
            return f"{row}.{ident(column)}"

        tests = (differs(kinds[c], ref(c), f"({v})", ref) for c, v in pairs.items())
        return " OR ".join(tests)

    def only_sql(self, row: str = "p") -> str:
        """SQL: whether the row is scored."""
        if self.only is None:
            return ""
        given = ", ".join(f"{row}.{ident(c)}" for c, _ in self.only.columns)
        return f"{self.function('only')}({given})"

    @property
    def ensembles(self) -> tuple[Ensemble, ...]:
        """The scores made of several models."""
        return tuple(s.model for s in self.scores if not isinstance(s.model, Model))

    @property
    def scorers(self) -> tuple[Model | Ensemble, ...]:
        """Everything that gives scores under a name."""
        return (*self.models, *self.ensembles)

    def call(self, model: Model | Ensemble, refs: Refs, clock: str, row: str) -> str:
        """SQL: the model's score where ``only`` holds, NULL elsewhere."""
        score = model.call(refs, clock)
        return f"CASE WHEN {self.only_sql(row)} THEN {score} END" if self.only else score

    def scored(
        self, changed: Mapping[str, str], clock: str, row: str = "p"
    ) -> list[tuple[str, str]]:
        """Column and SQL of each score; a model scored by Python is left for the batch."""
        made: list[tuple[str, str]] = []
        for s in self.scores:
            late, version = s.model.deferred, s.model.version
            served = s.model.served(lambda c: self.value(c, changed, row))
            call = s.model.call(lambda c: self.value(c, changed, row), clock)
            value = f"CASE WHEN {late} THEN {row}.{ident(s.column)} ELSE {call} END"
            kept = f"CASE WHEN {late} THEN {row}.{ident(s.version_column)} ELSE {served} END"
            at = f"CASE WHEN {late} OR {version} IS NULL THEN NULL ELSE {clock} END"
            made += [
                (s.column, self._if_only(value, row)),
                (s.version_column, self._if_only(kept, row)),
                (s.at_column, self._if_only(at, row)),
            ]
        return made

    def _if_only(self, value: str, row: str) -> str:
        return f"CASE WHEN {self.only_sql(row)} THEN {value} END" if self.only else value

    def stale(self) -> list[tuple[str, str]]:
        """Column and SQL that mark every score stale: no moment, the last value kept."""
        return [(s.at_column, "NULL") for s in self.scores]

    @property
    def late(self) -> str:
        """SQL: whether some model is scored by Python, in a batch after the counters."""
        return " OR ".join(dict.fromkeys(s.model.deferred for s in self.scores)) or "false"
