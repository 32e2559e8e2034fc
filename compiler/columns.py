"""Columns that a definition names and no table has, all in one error. Pure.

The plan is built step by step, and each step refuses what does not fit it: whoever misspelt three
columns would be told of one at a time. Each is said in the words of the step that would refuse it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Protocol

from rescore.compiler.catalog import Column, Table
from rescore.compiler.definition import Definition, Event, Label
from rescore.compiler.expression import missing_columns
from rescore.compiler.features import Source
from rescore.errors import DoesNotFit

MOST_SHOWN = 10
Place = tuple[str, str | None, Table]
"""Where a column is named, the column if any, and the table that should have it."""


class Found(Protocol):
    """The tables of a definition, as far as their columns are concerned."""

    @property
    def profile(self) -> Table | None: ...
    @property
    def events(self) -> Mapping[str, Table]: ...
    @property
    def links(self) -> Mapping[str, Table]: ...
    @property
    def owned(self) -> frozenset[str]: ...
    @property
    def labels(self) -> Mapping[str, Table]: ...
    @property
    def treatments(self) -> Table | None: ...


def check_columns(definition: Definition, tables: Found) -> None:
    """Refuse several columns that are not there at once; a single one is left to who needs it.

    Raises
    ------
    DoesNotFit
    """
    found = {error.message: error for error in _missing(definition, tables)}
    if len(found) < 2:
        return
    first, *others = found.values()
    lines = [first.detail, *(f"Also: {_sentence(other)}" for other in others[:MOST_SHOWN])]
    if len(others) > MOST_SHOWN:
        lines.append(f"And {len(others) - MOST_SHOWN} more.")
    raise DoesNotFit(first.message, detail="\n".join(lines), hint=first.hint)


def _sentence(error: DoesNotFit) -> str:
    """Return an error on one line: with what was perhaps meant, else with what there is."""
    meant = error.hint.startswith("Did you mean")
    return f"{error.message}. {error.hint if meant else error.detail}"


def _missing(definition: Definition, tables: Found) -> Iterator[DoesNotFit]:
    of = _Places(definition, tables)
    for place, name, table in (*of.profile(), *of.links(), *of.events(), *of.outcomes()):
        if name is not None:
            yield from _refused(partial(table.column, name, place))
    yield from of.features()
    yield from of.conditions()


def _refused(look: Callable[[], Column]) -> Iterator[DoesNotFit]:
    try:
        look()
    except DoesNotFit as error:
        yield error


class _Places:
    """Where a definition names columns."""

    def __init__(self, definition: Definition, tables: Found) -> None:
        self.definition = definition
        self.tables = tables
        self.key = definition.profile.key.name

    def profile(self) -> Iterator[Place]:
        table = self.tables.profile
        if table is None:
            return
        yield "profile.key", self.key, table
        for column, source in self.definition.profile.history.items():
            yield "profile.history", column, table
            if source != "static":
                yield "profile.history", column, self.tables.events[source]
        for name, feature in self.definition.features.items():
            if feature.plain is not None:
                yield f"features.{name}", feature.column, table

    def links(self) -> Iterator[Place]:
        for name, link in self.definition.links.items():
            yield f"links.{name}.on", link.on, self.tables.links[name]
            yield f"links.{name}.gives", link.gives, self.tables.links[name]

    def events(self) -> Iterator[Place]:
        for name, event in self.definition.events.items():
            table = self.tables.events[name]
            yield f"events.{name}.time", event.time, table
            yield f"events.{name}.known_at", event.known_at, table
            yield self._event_key(name, event, table)

    def _event_key(self, name: str, event: Event, table: Table) -> Place:
        if event.via:
            return f"events.{name}.via", self.definition.links[event.via].on, table
        return f"events.{name}.key", event.key or self.key, table

    def outcomes(self) -> Iterator[Place]:
        for name, label in self.definition.labels.items():
            yield from self._label(name, label)
        given, table = self.definition.interventions, self.tables.treatments
        if given and table:
            yield "interventions.key", given.key or self.key, table
            yield "interventions.time", given.time, table

    def _label(self, name: str, label: Label) -> Iterator[Place]:
        if label.source:
            yield f"labels.{name}.of", label.of, self.tables.events[label.source]
        if table := self.tables.labels.get(name):
            yield f"labels.{name}.key", label.key or self.key, table
            yield f"labels.{name}.at", label.at, table
            yield f"labels.{name}.known_at", label.known_at, table
            yield f"labels.{name}.of", label.of, table

    def features(self) -> Iterator[DoesNotFit]:
        for name, feature in self.definition.features.items():
            if feature.source and feature.column is not None:
                source = Source(feature.source, self.tables.events[feature.source].columns, "", "")
                yield from _refused(partial(source.column, name, feature.column))

    def conditions(self) -> Iterator[DoesNotFit]:
        for name, feature in self.definition.features.items():
            if feature.where and feature.source:
                columns = self.tables.events[feature.source].columns
                yield from missing_columns(feature.where, columns, f"feature {name}")
        for name, label in self.definition.labels.items():
            if label.where:
                events, labels = self.tables.events, self.tables.labels
                table = events[label.source] if label.source else labels[name]
                yield from missing_columns(label.where, table.columns, f"label {name}")
        given, treated = self.definition.interventions, self.tables.treatments
        if given and given.where and treated:
            yield from missing_columns(given.where, treated.columns, "interventions.where")
        only, own = self.definition.profile.only, self.tables.profile
        if only and own:
            counted = {n for n, f in self.definition.features.items() if f.source}
            known = {*own.columns, *counted, *self.tables.owned}
            yield from missing_columns(only, known, "profile.only")
