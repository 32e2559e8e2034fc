"""Quoting of identifiers and literals, by psycopg: the only place the compiler does it."""

from __future__ import annotations

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
