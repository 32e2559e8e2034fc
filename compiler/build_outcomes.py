"""Labels and treatments resolved against their tables: from a definition to plain values. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from math import ceil
from typing import Protocol

from rescore.compiler.catalog import Column, Table
from rescore.compiler.definition import Definition, Interventions, Label
from rescore.compiler.event_source import Link
from rescore.compiler.expression import check
from rescore.compiler.features import instant
from rescore.compiler.outcomes import Occurrences, Outcome, Treatment
from rescore.compiler.printing import printed
from rescore.compiler.quoting import ident
from rescore.errors import DoesNotFit

SHARES = 2**52
NUMBERS = ("smallint", "integer", "bigint", "numeric", "real", "double precision")


class Found(Protocol):
    """The tables of a definition, as far as labels and treatments need them."""

    @property
    def events(self) -> Mapping[str, Table]: ...
    @property
    def labels(self) -> Mapping[str, Table]: ...
    @property
    def treatments(self) -> Table | None: ...


CheckKey = Callable[[Column, str], None]


class Outcomes:
    """Makes the outcomes of a definition's labels, and its treatment.

    Parameters
    ----------
    tables: the tables it names.
    links: its links by name.
    check_key: refuses a column that cannot hold the profile's key, naming the place.
    """

    def __init__(
        self,
        definition: Definition,
        tables: Found,
        links: Mapping[str, Link],
        check_key: CheckKey,
    ) -> None:
        self.definition = definition
        self.tables = tables
        self.links = links
        self.check_key = check_key
        self.zone = definition.profile.timezone

    def outcome(self, name: str) -> Outcome:
        """Return what a label looks for.

        Raises
        ------
        DoesNotFit: a column is missing, or is no time or no key.
        """
        label = self.definition.labels[name]
        other = self.definition.labels[label.censored_by] if label.censored_by else None
        settles = [x.settle or timedelta() for x in (label, other) if x]
        return Outcome(
            name=name,
            absence=label.none is not None,
            event=self._event(name, label),
            row=self._row(name, label),
            censoring=self._censoring(label.censored_by or "", other),
            after=label.after or timedelta(),
            within=label.within,
            settle=max(settles),
            amount=label.is_number,
        )

    def treatment(self) -> Treatment | None:
        """Return the treatments and the holdout; None where the definition has none."""
        given, table = self.definition.interventions, self.tables.treatments
        if given is None or table is None:
            return None
        return Treatment(self._treatments(given, table), given.column, self._declared(given))

    def _treatments(self, given: Interventions, table: Table) -> Occurrences:
        key = self._key_column(table, given.key, "interventions.key")
        return Occurrences(
            table=table,
            join="",
            key=f"e.{ident(key)}",
            key_column=key,
            time=self._time(table, given.time, "interventions.time"),
            known_at="",
            condition=self._condition(given.where, table, "interventions.where"),
        )

    def _declared(self, given: Interventions) -> str:
        profile = self.definition.profile
        return printed(
            "holdout.sql.j2",
            salt=f"{profile.name} holdout",
            key=profile.key.name,
            limit=ceil(given.holdout * SHARES),
        ).strip()

    def _censoring(self, name: str, label: Label | None) -> tuple[Occurrences, ...]:
        found = (self._event(name, label), self._row(name, label)) if label else ()
        return tuple(o for o in found if o)

    def _event(self, name: str, label: Label) -> Occurrences | None:
        if not label.source:
            return None
        event, table = self.definition.events[label.source], self.tables.events[label.source]
        place = f"events.{label.source}"
        link = self.links[event.via] if event.via else None
        key = link.on if link else self._key_column(table, event.key, f"{place}.key")
        known = event.known_at
        return Occurrences(
            table=table,
            join=link.join if link else "",
            key=f"l.{ident(link.gives)}" if link else f"e.{ident(key)}",
            key_column=key,
            time=self._time(table, event.time or "", f"{place}.time"),
            known_at=self._time(table, known, f"{place}.known_at") if known else "",
            condition=self._condition(label.where, table, f"label {name}"),
            value=self._value(name, label, table),
        )

    def _row(self, name: str, label: Label) -> Occurrences | None:
        table = self.tables.labels.get(name)
        if table is None or label.at is None:
            return None
        key = self._key_column(table, label.key, f"labels.{name}.key")
        known = label.known_at
        return Occurrences(
            table=table,
            join="",
            key=f"e.{ident(key)}",
            key_column=key,
            time=self._time(table, label.at, f"labels.{name}.at"),
            known_at=self._time(table, known, f"labels.{name}.known_at") if known else "",
            condition="" if label.source else self._condition(label.where, table, f"label {name}"),
            value=self._value(name, label, table),
        )

    def _value(self, name: str, label: Label, table: Table) -> str:
        """Return what is added up: 1 for a count; what is no finite number adds nothing."""
        if label.of is None:
            return "1" if label.count is not None else ""
        column = table.column(label.of, f"labels.{name}.of")
        if column.type.partition("(")[0] not in NUMBERS:
            raise DoesNotFit(
                f'labels.{name}.of: column "{column.name}" is of type {column.type}',
                detail="Expected a number.",
                hint="Name a column of integers, numeric, real or double precision.",
            )
        ref = f"e.{ident(column.name)}"
        # As numeric: a sum of float8 depends on the order, and would be corrected for ever.
        return f"CASE WHEN {ref} BETWEEN -1e100 AND 1e100 THEN {ref}::numeric END"

    def _key_column(self, table: Table, name: str | None, place: str) -> str:
        column = table.column(name or self.definition.profile.key.name, place)
        self.check_key(column, place)
        return column.name

    def _time(self, table: Table, name: str, place: str) -> str:
        column = table.column(name, place)
        if not column.type.startswith(("timestamp", "date")):
            raise DoesNotFit(
                f'{place}: column "{name}" is of type {column.type}',
                detail="Expected timestamptz, timestamp or date.",
                hint="Name the column that says when it happened.",
            )
        return instant(f"e.{ident(name)}", column.type, self.zone)

    def _condition(self, where: str | None, table: Table, place: str) -> str:
        return check(where, table.columns.keys(), place).render("e") if where else ""
