"""A single event, the usual case: what it says, read once into variables of the trigger function.

Contributions of many features hold the same conditions and columns. Each is evaluated once; what a
contribution is made of them (CASE, COALESCE) costs next to nothing and stands where it is used.
PostgreSQL sets expressions up anew in every statement, function by function: what is not repeated
need not be set up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pglast import ast
from pglast.enums import BoolExprType, NullTestType

from rescore.compiler.event_source import EventSource
from rescore.compiler.expression import parse_tree, print_tree
from rescore.compiler.profile import Profile
from rescore.compiler.quoting import ident
from rescore.compiler.states import State
from rescore.errors import BadDefinition

KEY, TIME, CLOCK = "rescore_v_key", "rescore_v_time", "rescore_v_clock"
MANY = 3
"""So many scores use new values often enough for a subquery that computes them once."""
NOTHING = {"add": "0", "min": "NULL", "max": "NULL"}
"""Contributions that leave a state as it is."""

Variables = dict[str, tuple[str, str]]


@dataclass(frozen=True)
class Reading:
    """What is read of a single event.

    Attributes
    ----------
    variables: name → type and SQL over the event ``e``.
    given: SQL of the contribution to each state that can change, over the variables.
    """

    variables: Variables
    given: dict[str, str]


def reading(plan: Profile, source: EventSource) -> Reading:
    """Return how the triggers of a profile read a single event of this source."""
    found = _Fragments(source)
    if source.time:
        found.name(source.time, "timestamp with time zone", TIME)
    found.name(source.key, plan.key_type, KEY)
    given = {s: found.contribution(s) for s in source.timely}
    changing = {s.column: sql for s, sql in given.items() if sql != NOTHING.get(s.combine)}
    return Reading(found.read, changing)


def changes(plan: Profile, source: EventSource, given: dict[str, str]) -> Changes:
    """Return what a single event changes, given its contributions.

    Columns and SQL; and, where computing them once pays, SQL of the new values, to which the rest
    refers as ``n``: a subquery costs as much as a third model or a large sketch.
    """
    new = plan.counters(
        {
            s.column: s.advance(lambda c: f"p.{ident(c)}", given.__getitem__)
            for s in source.timely
            if s.column in given
        }
    )
    if len(plan.scores) < MANY and not any(s.dear for s in source.states):
        return Changes(new + plan.scored(dict(new), CLOCK), [])
    named = {column: f"n.{ident(column)}" for column, _ in new}
    return Changes([*named.items(), *plan.scored(named, CLOCK)], new)


@dataclass(frozen=True)
class Changes:
    """The columns that are set, each to its SQL; ``new``: values computed before, as ``n``."""

    sets: list[tuple[str, str]]
    new: list[tuple[str, str]]


@dataclass
class _Fragments:
    """The distinct pieces of SQL over ``e`` that contributions are made of."""

    source: EventSource
    read: Variables = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)

    def name(self, sql: str, type_: str, wanted: str = "") -> str:
        """Return the variable of this SQL."""
        if sql not in self.names:
            self.names[sql] = wanted or f"rescore_v_{len(self.read) + 1}"
            self.read[self.names[sql]] = (type_, sql)
        return self.names[sql]

    def contribution(self, state: State) -> str:
        """Return SQL over the variables of what a state is given."""
        try:
            return self.value(parse_tree(state.single), state.type)
        except (_Untyped, BadDefinition):
            return self.name(state.single, state.type)

    def value(self, node: Any, type_: str = "") -> str:
        """Return SQL over the variables of a value of this type; empty: it is not known.

        What functions compute is a variable: it is computed even where CASE would not have.
        Should that raise, the event is counted as a set, which computes it as it is written.
        """
        if isinstance(node, ast.A_Const) or _is_typed_constant(node):
            return print_tree(node)
        if isinstance(node, ast.ColumnRef):
            return self._column(node)
        if isinstance(node, ast.CaseExpr) and node.arg is None:
            return self._case(node, type_)
        if isinstance(node, ast.CoalesceExpr):
            return self._coalesce(node.args or (), type_)
        if not type_:
            raise _Untyped
        return self.name(print_tree(node), type_)

    def condition(self, node: Any) -> str:
        """Return SQL over the variables of a truth value, where NULL is as good as false."""
        if isinstance(node, ast.BoolExpr):
            return self._boolean(node)
        if isinstance(node, ast.NullTest):
            return self._null_test(node)
        sql = print_tree(node)
        # The fast path is for events with a time.
        if self.source.time and sql == print_tree(parse_tree(f"isfinite({self.source.time})")):
            return "true"
        truth = sql.lower()
        return truth if truth in ("true", "false") else self.name(sql, "boolean")

    def _null_test(self, node: Any) -> str:
        is_given = node.nulltesttype == NullTestType.IS_NOT_NULL
        if is_given and self._is_never_null(node.arg):
            return "true"
        if is_given and self._yields_values(node.arg) and len(node.arg.args) == 1:
            return self.condition(node.arg.args[0].expr)
        return f"({self.value(node.arg)} IS {'NOT ' if is_given else ''}NULL)"

    def _column(self, node: Any) -> str:
        sql = print_tree(node)
        if self.source.time and sql == print_tree(parse_tree(self.source.time)):
            return TIME
        alias, name = _names(node)
        if alias != "e":
            return sql  # the moment, a variable itself
        return self.name(sql, self.source.table.columns[name].type)

    def _case(self, node: Any, type_: str, otherwise: str = "") -> str:
        whens: list[str] = []
        if node.defresult is not None:
            otherwise = self.value(node.defresult, type_)
        for when in node.args:
            condition = self.condition(when.expr)
            if condition == "true":
                otherwise = self.value(when.result, type_)
                break
            if condition != "false":
                whens.append(f"WHEN {condition} THEN {self.value(when.result, type_)}")
        last = f" ELSE {otherwise}" if otherwise else ""
        return f"CASE {' '.join(whens)}{last} END" if whens else otherwise or "NULL"

    def _coalesce(self, args: Sequence[Any], type_: str) -> str:
        first, last = args[0], args[-1]
        if len(args) == 2 and self._yields_values(first):
            return self._case(first, type_, self.value(last, type_))
        return f"COALESCE({', '.join(self.value(a, type_) for a in args)})"

    def _boolean(self, node: Any) -> str:
        found = list(dict.fromkeys(self.condition(a) for a in node.args))
        if node.boolop == BoolExprType.NOT_EXPR:
            return f"(NOT {found[0]})"
        if node.boolop == BoolExprType.OR_EXPR:
            return f"({' OR '.join(found)})"
        if "false" in found:
            return "false"
        kept = [c for c in found if c != "true"]
        return f"({' AND '.join(kept)})" if len(kept) > 1 else (kept or ["true"])[0]

    def _yields_values(self, node: Any) -> bool:
        """Whether a node is a CASE without ELSE that gives no NULL where a condition holds."""
        is_case = isinstance(node, ast.CaseExpr) and node.arg is None and node.defresult is None
        return is_case and all(self._is_never_null(w.result) for w in node.args)

    def _is_never_null(self, node: Any) -> bool:
        if isinstance(node, ast.A_Const):
            return not node.isnull
        alias, name = _names(node) if isinstance(node, ast.ColumnRef) else ("", "")
        column = self.source.table.columns.get(name) if alias == "e" else None
        return column is not None and column.not_null


class _Untyped(Exception):
    """A value that functions compute, of a type that is not known here."""


def _is_typed_constant(node: Any) -> bool:
    return isinstance(node, ast.TypeCast) and isinstance(node.arg, ast.A_Const)


def _names(column: Any) -> tuple[str, str]:
    """Return the alias, empty if there is none, and the name of a column reference."""
    *alias, name = (str(field.sval) for field in column.fields)
    return (alias[0] if alias else ""), name
