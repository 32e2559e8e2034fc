"""Connections that fail, and the server's errors as rescore's own."""

from __future__ import annotations

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from rescore import errors
from rescore.trainer.database import connect, connection, query, translated


def test_no_server_says_how_to_name_one() -> None:
    with pytest.raises(errors.NoServer) as caught:
        connect("host=127.0.0.1 port=1 dbname=postgres connect_timeout=2")
    assert "port 1" in caught.value.detail
    assert "--dsn" in caught.value.hint


def test_a_connection_string_that_is_none() -> None:
    with pytest.raises(errors.NoServer, match="not valid"):
        connect("hots=127.0.0.1")


def test_environment_names_the_server(empty_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESCORE_DSN", empty_dsn)
    with connection() as conn:
        assert conn.autocommit
        assert conn.info.dbname in empty_dsn


RAISE = """
DO $$ BEGIN RAISE 'it is so' USING ERRCODE = '{}', DETAIL = 'the detail', HINT = 'the hint'; END $$
"""


@pytest.mark.parametrize(
    ("state", "cls"),
    [
        ("RS001", errors.UnknownModel),
        ("RS003", errors.ParityFailed),
        ("42501", errors.NotAllowed),
        ("55P03", errors.Busy),
        ("22012", errors.RescoreError),
    ],
)
def test_sqlstates_become_classes(
    empty_dsn: str, state: str, cls: type[errors.RescoreError]
) -> None:
    with pytest.raises(cls) as caught, connection(empty_dsn) as conn:
        conn.execute(RAISE.format(state).encode())
    assert type(caught.value) is cls
    assert (caught.value.message, caught.value.detail) == ("it is so", "the detail")
    assert caught.value.hint == "the hint"


@pytest.mark.parametrize(
    ("statement", "cls", "hint"),
    [
        ("SET ROLE pg_monitor; CREATE SCHEMA mine", errors.NotAllowed, "rescore_admin (apply"),
        (
            "CREATE TEMPORARY TABLE a (k int PRIMARY KEY); INSERT INTO a VALUES (1);"
            "CREATE TEMPORARY TABLE b (k int REFERENCES a); INSERT INTO b VALUES (1); DELETE FROM a",
            errors.RescoreError,
            "delete the rows that refer to it first",
        ),
        ("EXECUTE prepared_by_another_session", errors.RescoreError, "a pooler"),
    ],
)
def test_hints_where_the_server_gives_none(
    empty_dsn: str, statement: str, cls: type[errors.RescoreError], hint: str
) -> None:
    with pytest.raises(cls) as caught, connection(empty_dsn) as conn:
        conn.execute(statement.encode())
    assert hint in caught.value.hint


def test_messages_lose_what_plpython_puts_before_them() -> None:
    assert errors.unprefixed("plpy.SPIError: plpy.Error: no such module") == "no such module"
    assert errors.unprefixed("unknown model plpy.Error: x") == "unknown model plpy.Error: x"


def test_a_database_without_rescore_says_to_install(empty_dsn: str) -> None:
    for name in ("models", "model", "verify"):
        with pytest.raises(errors.NotInstalled) as caught, connection(empty_dsn) as conn:
            conn.execute(query(name), () if name == "models" else ("churn",))
        assert "rescore install" in caught.value.hint
        assert "has no rescore schema" in str(caught.value)


def test_a_missing_table_of_the_users_own_is_not_our_fault(empty_dsn: str) -> None:
    with pytest.raises(errors.RescoreError) as caught, connection(empty_dsn) as conn:
        conn.execute("SELECT * FROM rescored_orders")
    assert type(caught.value) is errors.RescoreError


def test_other_exceptions_pass_through() -> None:
    with pytest.raises(ZeroDivisionError), translated():
        _ = 1 // 0


def test_a_lost_connection_is_no_server(empty_dsn: str) -> None:
    def terminated() -> None:
        with connection(empty_dsn) as conn, connection(empty_dsn) as other:
            other.execute("SELECT pg_terminate_backend(%s)", (conn.info.backend_pid,))
            conn.execute("SELECT 1")

    with pytest.raises(errors.NoServer, match="connection was lost"):
        terminated()


def test_statements_take_their_time_unless_the_connection_string_says_otherwise(
    empty_dsn: str,
) -> None:
    asked = """SELECT string_agg(current_setting(s.name), ' ' ORDER BY s.name)
               FROM unnest(ARRAY['idle_session_timeout', 'lock_timeout', 'statement_timeout']) AS s (name)"""
    with psycopg.connect(empty_dsn, autocommit=True) as conn:
        for name in ("statement_timeout", "idle_session_timeout"):
            conn.execute(f"ALTER ROLE CURRENT_USER SET {name} = '7s'".encode())
        try:
            with connection(empty_dsn) as made:
                assert made.execute(asked).fetchone() == ("0 0 0",)
            with connection(make_conninfo(empty_dsn, options="-c statement_timeout=9s")) as made:
                assert made.execute(asked).fetchone() == ("0 0 9s",)
        finally:
            conn.execute("ALTER ROLE CURRENT_USER RESET ALL")
