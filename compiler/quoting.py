"""Quoting of identifiers and literals, by psycopg: the only place the compiler does it."""

from __future__ import annotations

import re
from hashlib import md5

from psycopg import sql

MAX_BYTES = 63


def ident(*names: str) -> str:
    """Return the quoted, possibly qualified identifier: ``"schema"."table"``."""
    return sql.Identifier(*names).as_string(None)


def literal(value: str | int | float | bool | None) -> str:
    """Return the value as an SQL literal."""
    return sql.Literal(value).as_string(None)


def short(name: str, limit: int) -> str:
    """Return ``name`` cut to ``limit`` bytes; what is cut is replaced by a hash of the whole."""
    raw = name.encode()
    if len(raw) <= limit:
        return name
    digest = md5(raw, usedforsecurity=False).hexdigest()[:8]
    return raw[: limit - 9].decode(errors="ignore") + "_" + digest


def part(name: str, limit: int) -> str:
    """Return ``name`` for use as one part of ``a__b``: cut to ``limit`` bytes, hashed if ambiguous.

    What is joined by two underscores splits at the first two again: no part begins or ends with
    one, holds two, or is a word the generated functions use themselves.
    """
    clear = "__" not in name and not name.startswith(("_", "row", "link")) and name[-1:] != "_"
    if clear:
        return short(name, limit)
    digest = md5(name.encode(), usedforsecurity=False).hexdigest()[:8]
    kept = re.sub("_+", "_", name.strip("_")).encode()[: limit - 11].decode(errors="ignore")
    return f"x_{kept.strip('_')}_{digest}" if kept else f"x_{digest}"
