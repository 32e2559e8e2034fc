"""From a definition and the catalogue to the plan of a profile. Pure; refuses what does not fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from rescore.compiler.build_outcomes import Outcomes
from rescore.compiler.catalog import Column, Table
from rescore.compiler.columns import check_columns
from rescore.compiler.computed import computed_input, keep, reads
from rescore.compiler.definition import Definition, Event, Feature
from rescore.compiler.definition_names import EVENT_BYTES
from rescore.compiler.ensemble import Ensemble
from rescore.compiler.event_source import EventSource, Link
from rescore.compiler.expression import check
from rescore.compiler.features import INTEGERS, Kind, Source, column_input, hidden_states, instant
from rescore.compiler.inputs import Input
from rescore.compiler.kinds import kind_of
from rescore.compiler.profile import Profile
from rescore.compiler.quoting import ident, literal, part
from rescore.compiler.scored import Model, Only, Score
from rescore.compiler.windows import MOMENT, interval
from rescore.errors import DoesNotFit

KEY_TYPES = {
    "bigint": INTEGERS,
    "text": ("text", "character varying"),
    "uuid": ("uuid",),
}


@dataclass(frozen=True)
class Tables:
    """The tables a definition names, as the catalogue has them.

    ``profile`` is None where the table is still to be created as ``schema``.``name``;
    ``owned`` are the columns rescore added to it, ``serving`` the inputs of each model's
    serving version, ``hll`` the schema of the extension hll, empty where there is none;
    ``labels`` are the tables of labels by their names, ``treatments`` that of interventions.
    """

    schema: str
    name: str
    profile: Table | None
    events: Mapping[str, Table]
    links: Mapping[str, Table]
    owned: frozenset[str] = frozenset()
    serving: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    hll: str = ""
    labels: Mapping[str, Table] = field(default_factory=dict)
    treatments: Table | None = None

    @property
    def beside(self) -> tuple[Table, ...]:
        """Tables that are read, but not watched."""
        return (*self.labels.values(), *([self.treatments] if self.treatments else []))


def build(definition: Definition, tables: Tables) -> Profile:
    """Resolve a definition against its tables.

    Raises
    ------
    DoesNotFit
        A column is missing or of a wrong type, the key is not unique, a name is taken.
    """
    check_columns(definition, tables)
    return _Builder(definition, tables).profile()


class _Builder:
    def __init__(self, definition: Definition, tables: Tables) -> None:
        self.definition = definition
        self.tables = tables
        self.zone = definition.profile.timezone
        self.links = {name: self._link(name) for name in definition.links}
        self.inputs: dict[str, Input] = {}
        self.kinds = {n: self._kind(n, f) for n, f in definition.features.items() if f.source}

    def profile(self) -> Profile:
        d, t = self.definition, self.tables
        self._check_readable()
        self._check_key()
        self._check_history()
        kept = tuple(s for s in map(self._source, d.events) if s.states)
        inputs, derived = keep(
            [self._input(n) for n in d.features],
            [s for source in kept for s in source.states],
            [x for k in self.kinds.values() if (x := k.derived())],
        )
        models = tuple(self._model(n, inputs) for n in d.models)
        by_name = {m.name: m for m in models}
        only = self._only()
        outcomes = Outcomes(d, t, self.links, self._check_key_column)
        made = Profile(
            name=d.profile.name,
            schema=t.schema,
            table=t.name,
            key=d.profile.key.name,
            key_type=d.profile.key.type,
            exists=t.profile is not None,
            can_create=self._can_create(),
            clock=d.profile.clock,
            on_error=d.profile.on_error,
            only=only,
            sources=kept,
            histories={c: self._source(h) for c, h in d.profile.history.items() if h != "static"},
            links=tuple(self.links.values()),
            plain=tuple(f.column or "" for f in d.features.values() if f.plain),
            inputs=inputs,
            derived=derived,
            models=models,
            scores=tuple(self._score(c, by_name) for c in d.scores),
            past=self._past(only),
            outcomes=tuple(map(outcomes.outcome, d.labels)),
            treatment=outcomes.treatment(),
            snapshots=d.snapshot,
        )
        self._check_names(made)
        return made

    def _check_history(self) -> None:
        """Refuse a misspelt column: the past of the one that was meant would be left out."""
        if table := self.tables.profile:
            for column in self.definition.profile.history:
                table.column(column, "profile.history")

    def _check_readable(self) -> None:
        """Names stand in generated SQL, beside names of rescore's own."""
        t = self.tables
        given = (t.profile, *t.events.values(), *t.links.values(), *t.beside)
        found = [x for x in given if x]
        names = [self.definition.profile.name, t.schema, t.name]
        names += [n for x in found for n in (x.schema, x.name, *x.columns)]
        for name in names:
            taken = name.startswith("rescore_v_") or name in ("rescore_key", "rescore_sign")
            if taken or any(ord(c) < 32 or c == "\x7f" for c in name):
                raise DoesNotFit(
                    f"{name!r} cannot be used",
                    detail="Names hold no control characters, and no column is called rescore_key, "
                    "rescore_sign or rescore_v_…, which the generated functions use.",
                    hint="Rename it.",
                )

    def _check_key(self) -> None:
        key, table = self.definition.profile.key, self.tables.profile
        if table is None:
            return
        column = table.column(key.name, "profile.key")
        if column.type not in KEY_TYPES[key.type]:
            raise DoesNotFit(
                f'profile.key: column "{key.name}" is of type {column.type}, not {key.type}',
                detail="A key is bigint (or a smaller integer), text (or varchar) or uuid.",
                hint="Correct `type` under profile.key.",
            )
        _check_exact(column, "profile.key")
        index = table.unique_on(key.name)
        if index is None or not index.immediate:
            why = "deferrable" if index else "missing"
            raise DoesNotFit(
                f'profile.key: the unique constraint on "{key.name}" is {why}',
                detail="Each customer has one row; creating it on a first event needs a unique "
                "constraint that is checked at once.",
                hint=f"Add a primary key or unique constraint, not deferrable, on {key.name}.",
            )

    def _can_create(self) -> bool:
        """Whether the triggers may insert a customer's row: not where only the application can."""
        table, key = self.tables.profile, self.definition.profile.key.name
        if table is None:
            return True
        own = table.columns[key]
        given = own.identity or own.refers or "nextval(" in (own.default or "")
        lost = [
            c
            for c in table.columns.values()
            if c.not_null and c.default is None and not (c.identity or c.generated or c.name == key)
        ]
        return not given and not lost

    def _link(self, name: str) -> Link:
        link, table = self.definition.links[name], self.tables.links[name]
        table.column(link.on, f"links.{name}.on")
        self._check_key_column(
            table.column(link.gives, f"links.{name}.gives"), f"links.{name}.gives"
        )
        if table.unique_on(link.on) is None:
            raise DoesNotFit(
                f'links.{name}: column "{link.on}" of {table.schema}.{table.name} is not unique',
                detail="An event must lead to one customer.",
                hint=f"Add a unique constraint on {link.on}.",
            )
        return Link(name, table, link.on, link.gives)

    def _check_key_column(self, column: Column, place: str) -> None:
        wanted = self.definition.profile.key.type
        if column.type not in KEY_TYPES[wanted]:
            raise DoesNotFit(
                f'{place}: column "{column.name}" is of type {column.type}',
                detail=f"The profile's key is of type {wanted}.",
                hint="Name the column that holds the customer's key.",
            )
        _check_exact(column, place)
        own = self.tables.profile
        mine = own.columns[self.definition.profile.key.name].collation if own else "default"
        if wanted == "text" and column.collation != mine:
            raise DoesNotFit(
                f'{place}: column "{column.name}" has collation {column.collation}',
                detail=f"The profile's key has {mine}: the two would not sort alike.",
                hint="Give both the same collation.",
            )

    def _kind(self, name: str, feature: Feature) -> Kind:
        assert feature.source is not None
        source = self._reading(feature.source)
        where = ""
        if feature.where:
            found = check(feature.where, source.columns.keys(), f"feature {name}")
            where = found.render("e")
        return kind_of(feature)(name, feature, source, where)

    def _reading(self, name: str) -> Source:
        event, table = self.definition.events[name], self.tables.events[name]
        time = self._time(name, event.time, "time")
        opens = event.history_from is not None
        return Source(name, table.columns, time, self.zone, self.tables.hll, opens)

    def _time(self, name: str, column: str | None, what: str) -> str:
        if column is None:
            return ""
        found = self.tables.events[name].column(column, f"events.{name}.{what}")
        if not found.type.startswith(("timestamp", "date")):
            raise DoesNotFit(
                f'events.{name}.{what}: column "{column}" is of type {found.type}',
                detail="Expected timestamptz, timestamp or date.",
                hint="Name the column that says when the event happened.",
            )
        return instant(f"e.{ident(column)}", found.type, self.zone)

    def _source(self, name: str) -> EventSource:
        event, table = self.definition.events[name], self.tables.events[name]
        kinds = [k for k in self.kinds.values() if k.source.name == name]
        time = self._time(name, event.time, "time")
        link = self.links[event.via] if event.via else None
        ref, column = self._key(name, event, link)
        key_type = self.definition.profile.key.type
        return EventSource(
            name=name,
            slug=part(name, EVENT_BYTES),
            table=table,
            key=f"{ref}::{key_type}",
            key_ref=ref,
            key_column=column,
            time=time,
            known_at=self._time(name, event.known_at, "known_at"),
            link=link,
            row_trigger=event.trigger != "statement",
            replicated=event.trigger == "replicated",
            index=event.index,
            counted=tuple(s for k in kinds for s in k.kept()),
            hidden=hidden_states(part(name, EVENT_BYTES), time, kinds) if kinds else (),
            recent=_recent(kinds),
            columns=tuple(sorted(self._relevant(name, event, column))),
            reach=self._reach(event, table, kinds),
            time_column=event.time or "",
            most_waiting=event.most_waiting,
            first_day=self._first_day(event),
        )

    def _first_day(self, event: Event) -> str:
        """SQL: the moment from which on events are complete; empty: all are."""
        if event.history_from is None:
            return ""
        day = f"timestamp {literal(event.history_from)}"
        return f"pg_catalog.timezone({literal(self.zone)}, {day})"

    def _reach(self, event: Event, table: Table, kinds: Sequence[Kind]) -> str:
        """SQL condition, for an index on the bare column: what windows can still depend on."""
        lengths = [k.window.reach for k in kinds if k.window]
        if not lengths or table.columns[event.time or ""].type != "timestamp with time zone":
            return ""
        return f"e.{ident(event.time or '')} > {MOMENT} - {interval(max(lengths))}"

    def _key(self, name: str, event: Event, link: Link | None) -> tuple[str, str]:
        """The bare reference to the key, and the event column that leads to it."""
        table = self.tables.events[name]
        if link is not None:
            table.column(link.on, f"events.{name}.via")
            return f"l.{ident(link.gives)}", link.on
        column = event.key or self.definition.profile.key.name
        self._check_key_column(table.column(column, f"events.{name}.key"), f"events.{name}.key")
        return f"e.{ident(column)}", column

    def _relevant(self, name: str, event: Event, key: str) -> set[str]:
        """Event columns that features read; an update of any other changes nothing."""
        kinds = [k for k in self.kinds.values() if k.source.name == name]
        columns = self.tables.events[name].columns
        read = {key, *(k.feature.column for k in kinds if k.feature.column)}
        for kind in kinds:
            if kind.feature.where:
                read |= check(kind.feature.where, columns.keys(), f"feature {kind.name}").columns
        if event.time:
            read.add(event.time)
        for c in read:
            if not columns[c].comparable:
                raise DoesNotFit(
                    f'events.{name}: column "{c}" is of type {columns[c].type}, not comparable',
                    detail="Rows before and after an UPDATE are compared by what features read.",
                    hint="Use a column of a type that can be compared.",
                )
        return read

    def _input(self, name: str) -> Input:
        if name not in self.inputs:
            self.inputs[name] = self._new_input(name, self.definition.features[name])
        return self.inputs[name]

    def _new_input(self, name: str, feature: Feature) -> Input:
        if reads(feature):
            return computed_input(name, feature, self._input)
        if name in self.kinds:
            return self.kinds[name].input()
        column = self._plain(feature.column or "", f"features.{name}")
        return column_input(name, feature, column, self.zone)

    def _plain(self, name: str, place: str) -> Column:
        table = self.tables.profile
        if table is None:
            raise DoesNotFit(
                f'{place}: plain column "{name}", but table {self.tables.name} does not exist',
                detail="A table that `apply` creates has the key, the features and the scores.",
                hint="Create the table with its plain columns first.",
            )
        column = table.column(name, place)
        if column.generated:
            raise DoesNotFit(
                f'{place}: column "{name}" is generated',
                detail="Its value is not known yet when a row is scored.",
                hint="Use the columns it is generated from.",
            )
        return column

    def _model(self, name: str, inputs: tuple[Input, ...]) -> Model:
        model = self.definition.models[name]
        by_name = {i.name: i for i in inputs}
        chosen = model.feature_names(self.definition)
        kept = [f for f in self.tables.serving.get(name, ()) if f not in chosen]
        lost = [f for f in kept if f not in by_name]
        if lost:
            raise DoesNotFit(
                f"feature {lost[0]} is gone, but the serving version of model {name} reads it",
                detail="The version would have to be scored without it.",
                hint=f"Keep the feature, say `features: {{except: [{lost[0]}]}}` in model {name}, "
                "train and publish a version without it, then remove the feature.",
            )
        # What only the serving version still reads stays an argument of the routers until a
        # version without it serves; in its old place, since split models are read in order.
        wanted = [f for f in by_name if f in chosen or f in kept]
        if [f for f in wanted if f in chosen] != chosen:
            wanted = [*chosen, *kept]
        taken = tuple(replace(by_name[f], retired=f in kept) for f in wanted)
        spec = model.model_dump(mode="json", by_alias=True)
        return Model(name, taken, model.engine, spec, self.definition.profile.key.name)

    def _score(self, column: str, models: Mapping[str, Model]) -> Score:
        score = self.definition.scores[column]
        moved_by = score.outbox.moved_by if score.outbox else None
        by_band = score.outbox.band if score.outbox else False
        members = tuple((models[name], weight) for name, weight in score.members.items())
        model = Ensemble(column, members) if score.ensemble else members[0][0]
        return Score(column, model, score.bands or (), moved_by, by_band)

    def _only(self) -> Only | None:
        text, table = self.definition.profile.only, self.tables.profile
        if text is None:
            return None
        there = table.columns if table else {}
        counted = {n for n, f in self.definition.features.items() if f.source} | self.tables.owned
        found = check(text, {*there, *counted}, "profile.only")
        for column in sorted(found.columns & counted):
            raise DoesNotFit(
                f'profile.only: "{column}" is kept by rescore',
                detail="Who is scored is told by the application's own columns.",
                hint="Use plain columns of the profile table.",
            )
        columns = tuple((c, self._plain(c, "profile.only").type) for c in sorted(found.columns))
        return Only(found.render(None), columns)

    def _past(self, only: Only | None) -> dict[str, str]:
        """Where the past of each feature, and of each column of ``only``, is found."""
        history, events = self.definition.profile.history, self.definition.events
        found: dict[str, str] = {}
        for name, feature in self.definition.features.items():
            if feature.source:
                found[name] = "events" if events[feature.source].time else ""
            elif feature.plain:
                found[name] = history.get(feature.plain, "")
        for name in self.definition.features:
            found.setdefault(name, "parts" if self._has_past(name, found) else "")
        for column, _ in only.columns if only else ():
            found[f"only:{column}"] = history.get(column, "")
        return found

    def _has_past(self, name: str, found: Mapping[str, str]) -> bool:
        """Whether the past of all that a feature is computed from is known."""
        parts = reads(self.definition.features[name])
        return bool(found.get(name)) or (
            bool(parts) and all(self._has_past(p, found) for p in parts)
        )

    def _check_names(self, made: Profile) -> None:
        """A column rescore would add must not already be the user's."""
        table = self.tables.profile
        if table is None:
            return
        added = [s.column for s in made.states] + [d.column for d in made.derived]
        added += [s.opening for s in made.openings]
        added += [c for s in made.scores for c, _ in s.columns]
        added += [made.treatment.column] if made.treatment else []
        for column in added:
            if column in table.columns and column not in self.tables.owned:
                raise DoesNotFit(
                    f'table {table.schema}.{table.name} already has a column "{column}"',
                    detail="It was not added by rescore, which will not overwrite it.",
                    hint="Give the feature or score another name; or drop the column, where an "
                    "installation that was removed left it behind.",
                )


def _recent(kinds: Sequence[Kind]) -> str:
    """SQL of the time an event of which stands to each window as new events do; empty: any."""
    lengths = [k.window.recent for k in kinds if k.window and k.window.recent]
    return interval(min(lengths)) if lengths else ""


def _check_exact(column: Column, place: str) -> None:
    """Keys are noted as texts, in snapshots, digests and queues: what is equal must look equal."""
    if not column.exact:
        raise DoesNotFit(
            f'{place}: column "{column.name}" has the nondeterministic collation '
            f"{column.collation}",
            detail="Keys that it takes for equal, such as ada and ADA, are two keys to rescore.",
            hint="Give the column a deterministic collation, and keep keys in one way of writing.",
        )
