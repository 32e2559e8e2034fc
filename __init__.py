"""A score in the row: scoring and online learning inside PostgreSQL."""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Load :func:`publish` only when asked for: the package itself imports nothing heavy."""
    if name == "publish":
        from rescore.trainer.publish import publish

        return publish
    raise AttributeError(f"module 'rescore' has no attribute {name!r}")
