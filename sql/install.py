"""``rescore install``: bring a database to this version's tables, functions and views.

One transaction: alembic's migrations, then every ``.sql`` file of this package in lexical order.
A file whose first line is ``-- requires: plpython3u`` is left out where PL/Python cannot be had;
one that begins ``-- unless: plpython3u`` is then applied in its place.
"""

from __future__ import annotations

import shlex
import sysconfig
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

import psycopg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from rescore.errors import (
    NoServer,
    NotAllowed,
    NotInstalled,
    NotSupported,
    PythonMissing,
    RescoreError,
    from_database,
    unprefixed,
)
from rescore.migrations.tables import SCHEMA

OLDEST_SERVER = 140000
Driver = psycopg.Connection[Any]


@dataclass(frozen=True)
class InstallReport:
    """What :func:`install` found and did.

    Attributes
    ----------
    before: revision of the tables before; None if rescore was not installed.
    after: revision now.
    python: whether artefacts can be loaded in the server.
    missing: what is not there, and what brings it, one sentence each.
    python_path: directories stored by this call for the server's Python.
    """

    before: str | None
    after: str
    python: bool
    missing: list[str]
    python_path: list[str] = field(default_factory=list)


def install(
    dsn_or_connection: str | Driver | Connection, python_path: Sequence[str] | None = None
) -> InstallReport:
    """Bring the database to this version of rescore, in one transaction; twice changes nothing.

    Parameters
    ----------
    dsn_or_connection: a connection string, or an open connection that is in no transaction.
    python_path: directories, readable by the server's account, that hold the package rescore and
        scikit-learn; None keeps those set before. Where none were and the server's Python does
        not find rescore, a superuser's call tries this interpreter's own and keeps what works.

    Raises
    ------
    NoServer
        If nothing answers.
    NotAllowed
        If the role may not create schemas or replace the functions that are there.
    NotSupported
        If the server is older than PostgreSQL 14, or the database has no encoding (SQL_ASCII).
    NotInstalled
        If the database's tables are of a newer version of rescore.
    PythonMissing
        If the server's Python cannot import from the directories given; nothing is changed.
    """
    with _errors(), _connection(dsn_or_connection) as connection, connection.begin():
        return _install(connection, python_path)


def _install(connection: Connection, python_path: Sequence[str] | None) -> InstallReport:
    driver = cast(Driver, connection.connection.driver_connection)
    _check_server(driver)
    for name in ("settings", "lock"):
        driver.execute(_query(name))
    before, after = _migrate(connection, driver)
    python, missing = _python(driver)
    for text in _wanted_files(python):
        driver.execute(text.encode())
    driver.execute(_query("drop_stale"))
    driver.execute(_query("routers"))
    # Only now: an owner or a grant changed is a function written, which would then not be stale.
    missing += _secure(driver)
    stored: list[str] = []
    if python:
        stored, unimportable = _set_python_path(driver, python_path)
        missing += unimportable
        python = not unimportable
    return InstallReport(before, after, python, missing, stored)


def _check_server(driver: Driver) -> None:
    if driver.info.server_version < OLDEST_SERVER:
        raise NotSupported(
            f"the server is PostgreSQL {driver.info.server_version // 10000}",
            detail="rescore needs PostgreSQL 14 or newer.",
            hint="Upgrade the server.",
        )
    if driver.info.parameter_status("server_encoding") == "SQL_ASCII":
        raise NotSupported(
            f'database "{driver.info.dbname}" has no encoding (SQL_ASCII)',
            detail="Its texts are bytes of whatever encoding; rescore hashes keys and keeps JSON.",
            hint="Create a database with ENCODING 'UTF8', and move the data into it.",
        )


def _migrate(connection: Connection, driver: Driver) -> tuple[str | None, str]:
    config = Config()
    config.set_main_option("script_location", str(Path(str(files("rescore.migrations")))))
    config.attributes["connection"] = connection
    options = {"version_table_schema": SCHEMA}
    before = MigrationContext.configure(connection, opts=options).get_current_revision()
    scripts = ScriptDirectory.from_config(config)
    known = [each.revision for each in scripts.walk_revisions()]
    if before is not None and before not in known:
        raise NotInstalled(
            f"the tables of this database are of revision {before}, newer than this rescore",
            detail=f"This version knows up to {known[0]}.",
            hint="Install the newer rescore here, and run it again.",
        )
    driver.execute(_query("schemas"))
    command.upgrade(config, "head")
    driver.execute(_query("comment_version"))
    return before, known[0]


