"""Names in a definition: which are legal, what is derived from them, and where they clash."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rescore.compiler.definition_errors import Problem
from rescore.compiler.places import Path
from rescore.compiler.quoting import part

if TYPE_CHECKING:
    from rescore.compiler.definition import Definition

MAX_BYTES = 63
MAX_MODEL_BYTES = 40
FEATURE_SUFFIXES = (
    "__sum", "__at", "__missing", "__mean", "__weight", "__hll", "__n", "__first", "__last",
)  # fmt: skip
EVENT_SUFFIXES = ("__next", "__until")
EVENT_BYTES = 24
MODEL_NAME = re.compile(r"[a-z][a-z0-9_]*")
# Functions of a model are named by these endings; a model must not look like one of them.
_MODEL_ENDINGS = re.compile(r"_v[0-9]|__|_(?:x|p[0-9]+|link|version|deferred|payload)$")
_PARAMETER = re.compile(r"\$[0-9]+")
_PART = r'(?:"(?:[^"]|"")+"|[^\W\d][\w$]*)'
_TABLE = re.compile(rf"({_PART})(?:\.({_PART}))?")


def split_table(text: str) -> tuple[str | None, str]:
    """Return schema (None when not given) and name of a table written as in SQL.

    As in SQL, parts without double quotes are read in lower case.

    Raises
    ------
    ValueError: not a table name, or a part longer than 63 bytes.

    Examples
    --------
    >>> split_table('crm."Order Items"')
    ('crm', 'Order Items')
    """
    match = _TABLE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no table name")
    parts = [_unquoted(found) for found in match.groups() if found is not None]
    for found in parts:
        if len(found.encode()) > MAX_BYTES:
            raise ValueError(f'"{found}" is longer than {MAX_BYTES} bytes')
    return (parts[0] if len(parts) == 2 else None), parts[-1]


def _unquoted(part: str) -> str:
    if part.startswith('"'):
        return part[1:-1].replace('""', '"')
    # PostgreSQL folds only ASCII letters in multi-byte encodings.
    return re.sub("[A-Z]+", lambda found: found.group().lower(), part)


def name_problems(definition: Definition) -> Iterator[Problem]:
    """Yield illegal and clashing names."""
    for section, suffixes in (
        ("links", ()),
        ("events", ()),
        ("labels", ()),
        ("features", FEATURE_SUFFIXES),
    ):
        for name in getattr(definition, section):
            yield from _identifier((section, name), name, suffixes)
    for name, score in definition.scores.items():
        yield from _identifier(("scores", name), name, score.suffixes)
    yield from _column_names(definition)
    for name in definition.models:
        yield from _model_name(name)
    yield from _clashes(definition)


def _identifier(path: Path, name: str, suffixes: tuple[str, ...]) -> Iterator[Problem]:
    if not name or name != name.strip() or not name.isprintable():
        yield Problem(path, f"{name!r} is no name", "Printable text without space at either end.")
    if _PARAMETER.fullmatch(name):
        yield Problem(path, f'"{name}" is no name', "It is how functions call their parameters.")
    longest = max(suffixes, key=len, default="")
    if len((name + longest).encode()) > MAX_BYTES:
        limit = MAX_BYTES - len(longest)
        yield Problem(
            path,
            f'the name "{name}" is too long',
            f"At most {limit} bytes; PostgreSQL would cut "
            + (f'"{name}{longest}", which is made from it.' if longest else "it."),
        )


def _column_names(definition: Definition) -> Iterator[Problem]:
    """Yield names of columns that PostgreSQL would cut: no table can have them."""
    key_name = definition.profile.key.name
    written: list[tuple[Path, str | None]] = [(("profile", "key", "name"), key_name)]
    for name, feature in definition.features.items():
        key = "column" if feature.plain is not None else feature.kind
        written.append((("features", name, key), feature.column))
    for name, event in definition.events.items():
        written += [(("events", name, k), getattr(event, k)) for k in ("time", "key", "known_at")]
    for name, link in definition.links.items():
        written += [(("links", name, k), getattr(link, k)) for k in ("on", "gives")]
    for name, label in definition.labels.items():
        written += [(("labels", name, k), getattr(label, k)) for k in ("at", "key", "known_at")]
    if treated := definition.interventions:
        keys = ("time", "key", "column")
        written += [(("interventions", k), getattr(treated, k)) for k in keys]
    for path, column in written:
        if column is not None:
            yield from _identifier(path, column, ())


def _model_name(name: str) -> Iterator[Problem]:
    path: Path = ("models", name)
    if not MODEL_NAME.fullmatch(name) or len(name) > MAX_MODEL_BYTES:
        yield Problem(
            path,
            f'"{name}" is no name for a model',
            f"A lower-case letter, then letters, digits and _, at most {MAX_MODEL_BYTES} in all.",
        )
    elif found := _MODEL_ENDINGS.search(name):
        yield Problem(
            path,
            f'the model name "{name}" contains "{found.group()}"',
            "Names of the functions made for a model are built with it.",
            "Choose a name without it.",
        )


def _clashes(definition: Definition) -> Iterator[Problem]:
    """Yield columns of the profile table that two parts of the definition claim."""
    owners: dict[str, str] = {definition.profile.key.name: "the key"}
    for path, column, owner in _written_columns(definition):
        other = owners.setdefault(column, owner)
        if other != owner:
            yield Problem(
                path,
                f'{owner} and {other} both claim the column "{column}"',
                "Each column of the profile table has one use.",
                "Choose another name.",
            )
    yield from _overwritten(definition, owners)


def _written_columns(definition: Definition) -> Iterator[tuple[Path, str, str]]:
    for name, feature in definition.features.items():
        made = FEATURE_SUFFIXES if feature.source is not None else ()
        # A plain feature makes no column, but its name stands for one in payloads and reports.
        for suffix in ("", *made):
            if feature.plain != name:
                yield ("features", name), name + suffix, f"feature {name}"
    counted = {feature.source for feature in definition.features.values()}
    for name in (n for n in definition.events if n in counted):
        for suffix in EVENT_SUFFIXES:
            yield ("events", name), part(name, EVENT_BYTES) + suffix, f"event {name}"
    for name, score in definition.scores.items():
        for suffix in ("", *score.suffixes):
            yield ("scores", name), name + suffix, f"score {name}"
    if definition.interventions:
        yield ("interventions", "column"), definition.interventions.column, "the holdout"


def _overwritten(definition: Definition, owners: dict[str, str]) -> Iterator[Problem]:
    for name, feature in definition.features.items():
        owner = owners.get(feature.plain or "", "")
        if owner and owner not in ("the key", f"feature {name}"):
            yield Problem(
                ("features", name, "column"),
                f'feature {name} reads the column "{feature.plain}", which {owner} writes',
                "A plain column is one that rescore does not write.",
                "Choose another name for one of them.",
            )
