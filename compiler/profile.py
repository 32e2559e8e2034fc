"""The plan of a profile: the definition resolved against the catalogue. Pure values.

``build`` (in :mod:`rescore.compiler.build`) makes it; the templates print it as SQL.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rescore.compiler.definition import Snapshots
from rescore.compiler.event_source import EventSource, Link
from rescore.compiler.inputs import Input
from rescore.compiler.outcomes import Outcome, Treatment
from rescore.compiler.quoting import ident, literal, part, short
from rescore.compiler.scored import COMPILED, Model, Only, Score
from rescore.compiler.states import Derived, Refs, State, differs

if TYPE_CHECKING:
    from rescore.compiler.ensemble import Ensemble


@dataclass(frozen=True)
class OwnTable:
    """A table of the application's that holds keys of a profile.

    Attributes
    ----------
    relation, join: the table, ``e``, and how its key is reached behind a link, ``l``.
    key: SQL of the key.
    counted: whether features are kept from it.
    """

    relation: str
    join: str
    key: str
    counted: bool

    @property
    def shown(self) -> str:
        """The table as PostgreSQL writes it, without quotes that it does not need."""
        plain = re.fullmatch(r'"([a-z_][a-z0-9_]*)"\."([a-z_][a-z0-9_]*)"', self.relation)
        return ".".join(plain.groups()) if plain else self.relation


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

    @property
    def own_tables(self) -> tuple[OwnTable, ...]:
        """The application's tables that hold keys and are read: of events, labels, treatments."""
        counted = [OwnTable(s.relation, s.join, s.key_ref, True) for s in self.sources]
        read = [OwnTable(s.relation, s.join, s.key_ref, False) for s in self.histories.values()]
        of = [o for outcome in self.outcomes for o in outcome.sources]
        of += [self.treatment.occurrences] if self.treatment else []
        found = [*counted, *read, *(OwnTable(o.relation, o.join, o.key, False) for o in of)]
        # By several keys a table is read as often: once for each.
        return tuple({(t.relation, t.join, t.key): t for t in reversed(found)}.values())[::-1]

    def waits(self, key: str) -> str:
        """SQL condition: events of this customer wait in the queue; empty: none ever do."""
        return f"rescore._is_queued({literal(self.name)}, {key}::text)" if self.queued else ""

    @property
    def openings(self) -> tuple[State, ...]:
        """States beside which is kept what events that are gone had made."""
        return tuple(s for s in self.states if s.opens)

    @property
    def clock_sql(self) -> str:
        """SQL: the moment scores are for; inlined."""
        return "pg_catalog.now()" if self.clock == "now" else "rescore.clock()"

    @property
    def scored_at(self) -> str:
        """SQL: the clock of whoever writes counters and scores; RS020 when it is infinite."""
        clock = self.clock_sql
        return clock if self.clock == "now" else f"rescore._finite_clock({clock})"

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
