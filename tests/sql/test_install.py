"""`install`: what it makes, what it refuses, and what it does without a superuser."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo
from sqlalchemy import create_engine

from rescore import errors
from rescore.server.libraries import python_path
from rescore.sql.install import _migrate, install, own_directories
from rescore.tests.running import until
from rescore.tests.support import one

NEWEST = max(f.name[:4] for f in files("rescore.migrations.versions").iterdir() if f.name[0] == "0")


def test_fresh_database(empty_dsn: str) -> None:
    report = install(empty_dsn, python_path=python_path())
    assert (report.before, report.after, report.python, report.missing) == (None, NEWEST, True, [])


def test_own_directories_are_tried_and_kept(
    empty_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    readable = python_path()  # copies, where the server's account cannot read the originals
    monkeypatch.setattr("rescore.sql.install.own_directories", lambda: readable)
    report = install(empty_dsn)
    assert (report.python_path, report.missing) == (readable, [])
    assert install(empty_dsn).python_path == []
    assert stored_path(empty_dsn) == readable


def test_own_directories_hold_the_package() -> None:
    assert any((Path(folder) / "rescore" / "plpython").is_dir() for folder in own_directories())
    assert any((Path(folder) / "sklearn").is_dir() for folder in own_directories())


def test_unusable_own_directories_are_neither_stored_nor_recommended(
    empty_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rescore.sql.install.own_directories", lambda: ["/no where", "/none"])
    report = install(empty_dsn)
    assert not report.python
    assert "cannot import rescore" in report.missing[0]
    assert "cannot import from this command's own directories" in report.missing[0]
    assert "/none" not in report.missing[0]
    assert "rescore install --python-path DIRECTORY" in report.missing[0]
    assert stored_path(empty_dsn) == []


@pytest.mark.parametrize("mode", [0o755, 0o700, 0o711])
def test_only_directories_that_others_may_read_are_recommended(
    dsn: str, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    """They were not tried, since others are stored that once did."""
    with TemporaryDirectory(prefix="rescore test") as name:
        Path(name).chmod(mode)
        monkeypatch.setattr("rescore.sql.install.own_directories", lambda: [name])
        with psycopg.connect(dsn, autocommit=True) as conn:
            conn.execute("UPDATE rescore.python_path SET path = '/none'")
        (missing,) = install(dsn).missing
    assert (f"--python-path '{name}'" in missing) == (mode == 0o755)
    assert (f"cannot read {name}, since {name} is closed to others" in missing) == (mode != 0o755)


def test_a_given_path_that_is_wrong_changes_nothing(dsn: str) -> None:
    before = stored_path(dsn)
    with pytest.raises(errors.PythonMissing, match="cannot import") as caught:
        install(dsn, python_path=["/none"])
    assert "/none" in caught.value.detail
    assert stored_path(dsn) == before


def test_the_package_without_libraries_is_not_enough(empty_dsn: str) -> None:
    with pytest.raises(errors.PythonMissing, match="cannot import"):
        install(empty_dsn, python_path=_without_libraries())
    with psycopg.connect(empty_dsn) as conn:
        assert conn.execute("SELECT to_regnamespace('rescore')").fetchone() == (None,)


def _without_libraries() -> list[str]:
    return [f for f in python_path() if not (Path(f) / "sklearn").is_dir()]


def stored_path(dsn: str) -> list[str]:
    with psycopg.connect(dsn) as conn:
        rows = conn.execute("SELECT path FROM rescore.python_path ORDER BY position")
        return [path for (path,) in rows]


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


LATE = "SELECT EXISTS (SELECT FROM pg_locks WHERE waitstart < clock_timestamp() - interval '0.2 s')"


@pytest.mark.parametrize("timeout", ["statement_timeout", "lock_timeout"])
def test_timeouts_of_a_database_do_not_end_what_waits(plain_dsn: str, timeout: str) -> None:
    with ThreadPoolExecutor(1) as pool, psycopg.connect(plain_dsn, autocommit=True) as conn:
        set_for_all(conn, timeout)
        conn.execute("SELECT pg_advisory_lock(hashtextextended('rescore.publish', 0))")
        running = pool.submit(install, plain_dsn)
        until(lambda: one(conn, LATE) or running.done())
        conn.execute("SELECT pg_advisory_unlock_all()")
        assert running.result(timeout=30).after == NEWEST


def test_timeouts_of_a_database_do_not_end_what_is_idle(
    plain_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slowly(*given: Any) -> tuple[str | None, str]:
        time.sleep(0.3)
        return _migrate(*given)

    monkeypatch.setattr("rescore.sql.install._migrate", slowly)
    with psycopg.connect(plain_dsn, autocommit=True) as conn:
        set_for_all(conn, "idle_in_transaction_session_timeout")
    assert install(plain_dsn).after == NEWEST


def test_a_timeout_of_the_caller_s_own_holds(plain_dsn: str) -> None:
    asked = make_conninfo(plain_dsn, options="-c lock_timeout=100ms")
    with psycopg.connect(plain_dsn, autocommit=True) as conn:
        conn.execute("SELECT pg_advisory_lock(hashtextextended('rescore.publish', 0))")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            install(asked)


def set_for_all(conn: psycopg.Connection[Any], timeout: str) -> None:
    names = sql.Identifier(conn.info.dbname), sql.Identifier(timeout)
    conn.execute(sql.SQL("ALTER DATABASE {} SET {} = '100ms'").format(*names))


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
