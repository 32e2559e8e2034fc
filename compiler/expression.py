"""A user's SQL conditions: parsed by PostgreSQL's own parser, checked, and printed anew.

What reaches generated SQL is the printing of the parsed tree, never the user's text, so comments,
semicolons and quoting tricks have no way through; and the printing is parsed once more to prove
that it says the same.

Only immutable built-ins are let through as far as syntax shows them. Types decide the rest
(``date_trunc`` of a ``timestamptz`` depends on the session, of a ``timestamp`` not), so the
database checks immutability again. Operators are printed without schema: embed the text only
where ``search_path`` is ``pg_catalog, pg_temp``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pglast import ast, parse_sql
from pglast.parser import ParseError
from pglast.stream import RawStream

from rescore.compiler.definition_errors import did_you_mean
from rescore.compiler.expression_rules import MAX_DEPTH, check_node, qualify
from rescore.errors import BadDefinition, DoesNotFit

MAX_CHARACTERS = 10_000

_WHOLE = "exactly one expression, such as: amount > 10 AND status = 'paid'"
# How a tree was written, and where, does not change what it says.
_NO_MEANING = frozenset(
    {"location", "list_start", "list_end", "rexpr_list_start", "rexpr_list_end", "funcformat"}
)


@dataclass(frozen=True)
class Expression:
    """A checked expression.

    Attributes
    ----------
    sql: its printing, with bare column names.
    columns: the columns it reads.
    """

    sql: str
    columns: frozenset[str]

    def render(self, alias: str | None = None, columns: Mapping[str, str] | None = None) -> str:
        """Return the SQL with each column renamed and put behind a table alias.

        Parameters
        ----------
        alias: table alias or record variable, quoted here; none for bare names.
        columns: new names of columns; those not named keep theirs.
        """
        renamed = columns or {}
        tree = _parse(self.sql)
        for node, _ in walk(tree):
            if isinstance(node, ast.ColumnRef):
                name = renamed.get(_fields(node)[0], _fields(node)[0])
                parts = [name] if alias is None else [alias, name]
                node.fields = tuple(ast.String(sval=part) for part in parts)
        return _print(tree)


def check(expression: str, columns: Collection[str] | None, place: str) -> Expression:
    """Return the checked form of a condition or value over the columns of one table.

    Parameters
    ----------
    expression: SQL, without subquery, aggregate, parameter or anything that is not immutable.
    columns: columns it may read; None lets any name pass, to be checked later.
    place: begins every message, such as ``crm.yaml:14:3``; may be empty.

    Raises
    ------
    BadDefinition: not exactly one expression, or one that holds something not allowed.
    DoesNotFit: a column that the table does not have.
    """
    try:
        tree = _parse(expression)
        read = frozenset(_checked(tree))
        sql = _print(tree)
    except BadDefinition as error:
        raise _placed(error, place, expression) from None
    unknown = sorted(read - set(columns)) if columns is not None else []
    if columns is not None and unknown:
        raise _no_column(unknown[0], columns, place)
    return Expression(sql, read)


def missing_columns(expression: str, columns: Collection[str], place: str) -> Iterator[DoesNotFit]:
    """Yield what :func:`check` says of each column the table does not have, by name.

    An expression that is wrong in itself is left to :func:`check`.
    """
    try:
        read = check(expression, None, place).columns
    except BadDefinition:
        return
    for name in sorted(read - set(columns)):
        yield _no_column(name, columns, place)


def parse_tree(text: str) -> Any:
    """Return the tree of exactly one expression, parsed but not otherwise checked.

    Raises
    ------
    BadDefinition: not exactly one expression, or nested too deeply.
    """
    return _parse(text)


def print_tree(tree: Any) -> str:
    """Return the SQL of a tree, proven by parsing it again.

    Raises
    ------
    BadDefinition: it cannot be printed faithfully.
    """
    return _print(tree)


def _checked(tree: Any) -> Iterator[str]:
    """Yield the columns read; qualify functions and types in place."""
    for node, parent in walk(tree):
        check_node(node, parent)
        qualify(node)
        if isinstance(node, ast.ColumnRef):
            yield _fields(node)[0]


def _parse(text: str) -> Any:
    """Return the tree of one expression.

    Bare and in parentheses it must be the same tree: whatever is more than an expression (a FROM
    clause, a second column, a closing parenthesis too many) is cut off by one of the two.
    """
    if len(text) > MAX_CHARACTERS:
        raise BadDefinition(
            f"{len(text)} characters are too many", detail=f"At most {MAX_CHARACTERS}."
        )
    bare, enclosed = _only_target(f"SELECT {text}\n"), _only_target(f"SELECT ({text}\n)")
    if _shape(bare) != _shape(enclosed):
        raise BadDefinition("not one expression", detail=f"Expected {_WHOLE}.")
    return bare


def _only_target(statement: str) -> Any:
    try:
        if "\0" in statement:
            raise BadDefinition("a NUL character", detail=f"Expected {_WHOLE}.")
        statements = parse_sql(statement)
    except (ParseError, UnicodeError, RecursionError) as error:
        reason = str(error.args[0]) if isinstance(error, ParseError) else "unreadable text"
        reason = " ".join(reason.split())
        raise BadDefinition(reason, detail=f"Expected {_WHOLE}.") from None
    target = _target(statements[0].stmt) if len(statements) == 1 else None
    if target is None:
        raise BadDefinition("not one expression", detail=f"Expected {_WHOLE}.")
    _check_depth(target)
    return target


def _check_depth(tree: Any) -> None:
    """Refuse a tree too deep for the functions below, which call themselves level by level."""
    for _ in walk(tree):
        pass


def _target(select: Any) -> Any:
    """Return the one expression of ``SELECT expression``, or None if there is anything else."""
    targets: Any = select.targetList if isinstance(select, ast.SelectStmt) else ()
    if len(targets or ()) != 1:
        return None
    target = targets[0]
    others = (getattr(select, a) for a in select if a not in ("targetList", "limitOption"))
    extra = any(clause not in (None, False, 0) for clause in others)
    if extra or target.name is not None or target.indirection:
        return None
    return target.val


def walk(node: Any, parent: Any = None, depth: int = 0) -> Iterator[tuple[Any, Any]]:
    """Yield each node with its parent, outermost first."""
    if depth > MAX_DEPTH:
        raise BadDefinition("nested too deeply", detail=f"At most {MAX_DEPTH} levels.")
    if isinstance(node, tuple):
        for item in node:
            yield from walk(item, parent, depth + 1)
    elif isinstance(node, ast.Node):
        yield node, parent
        for attribute in node:
            yield from walk(getattr(node, attribute), node, depth + 1)


def _shape(node: Any) -> Any:
    """Return what a tree says, as plain comparable values."""
    if isinstance(node, tuple):
        return tuple(_shape(item) for item in node)
    if not isinstance(node, ast.Node):
        return node
    says = {a: _shape(getattr(node, a)) for a in node if a not in _NO_MEANING}
    return type(node).__name__, tuple(sorted((a, v) for a, v in says.items() if v is not None))


class _Printer(RawStream):
    """pglast's printer, with columns always quoted and strings that no setting can reread."""

    def print_node(self, node: Any, is_name: bool = False, is_symbol: bool = False) -> None:
        """Print a column reference quoted, everything else as pglast does."""
        if isinstance(node, ast.ColumnRef):
            self.write(".".join(_quoted(field) for field in _fields(node)))
        else:
            super().print_node(node, is_name, is_symbol)

    def write_quoted_string(self, s: str) -> None:
        """Print a string so that ``standard_conforming_strings`` does not matter."""
        quoted = "'" + s.replace("'", "''").replace("\\", "\\\\") + "'"
        self.write(f" E{quoted}" if "\\" in s else quoted)


def _fields(column: Any) -> list[str]:
    return [str(field.sval) for field in column.fields]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _print(tree: Any) -> str:
    """Return the SQL of a tree, proven by parsing it again."""
    sql = str(_Printer()(tree)).strip()
    if _shape(_only_target(f"SELECT {sql}\n")) != _shape(tree):
        raise BadDefinition(
            "this expression cannot be printed faithfully",
            detail=f"It would have become: {sql}",
            hint="Write it in another way.",
        )
    return sql


def _placed(error: BadDefinition, place: str, expression: str) -> BadDefinition:
    start = f"{place}: " if place else ""
    shown = expression if len(expression) <= 200 else expression[:197] + "..."
    detail = f"In: {shown}\n{error.detail}".rstrip()
    return BadDefinition(f"{start}SQL expression: {error.message}", detail=detail, hint=error.hint)


def _no_column(name: str, columns: Collection[str], place: str) -> DoesNotFit:
    start = f"{place}: " if place else ""
    return DoesNotFit(
        f'{start}SQL expression: there is no column "{name}"',
        detail=f"Columns: {', '.join(sorted(columns))}.",
        hint=did_you_mean(name, columns) or f"A text is written in single quotes: '{name}'.",
    )
