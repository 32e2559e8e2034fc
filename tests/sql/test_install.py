"""`install`: what it makes, what it refuses, and what it does without a superuser."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from sqlalchemy import create_engine

from rescore import errors
from rescore.server.libraries import python_path
from rescore.sql.install import install


def test_fresh_database(empty_dsn: str) -> None:
    report = install(empty_dsn, python_path=python_path())
    assert (report.before, report.after, report.python, report.missing) == (None, "0001", True, [])


def test_without_path_says_what_is_missing(empty_dsn: str) -> None:
    report = install(empty_dsn)
    assert report.python
    assert "cannot import rescore" in report.missing[0]
    assert "--python-path" in report.missing[0]


@pytest.mark.parametrize("own", [False, True])
def test_takes_open_connections(empty_dsn: str, own: bool) -> None:
    if own:
        with psycopg.connect(empty_dsn) as driver:
            install(driver, python_path=python_path())
            assert not driver.closed
            assert driver.execute("SELECT count(*) FROM rescore.profiles").fetchone() == (0,)
    else:
        engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(empty_dsn))
        with engine.connect() as connection:
            install(connection, python_path=python_path())
            assert not connection.closed


def test_plain_owner_installs_what_needs_no_python(plain_dsn: str) -> None:
    report = install(plain_dsn)
    assert not report.python
    assert "superuser" in report.missing[0]
    with psycopg.connect(plain_dsn) as conn, pytest.raises(psycopg.Error) as caught:
        conn.execute("SELECT rescore._python_scores('churn', 1, '{1}', 1)")
    assert caught.value.sqlstate == "RS007"
    assert "superuser" in (caught.value.diag.message_hint or "")


def test_superuser_takes_over_from_plain_owner(plain_dsn: str) -> None:
    report = install(make_conninfo(plain_dsn, user="rescore"), python_path=python_path())
    assert (report.python, report.missing) == (True, [])
    with psycopg.connect(plain_dsn) as conn, pytest.raises(psycopg.errors.InsufficientPrivilege):
        conn.execute("INSERT INTO rescore.python_path VALUES (9, '/tmp')")


def test_path_of_a_plain_owner_is_not_believed(plain_dsn: str, db: psycopg.Connection[Any]) -> None:
    db.execute("CREATE ROLE not_super")
    db.execute("ALTER TABLE rescore.python_path OWNER TO not_super")
    with pytest.raises(psycopg.Error) as caught:
        db.execute("SELECT rescore._python_start()")
    db.rollback()
    assert caught.value.sqlstate == "RS007"


def test_newer_tables_are_refused(dsn: str, db: psycopg.Connection[Any]) -> None:
    db.execute("UPDATE rescore.alembic_version SET version_num = '9999'")
    db.commit()
    with pytest.raises(errors.NotInstalled, match="9999"):
        install(dsn)


def test_failed_install_leaves_nothing(empty_dsn: str) -> None:
    with psycopg.connect(empty_dsn) as conn:
        conn.execute("CREATE SCHEMA rescore")
        conn.execute("CREATE VIEW rescore.health AS SELECT 1 AS other")
    with pytest.raises(psycopg.errors.InvalidTableDefinition):
        install(empty_dsn, python_path=python_path())
    with psycopg.connect(empty_dsn) as conn:
        assert conn.execute("SELECT to_regclass('rescore.profiles')").fetchone() == (None,)


def test_old_functions_are_dropped(dsn: str, db: psycopg.Connection[Any]) -> None:
    db.execute("CREATE FUNCTION rescore._of_an_older_version() RETURNS int RETURN 1")
    db.execute("CREATE TABLE p ()")
    db.execute(
        'CREATE FUNCTION rescore.predict(model text, "row" p) RETURNS float8 RETURN NULL::float8'
    )
    db.commit()
    install(dsn)
    found = "SELECT to_regproc('rescore._of_an_older_version'), to_regproc('rescore.predict')"
    old, generated = db.execute(found).fetchone() or (None, None)
    assert old is None
    assert generated is not None


def test_no_server() -> None:
    with pytest.raises(errors.NoServer):
        install("host=127.0.0.1 port=1 connect_timeout=2")


def test_no_privilege(plain_dsn: str, empty_dsn: str) -> None:
    with pytest.raises(errors.NotAllowed, match="permission denied"):
        install(make_conninfo(empty_dsn, user="rescore_plain"))


def test_old_server_is_refused(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rescore.sql.install.OLDEST_SERVER", 990000)
    with pytest.raises(errors.NotSupported, match="the server is PostgreSQL"):
        install(dsn)
