"""Named statements of the .sql files of this package."""

from __future__ import annotations

from functools import cache
from importlib.resources import files


@cache
def _parts(file: str) -> dict[str, bytes]:
    text = (files("rescore.torture") / f"{file}.sql").read_text(encoding="utf-8")
    parts = text.split("-- name: ")[1:]
    return {p.partition("\n")[0].strip(): p.partition("\n")[2].encode() for p in parts}


def query(file: str, name: str) -> bytes:
    """Return the statement that stands under ``-- name:`` in a file."""
    return _parts(file)[name]
