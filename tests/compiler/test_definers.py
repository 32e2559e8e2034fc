"""Every generated function that runs as its owner has a guard, however it is written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql

from rescore.compiler import render
from rescore.compiler.definers import guarded
from rescore.compiler.printing import printed
from rescore.errors import RescoreError
from rescore.tests.support import define

Connection = psycopg.Connection[Any]
BEFORE = "-- SECURITY DEFINER is told; ☂ counts as one character.\nSELECT 'CREATE FUNCTION x() SECURITY DEFINER'; "
ALTERED = "was altered"
LINES = """
CREATE OR REPLACE FUNCTION "shop"."f ☂"(
    a integer,
    b text DEFAULT 'RETURNS trigger'
)
RETURNS TABLE (
    c integer
)
SET search_path = pg_catalog, pg_temp
SECURITY
    DEFINER
SET row_security = off
COST 7
LANGUAGE plpgsql
AS $rescore$
#variable_conflict use_column
#print_strict_params on
DECLARE
    d integer := 2;
BEGIN
    RETURN QUERY SELECT a + d;
END;
$rescore$;
"""
ONE_LINE = "CREATE FUNCTION shop.f() RETURNS integer AS $rescore$BEGIN RETURN 3; END$rescore$ EXTERNAL SECURITY DEFINER LANGUAGE plpgsql"
TRIGGER = "CREATE FUNCTION shop.f()\nRETURNS\ntrigger\nLANGUAGE plpgsql SECURITY DEFINER AS $rescore$BEGIN RETURN NULL; END$rescore$;"
CALLER = (
    "CREATE FUNCTION shop.f() RETURNS text SECURITY INVOKER AS 'SECURITY DEFINER' LANGUAGE sql;"
)
WRITTEN = {
    "lines": (LINES, 'SELECT c FROM shop."f ☂"(1)'),
    "one line": (ONE_LINE, "SELECT shop.f()"),
}

BUYERS = """
profile: {table: buyers, key: {name: customer_id, type: bigint}}
events: {orders: {}}
features: {n: {from: orders, count: true}}
"""


@pytest.fixture
def conn(dsn: str) -> Iterator[Connection]:
    with psycopg.connect(dsn, autocommit=True) as made:
        yield made


def guard(name: str, body: str) -> str:
    """The guard itself; a test of how it is put in calls what puts it in."""
    return render._guard(name, body)


@pytest.mark.parametrize("written", WRITTEN)
def test_an_altered_function_does_nothing(conn: Connection, written: str) -> None:
    text, call = WRITTEN[written]
    conn.execute("CREATE SCHEMA shop")
    conn.execute(guarded(BEFORE + text, guard, []).encode())
    assert conn.execute(call.encode()).fetchall() == [(3,)]
    names = conn.execute(
        "SELECT p.oid::regprocedure::text FROM pg_proc AS p WHERE p.pronamespace = 'shop'::regnamespace"
    ).fetchall()
    conn.execute(f"ALTER FUNCTION {names[0][0]} SECURITY INVOKER".encode())
    conn.execute(
        "CREATE ROLE rescore_caller; GRANT USAGE ON SCHEMA shop TO rescore_caller; SET ROLE rescore_caller"
    )
    try:
        with pytest.raises(psycopg.Error) as caught:
            conn.execute(call.encode())
    finally:
        conn.execute("RESET ROLE; DROP OWNED BY rescore_caller; DROP ROLE rescore_caller")
    assert caught.value.sqlstate == "RS016"
    assert ALTERED in str(caught.value)


@pytest.mark.parametrize("text", [TRIGGER, CALLER, "SELECT 1;", ""])
def test_others_stay_as_they_are(text: str) -> None:
    assert guarded(BEFORE + text, guard, []) == BEFORE + text


def test_what_nobody_else_may_call_stays_as_it_is() -> None:
    assert guarded(LINES, guard, ['"shop"."f ☂"']) == LINES
    found = guarded(LINES + ONE_LINE, guard, ['"shop"."f ☂"'])
    assert found.startswith(LINES) and ALTERED in found


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (LINES.replace("plpgsql", "plpython3u"), "its language is plpython3u"),
        (LINES.replace("$rescore$", "$$"), "its body is not quoted by $rescore$"),
        ("CREATE FUNCTION f() RETURNS int SECURITY DEFINER RETURN 1;", "its language is sql"),
        ("ALTER FUNCTION shop.f() SECURITY DEFINER;", "it was made to by ALTER FUNCTION"),
    ],
)
def test_one_that_can_have_no_guard_is_refused(text: str, why: str) -> None:
    with pytest.raises(RescoreError) as caught:
        guarded(BEFORE + text, guard, [])
    assert why in caught.value.message
    assert "runs as its owner, and no guard" in caught.value.message
    assert "compiler/templates" in caught.value.hint


def test_applying_raises_where_a_template_has_no_place_for_one(
    conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a template in another language, say: nothing is written."""

    def printing(template: str, **given: Any) -> str:
        return printed(template, **given).replace("LANGUAGE plpgsql", "LANGUAGE plpython3u")

    monkeypatch.setattr(render, "_print", printing)
    conn.execute("CREATE TABLE orders (customer_id bigint)")
    with pytest.raises(RescoreError, match=r'"buyers__.*no guard can be put into it'):
        define(conn, BUYERS)
    assert conn.execute("SELECT FROM pg_class WHERE relname = 'buyers'").fetchall() == []


def test_settings_on_lines_of_their_own_change_nothing(
    conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        render, "_print", lambda template, **given: _spread(printed(template, **given))
    )
    conn.execute("CREATE TABLE orders (customer_id bigint)")
    define(conn, BUYERS)
    unguarded = sql.SQL(
        """SELECT p.proname::text FROM pg_proc AS p
           WHERE p.pronamespace = 'rescore_compiled'::regnamespace AND p.prosecdef
             AND p.prorettype <> 'trigger'::regtype AND p.prosrc NOT LIKE '%was altered%'"""
    )
    assert {name for (name,) in conn.execute(unguarded)} == {"buyers__ensure", "buyers__score"}


def _spread(text: str) -> str:
    return text.replace(" SECURITY DEFINER SET ", "\nSECURITY DEFINER\nSET ")
