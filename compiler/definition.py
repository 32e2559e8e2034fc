"""The definition file: one profile, where its features come from, and the models that score it.

:func:`parse` and :func:`load` read YAML; :meth:`Definition.to_json` is the form stored in the
database. Nothing here looks at a database: whether tables and columns exist is checked later.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from datetime import timedelta
from pathlib import Path as FilePath
from typing import Any

from pydantic import Field, ValidationError, model_validator
from pydantic.json_schema import GenerateJsonSchema

from rescore.compiler.definition_cross import cross_problems
from rescore.compiler.definition_errors import Problem, bad_definition, translate
from rescore.compiler.definition_labels import Interventions, Label, Snapshots
from rescore.compiler.definition_learn import Learn, Limits, Minimum, Rate, When
from rescore.compiler.definition_models import (
    Event,
    Except,
    Feature,
    Key,
    Link,
    Model,
    OneHot,
    Profile,
    Queue,
)
from rescore.compiler.definition_part import Part
from rescore.compiler.definition_scores import Outbox, Score
from rescore.compiler.definition_traffic import Traffic
from rescore.compiler.definition_types import Kind, Parameter
from rescore.compiler.intervals import interval_text
from rescore.compiler.places import Path, Places, Value, read
from rescore.errors import BadDefinition

__all__ = [
    "Definition",
    "Event",
    "Except",
    "Feature",
    "Interventions",
    "Key",
    "Kind",
    "Label",
    "Learn",
    "Limits",
    "Link",
    "Minimum",
    "Model",
    "OneHot",
    "Outbox",
    "Parameter",
    "Profile",
    "Queue",
    "Rate",
    "Score",
    "Snapshots",
    "When",
    "digest",
    "json_schema",
    "load",
    "parse",
]

_SECTIONS: dict[str, type[Part]] = {
    "links": Link,
    "events": Event,
    "features": Feature,
    "labels": Label,
    "models": Model,
    "scores": Score,
}


class Definition(Part):
    """One profile, complete and checked in itself. Sections keep the order of the file."""

    profile: Profile = Field(description="the table with one row per entity")
    links: dict[str, Link] = Field({}, description="tables that lead from an event to its key")
    events: dict[str, Event] = Field({}, description="the event tables")
    features: dict[str, Feature] = Field({}, description="the values the models see")
    labels: dict[str, Label] = Field({}, description="what the models learn")
    models: dict[str, Model] = Field({}, description="the models")
    scores: dict[str, Score] = Field({}, description="profile columns that models write")
    snapshot: Snapshots | None = Field(
        None, description="when scores are logged, to be learnt from"
    )
    interventions: Interventions | None = Field(
        None, description="treatments, and the customers kept untreated"
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_events(cls, data: Any) -> Any:
        """Give each event the table and key it means when it names none."""
        events = data.get("events") if isinstance(data, dict) else None
        if not isinstance(events, dict):
            return data
        return {**data, "events": {n: _filled(n, e, _key_name(data)) for n, e in events.items()}}

    def to_json(self) -> dict[str, Any]:
        """Return the definition as JSON values, ready for a ``jsonb`` column.

        ``jsonb`` forgets the order of keys, on which the order of a model's inputs depends, so
        the order of each section is kept beside them under ``order``.
        """
        values: dict[str, Any] = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        return {**values, "order": {s: list(getattr(self, s)) for s in _SECTIONS}}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any] | str) -> Definition:
        """Return the definition that :meth:`to_json` gave.

        Raises
        ------
        BadDefinition: the stored value is of another version, or was edited.
        """
        values = dict(json.loads(stored) if isinstance(stored, str) else stored)
        order = values.pop("order", {})
        for section, names in order.items():
            body = values.get(section, {})
            values[section] = {name: body[name] for name in names if name in body}
        return _build(values, Places())


def _key_name(data: Mapping[str, Any]) -> Any:
    profile = data.get("profile")
    key = profile.get("key") if isinstance(profile, dict) else None
    return key.get("name") if isinstance(key, dict) else None


def _filled(name: str, event: Any, key: Any) -> Any:
    if event is None:
        event = {}
    if not isinstance(event, dict):
        return event
    by_key = {} if "via" in event or key is None else {"key": key}
    return {"table": name, **by_key, **event}


def parse(text: str, filename: str = "<definition>") -> Definition:
    """Return the definition written in YAML.

    Parameters
    ----------
    text: the file's content.
    filename: named in messages.

    Raises
    ------
    BadDefinition: anything wrong, each with line, column and what was expected.
    """
    value, places = read(text, filename)
    return _build(value, places)


def load(path: str | FilePath) -> Definition:
    """Return the definition in a file; see :func:`parse`."""
    try:
        text = FilePath(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadDefinition(
            f"{path}: cannot be read: {error}", hint="Give the path of a UTF-8 text file."
        ) from None
    return parse(text, str(path))


def _build(value: Value, places: Places) -> Definition:
    if not isinstance(value, dict):
        problem = Problem((), "not a mapping", "Sections: profile, events, features, …")
        raise bad_definition([problem], places)
    try:
        definition = Definition.model_validate(value)
    except ValidationError as error:
        raise bad_definition(translate(error, _allowed_keys()), places) from None
    problems = list(cross_problems(definition))
    if problems:
        raise bad_definition(problems, places)
    return definition


def _allowed_keys() -> dict[Path, Collection[str]]:
    parts: dict[Path, type[Part]] = {(section, "*"): p for section, p in _SECTIONS.items()}
    parts |= {
        (): Definition,
        ("profile",): Profile,
        ("profile", "key"): Key,
        ("events", "*", "queue"): Queue,
        ("features", "*", "one_hot"): OneHot,
        ("models", "*", "features", "Except"): Except,
        ("models", "*", "traffic"): Traffic,
        ("models", "*", "learn"): Learn,
        ("models", "*", "learn", "when"): When,
        ("models", "*", "learn", "rate"): Rate,
        ("models", "*", "learn", "minimum"): Minimum,
        ("models", "*", "learn", "limits"): Limits,
        ("scores", "*", "outbox"): Outbox,
        ("snapshot",): Snapshots,
        ("interventions",): Interventions,
    }
    return {path: keys_of(part) for path, part in parts.items()}


def keys_of(part: type[Part]) -> list[str]:
    """Return the keys of a part as they are written in the file."""
    return [field.alias or name for name, field in part.model_fields.items()]


class _AsWritten(GenerateJsonSchema):
    """A schema whose lengths of time are written as the file has them."""

    def encode_default(self, dft: Any) -> Any:
        """Return a default for JSON."""
        return interval_text(dft) if isinstance(dft, timedelta) else super().encode_default(dft)


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of the file, for editors."""
    schema = Definition.model_json_schema(
        by_alias=True, mode="validation", schema_generator=_AsWritten
    )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "rescore definition",
    }


def digest(definition: Definition) -> str:
    """Return the SHA-256, in hex, of what the definition says; comments and layout do not count."""
    text = json.dumps(definition.to_json(), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
