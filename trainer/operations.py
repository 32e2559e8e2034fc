"""What the command line does besides training: one function per command, rows as dictionaries."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.rows import dict_row

from rescore.errors import UnknownProfile
from rescore.trainer.database import Connection, one, query, translated
from rescore.trainer.usage import check_interval, unknown_profile

Rows = list[dict[str, Any]]


def promote(conn: Connection, model: str, version: int, reason: str | None = None) -> int:
    """Let a recorded version serve; return its number."""
    with translated():
        one(conn, query("promote"), (model, version, reason))
    return version


def rollback(
    conn: Connection, model: str, version: int | None = None, reason: str | None = None
) -> int:
    """Let an earlier version serve, by default the one before; return its number."""
    with translated():
        serving: int = one(conn, query("rollback"), (model, version, reason))
    return serving


def sweep(
    conn: Connection, profile: str, max_age: str | None = None, batch: int | None = None
) -> None:
    """Rescore the rows whose score is older than the model or the age.

    Parameters
    ----------
    conn: in autocommit mode: the server commits after each batch.
    max_age: interval; None for older than the model only.
    batch: rows per transaction.
    """
    with _known(conn, profile):
        if max_age is not None:
            check_interval(conn, max_age, "--max-age")
        conn.execute(query("sweep"), (profile, max_age, batch))


def sweep_model(conn: Connection, model: str) -> None:
    """Rescore the rows of the model's profile that another version scored, silent ones too.

    Parameters
    ----------
    conn: in autocommit mode, as for :func:`sweep`.
    """
    with translated():
        profile = one(conn, query("profile_of"), (model,))
    sweep(conn, profile, max_age="100 years")


def verify(conn: Connection, profile: str) -> Rows:
    """Return every stored value that differs from a recount of the events."""
    with _known(conn, profile):
        return _fetched(conn, "verify", profile)


def rebuild(conn: Connection, profile: str) -> int:
    """Recompute the profile from its events; return how many rows changed."""
    with _known(conn, profile):
        changed: int = one(conn, query("rebuild"), (profile,))
    return changed


def verify_model(conn: Connection, model: str) -> float | None:
    """Return the largest difference between compiled scorer and artefact over the live rows."""
    with translated():
        largest: float | None = one(conn, query("verify_model"), (model,))
    return largest


def models(conn: Connection) -> Rows:
    """Return every version of every model, newest first."""
    return _rows(conn, "models")


def status(conn: Connection) -> Rows:
    """Return one row per deployed model: what serves, since when, and open incidents."""
    return _rows(conn, "status")


@contextmanager
def _known(conn: Connection, profile: str) -> Iterator[None]:
    """Say of a name that is no profile's which one was perhaps meant."""
    with translated():
        try:
            yield
        except psycopg.Error as error:
            if error.sqlstate != UnknownProfile.sqlstate:
                raise
            raise unknown_profile(conn, profile) from error


def _rows(conn: Connection, name: str, *values: Any) -> Rows:
    with translated():
        return _fetched(conn, name, *values)


def _fetched(conn: Connection, name: str, *values: Any) -> Rows:
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query(name), values or None).fetchall()
