"""``rescore pause`` and ``rescore resume``: the tables are locked for a moment only."""

from __future__ import annotations

import random
import time
from typing import Any

import psycopg

from rescore.errors import Busy
from rescore.trainer.database import Connection, one, query, translated
from rescore.trainer.usage import unknown_profile


def pause(
    conn: Connection,
    profile: str,
    reason: str | None = None,
    *,
    lock_timeout: float = 0.5,
    attempts: int = 60,
) -> int:
    """Stop every effect of a profile on who writes its tables; return how many triggers it had.

    Parameters
    ----------
    conn: in autocommit mode, of the owner of the tables.
    reason: kept, and shown where somebody asks why.
    lock_timeout: seconds to wait for the tables' locks, each of ``attempts`` times.

    Raises
    ------
    UnknownProfile, Paused, NotAllowed, Busy
    """
    return _tried(conn, "pause", {"profile": profile, "reason": reason}, lock_timeout, attempts)


def resume(conn: Connection, profile: str, *, lock_timeout: float = 0.5, attempts: int = 60) -> int:
    """End the pause of a profile; return how many triggers were enabled, 0 where it ran already.

    What happened meanwhile waits in the queue: see :func:`rescore.trainer.fold.fold`.
    """
    return _tried(conn, "resume", {"profile": profile}, lock_timeout, attempts)


def _tried(
    conn: Connection, what: str, given: dict[str, Any], lock_timeout: float, attempts: int
) -> int:
    """Do it once the tables can be locked, for a moment each time: who writes waits no longer."""
    for attempt in range(attempts):
        try:
            with translated(), conn.transaction():
                conn.execute(query("give_way"), {"seconds": lock_timeout})
                return _known(conn, what, given)
        except Busy as error:
            if not isinstance(error.__cause__, psycopg.errors.LockNotAvailable):
                raise
            time.sleep(random.uniform(0.1, 0.5) * min(attempt + 1, 5))
    raise Busy(
        f"the tables of profile {given['profile']} stayed locked",
        detail=f"Tried {attempts} times, {lock_timeout:g} s each.",
        hint="Find the long transaction in pg_stat_activity, or raise --lock-timeout.",
    )


def _known(conn: Connection, what: str, given: dict[str, Any]) -> int:
    known = [name for (name,) in conn.execute(query("known_profiles"))]
    if given["profile"] not in known:
        raise unknown_profile(conn, given["profile"])
    return int(one(conn, query(what), given))
