"""``expr``: an expression over features, checked and printed as SQL that never raises.

Numbers are float8; what each operation does where it is not defined stands in
``sql/019_computed.sql``. Every name and operator printed here is qualified or bound in one of
those functions, since the text is inlined into users' queries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pglast import ast
from pglast.enums import (
    A_Expr_Kind,
    BoolExprType,
    BoolTestType,
    MinMaxOp,
    NullTestType,
)

from rescore.compiler.definition_errors import did_you_mean
from rescore.compiler.expression import parse_tree, walk
from rescore.errors import BadDefinition

MAX_SQL = 20_000
"""Longest printing of an expression, features that it is computed from included, in characters."""

MAX_CHAIN = 20
"""How many features may be computed from one another in a row."""

ARITHMETIC = {
    "*": "rescore._times({}, {})",
    "/": "rescore._over({}, {})",
    "%": "rescore._remainder({}, {})",
    "^": "rescore._power({}, {})",
    "+": "rescore._capped({} OPERATOR(pg_catalog.+) {})",
    "-": "rescore._capped({} OPERATOR(pg_catalog.-) {})",
}
COMPARISONS = ("=", "<>", "<", "<=", ">", ">=")
FUNCTIONS = {
    "abs": "pg_catalog.abs({})",
    "sign": "pg_catalog.sign({})",
    "sqrt": "rescore._sqrt({})",
    "cbrt": "pg_catalog.cbrt({})",
    "ln": "rescore._ln({})",
    "log": "rescore._log10({})",
    "log10": "rescore._log10({})",
    "exp": "rescore._exp({})",
    "floor": "pg_catalog.floor({})",
    "ceil": "pg_catalog.ceil({})",
    "ceiling": "pg_catalog.ceil({})",
    "trunc": "pg_catalog.trunc({})",
    "round": "pg_catalog.round({})",
    "power": "rescore._power({}, {})",
    "pow": "rescore._power({}, {})",
    "mod": "rescore._remainder({}, {})",
}
_TESTS = {
    BoolTestType.IS_TRUE: "TRUE", BoolTestType.IS_NOT_TRUE: "NOT TRUE",
    BoolTestType.IS_FALSE: "FALSE", BoolTestType.IS_NOT_FALSE: "NOT FALSE",
    BoolTestType.IS_UNKNOWN: "UNKNOWN", BoolTestType.IS_NOT_UNKNOWN: "NOT UNKNOWN",
}  # fmt: skip
_LISTED = f"Functions: {', '.join(sorted(FUNCTIONS))}; CASE, COALESCE, NULLIF, GREATEST, LEAST."
Leaf = Callable[[str], str]


@dataclass(frozen=True)
class Term:
    """SQL of a part of an expression, and whether it is a number (float8) or a truth value."""

    sql: str
    is_number: bool = True


def names(expression: str) -> tuple[str, ...]:
    """Return the features an expression reads, in order.

    Raises
    ------
    BadDefinition: it is none, or holds something that is not allowed.
    """
    number_sql(expression, lambda _: "x")
    found = (n.fields[0].sval for n, _ in walk(parse_tree(expression)) if _is_column(n))
    return tuple(dict.fromkeys(found))


def number_sql(expression: str, leaf: Leaf) -> str:
    """Return SQL of a float8 of magnitude up to 1e100, or NULL; a truth value becomes 1 or 0.

    Parameters
    ----------
    expression: as the user wrote it.
    leaf: SQL of each feature by name: a float8 of magnitude up to 1e100, or NULL.

    Raises
    ------
    BadDefinition: it is no expression, or holds something that is not allowed.
    """
    found = _term(parse_tree(expression), leaf)
    sql = f"rescore._result({_as_number(found)})"
    if len(sql) > MAX_SQL:
        raise BadDefinition(
            f"the expression becomes {len(sql)} characters of SQL",
            detail=f"At most {MAX_SQL}; what a feature is computed from stands in it in full.",
            hint="Name a feature that is computed from others fewer times.",
        )
    return sql


def _as_number(term: Term) -> str:
    if term.is_number:
        return term.sql
    return f"(({term.sql})::pg_catalog.int4)::pg_catalog.float8"


def _is_column(node: Any) -> bool:
    return isinstance(node, ast.ColumnRef)


def _refuse(what: str, detail: str = _LISTED, hint: str = "") -> BadDefinition:
    return BadDefinition(f"{what} is not allowed here", detail=detail, hint=hint)


def _term(node: Any, leaf: Leaf) -> Term:
    rule = _RULES.get(type(node))
    if rule is None:
        raise _refuse(type(node).__name__)
    made = rule(node, leaf)
    if len(made.sql) > 2 * MAX_SQL:
        raise BadDefinition("the expression is too long", detail=f"At most {MAX_SQL} characters.")
    return made


def _number(node: Any, leaf: Leaf) -> str:
    found = _term(node, leaf)
    if not found.is_number:
        raise BadDefinition(
            "a truth value stands where a number is expected",
            hint="Write CASE WHEN … THEN 1 ELSE 0 END.",
        )
    return found.sql


def _truth(node: Any, leaf: Leaf) -> str:
    found = _term(node, leaf)
    if found.is_number:
        raise BadDefinition(
            "a number stands where a truth value is expected",
            hint="Compare it, as in: x = 1.",
        )
    return found.sql


def _all_numbers(nodes: Any, leaf: Leaf) -> str:
    return ", ".join(_number(n, leaf) for n in nodes)


def _column(node: Any, leaf: Leaf) -> Term:
    fields = node.fields
    if len(fields) != 1 or not isinstance(fields[0], ast.String):
        raise _refuse("a name with a dot or a star", "Features are named alone.")
    return Term(leaf(str(fields[0].sval)))


def _constant(node: Any, leaf: Leaf) -> Term:
    if node.isnull:
        return Term("NULL::pg_catalog.float8")
    if isinstance(node.val, ast.Boolean):
        return Term("true" if node.val.boolval else "false", is_number=False)
    if isinstance(node.val, ast.Integer | ast.Float):
        written = node.val.ival if isinstance(node.val, ast.Integer) else node.val.fval
        return Term(_literal(str(written)))
    raise _refuse("a constant that is no number", "Numbers, true, false and NULL are.")


def _literal(written: str) -> str:
    try:
        value = float(written)
    except ValueError:
        raise _refuse(f"the number {written}", "Decimal numbers are.") from None
    if abs(value) > 1e100 or (value != 0 and abs(value) < 1e-100):
        raise _refuse(f"the number {written}", "Magnitudes from 1e-100 to 1e100, and 0, are.")
    return f"'{value!r}'::pg_catalog.float8"


def _operation(node: Any, leaf: Leaf) -> Term:
    rule = _KINDS.get(node.kind)
    if rule is None:
        raise _refuse(A_Expr_Kind(node.kind).name.removeprefix("AEXPR_"))
    return rule(node, leaf)


def _symbol(node: Any) -> str:
    parts = [part.sval for part in node.name]
    if len(parts) > 1 and parts[0] != "pg_catalog":
        raise _refuse(f"the operator {'.'.join(parts)}")
    return str(parts[-1])


def _plain(node: Any, leaf: Leaf) -> Term:
    symbol = _symbol(node)
    if node.lexpr is None:
        if symbol not in ("+", "-"):
            raise _refuse(f"the operator {symbol} before a single value")
        value = _number(node.rexpr, leaf)
        return Term(value if symbol == "+" else f"(OPERATOR(pg_catalog.-) {value})")
    if symbol not in ARITHMETIC and symbol not in COMPARISONS:
        raise _refuse(
            f"the operator {symbol}", f"Allowed: {' '.join([*ARITHMETIC, *COMPARISONS])}."
        )
    left, right = _number(node.lexpr, leaf), _number(node.rexpr, leaf)
    if symbol in ARITHMETIC:
        return Term(ARITHMETIC[symbol].format(left, right))
    return Term(_compared(left, symbol, right), is_number=False)


def _compared(left: str, symbol: str, right: str) -> str:
    return f"({left} OPERATOR(pg_catalog.{symbol}) {right})"


def _distinct(node: Any, leaf: Leaf) -> Term:
    both = f"rescore._differs({_all_numbers((node.lexpr, node.rexpr), leaf)})"
    same = node.kind == A_Expr_Kind.AEXPR_NOT_DISTINCT
    return Term(f"(NOT {both})" if same else both, is_number=False)


def _nullif(node: Any, leaf: Leaf) -> Term:
    return Term(f"rescore._unless({_all_numbers((node.lexpr, node.rexpr), leaf)})")


def _among(node: Any, leaf: Leaf) -> Term:
    symbol = _symbol(node)
    listed = f"ARRAY[{_all_numbers(node.rexpr, leaf)}]"
    every = "ANY" if symbol == "=" else "ALL"
    value = _number(node.lexpr, leaf)
    return Term(f"({value} OPERATOR(pg_catalog.{symbol}) {every} ({listed}))", is_number=False)


def _between(node: Any, leaf: Leaf) -> Term:
    value = _number(node.lexpr, leaf)
    low, high = (_number(n, leaf) for n in node.rexpr)
    inside = f"({_compared(value, '>=', low)} AND {_compared(value, '<=', high)})"
    negated = node.kind == A_Expr_Kind.AEXPR_NOT_BETWEEN
    return Term(f"(NOT {inside})" if negated else inside, is_number=False)


def _boolean(node: Any, leaf: Leaf) -> Term:
    if node.boolop == BoolExprType.NOT_EXPR:
        return Term(f"(NOT {_truth(node.args[0], leaf)})", is_number=False)
    word = " AND " if node.boolop == BoolExprType.AND_EXPR else " OR "
    return Term(f"({word.join(_truth(a, leaf) for a in node.args)})", is_number=False)


def _is_null(node: Any, leaf: Leaf) -> Term:
    what = "NULL" if node.nulltesttype == NullTestType.IS_NULL else "NOT NULL"
    return Term(f"({_term(node.arg, leaf).sql} IS {what})", is_number=False)


def _is_true(node: Any, leaf: Leaf) -> Term:
    tested = _TESTS[BoolTestType(node.booltesttype)]
    return Term(f"({_truth(node.arg, leaf)} IS {tested})", is_number=False)


def _case(node: Any, leaf: Leaf) -> Term:
    parts = [f"WHEN {_when(node, w, leaf)} THEN {_number(w.result, leaf)}" for w in node.args]
    last = f" ELSE {_number(node.defresult, leaf)}" if node.defresult is not None else ""
    return Term(f"CASE {' '.join(parts)}{last} END")


def _when(node: Any, when: Any, leaf: Leaf) -> str:
    if node.arg is None:
        return _truth(when.expr, leaf)
    return _compared(_number(node.arg, leaf), "=", _number(when.expr, leaf))


def _coalesce(node: Any, leaf: Leaf) -> Term:
    return Term(f"COALESCE({_all_numbers(node.args, leaf)})")


def _extreme(node: Any, leaf: Leaf) -> Term:
    word = "GREATEST" if node.op == MinMaxOp.IS_GREATEST else "LEAST"
    return Term(f"{word}({_all_numbers(node.args, leaf)})")


def _function(node: Any, leaf: Leaf) -> Term:
    parts = [part.sval for part in node.funcname]
    name = parts[-1]
    if len(parts) > 2 or (len(parts) == 2 and parts[0] != "pg_catalog") or name not in FUNCTIONS:
        raise _refuse(f"the function {'.'.join(parts)}", _LISTED, did_you_mean(name, FUNCTIONS))
    special = ("over", "agg_star", "agg_distinct", "agg_order", "agg_filter", "agg_within_group")
    if any(getattr(node, s) for s in (*special, "func_variadic")):
        raise _refuse(f"{name} as an aggregate, a window function or with VARIADIC")
    given: Any = node.args or ()
    if name == "round" and len(given) == 2:
        return Term(f"rescore._round({_number(given[0], leaf)}, {_digits(given[1])})")
    wanted = FUNCTIONS[name].count("{}")
    if len(given) != wanted:
        raise _refuse(f"{name} with {len(given)} arguments", f"It takes {wanted}.")
    return Term(FUNCTIONS[name].format(*(_number(a, leaf) for a in given)))


def _digits(node: Any) -> int:
    value = getattr(getattr(node, "val", None), "ival", None)
    if not isinstance(value, int) or abs(value) > 100:
        raise _refuse("round to a varying number of digits", "A whole number from -100 to 100 is.")
    return value


_KINDS: dict[Any, Callable[[Any, Leaf], Term]] = {
    A_Expr_Kind.AEXPR_OP: _plain,
    A_Expr_Kind.AEXPR_DISTINCT: _distinct,
    A_Expr_Kind.AEXPR_NOT_DISTINCT: _distinct,
    A_Expr_Kind.AEXPR_NULLIF: _nullif,
    A_Expr_Kind.AEXPR_IN: _among,
    A_Expr_Kind.AEXPR_BETWEEN: _between,
    A_Expr_Kind.AEXPR_NOT_BETWEEN: _between,
}
_RULES: dict[type[Any], Callable[[Any, Leaf], Term]] = {
    ast.ColumnRef: _column,
    ast.A_Const: _constant,
    ast.A_Expr: _operation,
    ast.BoolExpr: _boolean,
    ast.NullTest: _is_null,
    ast.BooleanTest: _is_true,
    ast.CaseExpr: _case,
    ast.CoalesceExpr: _coalesce,
    ast.MinMaxExpr: _extreme,
    ast.FuncCall: _function,
}


def ratio_sql(over: str, under: str, smooth: float) -> str:
    """Return SQL of ``(over + smooth) / (under + smooth)``, NULL where that is not defined."""
    s = _literal(str(smooth))
    above, below = (ARITHMETIC["+"].format(x, s) if smooth else x for x in (over, under))
    return f"rescore._result({ARITHMETIC['/'].format(above, below)})"


def cycles(uses: dict[str, tuple[str, ...]]) -> Iterator[tuple[str, ...]]:
    """Yield the features that are computed from themselves, each as the way round.

    So is a way of more than `MAX_CHAIN` features, which is not round.

    Parameters
    ----------
    uses: the features each computed feature reads.

    Examples
    --------
    >>> list(cycles({"a": ("b",), "b": ("a", "c")}))
    [('a', 'b', 'a')]
    """
    done: set[str] = set()
    for start in uses:
        way = _way_back(start, uses, done)
        if way:
            yield way


def _way_back(
    start: str, uses: dict[str, tuple[str, ...]], done: set[str]
) -> tuple[str, ...] | None:
    """Return the first way round found from here; what led to none is added to ``done``."""
    stack: list[tuple[str, Iterator[str]]] = [(start, iter(uses.get(start, ())))]
    while stack and start not in done:
        if len(stack) > MAX_CHAIN:
            done.update(name for name, _ in stack)
            return tuple(name for name, _ in stack)
        following = next(stack[-1][1], None)
        on_way = [name for name, _ in stack]
        if following is None:
            done.add(stack.pop()[0])
        elif following in on_way:
            done.update(on_way)
            return (*on_way[on_way.index(following) :], following)
        elif following in uses and following not in done:
            stack.append((following, iter(uses[following])))
    return None
