"""Named queries: each stands in ``queries.sql`` under a line ``-- name: …``."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources


@cache
def _all() -> dict[str, str]:
    text = resources.files("rescore.compiler").joinpath("queries.sql").read_text("utf-8")
    parts = re.split(r"^-- name: (\w+)\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def query(name: str) -> bytes:
    """Return the query of that name (bytes, which psycopg takes as is)."""
    return _all()[name].strip().encode()
