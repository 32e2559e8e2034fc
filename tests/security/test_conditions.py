"""``where`` and ``only`` take an expression of built-ins over one row, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pglast import ast, parse_sql
from pglast.visitors import Visitor

from rescore.compiler.expression import check
from rescore.compiler.expression_lists import FUNCTIONS, OPERATORS, TYPES
from rescore.errors import BadDefinition, DoesNotFit
from rescore.tests.security.conftest import DEFINITION, Connection, Stage
from rescore.tests.support import define, one

COLUMNS = ("a", "b", "status", "at", "tags", "doc")


@pytest.mark.parametrize(
    "written",
    [
        # what reads or does something else
        "(SELECT pg_sleep(1)) IS NULL", "a = (VALUES (1))", "a > ANY (VALUES (1))", "ARRAY(SELECT 1) = tags",
        "EXISTS (TABLE secrets)", "a IN (SELECT 1)", "COALESCE(a, (SELECT 1)) = 1", "CASE WHEN a = 1 THEN (SELECT true) END",
        "pg_read_file('/etc/passwd') = ''", "lo_import('x') > 0", "dblink('x', 'y') = ''", "query_to_xml('SELECT 1', true, true, '') IS NULL",
        "set_config('role', 'postgres', false) = ''", "current_setting('x') = ''", "nextval('s') = 1", "txid_current() = 1",
        "pg_terminate_backend(1)", "pg_advisory_lock(1) IS NULL", "inet_server_addr() IS NULL", "version() = ''",
        # what is not one row's own
        "unnest(tags) = 1", "generate_series(1, 9) = a", "jsonb_array_elements(doc) = '1'", "regexp_matches(status, 'x') = tags",
        "count(*) > 1", "max(a) = 1", "row_number() OVER () = 1", "lag(a) OVER w = 1", "lower(status) FILTER (WHERE true) = ''",
        "GROUPING(a) = 0", "MERGE_ACTION() = ''",
        # what the session, the clock or chance decides
        "now() > at", "CURRENT_TIMESTAMP > at", "LOCALTIME IS NULL", "clock_timestamp() > at", "random() < 0.5", "gen_random_uuid() IS NULL",
        "USER = status", "SESSION_USER = status", "CURRENT_SCHEMA = status", "CURRENT_CATALOG = status", "age(at) > '1 day'",
        "to_char(at, 'YYYY') = '2024'", "format('%s', a) = ''", "concat(a, at) = ''", "'now'::timestamptz > at", "at > 'yesterday'",
        # what a user can define
        "evil.lower(status) = ''", "status OPERATOR(evil.=) 'x'", "a::evil.kind = 'x'", "status COLLATE evil.\"C\" = 'x'", "status COLLATE \"en_US\" = 'x'",
        "a::regclass = 1", "a::regproc = 1", "a::cstring = 'x'", "a::money = '1'", "a::xml IS NULL", "a::record IS NULL", "a::\"char\" = 'x'",
        "a::status%TYPE = 1", "a::SETOF int = 1", "a @@ b", "a <-> b", "a =% b", "a ~<~ b", "!! a",
        # rows, fields, parameters, named arguments
        "ROW(a, b) = ROW(1, 2)", "(a, b) IN ((1, 2))", "(a, b) OVERLAPS (a, b)", "(a).b = 1", "x.a = 1", "x.y.a = 1", "a.*", "* = 1", "$1 = a",
        "make_interval(days => 1) IS NULL", "make_interval(days := 1) IS NULL", "lower(VARIADIC tags) = ''", "a = DEFAULT", "a = :x", "a = ?",
        # syntax of its own
        "XMLPARSE(DOCUMENT status) IS DOCUMENT", "XMLELEMENT(NAME foo) IS NULL", "XMLEXISTS('x' PASSING status)", "XMLSERIALIZE(CONTENT status AS text) = ''",
        "status IS JSON", "JSON_OBJECT('a': a) IS NULL", "JSON_ARRAY(a) IS NULL", "JSON_VALUE(doc, '$.a') = ''", "JSON_QUERY(doc, '$') IS NULL",
        "JSON_EXISTS(doc, '$')", "JSON_SCALAR(a) IS NULL", "status IS NORMALIZED", "NORMALIZE(status) = ''", "COLLATION FOR (status) = ''",
        "TREAT(a AS int) = 1", "a IS OF (int)", "B'1' = b", "X'1F' = b", "lower(ALL status ORDER BY a) = ''", "a AT LOCAL > at",
        # more than one expression, or less
        "a = 1; DROP TABLE x", "a = 1) OR (true", "a = 1 FROM x", "a = 1 WHERE true", "a = 1 UNION SELECT true", "a = 1 LIMIT 1", "a = 1 AS b",
        "a = 1, b", "DISTINCT a", "a = 1 INTO x", "a = 1 FOR UPDATE", "a = 1 WINDOW w AS ()", "a = 1 --\n; DROP TABLE x", "", " ", "--", "/*", "a = '",
        "a = $x$", "a = \"", "a = 1 \\gexec", "\\! ls", "WITH x AS (SELECT 1) SELECT 1", "a = 1\0",
    ],
)  # fmt: skip
def test_everything_else_is_refused(written: str) -> None:
    with pytest.raises(BadDefinition, match="SQL expression: "):
        check(written, None, "here")


FRAGMENTS = [
    "a", "b", "status", "at", "tags", "doc", "1", "1.5", "'x'", "'2024-01-01'", "E'\\\\'", "$$x$$", "$a$x$a$", "NULL", "true",
    "=", "<>", "<", "+", "-", "||", "~", "->>", "@>", "!", "@@", "::", "::int", "::text", "::regclass", "::date", "::evil.t",
    "(", ")", "[", "]", ",", ";", ".", "*", ":", "?", "$1", "--", "/*", "*/", "\n", "AND", "OR", "NOT", "IN", "IS", "BETWEEN",
    "LIKE", "ANY", "ALL", "ARRAY[", "ROW(", "CASE WHEN", "THEN", "ELSE", "END", "CAST(", "AS", "COLLATE \"C\"", "COLLATE",
    "AT TIME ZONE 'UTC'", "SELECT", "FROM", "WHERE", "TABLE", "VALUES", "EXISTS", "UNION", "WITH", "OVER ()", "FILTER (WHERE",
    "lower(", "coalesce(", "now()", "random()", "pg_sleep(", "count(", "evil.f(", "extract(year FROM at)", "OPERATOR(evil.=)",
    "current_user", "XMLPARSE(", "JSON_OBJECT(", "interval '1 day'", "interval", "date", "position(", "trim(",
]  # fmt: skip
ALLOWED_NODES = {
    "RawStmt", "SelectStmt", "ResTarget", "ColumnRef", "String", "Integer", "Float", "Boolean", "A_Const", "A_Expr", "A_ArrayExpr",
    "A_Indirection", "A_Indices", "BoolExpr", "BooleanTest", "NullTest", "CaseExpr", "CaseWhen", "CoalesceExpr", "MinMaxExpr",
    "FuncCall", "TypeCast", "TypeName", "CollateClause",
}  # fmt: skip


class Independent(Visitor):
    """What a statement is made of, told by pglast's own walk rather than by rescore's."""

    def __init__(self) -> None:
        super().__init__()
        self.nodes: set[str] = set()
        self.functions: set[tuple[str, ...]] = set()
        self.types: set[str] = set()
        self.operators: set[tuple[str, ...]] = set()

    def visit(self, ancestors: Any, node: Any) -> None:
        self.nodes.add(type(node).__name__)
        if isinstance(node, ast.FuncCall):
            self.functions.add(tuple(part.sval for part in node.funcname or ()))
        elif isinstance(node, ast.TypeName):
            self.types.add((node.names or ())[-1].sval)
        elif isinstance(node, ast.A_Expr):
            self.operators.add(tuple(part.sval for part in node.name or ()))


@given(st.lists(st.sampled_from(FRAGMENTS), min_size=1, max_size=9).map(" ".join))
@settings(max_examples=500)
def test_what_is_let_through_is_made_of_built_ins(written: str) -> None:
    try:
        sql = check(written, COLUMNS, "").render("e")
    except (BadDefinition, DoesNotFit):
        return
    found = Independent()
    found(parse_sql(f"SELECT {sql}"))
    assert found.nodes <= ALLOWED_NODES
    assert all(len(f) == 2 and f[0] == "pg_catalog" and f[1] in FUNCTIONS for f in found.functions)
    assert found.types <= TYPES
    assert all(o[-1] in OPERATORS or "BETWEEN" in o[-1] for o in found.operators)
    assert all(len(o) == 1 or o[0] == "pg_catalog" for o in found.operators)


def test_functions_of_the_list_are_immutable_and_return_one_value(stage: Stage) -> None:
    query = """SELECT p.oid::regprocedure::text FROM pg_proc AS p
               WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.proname = ANY(%s)
                 AND (p.proretset OR p.prokind <> 'f' OR p.provolatile = 'v')"""
    assert stage.connect().execute(query, (sorted(FUNCTIONS),)).fetchall() == []


OWN_TYPE = """
CREATE TYPE shop.kinds AS ENUM ('web', 'store');
ALTER TABLE shop.clicks ADD COLUMN kind shop.kinds;
"""
HOSTILE_CAST = """
CREATE FUNCTION shop.kind_text(shop.kinds) RETURNS text IMMUTABLE LANGUAGE sql AS $$ SELECT 'web' $$;
CREATE CAST (shop.kinds AS text) WITH FUNCTION shop.kind_text(shop.kinds) AS IMPLICIT;
CREATE FUNCTION shop.same(shop.kinds, text) RETURNS boolean IMMUTABLE LANGUAGE sql AS $$ SELECT true $$;
CREATE OPERATOR shop.= (FUNCTION = shop.same, LEFTARG = shop.kinds, RIGHTARG = text);
"""


def clicks_where(conn: Connection, condition: str) -> None:
    text = DEFINITION.replace(
        "{from: clicks, count: true}", f'{{from: clicks, count: true, where: "{condition}"}}'
    )
    assert condition in text
    define(conn, text)


@pytest.mark.parametrize("condition", ["length(kind) = 3", "kind = 'web'::text", "kind LIKE 'w%'"])
def test_casts_and_operators_of_a_type_of_the_user_are_refused(
    stage: Stage, condition: str
) -> None:
    stage.connect("app_owner").execute((OWN_TYPE + HOSTILE_CAST).encode())
    with pytest.raises(DoesNotFit, match=r"calls function shop\.kind_text"):
        clicks_where(stage.connect(), condition)


def test_a_type_of_the_user_may_be_compared_by_built_ins(stage: Stage) -> None:
    stage.connect("app_owner").execute(OWN_TYPE.encode())
    root = stage.connect()
    clicks_where(root, "kind = 'web'")
    stage.connect("app").execute("INSERT INTO shop.sessions VALUES (7, 1)")
    stage.connect("app").execute(
        "INSERT INTO shop.clicks (session_id, kind) VALUES (7, 'web'), (7, 'store'), (7, NULL)"
    )
    assert one(root, "SELECT clicks FROM shop.customers WHERE customer_id = 1") == 1


@pytest.mark.parametrize(
    "condition",
    [
        "at > date_trunc('day', at)",
        "session_id",
        "at::date > date '2024-01-01'",
        "session_id = 'x'",
    ],
)
def test_what_only_types_can_tell_is_refused_by_the_database(stage: Stage, condition: str) -> None:
    with pytest.raises(DoesNotFit, match=r"feature clicks: "):
        clicks_where(stage.connect(), condition)