def _python(driver: Driver) -> tuple[bool, list[str]]:
    """Return whether PL/Python's functions are to be applied, and what is missing."""
    available, superuser, present = _row(driver, "python")
    if present and not superuser:
        raise NotAllowed(
            "this database has rescore's functions in PL/Python, which only a superuser replaces",
            detail="The others must not become newer than they are.",
            hint="Have a superuser run `rescore install`.",
        )
    if not available:
        return False, [
            "PL/Python is not available: models that are not linear cannot be scored; "
            "install the plpython3 package of this PostgreSQL and run this again."
        ]
    if not superuser:
        return False, [
            "PL/Python needs a superuser: models that are not linear cannot be scored; "
            "have a superuser run `rescore install` on this database."
        ]
    driver.execute(_query("enable_python"))
    return True, []


def _secure(driver: Driver) -> list[str]:
    """Make the group roles, grant them what is theirs, and return which could not be had."""
    driver.execute(_query("create_roles"))
    driver.execute(_query("secure"))
    problems = driver.execute(_query("role_problems")).fetchall()
    absent = [role for role, problem in problems if problem == "does not exist"]
    found = [
        f"the role {role} {problem}: it is granted nothing; rename it, or make it a group that "
        f"has no rights of its own, and run `rescore install` again"
        for role, problem in problems
        if role not in absent
    ]
    if absent:
        statements = " ".join(f"CREATE ROLE {role} NOLOGIN;" for role in absent)
        found.append(
            f"there is no role {', '.join(absent)}: only the owner of schema rescore can do what "
            f"members could; have a role that may create roles run `{statements}`, then run "
            "`rescore install` again"
        )
    return found


def _set_python_path(
    driver: Driver, python_path: Sequence[str] | None
) -> tuple[list[str], list[str]]:
    """Return the directories stored, and what is missing all the same."""
    if python_path is not None:
        if reason := _import_from(driver, python_path):
            raise PythonMissing(
                unprefixed(reason.diag.message_primary or str(reason)),
                detail=f"Given were {', '.join(python_path) or 'no directories'}.",
                hint="Name one directory that holds the package rescore and one that holds "
                "scikit-learn; the server's account must be able to read both.",
            )
        return list(python_path), []
    try:
        with driver.transaction():
            driver.execute(_query("start_python"))
    except psycopg.Error as error:
        return _try_own_path(driver, error)
    return [], []


def _try_own_path(driver: Driver, error: psycopg.Error) -> tuple[list[str], list[str]]:
    """Store this interpreter's directories if the server's Python can import from them."""
    own = own_directories()
    superuser, stored = _row(driver, "may_set_path")
    tried = superuser and not stored and own
    if tried and not _import_from(driver, own):
        return own, []
    told = unprefixed(error.diag.message_primary or str(error))
    return [], [
        f"{told}: models that are not linear cannot be scored; "
        f"{_what_to_do(own, [] if tried else own, local=_is_local(driver))}"
    ]


def _what_to_do(own: Sequence[str], untried: Sequence[str], *, local: bool) -> str:
    """Say how the server's Python comes to its directories; name none that cannot do."""
    needed = "one holds the package rescore, one scikit-learn for the server's version of Python"
    closed = next(((f, p) for f in own if local and (p := _closed(Path(f)))), None)
    if untried and not closed:
        options = " ".join(f"--python-path {shlex.quote(folder)}" for folder in untried)
        return (
            f"run `rescore install {options}` as a superuser, with directories that the server's "
            f"account can read: {needed}."
        )
    why = "it cannot import from this command's own directories"
    if closed:
        why = f"its account cannot read {closed[0]}, since {closed[1]} is closed to others"
    return (
        f"{why}: put a virtual environment with rescore where it can, such as /opt/rescore, and "
        f"run `rescore install --python-path DIRECTORY` as a superuser: {needed} (both may be the "
        "same)."
    )


def _closed(folder: Path) -> Path | None:
    """Return the first directory on the way to a folder that others may not enter, or read."""
    for place in [*reversed(folder.parents), folder]:
        wanted = 0o5 if place == folder else 0o1
        if place.is_dir() and place.stat().st_mode & wanted != wanted:
            return place
    return None


