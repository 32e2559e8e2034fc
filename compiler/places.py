"""Read YAML into plain values and remember where each of them stands.

Only the YAML 1.2 core types are known: ``on``, ``yes`` and ``2025-10-01`` are text, numbers are
numbers, keys are always text. Tags that would build objects, duplicate keys, cycles and
aliases that multiply without end are refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import yaml

from rescore.errors import BadDefinition

Path: TypeAlias = tuple[str | int, ...]
Value: TypeAlias = bool | int | float | str | list["Value"] | dict[str, "Value"] | None

MAX_CHARACTERS = 1_000_000
MAX_NODES = 100_000
MAX_DEPTH = 20

_TAG = "tag:yaml.org,2002:"
_QUOTED_NAME = re.compile(r"""("[^"\']+"(?:\.(?:"[^"\']+"|\w+))+)""")
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


class _Loader(yaml.SafeLoader):
    """The safe loader with the YAML 1.2 core schema; only used to compose nodes."""


_Loader.yaml_implicit_resolvers = {}
_Loader.add_implicit_resolver(_TAG + "null", re.compile(r"^(?:~|null|)$"), ["~", "n", ""])
_Loader.add_implicit_resolver(_TAG + "bool", re.compile(r"^(?:true|false)$"), ["t", "f"])
_Loader.add_implicit_resolver(
    _TAG + "int", re.compile(r"^[-+]?(?:0|[1-9][0-9]{0,18})$"), list("-+0123456789")
)
_Loader.add_implicit_resolver(
    _TAG + "float",
    re.compile(r"^[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?$"),
    list("-+.0123456789"),
)

_SCALARS: dict[str, Callable[[str], Value]] = {
    _TAG + "null": lambda text: None,
    _TAG + "bool": lambda text: {"true": True, "false": False}[text],
    _TAG + "int": int,
    _TAG + "float": float,
    _TAG + "str": str,
}


@dataclass(frozen=True)
class Place:
    """A position in the text; both counts start at 1."""

    line: int
    column: int


@dataclass(frozen=True)
class Places:
    """Where the values of one file stand, by their path; empty when there is no file."""

    filename: str = ""
    by_path: dict[Path, Place] = field(default_factory=dict)

    def at(self, path: Path) -> Place | None:
        """Return the place of ``path``, or of the closest thing around it that has one."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.by_path:
                return self.by_path[path[:length]]
        return None

    def describe(self, path: Path) -> str:
        """Return ``file:line:column``, or the dotted path when there is no file."""
        place = self.at(path)
        if place is None:
            return ".".join(str(part) for part in path) or self.filename or "definition"
        return f"{self.filename}:{place.line}:{place.column}"

    def line(self, path: Path) -> str:
        """Return ``, line 14`` for use inside a message, or nothing without a file."""
        place = self.at(path)
        return f", line {place.line}" if place else ""


def read(text: str, filename: str) -> tuple[Value, Places]:
    """Return the value of a YAML text and the places of its parts.

    Parameters
    ----------
    text: one YAML document.
    filename: named in messages.

    Raises
    ------
    BadDefinition: not YAML, not one document, or refused for safety; with line and column.
    """
    if len(text) > MAX_CHARACTERS:
        raise BadDefinition(
            f"{filename}: {len(text)} characters are too many",
            detail=f"A definition has at most {MAX_CHARACTERS} characters.",
        )
    node = _compose(text, filename)
    if node is None:
        raise BadDefinition(f"{filename}: the file is empty", hint="Begin with `profile:`.")
    builder = _Builder(Places(filename))
    return builder.build(node, (), node), builder.places


def _compose(text: str, filename: str) -> yaml.Node | None:
    try:
        loader = _Loader(text)
        node: yaml.Node | None = loader.get_single_node()
        return node
    except yaml.MarkedYAMLError as error:
        raise _not_yaml(error, text, filename) from None
    except yaml.reader.ReaderError as error:
        raise BadDefinition(
            f"{filename}: unprintable character #x{error.character:04x} at offset {error.position}",
            detail="A definition is printable text in UTF-8.",
        ) from None
    except RecursionError:
        raise BadDefinition(
            f"{filename}: nested too deeply", detail=f"At most {MAX_DEPTH} levels are read."
        ) from None


def _not_yaml(error: yaml.MarkedYAMLError, text: str, filename: str) -> BadDefinition:
    mark = error.problem_mark or error.context_mark
    where = f"{filename}:{mark.line + 1}:{mark.column + 1}" if mark else filename
    problem = error.problem or "syntax error"
    return BadDefinition(
        f"{where}: not valid YAML: {problem}",
        detail=error.context or "",
        hint=_hint(text, mark),
    )


def _hint(text: str, mark: yaml.Mark | None) -> str:
    """Say what is usually wrong there: names quoted as in SQL, or text that needs quotes."""
    lines = text.splitlines()
    quoted = mark and mark.line < len(lines) and _QUOTED_NAME.search(lines[mark.line])
    if quoted:
        return f"Quote the whole name once more, for YAML: '{quoted.group(1)}'."
    return (
        "Indent with spaces, write `key: value` with a space, and quote text that contains `: `, "
        "`#`, `{` or a leading `*` or `\"`: '…' around the whole of it."
    )


class _Builder:
    """Turns composed nodes into values, noting places and counting what aliases multiply."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self._nodes = 0

    def build(self, node: yaml.Node, path: Path, mark: yaml.Node) -> Value:
        """Return the value of ``node``; ``mark`` is the node whose position stands for it."""
        self.places.by_path[path] = _place(mark)
        self._nodes += 1
        if self._nodes > MAX_NODES or len(path) > MAX_DEPTH:
            raise self._refuse(
                path,
                "too much is nested or repeated",
                f"At most {MAX_NODES} values, {MAX_DEPTH} levels deep, aliases counted.",
            )
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            self._expect_tag(node, path, "seq")
            return [self.build(item, (*path, i), item) for i, item in enumerate(node.value)]
        return self._scalar(node, path)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> Value:
        self._expect_tag(node, path, "map")
        mapping: dict[str, Value] = {}
        for key_node, value_node in node.value:
            key = self._key(key_node, path)
            if key in mapping:
                first = self.places.by_path[(*path, key)]
                self.places.by_path[(*path, key)] = _place(key_node)
                raise self._refuse(
                    (*path, key),
                    f'"{key}" is given twice',
                    f"The first stands in line {first.line}.",
                )
            mapping[key] = self.build(value_node, (*path, key), key_node)
        return mapping

    def _key(self, node: yaml.Node, path: Path) -> str:
        if isinstance(node, yaml.ScalarNode):
            return self._text(str(node.value), path)
        self.places.by_path[path] = _place(node)
        raise self._refuse(path, "a key must be text", "Found a list or a mapping as a key.")

    def _scalar(self, node: yaml.Node, path: Path) -> Value:
        convert = _SCALARS.get(node.tag)
        if convert is None:
            raise self._refuse(
                path, f"the tag {node.tag} is not allowed", "Only plain YAML values are read."
            )
        try:
            value = convert(self._text(str(node.value), path))
        except (KeyError, ValueError):
            value = math.nan
        if isinstance(value, float) and not math.isfinite(value):
            raise self._refuse(path, f'"{node.value}" is no finite number', "")
        return value

    def _text(self, text: str, path: Path) -> str:
        found = _UNPRINTABLE.search(text)
        if found:
            raise self._refuse(
                path, f"unprintable character #x{ord(found.group()):04x} in text", ""
            )
        return text

    def _expect_tag(self, node: yaml.Node, path: Path, kind: str) -> None:
        if node.tag != _TAG + kind:
            raise self._refuse(
                path, f"the tag {node.tag} is not allowed", "Only plain YAML values are read."
            )

    def _refuse(self, path: Path, problem: str, detail: str) -> BadDefinition:
        return BadDefinition(f"{self.places.describe(path)}: {problem}", detail=detail)


def _place(node: yaml.Node) -> Place:
    return Place(node.start_mark.line + 1, node.start_mark.column + 1)
