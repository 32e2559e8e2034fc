"""What is wrong with a definition, said with its place, what was expected, and a hint."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from rescore.compiler.places import Path, Places
from rescore.errors import BadDefinition

_OURS = "definition"
_MOST_SHOWN = 10
_EXPECTED = {
    "model_type": "Expected a mapping, {key: value}",
    "dict_type": "Expected a mapping, {name: value}",
    "string_type": "Expected text; quote what YAML reads as a number",
    "tuple_type": "Expected a list",
    "bool_type": "Expected true or false",
    "int_type": "Expected a whole number",
    "float_type": "Expected a number",
    "string_too_short": "Expected text that is not empty",
    "string_pattern_mismatch": "Expected text that is not blank",
    "too_short": "Expected at least one",
}
_YAML_1_1_WORDS = ("yes", "no", "on", "off", "y", "n", "true", "false")


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes
    ----------
    path: of the value, from the top of the file.
    message: what is wrong, naming the value.
    expected: what would be right.
    hint: what to do.
    """

    path: Path
    message: str
    expected: str = ""
    hint: str = ""


def refuse(message: str, expected: str = "", hint: str = "", key: str = "") -> PydanticCustomError:
    """Return the error a validator raises; ``key`` is the offending key below its place."""
    context = {"message": message, "expected": expected, "hint": hint, "key": key}
    return PydanticCustomError(_OURS, "{message}", context)


def did_you_mean(name: str, known: Collection[str]) -> str:
    """Return a hint naming the closest of the known names, or nothing."""
    close = difflib.get_close_matches(name, [str(k) for k in known], n=1, cutoff=0.6)
    return f'Did you mean "{close[0]}"?' if close else ""


def unknown(path: Path, what: str, name: str, known: Collection[str]) -> Problem:
    """Return the problem of a reference to something that the file does not define."""
    names = ", ".join(known) or "none"
    return Problem(
        path, f'there is no {what} "{name}"', f"Defined: {names}.", did_you_mean(name, known)
    )


def bad_definition(problems: list[Problem], places: Places) -> BadDefinition:
    """Return one exception for all problems: the first in full, the others below it."""

    def position(problem: Problem) -> tuple[int, int]:
        place = places.at(problem.path)
        return (place.line, place.column) if place else (0, 0)

    first, *others = sorted(problems, key=position)
    lines = [first.expected] if first.expected else []
    lines += [f"Also: {_sentence(p, places)}" for p in others[:_MOST_SHOWN]]
    if len(others) > _MOST_SHOWN:
        lines.append(f"And {len(others) - _MOST_SHOWN} more.")
    hint = next((p.hint for p in (first, *others) if p.hint), "")
    return BadDefinition(_sentence(first, places), detail="\n".join(lines), hint=hint)


def _sentence(problem: Problem, places: Places) -> str:
    return f"{places.describe(problem.path)}: {problem.message}"


def translate(error: ValidationError, keys: Mapping[Path, Collection[str]]) -> list[Problem]:
    """Return pydantic's findings in the words of the file.

    Parameters
    ----------
    error: raised by the models.
    keys: allowed keys by path; ``*`` stands for any name.
    """
    all_found = error.errors(include_url=False)
    inner = {tuple(f["loc"])[:length] for f in all_found for length in range(len(f["loc"]))}
    # Of a value and something inside it, the inner place says more; unknown keys explain
    # missing ones, so they come first.
    kept = [f for f in all_found if tuple(f["loc"]) not in inner or f["type"] == _OURS]
    kept.sort(key=lambda found: found["type"] == "missing")
    return [_translate(found, keys) for found in kept]


def _translate(found: ErrorDetails, keys: Mapping[Path, Collection[str]]) -> Problem:
    path, context = tuple(found["loc"]), found.get("ctx", {})
    if found["type"] == _OURS:
        where = (*path, context["key"]) if context["key"] else path
        return Problem(where, context["message"], context["expected"], context["hint"])
    if found["type"] == "extra_forbidden":
        return _unknown_key(path, keys)
    if found["type"] == "missing":
        return Problem(path, f'{describe(path[:-1])} needs the key "{path[-1]}"')
    what = describe(path)
    if found["input"] is None:
        return Problem(path, f"{what} has no value", f"{_expected(found)}.")
    return Problem(path, f"{what}: {_shown(found['input'])} is wrong", f"{_expected(found)}.")


def _expected(found: ErrorDetails) -> str:
    """Return what would have been right, in the words of YAML."""
    text = _EXPECTED.get(found["type"], found["msg"].replace("Input should be", "Expected"))
    if found["type"] != "literal_error":
        return text
    text = text.replace("True", "true").replace("False", "false")
    word = found["input"] if isinstance(found["input"], str) else ""
    return f"{text}; {word} is text in YAML 1.2" if word.lower() in _YAML_1_1_WORDS else text


def _unknown_key(path: Path, keys: Mapping[Path, Collection[str]]) -> Problem:
    allowed = allowed_keys(path[:-1], keys)
    name = str(path[-1])
    return Problem(
        path,
        f'unknown key "{name}" in {describe(path[:-1])}',
        f"Expected one of: {', '.join(allowed)}." if allowed else "",
        did_you_mean(name, allowed),
    )


def allowed_keys(path: Path, keys: Mapping[Path, Collection[str]]) -> Collection[str]:
    """Return the keys that a mapping at ``path`` may have."""
    if path in keys:
        return keys[path]
    return keys.get((*path[:1], "*", *path[2:]), ())


def describe(path: Path) -> str:
    """Return what stands at ``path``, in words: ``key "sum" of feature spend``."""
    parts = [str(part) for part in path if not _is_inner(part)]
    if len(parts) < 2 or parts[0] == "profile":
        return ".".join(parts) or "the definition"
    owner = f"{parts[0].removesuffix('s')} {parts[1]}"
    return owner if len(parts) == 2 else f'"{".".join(parts[2:])}" of {owner}'


def _is_inner(part: Any) -> bool:
    """Whether a part of pydantic's path names an arm of a union, not a key of the file."""
    text = str(part)
    return "[" in text or text in ("Except", "OneHot", "str", "bool", "int", "float")


def _shown(value: Any) -> str:
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
