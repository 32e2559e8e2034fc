"""Users' SQL conditions: what is let through, how it is printed, what is refused and why."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pglast import ast, parse_sql

from rescore.compiler.expression import check
from rescore.compiler.expression_lists import FUNCTIONS, OPERATORS, TYPES
from rescore.errors import BadDefinition, DoesNotFit

COLUMNS = ("a", "b", "amount", "status", "at", "tags", "Weird \"name'")


@pytest.mark.parametrize(
    ("written", "printed", "columns"),
    [
        (
            "amount > 10 AND status = 'paid'",
            '"amount" > 10 AND "status" = \'paid\'',
            "amount status",
        ),
        ("AMOUNT>10 -- big", '"amount" > 10', "amount"),
        ("lower(/* fold */ status) = 'x'", "pg_catalog.lower(\"status\") = 'x'", "status"),
        ("status in ('a', 'b')", "\"status\" IN ('a', 'b')", "status"),
        ("a::int", 'CAST("a" AS integer)', "a"),
        ("a::text", 'CAST("a" AS pg_catalog.text)', "a"),
        ("(a + 1) * 2", '("a" + 1) * 2', "a"),
        ("trim(status) = $$x$$", "pg_catalog.btrim(\"status\") = 'x'", "status"),
        ("a != b", '"a" <> "b"', "a b"),
        ("status = 'it''s'", "\"status\" = 'it''s'", "status"),
        ("tags[1] = 'x'", "\"tags\"[1] = 'x'", "tags"),
        ("status COLLATE \"C\" < 'x'", '"status" COLLATE pg_catalog."C" < \'x\'', "status"),
        ("true", "TRUE", ""),
    ],
)
def test_prints_what_postgresql_parsed(written: str, printed: str, columns: str) -> None:
    found = check(written, COLUMNS, "here")
    assert found.sql == printed
    assert found.columns == frozenset(columns.split())


def test_backslashes_do_not_depend_on_standard_conforming_strings() -> None:
    sql = check(r"status ~ '\d' or status = '\'", COLUMNS, "here").sql
    assert r"E'\\d'" in sql
    assert r"E'\\'" in sql


def test_render_puts_an_alias_and_new_names() -> None:
    found = check("amount > 10 and lower(status) = 'amount'", COLUMNS, "here")
    assert found.render("e") == (
        '"e"."amount" > 10 AND pg_catalog.lower("e"."status") = \'amount\''
    )
    assert found.render(None, {"amount": 'x"y'}).startswith('"x""y" > 10')
    assert found.render() == found.sql


def test_quoted_columns_of_any_name() -> None:
    found = check('"Weird ""name\'" > 1', ["Weird \"name'"], "here")
    assert found.columns == {"Weird \"name'"}
    assert found.render("e") == '"e"."Weird ""name\'" > 1'


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("", "not one expression"),
        ("-- only a comment", "not one expression"),
        ("a; DROP TABLE customers", "not one expression"),
        ("a, b", "not one expression"),
        ("a) , (b", "syntax error"),
        ("a) FROM secrets WHERE (true", "syntax error"),
        ("a FROM secrets", "not one expression"),
        ("a AS b", "not one expression"),
        ("DISTINCT a", "not one expression"),
        ("ALL a", "syntax error"),
        ("a UNION SELECT 1", "not one expression"),
        ("a INTO t", "not one expression"),
        ("a FOR UPDATE", "not one expression"),
        ("a WHERE true", "not one expression"),
        ("a LIMIT 1", "not one expression"),
        ("a /*", "unterminated"),
        ("a = '", "unterminated"),
        ("a\0", "NUL"),
        ("(SELECT 1)", "subquery"),
        ("EXISTS (SELECT 1)", "subquery"),
        ("a IN (SELECT 1)", "subquery"),
        ("$1", "parameter"),
        ("count(*) > 1", "aggregate"),
        ("sum(a) OVER ()", "window"),
        ("sum(a)", "function sum"),
        ("generate_series(1, a)", "function generate_series"),
        ("now() > at", "function now"),
        ("clock_timestamp() > at", "function clock_timestamp"),
        ("current_date > at", "current_date"),
        ("current_user = 'x'", "value of the session"),
        ("random() < a", "function random"),
        ("pg_sleep(1)", "function pg_sleep"),
        ("nextval('s')", "function nextval"),
        ("public.lower(status)", "public.lower is not built in"),
        ("a OPERATOR(public.=) b", r"public\.= is not built in"),
        ("a ~<~ b", "operator ~<~"),
        ("a::regclass", "type regclass"),
        ("a::public.mood", "public.mood is not built in"),
        ("t.a", "t.a is no plain column"),
        ("t.*", r"t.\* is no plain column"),
        ("(a, b) = (1, 2)", "a row"),
        ("(a).b", "field of a row"),
        ('status COLLATE "de_DE" < \'x\'', "collation"),
        ("at::timestamptz > at", "time zone"),
        ("at > '2024-01-01'", "depends on the session"),
        ("at > '1/2/2024 10:00'", "depends on the session"),
        ("at < ' Tomorrow '", "depends on the session"),
        ("at > date 'today'", "may depend on the session"),
        ("at > timestamptz '2024-01-01 00:00'", "may depend on the session"),
        ("at > timestamp '1/2/2024'", "may depend on the session"),
        ("at > interval '1'", "may depend on the session"),
        ("at AT LOCAL > at", "AT LOCAL"),
        ("make_interval(days => 3) > at", "named argument"),
        ("+".join(["a"] * 500), "nested too deeply"),
        ("not " * 2000 + "a", "nested too deeply"),
        ("a" * 10_001, "too many"),
    ],
)  # fmt: skip
def test_refuses(written: str, why: str) -> None:
    with pytest.raises(BadDefinition, match=rf"crm\.yaml:3:5: SQL expression: .*{why}") as caught:
        check(written, COLUMNS, "crm.yaml:3:5")
    assert "In: " in caught.value.detail


def test_a_column_the_table_lacks_is_named_with_the_closest() -> None:
    with pytest.raises(DoesNotFit, match='there is no column "amuont"') as caught:
        check("amuont > 1", COLUMNS, "here")
    assert caught.value.hint == 'Did you mean "amount"?'
    assert check("amuont > 1", None, "here").columns == {"amuont"}
    with pytest.raises(DoesNotFit) as unquoted:
        check("status = zzz", COLUMNS, "here")
    assert unquoted.value.hint == "A text is written in single quotes: 'zzz'."


@pytest.mark.parametrize(
    "written",
    [
        "at > date '2024-01-31'",
        "at > timestamp '2024-01-31 08:30:00.5'",
        "at > timestamptz '2024-01-31 08:30+00'",
        "at > timestamptz '2024-01-31T08:30:00Z'",
        "at < timestamptz 'infinity'",
        "at AT TIME ZONE 'UTC' > timestamp '2024-01-31'",
        "b > interval '1 day 2 hours'",
        "status = text '2024-01-31'",
        "status = text 'now'",
        "status = '10.0.0.1'",
    ],
)
def test_times_whose_meaning_is_fixed_are_let_through(written: str) -> None:
    assert check(written, COLUMNS, "here").sql


HOSTILE = st.lists(
    st.sampled_from(
        [
            "'", '"', ";", "--", "/*", "*/", "$$", "$x$", "\\", "E'", "U&'", "(", ")", ",", " ",
            "\n",
            "a", "b", "1", "=", "||", "::", "text", "SELECT", "FROM", "pg_sleep(1)", "DROP TABLE a",
            "lower(", "AND", "NOT", "CASE WHEN", "END", "é", "\u2028", "\uff07", "\x00", "[1]", "*",
        ]
    )
    | st.text(max_size=3),
    max_size=14,
).map("".join)  # fmt: skip


@given(HOSTILE)
def test_only_one_expression_ever_comes_out(text: str) -> None:
    try:
        sql = check(text, COLUMNS, "here").render("e")
    except (BadDefinition, DoesNotFit):
        return
    statement: Any
    (statement,) = parse_sql(f"SELECT 1 FROM e WHERE ({sql}) IS NULL AND marker")
    where = statement.stmt.whereClause
    assert type(where) is ast.BoolExpr
    assert [type(arg) for arg in where.args or ()] == [ast.NullTest, ast.ColumnRef]
    assert not any(word in sql for word in ("--", "/*", ";")) or "'" in sql or '"' in sql


LITERALS = st.text(max_size=12).filter(lambda text: "\0" not in text)


def _quote(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


@given(LITERALS, LITERALS)
def test_literals_and_names_keep_their_value(value: str, name: str) -> None:
    column = f"c{name}".encode()[:60].decode(errors="ignore")
    quoted = '"' + column.replace('"', '""') + '"'
    found = check(f"{quoted} = text {_quote(value)}", [column], "here")
    statement: Any
    (statement,) = parse_sql(f"SELECT {found.render('e')}")
    equal = statement.stmt.targetList[0].val
    assert [field.sval for field in equal.lexpr.fields] == ["e", column]
    assert equal.rexpr.arg.val.sval == value


NUMBERS = st.sampled_from(["a", "b", "1", "2.5", "-3", "NULL"])
BOOLEANS = st.recursive(
    st.tuples(NUMBERS, st.sampled_from(["=", "<", "<>", "IS DISTINCT FROM"]), NUMBERS).map(
        " ".join
    ),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["AND", "OR", "="]), inner).map(
            lambda parts: f"({parts[0]}) {parts[1]} ({parts[2]})"
        ),
        inner.map(lambda part: f"NOT ({part})"),
        inner.map(lambda part: f"({part}) IS NOT TRUE"),
        inner.map(lambda part: f"CASE WHEN {part} THEN a IN (1, b) ELSE a BETWEEN b AND 2 END"),
        inner.map(lambda part: f"coalesce({part}, abs(a - (b - 1)) > - a)"),
    ),
    max_leaves=6,
)


def test_the_printing_has_the_value_of_the_text(empty_dsn: str) -> None:
    with psycopg.connect(empty_dsn) as conn:
        conn.execute(
            "CREATE TEMP TABLE t AS SELECT a, b FROM (VALUES (1, 2), (2, 1), (NULL, 0)) AS v(a, b)"
        )

        @given(BOOLEANS)
        def same(text: str) -> None:
            sql = check(text, ("a", "b"), "here").render("t")
            query = f"SELECT ({text}) IS NOT DISTINCT FROM ({sql}) FROM t"
            assert conn.execute(query.encode()).fetchall() == [(True,)] * 3

        same()


def test_lists_name_built_ins_that_can_be_immutable(empty_dsn: str) -> None:
    with psycopg.connect(empty_dsn) as conn:
        functions = conn.execute(
            "SELECT proname FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace"
            " AND proname = ANY (%s) GROUP BY proname"
            " HAVING bool_or(provolatile = 'i') AND bool_and(prokind = 'f' AND NOT proretset)"
            " AND bool_and(provolatile <> 'v')",
            [list(FUNCTIONS)],
        ).fetchall()
        operators = conn.execute("SELECT oprname FROM pg_operator WHERE oid < 16384").fetchall()
        types = conn.execute("SELECT typname FROM pg_type WHERE oid < 16384").fetchall()
    assert {name for (name,) in functions} == FUNCTIONS
    assert {name for (name,) in operators} >= OPERATORS
    assert {name for (name,) in types} >= TYPES
