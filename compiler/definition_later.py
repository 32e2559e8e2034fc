"""Keys of the definition language that this version of rescore does not do yet.

They are refused by name, so that nobody takes a planned key for a typing error.
"""

from __future__ import annotations

from collections.abc import Iterator

from rescore.compiler.places import Path, Places, Value
from rescore.errors import NotSupported

LATER: dict[str, frozenset[str]] = {
    "": frozenset(),
    "profile": frozenset({"snapshot"}),
    "features": frozenset(),
    "labels": frozenset(),
    "models": frozenset({"snapshot"}),
    "scores": frozenset({"snapshot"}),
}  # fmt: skip


def refuse_later(value: Value, places: Places) -> None:
    """Raise for the first key, in the order of the file, that a later version brings.

    Raises
    ------
    NotSupported: naming the key, what it belongs to, and the line.
    """
    for path in _found(value):
        owner = f"{path[0]}".removesuffix("s") + f" {path[1]}" if len(path) > 2 else "definition"
        raise NotSupported(
            f"{path[-1]} ({owner}{places.line(path)}) is not in this version of rescore",
            detail=f"Found at {places.describe(path)}.",
            hint="Leave it out; a later version brings it.",
        )


def _found(value: Value) -> Iterator[Path]:
    if not isinstance(value, dict):
        return
    for section, body in value.items():
        if section in LATER[""]:
            yield (section,)
        elif section == "profile" and isinstance(body, dict):
            yield from ((section, key) for key in body if key in LATER[section])
        elif section in LATER and isinstance(body, dict):
            for name, part in body.items():
                yield from _in_part(section, name, part)


def _in_part(section: str, name: str, part: Value) -> Iterator[Path]:
    if not isinstance(part, dict):
        return
    for key, value in part.items():
        several = section == "features" and key == "first" and type(value) is int
        if key in LATER[section] or several:
            yield (section, name, f"{key}: {value}" if several else key)
