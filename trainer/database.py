"""Connections, and the server's errors as rescore's own."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.resources import files
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.rows import TupleRow

from rescore import errors

Connection = psycopg.Connection[TupleRow]

WHO_MAY = (
    "connect as a member of rescore_reader (to read), rescore_trainer (train, publish, sweep) or "
    "rescore_admin (apply, verify, forget), or ask the owner of the table or schema for a grant"
)

POOLED = (
    "connect to the server itself: a pooler that gives each transaction another session does not "
    "keep what one has prepared"
)


def connect(dsn: str | None = None) -> Connection:
    """Open a connection in autocommit mode.

    Parameters
    ----------
    dsn: connection string; without it ``RESCORE_DSN``, and without that libpq's own
        ``PG*`` variables and service files.

    Raises
    ------
    errors.NoServer: nothing answers, or the server refuses the role or the database.
    """
    try:
        made = psycopg.connect(
            address(dsn),
            autocommit=True,
            fallback_application_name=own_name("rescore"),
            client_encoding="utf8",  # whatever the database's: statements are sent as UTF-8
        )
        # The owner of a database can set it for whoever connects.
        for name in ("search_path", "settings"):
            made.execute(query(name))
        return made
    except psycopg.ProgrammingError as error:  # the string itself cannot be parsed
        raise errors.NoServer(
            f"the connection string is not valid: {_text(error)}",
            hint='write it as "host=… dbname=… user=…" or postgresql://user@host/dbname',
        ) from error
    except psycopg.OperationalError as error:
        raise errors.NoServer(
            "cannot connect to PostgreSQL",
            detail=_text(error),
            hint=_how_to_connect(_text(error)),
        ) from error


def own_name(name: str) -> str:
    """Return what a session is to be called in the database: who uses it, and where to end it.

    The server keeps 63 bytes. ``rescore._client`` of ``sql/012_session.sql`` reads it.
    """
    return f"{name}, process {os.getpid()} on {socket.gethostname()}"[:63]


def another(conn: Connection) -> Connection:
    """Open a connection like one that is open: same server, database, role and options.

    Raises
    ------
    errors.NoServer: the server takes no more.
    """
    return connect(make_conninfo(conn.info.dsn, password=conn.info.password or None))


def _how_to_connect(said: str) -> str:
    if "FATAL:" in said:  # a server answered; another one is no help
        return "name the database and the role with --dsn or RESCORE_DSN"
    return (
        "name the server with --dsn, RESCORE_DSN or PGHOST and PGPORT; "
        "`rescore server start` starts a private one"
    )


def address(dsn: str | None = None) -> str:
    """Return the connection string to use; empty for libpq's own variables."""
    return dsn or os.environ.get("RESCORE_DSN", "")


@contextmanager
def connection(dsn: str | None = None, *, admin: bool = False) -> Iterator[Connection]:
    """Open a connection, close it afterwards, and raise rescore's errors for the server's.

    Parameters
    ----------
    admin: what is done with it is for administrators, whatever it looks at first.
    """
    with translated(), connect(dsn) as conn:
        try:
            with translated():
                yield conn
        except errors.NotAllowed as error:
            if error.hint == WHO_MAY:
                error.hint = who_may(conn, error.message, admin=admin)
            raise


def who_may(conn: Connection, denied: str, *, admin: bool = False) -> str:
    """Say what role it takes to do what the server denied, by the server's message."""
    name = denied.rpartition(" ")[2]
    try:
        role = one(conn, query("who_may"), {"name": name, "admin": admin})
    except psycopg.Error:  # a role that may not even use the schema
        role = None
    if role is None:
        return WHO_MAY
    member = sql.Identifier(conn.info.user).as_string(conn)
    return (
        f"members of {role} may: connect as one, or have an administrator run "
        f"GRANT {role} TO {member};"
    )


@contextmanager
def translated() -> Iterator[None]:
    """Turn what the server raises into rescore's own exceptions."""
    try:
        yield
    except psycopg.Error as error:
        raise translate(error) from error


def translate(error: psycopg.Error) -> errors.RescoreError:
    """Return rescore's exception for one of psycopg's."""
    state = error.sqlstate or ""
    message, detail, hint = _parts(error)
    if state.startswith("RS"):
        return errors.from_database(state, message, detail, hint)
    if state == "42501":
        return errors.NotAllowed(message, detail=detail, hint=hint or WHO_MAY)
    if state in ("55P03", "57014"):
        return errors.Busy(message, detail=detail, hint=hint or "try again")
    if _names_rescore(state, message):
        return errors.NotInstalled(
            "this database has no rescore schema, or one of another version",
            detail=message,
            hint="run `rescore install` on this database with this version of rescore",
        )
    if not state or state.startswith(("08", "57P")):
        return errors.NoServer(f"the connection was lost: {message}")
    if state == "23503":
        hint = hint or "delete the rows that refer to it first"
    if state == "26000":  # a prepared statement
        hint = hint or POOLED
    return errors.RescoreError(message, detail=detail or f"SQLSTATE {state}", hint=hint)


def query(name: str, /, **parts: sql.Composable) -> sql.Composed:
    """Return the statement in ``trainer/<name>.sql`` with its ``{parts}`` filled in, quoted."""
    text = files("rescore.trainer").joinpath(f"{name}.sql").read_text(encoding="utf-8")
    return sql.SQL(text).format(**parts)


def one(
    conn: Connection, statement: sql.Composed, values: Sequence[Any] | Mapping[str, Any] = ()
) -> Any:
    """Run a statement that returns one row of one column, and return that value."""
    row = conn.execute(statement, values or None).fetchone()
    return row[0] if row else None


def _parts(error: psycopg.Error) -> tuple[str, str, str]:
    diag = error.diag
    return (
        errors.unprefixed(diag.message_primary or _text(error)),
        diag.message_detail or "",
        diag.message_hint or "",
    )


def _text(error: BaseException) -> str:
    return str(error).strip()


def _names_rescore(state: str, message: str) -> bool:
    missing = ("3F000", "42P01", "42883")  # schema, table, function
    return state in missing and re.search(r"\brescore(_compiled)?\b", message) is not None
