"""The rules for each node of an SQL expression's tree: what is let through, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pglast import ast

from rescore.compiler.definition_errors import did_you_mean
from rescore.compiler.expression_lists import (
    CLOCK_WORDS,
    FUNCTIONS,
    LITERALS,
    LOOKS_LIKE_TIME,
    OPERATORS,
    TYPES,
)
from rescore.errors import BadDefinition

MAX_DEPTH = 100

_PLAIN = (
    ast.A_ArrayExpr, ast.A_Indices, ast.BoolExpr, ast.BooleanTest, ast.CaseExpr,
    ast.CaseWhen, ast.CoalesceExpr, ast.MinMaxExpr, ast.NullTest, ast.String, ast.Integer,
    ast.Float, ast.Boolean,
)  # fmt: skip
_IN_WORDS = {
    "SubLink": "a subquery",
    "ParamRef": "a parameter",
    "SQLValueFunction": "a value of the session, such as current_date or current_user",
    "A_Star": "*",
    "GroupingFunc": "GROUPING",
    "SetToDefault": "DEFAULT",
    "NamedArgExpr": "a named argument",
    "RowExpr": "a row",
    "BitString": "a bit string",
}


def _refuse(message: str, detail: str = "", hint: str = "") -> BadDefinition:
    return BadDefinition(message, detail=detail, hint=hint)


def check_node(node: Any, parent: Any) -> None:
    """Refuse a node that a condition may not hold.

    Raises
    ------
    BadDefinition: naming it.
    """
    rule = _RULES.get(type(node))
    if rule is not None:
        rule(node, parent)
    elif not isinstance(node, _PLAIN):
        kind = type(node).__name__
        raise _refuse(
            f"{_IN_WORDS.get(kind, kind)} is not allowed here",
            "Columns, literals, operators, CASE and immutable built-in functions are.",
        )


def qualify(node: Any) -> None:
    """Write the schema before the names of functions, types and collations."""
    if isinstance(node, ast.FuncCall):
        node.funcname = _in_pg_catalog(node.funcname)
    elif isinstance(node, ast.TypeName):
        node.names = _in_pg_catalog(node.names)
    elif isinstance(node, ast.CollateClause):
        node.collname = _in_pg_catalog(node.collname)


def _in_pg_catalog(names: Any) -> tuple[ast.String, ...]:
    return (ast.String(sval="pg_catalog"), ast.String(sval=names[-1].sval))


def _built_in(names: tuple[Any, ...], what: str) -> str:
    """Return the last part of a name whose schema, if any, is pg_catalog."""
    parts = [part.sval for part in names]
    if len(parts) > 2 or (len(parts) == 2 and parts[0] != "pg_catalog"):
        raise _refuse(f"{what} {'.'.join(parts)} is not built in", "Only pg_catalog's are.")
    return str(parts[-1])


def _column(node: Any, parent: Any) -> None:
    fields = node.fields
    if len(fields) != 1 or not isinstance(fields[0], ast.String):
        written = ".".join(getattr(field, "sval", "*") for field in fields)
        raise _refuse(f"{written} is no plain column", "Columns are named without their table.")


def _function(node: Any, parent: Any) -> None:
    name = _built_in(node.funcname, "the function")
    if node.over is not None:
        raise _refuse(f"{name}(…) OVER is a window function")
    if node.agg_star or node.agg_distinct or node.agg_order or node.agg_filter:
        raise _refuse(f"{name} is called as an aggregate")
    if node.func_variadic or node.agg_within_group:
        raise _refuse(f"{name} is called with VARIADIC or WITHIN GROUP")
    if name not in FUNCTIONS:
        raise _refuse(
            f"the function {name} is not allowed here",
            f"Immutable built-ins are: {', '.join(sorted(FUNCTIONS))}.",
            did_you_mean(name, FUNCTIONS),
        )
    if name == "timezone" and len(node.args or ()) != 2:
        raise _refuse("AT LOCAL depends on the session", hint="Write AT TIME ZONE 'UTC'.")


def _operator(node: Any, parent: Any) -> None:
    name = _built_in(node.name, "the operator")
    if name not in OPERATORS and "BETWEEN" not in name:
        raise _refuse(
            f"the operator {name} is not allowed here", f"Allowed: {' '.join(sorted(OPERATORS))}"
        )


def _type(node: Any, parent: Any) -> None:
    name = _built_in(node.names, "the type")
    if name not in TYPES or node.setof or node.pct_type:
        raise _refuse(
            f"the type {name} is not allowed here", f"Allowed: {', '.join(sorted(TYPES))}."
        )
    if node.arrayBounds and name in LITERALS:
        raise _refuse(f"an array of {name} is not allowed here", "Compare with single values.")


def _cast(node: Any, parent: Any) -> None:
    name = node.typeName.names[-1].sval
    text = _string(node.arg)
    if text is None:
        if name == "timestamptz" and not _is_null(node.arg):
            raise _refuse(
                "a cast to timestamptz depends on the session's time zone",
                hint="Write AT TIME ZONE 'UTC', or the zone that is meant.",
            )
    elif name in LITERALS and not LITERALS[name][0].fullmatch(text):
        raise _refuse(
            f"{name} '{text}' may depend on the session", f"Write it like {LITERALS[name][1]}."
        )


def _literal(node: Any, parent: Any) -> None:
    text = _string(node)
    if text is None or isinstance(parent, ast.TypeCast):
        return
    if text.strip().lower() in CLOCK_WORDS or LOOKS_LIKE_TIME.fullmatch(text):
        raise _refuse(
            f"'{text}' may mean a time that depends on the session",
            "A literal that looks like a date or time must say its type.",
            f"Write date '2024-01-31', timestamptz '2024-01-31 08:30+00', or text '{text}'.",
        )


def _collation(node: Any, parent: Any) -> None:
    if node.collname is None or _built_in(node.collname, "the collation") not in ("C", "POSIX"):
        raise _refuse("this collation is not allowed here", 'Only COLLATE "C" is.')


def _indirection(node: Any, parent: Any) -> None:
    if not all(isinstance(step, ast.A_Indices) for step in node.indirection):
        raise _refuse("a field of a row is not allowed here", "Array elements are: tags[1].")


def _string(node: Any) -> str | None:
    """Return the text of a string literal, None for anything else."""
    if isinstance(node, ast.A_Const) and isinstance(node.val, ast.String):
        return str(node.val.sval)
    return None


def _is_null(node: Any) -> bool:
    return isinstance(node, ast.A_Const) and bool(node.isnull)


_RULES: dict[type[ast.Node], Callable[[Any, Any], None]] = {
    ast.ColumnRef: _column,
    ast.FuncCall: _function,
    ast.A_Expr: _operator,
    ast.TypeName: _type,
    ast.TypeCast: _cast,
    ast.A_Const: _literal,
    ast.CollateClause: _collation,
    ast.A_Indirection: _indirection,
}
