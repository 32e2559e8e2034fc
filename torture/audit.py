"""Whether a shop is right: counters, scores, reports, and what clients were told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import psycopg
from psycopg import sql

from rescore.torture.book import Book
from rescore.torture.queries import query

Connection = psycopg.Connection[Any]


def audit(conn: Connection, books: Sequence[Book] = (), *, reports: bool = True) -> list[str]:
    """Return what is wrong, a line each; nothing when all is right.

    Parameters
    ----------
    conn: in autocommit mode, while nobody writes.
    books: what clients were told; their statements are looked for.
    reports: whether the outbox has every report there ever was.
    """
    found = [f"differs from a recount: {row}" for row in _rows(conn, "differences")]
    found += [f"incident: {row}" for row in _rows(conn, "incidents")]
    if reports:
        found += [f"not reported: {row}" for row in _rows(conn, "unreported")]
    found += list(_wrong_scores(conn))
    present = dict(_rows(conn, "batches"))
    for book in books:
        found += book.errors + book.differences(present)
    return found


def _rows(conn: Connection, name: str) -> list[Any]:
    return conn.execute(query("audit", name)).fetchall()


def _wrong_scores(conn: Connection) -> Iterator[str]:
    """Compare each stored score with what the version it names says of the row as stored."""
    scores = set()
    for score, version, call in _rows(conn, "versions"):
        scores.add(score)
        wrong = conn.execute(_check(score, call), [version]).fetchone()
        if wrong and wrong[0]:
            yield f"{wrong[0]} values of {score} are not what version {version} says"
    stale = conn.execute(query("audit", "stale")).fetchone()
    if stale and stale[0]:
        yield f"{stale[0]} rows without a score, or with one marked as out of date"


def _check(score: str, call: str) -> sql.Composed:
    """SQL: how many rows of a version hold another score; name and call come quoted."""
    text = (
        "SELECT count(*) FROM customer_profile AS p WHERE p.{version} = %s AND"
        " (abs(p.{score} - {call}) <= 1e-9) IS NOT TRUE"
    )
    return sql.SQL(text).format(
        version=sql.SQL(f"{score}_version"), score=sql.SQL(score), call=sql.SQL(call)
    )
