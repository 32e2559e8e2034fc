"""The databases tests run in: a template is installed once, and cloned for each test.

================  ==========================================================================
``db``, ``dsn``   rescore installed by a superuser, with PL/Python
``plain_db``,     rescore installed by an ordinary role that owns the database, without
``plain_dsn``     PL/Python, as on a managed cloud
``any_dsn``       these two in turn
``empty_dsn``     nothing installed; a superuser's connection string
``extend``        creates an extension, or skips the test where its package is not installed
``server``        the private server itself; roles and databases made on it are the test's own
                  to remove
================  ==========================================================================
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from psycopg import sql
from psycopg.conninfo import make_conninfo
from pytest_postgresql import factories

from rescore.server.binaries import find_binaries
from rescore.server.libraries import python_path
from rescore.server.private import Server, remove, start
from rescore.tests.homes import own_home

PLAIN_ROLE = "rescore_plain"

# Fixtures that clone a database serve many examples: a test resets what it must itself.
_SLOW = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
settings.register_profile("dev", deadline=None, suppress_health_check=_SLOW)
settings.register_profile(
    "ci",
    deadline=None,
    derandomize=True,
    print_blob=True,
    max_examples=50,  # of where a test does not say; `make test` by hand draws twice as many
    suppress_health_check=_SLOW,
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if "CI" in os.environ else "dev"))


def pytest_report_header() -> str:
    """Say which PostgreSQL and which Python the tests are about."""
    found = find_binaries()
    python = f"PL/Python {sys.version_info.major}.{sys.version_info.minor}"
    return f"server: PostgreSQL {found.version}, {python if found.has_python else 'no PL/Python'}"


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A new private server for this run, with the tests' tuning."""
    with own_home() as home:
        yield start(home, tuning="tests")
        remove(home)


@dataclass(frozen=True)
class Address:
    """The server as pytest-postgresql wants it described."""

    host: str
    port: int
    user: str = "rescore"
    password: str | None = None
    options: str = ""
    maintenance_dbname: str = "postgres"
    template_dbname: str | None = None


@pytest.fixture(scope="session")
def address(server: Server) -> Address:
    return Address(str(server.socket_dir), server.port)


def _install_fully(host: str, port: int, user: str, dbname: str, **_: Any) -> None:
    from rescore.sql.install import install

    dsn = make_conninfo(host=host, port=port, user=user, dbname=dbname)
    with psycopg.connect(dsn) as superuser:
        superuser.execute("CREATE EXTENSION IF NOT EXISTS plpython3u")
        superuser.execute("CREATE EXTENSION IF NOT EXISTS hll")
    install(dsn, python_path=python_path())


def _install_plainly(host: str, port: int, user: str, dbname: str, **_: Any) -> None:
    from rescore.sql.install import install

    dsn = make_conninfo(host=host, port=port, user=user, dbname=dbname)
    with psycopg.connect(dsn) as superuser:
        _make_role(superuser)
        _give_to_plain_role(superuser)
        # Where the application's search_path does not lead.
        superuser.execute('CREATE SCHEMA "Sketches"')
        superuser.execute('CREATE EXTENSION hll SCHEMA "Sketches"')
        superuser.execute('GRANT USAGE ON SCHEMA "Sketches" TO PUBLIC')
    install(make_conninfo(dsn, user=PLAIN_ROLE), python_path=None)


def _make_role(superuser: psycopg.Connection[Any]) -> None:
    found = superuser.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [PLAIN_ROLE])
    if found.fetchone() is None:
        superuser.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(PLAIN_ROLE)))


def _give_to_plain_role(superuser: psycopg.Connection[Any]) -> None:
    """Let the plain role own the database; a clone belongs to whoever made it."""
    alter = sql.SQL("ALTER DATABASE {} OWNER TO {}")
    names = sql.Identifier(superuser.info.dbname), sql.Identifier(PLAIN_ROLE)
    superuser.execute(alter.format(*names))


full_template = factories.postgresql_noproc(
    dbname="full", depends_on="address", load=[_install_fully]
)
plain_template = factories.postgresql_noproc(
    dbname="plain", depends_on="address", load=[_install_plainly]
)
empty_template = factories.postgresql_noproc(dbname="empty", depends_on="address")

db = factories.postgresql("full_template")
plain_clone = factories.postgresql("plain_template")
empty_clone = factories.postgresql("empty_template")


@pytest.fixture
def dsn(db: psycopg.Connection[Any], address: Address) -> str:
    """The database of ``db``, for code that opens connections of its own."""
    return _dsn(db, address)


@pytest.fixture
def plain_dsn(plain_clone: psycopg.Connection[Any], address: Address) -> str:
    """A database that an ordinary role owns and has installed rescore in."""
    _give_to_plain_role(plain_clone)
    plain_clone.commit()
    return make_conninfo(_dsn(plain_clone, address), user=PLAIN_ROLE)


@pytest.fixture
def plain_db(plain_dsn: str) -> Iterator[psycopg.Connection[Any]]:
    """The ordinary role's connection to it."""
    with psycopg.connect(plain_dsn) as connection:
        yield connection


@pytest.fixture(params=["python", "plain"])
def any_dsn(request: pytest.FixtureRequest) -> str:
    """Both kinds of installation in turn: what a test does must work in either."""
    name = {"python": "dsn", "plain": "plain_dsn"}[request.param]
    return str(request.getfixturevalue(name))


@pytest.fixture
def empty_dsn(empty_clone: psycopg.Connection[Any], address: Address) -> str:
    """A database without rescore."""
    return _dsn(empty_clone, address)


@pytest.fixture(scope="session")
def extend() -> Callable[[psycopg.Connection[Any], str], None]:
    """Create an extension; where its package is missing skip the test, but fail in CI as root."""

    def create(connection: psycopg.Connection[Any], name: str) -> None:
        query = "SELECT FROM pg_available_extensions WHERE name = %s"
        if connection.execute(query, [name]).rowcount:
            create = sql.SQL("CREATE EXTENSION IF NOT EXISTS {}").format(sql.Identifier(name))
            connection.execute(create)
        elif "CI" in os.environ and os.geteuid() == 0:
            pytest.fail(f"extension {name} is not installed: server/setup.sh should have done it")
        else:
            pytest.skip(f"extension {name} is not installed")

    return create


def _dsn(connection: psycopg.Connection[Any], address: Address) -> str:
    return make_conninfo(
        host=address.host, port=address.port, user=address.user, dbname=connection.info.dbname
    )


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C raises: what a shell puts into the background ignores it, and so do its children."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
