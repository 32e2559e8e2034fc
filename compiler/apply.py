"""``rescore plan`` and ``rescore apply``: bring a database to a definition.

One short DDL transaction, with the event tables locked so that writers on the old plan have
drained, then a backfill in batches that goes on where it stopped.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from rescore import __version__
from rescore.compiler import render
from rescore.compiler.backfill import Progress, backfill
from rescore.compiler.build import build
from rescore.compiler.catalog import similar_table
from rescore.compiler.definition import Definition, digest
from rescore.compiler.difference import Plan, difference
from rescore.compiler.owners import find_definer, with_owners
from rescore.compiler.queries import query
from rescore.compiler.resolve import check_clashes, check_expressions, find_tables, stored_row
from rescore.errors import Busy, NotAllowed, NotInstalled

Connection = psycopg.Connection[Any]


def plan(conn: Connection, definition: Definition, *, drop: bool = False) -> Plan:
    """Return what :func:`apply` would do, without doing it.

    Raises
    ------
    DoesNotFit, NotInstalled, NotAllowed
    """
    if not (conn.execute(query("installed")).fetchone() or [False])[0]:
        raise NotInstalled(
            "this database has no rescore schema, or an older one",
            detail="Tables or functions of schema rescore are missing.",
            hint="Run `rescore install` first.",
        )
    old = stored_row(conn, definition.profile.name)
    tables = find_tables(conn, definition)
    profile = build(definition, tables)
    check_expressions(conn, definition, tables)
    check_clashes(conn, profile)
    definer = find_definer(conn, profile, tables)
    made = with_owners(conn, difference(conn, profile, definition, tables, old, drop), definer)
    if tables.profile is None and (other := similar_table(conn, definition.profile.table)):
        made.notes.append(
            f"{profile.relation} is a new table, beside {other}: write '{other}' to add to that one"
        )
    return made


def apply(
    conn: Connection,
    definition: Definition,
    *,
    source: str = "",
    drop: bool = False,
    create_indexes: bool = True,
    lock_timeout: float = 0.5,
    attempts: int = 60,
    progress: Progress | None = None,
    doing: Callable[[str], None] = lambda what: None,
) -> Plan:
    """Bring the database to a definition; do nothing where it is already there.

    Parameters
    ----------
    conn: a connection in autocommit mode.
    source: the text of the definition file, kept beside it.
    drop: drop the columns rescore had added for features no longer defined.
    create_indexes: create missing indexes on event keys (without them retractions scan).
    lock_timeout: seconds to wait for the event tables' locks, each of ``attempts`` times.
    progress: called with keys done and keys expected while backfilling.
    doing: called with what comes next and may take long.

    Raises
    ------
    DoesNotFit, NotInstalled, NotAllowed, Busy
    """
    made = plan(conn, definition, drop=drop)
    if create_indexes:
        for statement in made.indexes:
            doing(statement)
            conn.execute(statement.encode())
    doing("tables, functions and triggers")
    for attempt in range(attempts):
        try:
            _make_partitions(conn, made, lock_timeout)
            _transaction(conn, definition, source, drop, lock_timeout)
            break
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            time.sleep(random.uniform(0.1, 0.5) * min(attempt + 1, 5))
        except psycopg.errors.InsufficientPrivilege as exc:
            raise _not_allowed(exc) from exc
    else:
        raise Busy(
            f"the tables of profile {definition.profile.name} stayed locked",
            detail=f"Tried {attempts} times, {lock_timeout:g} s each.",
            hint="Find the long transaction in pg_stat_activity, or raise --lock-timeout.",
        )
    doing("backfill")
    counted, passed = backfill(conn, made.profile, progress)
    if counted:
        made.changes.append(f"count {counted} customers from their events")
    if passed:
        made.notes.append(
            f"customers that could not be counted anew: {passed}; rescore.incidents says why, and "
            "`rescore rebuild` counts them once that is mended"
        )
    made.notes.extend(_clock_not_set(conn, made) if counted else [])
    return made


def _clock_not_set(conn: Connection, made: Plan) -> list[str]:
    """Say so where a replay's windows were counted as of today: until then they move no more."""
    p = made.profile
    if p.clock != "session" or not any(source.until for source in p.sources):
        return []
    if (conn.execute(query("clock_is_set")).fetchone() or [False])[0]:
        return []
    return [
        f"windows of {p.name} were counted as of now, since rescore.clock is not set, and stay so "
        "until its clock has come that far; for a replay of the past set it (PGOPTIONS="
        f"'-c rescore.clock=1998-01-01T00:00Z') and run `rescore rebuild {p.name}`"
    ]


def _make_partitions(conn: Connection, made: Plan, lock_timeout: float) -> None:
    """Make the partitions into which triggers log, before there is a trigger."""
    snapshots = made.profile.snapshots
    if made.sql and snapshots is not None and snapshots.on is not None:
        with conn.transaction():
            conn.execute(query("lock_timeout"), {"seconds": lock_timeout})
            conn.execute(query("make_partitions"), {"clock": made.profile.clock})


def _transaction(
    conn: Connection, definition: Definition, source: str, drop: bool, lock_timeout: float
) -> None:
    with conn.transaction():
        conn.execute(query("apply_lock"))
        # Planned again under the lock: somebody else may just have applied another definition.
        made = plan(conn, definition, drop=drop)
        if not (made.sql or made.keep):
            return
        # Shorter than deadlock_timeout: it is we who give way, not the application.
        conn.execute(query("lock_timeout"), {"seconds": lock_timeout})
        conn.execute(b"SET LOCAL search_path = pg_catalog, pg_temp")
        conn.execute(b"SET LOCAL client_min_messages = warning")
        for name, mode in made.locks if made.sql else ():
            conn.execute(f"LOCK TABLE {name} IN {mode} MODE".encode())
        _store(conn, definition, made, source)
        if made.sql:
            conn.execute(made.sql.encode())
        models = conn.execute(query("keyed_models")).fetchall()
        conn.execute(render.predict_key(models).encode())
        conn.execute(query("secure"))
        conn.execute(query("touch"))
        if (conn.execute(query("paused"), {"profile": made.profile.name}).fetchone() or [0])[0]:
            conn.execute(query("stay_paused"), {"profile": made.profile.name})


def _store(conn: Connection, definition: Definition, made: Plan, source: str) -> None:
    p = made.profile
    given = {
        "profile": p.name,
        "schema": p.schema,
        "table": p.table,
        "slug": p.slug,
        "key": p.key,
        "key_type": p.key_type,
        "clock": p.clock,
        "definition": Jsonb(definition.to_json()),
        "source": source,
        "digest": digest(definition),
        "version": __version__,
        "plan": Jsonb(made.stored),
        "backfill": "" if made.backfill else None,
    }
    conn.execute(query("store_profile"), given)
    for model in p.models:
        conn.execute(
            query("store_model"),
            {
                "model": model.name,
                "profile": p.name,
                "engine": model.engine,
                "scores": [s.column for s in p.scores if model in s.model.models],
                "inputs": Jsonb([i.contract() for i in model.inputs]),
                "spec": Jsonb(dict(model.spec)),
            },
        )
        conn.execute(query("create_router"), {"model": model.name})
    conn.execute(query("retire"), {"profile": p.name})
    conn.execute(query("answer_undefined"))


def _not_allowed(exc: psycopg.Error) -> NotAllowed:
    return NotAllowed(
        exc.diag.message_primary or "permission denied",
        detail="Applying creates triggers on the event tables and functions in rescore_compiled.",
        hint="Run it as the owner of the event tables, with the rights of the installing role.",
    )
