"""The backfill: recounts what a changed definition left behind, in batches that resume.

A batch locks its rows in key order, so whoever writes an event of theirs waits for its end: batches
are kept as short as a writer may wait. One that would itself wait for a row that somebody holds
gives up and goes on with fewer rows, down to one, which holds nothing while it waits.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import psycopg

from rescore.compiler.profile import Profile
from rescore.compiler.queries import query
from rescore.compiler.resolve import stored_row

Connection = psycopg.Connection[Any]
Progress = Callable[[int, int], None]
FIRST, MOST = 100, 5000
BATCH_SECONDS = 0.1
LOCK_SECONDS = 0.02
GIVE_WAY = (
    psycopg.errors.LockNotAvailable,
    psycopg.errors.DeadlockDetected,
    psycopg.errors.SerializationFailure,
)


def backfill(
    conn: Connection, profile: Profile, progress: Progress | None = None
) -> tuple[int, int]:
    """Recount what is pending, batch by batch, each its own transaction.

    Returns
    -------
    How many customers were looked at, and how many of them were passed over, since an event of
    theirs cannot be counted.
    """
    conn.execute(query("backfill_lock"), {"profile": profile.name})
    try:
        return _all_batches(conn, profile, progress)
    finally:
        conn.execute(query("backfill_unlock"), {"profile": profile.name})


def _all_batches(conn: Connection, profile: Profile, progress: Progress | None) -> tuple[int, int]:
    position = stored_row(conn, profile.name)["backfill_from"]
    if position is None:
        return 0, 0
    row = conn.execute(query("estimate"), {"name": profile.relation}).fetchone()
    expected, done, passed, size = (row[0] if row else 0), 0, 0, FIRST
    after = position[1:] if position else None
    while True:
        try:
            after, count, took = _backfill_batch(conn, profile, after, size)
        except GIVE_WAY:
            size = max(1, size // 4)
            continue
        except (psycopg.errors.DataError, psycopg.errors.IntegrityError) as error:
            if size > 1:  # in smaller batches, until the customer is alone
                size = max(1, size // 8)
                continue
            after, count, took = _pass_over(conn, profile, after, error), 1, 0.0
            passed += 1
        done += count
        if progress:
            progress(done, max(expected, done))
        if not count:
            return done, passed
        size = _next_size(size, took)


def _next_size(size: int, took: float) -> int:
    """Return how many keys the next batch takes, given how long so many took."""
    return max(1, min(MOST, int(size * min(2.0, BATCH_SECONDS / max(took, 1e-3)))))


def _backfill_batch(
    conn: Connection, profile: Profile, after: str | None, size: int
) -> tuple[str | None, int, float]:
    """Return the last key, how many there were, and for how many seconds their rows were locked."""
    recompute = _name(profile, "recompute")
    with conn.transaction():
        # Looking for them locks nothing, and takes the same time for one as for thousands.
        found = _next_keys(conn, profile, after, size)
        began = time.monotonic()
        if size > 1:
            conn.execute(query("lock_timeout"), {"seconds": LOCK_SECONDS})
        if found:
            conn.execute(f"SELECT {recompute}(%s::{profile.key_type}[])".encode(), (found,))
            after = str(found[-1])
        _set_position(conn, profile, after if found else None)
    return after, len(found), time.monotonic() - began


def _pass_over(
    conn: Connection, profile: Profile, after: str | None, error: psycopg.Error
) -> str | None:
    """Record why the next customer cannot be counted, and return their key."""
    given = {"profile": profile.name, "sqlstate": error.sqlstate, "context": error.diag.context}
    with conn.transaction():
        conn.execute(query("backfill_incident"), given | {"message": error.diag.message_primary})
        after = str(_next_keys(conn, profile, after, 1)[-1])
        _set_position(conn, profile, after)
    return after


def _next_keys(conn: Connection, profile: Profile, after: str | None, size: int) -> list[Any]:
    call = f"SELECT {_name(profile, 'keys')}(%s::{profile.key_type}, %s)".encode()
    return (conn.execute(call, (after, size)).fetchone() or [None])[0] or []


def _set_position(conn: Connection, profile: Profile, after: str | None) -> None:
    position = None if after is None else f":{after}"
    conn.execute(query("set_backfill"), {"position": position, "profile": profile.name})


def _name(profile: Profile, function: str) -> str:
    # A name may hold the sign that marks a parameter.
    return profile.function(function).replace("%", "%%")
