"""Jobs of pg_cron: what ``rescore run`` does inside the server, kept by the server itself.

A profile has three: it is swept, its queue is folded, its snapshots are taken and resolved.
Learning needs a process outside the server.

The extension stands in one database of the server, ``cron.database_name``, and starts jobs in any.
"""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row

from rescore.compiler.quoting import short
from rescore.errors import ExtensionMissing, NotAllowed
from rescore.trainer.database import Connection, address, connect, one, query, translated
from rescore.trainer.sweep import Terms
from rescore.trainer.usage import WrongUsage, check_interval, unknown_profile

DEFAULT_HOME = "postgres"
EACH_MINUTE = "* * * * *"
KINDS = {"sweep": "sweep", "fold": "fold", "snapshot": "log_snapshots"}
"""The jobs of a profile, each with the procedure it calls."""

Rows = list[dict[str, Any]]


def schedule(
    dsn: str | None, profile: str, every: str, terms: Terms, fold_every: str = EACH_MINUTE
) -> list[str]:
    """Let pg_cron look after a profile; its jobs of before are replaced. Return their names.

    Parameters
    ----------
    every: when to sweep, and to see to the snapshots; a schedule as pg_cron takes it, such as
        ``*/5 * * * *``.
    fold_every: when to count what waits in the queue, likewise.

    Raises
    ------
    UnknownProfile, WrongUsage
    ExtensionMissing: this server has no pg_cron.
    NotAllowed: the role may not create jobs.
    """
    with translated(), connect(dsn) as conn:
        _check(conn, profile, terms)
        database = conn.info.dbname
        times = {"sweep": every, "fold": fold_every, "snapshot": every}
        with _cron(conn, dsn) as cron, cron.transaction():
            for kind, when in times.items():
                name = job_name(database, profile, kind)
                given = {"name": name, "every": when}
                command = _command(conn, kind, profile, terms)
                _schedule(cron, given | {"command": command}, database)
    return [job_name(database, profile, kind) for kind in KINDS]


def unschedule(dsn: str | None, profile: str) -> bool:
    """Remove the jobs of a profile; return whether there was one."""
    with translated(), connect(dsn) as conn, _cron(conn, dsn) as cron:
        names = [job_name(conn.info.dbname, profile, kind) for kind in KINDS]
        return bool(cron.execute(query("cron_remove"), (names,)).fetchall())


def scheduled(dsn: str | None) -> Rows:
    """Return this database's jobs, each with how it last went."""
    with translated(), connect(dsn) as conn, _cron(conn, dsn) as cron:
        cursor = cron.cursor(row_factory=dict_row)
        return cursor.execute(query("cron_list"), (conn.info.dbname,)).fetchall()


def job_name(database: str, profile: str, kind: str = "sweep") -> str:
    """Name of a job: jobs of all databases stand in one table, in columns of type name."""
    return short(f"rescore {kind} {database} {profile}", 63)


def _check(conn: Connection, profile: str, terms: Terms) -> None:
    if terms.max_age is not None:
        check_interval(conn, terms.max_age, "--max-age")
    if profile not in [name for (name,) in conn.execute(query("known_profiles"))]:
        raise unknown_profile(conn, profile)


def _command(conn: Connection, kind: str, profile: str, terms: Terms) -> str:
    given = {name: value for name, value in vars(terms).items() if value is not None}
    named = [
        sql.SQL("{} => {}").format(sql.Identifier(name), sql.Literal(value))
        for name, value in (given if kind == "sweep" else {}).items()
    ]
    arguments = sql.SQL(", ").join([sql.Literal(profile), *named])
    call = sql.SQL("CALL rescore.{}({})").format(sql.SQL(KINDS[kind]), arguments)
    return call.as_string(conn)


def _schedule(cron: Connection, given: dict[str, str], database: str) -> None:
    here = cron.info.dbname == database
    try:
        cron.execute(
            query("cron_here" if here else "cron_elsewhere"), given | {"database": database}
        )
    except psycopg.errors.InsufficientPrivilege as error:
        more = "" if here else " and EXECUTE on cron.schedule_in_database"
        raise NotAllowed(
            f"{cron.info.user} may not create jobs of pg_cron",
            detail=error.diag.message_primary or "",
            hint="Have a superuser grant it, in database "
            f"{cron.info.dbname}, USAGE on schema cron{more}.",
        ) from error
    except psycopg.errors.InvalidParameterValue as error:
        raise WrongUsage(
            f'"{given["every"]}" is no schedule of pg_cron',
            detail=error.diag.message_primary or "",
            hint='write minute, hour, day, month and weekday, such as "*/5 * * * *"',
        ) from error


def _cron(conn: Connection, dsn: str | None) -> Connection:
    """Open a connection to the database that has pg_cron, or refuse saying how to get it."""
    try:
        home = one(conn, query("cron_database"))
    except psycopg.errors.InsufficientPrivilege:  # only some may read it
        home = DEFAULT_HOME
    major = conn.info.server_version // 10000
    if home is None:
        raise ExtensionMissing(
            "this server does not run pg_cron",
            detail="The setting cron.database_name is not there: its library is not loaded.",
            hint=f"Install postgresql-{major}-cron, add pg_cron to shared_preload_libraries and "
            "restart the server; or use `rescore run`, which needs no extension.",
        )
    cron = connect(make_conninfo(address(dsn), dbname=home))
    if one(cron, query("cron_there")):
        return cron
    cron.close()
    raise ExtensionMissing(
        f"database {home} has no extension pg_cron",
        detail="The setting cron.database_name says that it belongs there.",
        hint=f"Have a superuser run CREATE EXTENSION pg_cron in database {home}; "
        "or use `rescore run`, which needs no extension.",
    )
