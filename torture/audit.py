"""Whether a shop is right: counters, scores, reports, and what clients were told."""

from __future__ import annotations

from collections import defaultdict
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
    checks = CHECKS if reports else {k: v for k, v in CHECKS.items() if k != "unreported"}
    found = [f"{wrong}: {row}" for name, wrong in checks.items() for row in _rows(conn, name)]
    found += list(_wrong_scores(conn))
    present = dict(_rows(conn, "batches"))
    for book in books:
        found += book.errors + book.differences(present)
    return found


# Questions whose answer should be no row, and what a row of it is.
CHECKS = {
    "differences": "differs from a recount",
    "incidents": "incident",
    "unreported": "not reported",
    "waiting": "not counted",
    "snapshots": "a snapshot is not what its version says",
    "nameless": "a snapshot by an unknown version",
    "uneven": "logged more or less often than others",
    "learnt": "learnt, and to be learnt",
    "learnt_twice": "learnt twice, or by no round",
    "passed_over": "passed over between two rounds",
}


def _rows(conn: Connection, name: str) -> list[Any]:
    return conn.execute(query("audit", name)).fetchall()


def _wrong_scores(conn: Connection) -> Iterator[str]:
    """Compare each stored score with what the version it names says of the row as stored."""
    known: dict[str, list[int]] = defaultdict(list)
    for score, version, call in _rows(conn, "versions"):
        known[score].append(version)
        wrong = conn.execute(_check(score, call), [version]).fetchone()
        if wrong and wrong[0]:
            yield f"{wrong[0]} values of {score} are not what version {version} says"
    for score, versions in known.items():
        wrong = conn.execute(_unknown(score), [versions]).fetchone()
        if wrong and wrong[0]:
            yield f"{wrong[0]} values of {score} name a version that nobody published"
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


def _unknown(score: str) -> sql.Composed:
    """SQL: how many rows name none of these versions; the name comes quoted."""
    text = "SELECT count(*) FROM customer_profile AS p WHERE p.{} <> ALL (%s::int[])"
    return sql.SQL(text).format(sql.SQL(f"{score}_version"))
