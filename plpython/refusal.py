"""Refusals, and values of an artefact as words that are safe to print."""

from __future__ import annotations

from typing import Any

from rescore.errors import ArtefactRefused

_LONGEST = 200


def refuse(message: str, *, detail: str = "") -> ArtefactRefused:
    """Return the error for an artefact whose content is not what its class needs."""
    return ArtefactRefused(
        message,
        detail=detail,
        hint="Save the fitted scikit-learn estimator again with joblib.dump or skops.io.dump.",
    )


def plain(text: str) -> str:
    """Return a text on one line, cut, and of characters any server can store."""
    kept = "".join(
        letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text[:_LONGEST]
    )
    return kept + ("..." if len(text) > _LONGEST else "")


def storable(text: str) -> str:
    """Return a text that any server can store as it is: cut, and without what is no character."""
    return text[:2000].replace("\0", r"\0").encode("utf-8", "backslashreplace").decode("utf-8")


def shown(value: Any) -> str:
    """Return a short description of a value.

    Only names and numbers are written out: writing a container that holds another many times
    over can take for ever.
    """
    if type(value) is str:
        return plain(repr(value[:_LONGEST]))
    if value is None or type(value) in (bool, float):
        return repr(value)
    if type(value) is int and abs(value) < 2**64:
        return repr(value)
    return f"a value of type {plain(type(value).__name__)}"