def _is_local(driver: Driver) -> bool:
    """Whether the server has the files of this machine, as far as its address tells."""
    host = driver.info.host
    return host.startswith(("/", "@")) or host in ("", "localhost", "127.0.0.1", "::1")


def _import_from(driver: Driver, folders: Sequence[str]) -> psycopg.Error | None:
    """Store the directories if the server's Python can import from them, else say why not."""
    try:
        with driver.transaction():
            driver.execute(_query("set_python_path"), {"paths": list(folders)})
            driver.execute(_query("start_python"))
            driver.execute(_query("import_libraries"))
    except psycopg.Error as error:
        if error.sqlstate != PythonMissing.sqlstate:
            raise
        return error
    return None


def own_directories() -> list[str]:
    """Return where this interpreter has the package ``rescore`` and scikit-learn from."""
    libraries = Path(sysconfig.get_path("purelib"))
    package = Path(str(files("rescore"))).resolve()
    beside = (libraries, Path(sysconfig.get_path("data")) / "src", package.parent)
    parents = [p for p in beside if (p / "rescore").resolve() == package]
    return list(dict.fromkeys(str(folder) for folder in [*parents[:1], libraries]))


def _wanted_files(python: bool) -> list[str]:
    """Return the text of the files to apply, in order."""
    folder = files("rescore.sql")
    names = sorted(e.name for e in folder.iterdir() if e.name[:3].isdigit())
    texts = [(folder / name).read_text(encoding="utf-8") for name in names]
    skipped = "-- unless: plpython3u" if python else "-- requires: plpython3u"
    return [text for text in texts if not text.startswith(skipped)]


@cache
def _queries() -> dict[str, bytes]:
    text = (files("rescore.sql") / "install.sql").read_text(encoding="utf-8")
    parts = text.split("-- name: ")[1:]
    return {p.partition("\n")[0].strip(): p.partition("\n")[2].encode() for p in parts}


def _query(name: str) -> bytes:
    return _queries()[name]


def _row(driver: Driver, name: str) -> tuple[Any, ...]:
    row = driver.execute(_query(name)).fetchone()
    assert row is not None
    return cast("tuple[Any, ...]", row)


class _Borrowed:
    """A caller's connection, which SQLAlchemy must not close."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver, name)

    def close(self) -> None:
        """Leave it open."""


@contextmanager
def _connection(given: str | Driver | Connection) -> Iterator[Connection]:
    if isinstance(given, Connection):
        yield given
        return
    engine = create_engine(
        "postgresql+psycopg://",
        creator=lambda: _driver(given) if isinstance(given, str) else _Borrowed(given),
        poolclass=NullPool,
        use_native_hstore=False,
    )
    with _one_transaction(given), engine.connect() as connection:
        yield connection


def _driver(dsn: str) -> Driver:
    """Connect; SQLAlchemy reads no other encoding, and files are sent as they are."""
    return psycopg.connect(dsn, client_encoding="utf8")


@contextmanager
def _one_transaction(given: str | Driver) -> Iterator[None]:
    """Turn a caller's autocommit mode off meanwhile: SQLAlchemy would leave it as it is."""
    if isinstance(given, str) or not given.autocommit:
        yield
        return
    given.autocommit = False
    try:
        yield
    finally:
        given.autocommit = True


@contextmanager
def _errors() -> Iterator[None]:
    """Raise rescore's errors for psycopg's, whichever library reports them."""
    try:
        yield
    except DBAPIError as error:
        if not isinstance(error.orig, psycopg.Error):
            raise
        raise _translated(error.orig) from error
    except psycopg.Error as error:
        raise _translated(error) from error


def _translated(error: psycopg.Error) -> RescoreError | psycopg.Error:
    diag, state = error.diag, error.sqlstate or ""
    message = diag.message_primary or str(error).strip()
    detail, hint = diag.message_detail or "", diag.message_hint or ""
    if state.startswith("RS"):
        return from_database(state, message, detail, hint)
    if state == "42501":
        hint = "Run it as the owner of the database, or as the role that installed rescore."
        return NotAllowed(message, detail=detail, hint=hint)
    if isinstance(error, psycopg.OperationalError) and not state:
        return NoServer("cannot connect to PostgreSQL", detail=message, hint="Check the DSN.")
    return error
