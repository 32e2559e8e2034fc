"""The backfill: recounts what a changed definition left behind, in batches that resume."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg

from rescore.compiler.profile import Profile
from rescore.compiler.queries import query
from rescore.compiler.resolve import stored_row

Connection = psycopg.Connection[Any]
Progress = Callable[[int, int], None]
BATCH = 5000


def backfill(conn: Connection, profile: Profile, progress: Progress | None = None) -> int:
    """Recount what is pending, batch by batch, each its own transaction; return the keys done."""
    conn.execute(query("backfill_lock"), {"profile": profile.name})
    try:
        return _all_batches(conn, profile, progress)
    finally:
        conn.execute(query("backfill_unlock"), {"profile": profile.name})


def _all_batches(conn: Connection, profile: Profile, progress: Progress | None) -> int:
    position = stored_row(conn, profile.name)["backfill_from"]
    if position is None:
        return 0
    row = conn.execute(query("estimate"), {"name": profile.relation}).fetchone()
    expected, done = (row[0] if row else 0), 0
    after = position[1:] if position else None
    while True:
        with conn.transaction():
            after, count = _backfill_batch(conn, profile, after)
        done += count
        if progress:
            progress(done, max(expected, done))
        if not count:
            return done


def _backfill_batch(
    conn: Connection, profile: Profile, after: str | None
) -> tuple[str | None, int]:
    # A name may hold the sign that marks a parameter.
    keys, recompute = (profile.function(f).replace("%", "%%") for f in ("keys", "recompute"))
    call = f"SELECT {keys}(%s::{profile.key_type}, {BATCH})".encode()
    found = (conn.execute(call, (after,)).fetchone() or [None])[0]
    if found:
        conn.execute(f"SELECT {recompute}(%s::{profile.key_type}[])".encode(), (found,))
        after = str(found[-1])
    position = f":{after}" if found else None
    conn.execute(query("set_backfill"), {"position": position, "profile": profile.name})
    return after, len(found or ())
