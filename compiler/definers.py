"""Generated functions that run as their owner (SECURITY DEFINER), and only as their owner."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Any

from pglast import ast, parse_sql

from rescore.compiler.printing import QUOTE
from rescore.compiler.quoting import ident
from rescore.errors import RescoreError

Guard = Callable[[str, str], str]
# Options of PL/pgSQL stand before all else of a body.
_OPTIONS = re.compile(r"(?:\s*#\w+[^\S\n]+\w+[^\S\n]*(?=\n))*\n?")
_TRIGGER = (("trigger",), ("pg_catalog", "trigger"))


def guarded(sql: str, guard: Guard, inner: Collection[str]) -> str:
    """Return the SQL with a guard in every function that runs as its owner.

    An owner may alter such a function so that it runs as its caller, with a search_path of the
    owner's choice; a superuser who then rebuilds the profile would run the owner's code.
    Trigger functions need no guard: they run for whoever writes the tables, as other triggers do.

    Parameters
    ----------
    sql: what the templates printed.
    guard: returns the guarded body of a function, given its name and its own body.
    inner: names of functions that nobody but their owner may call.

    Raises
    ------
    RescoreError: a function runs as its owner, and no guard can be put in.
    """
    parts, done = [], 0
    for each in parse_sql(sql):
        name = _definer(each.stmt)
        if name is None or name in inner:
            continue
        begin = each.stmt_location or 0
        end = begin + each.stmt_len if each.stmt_len else len(sql)
        parts += [sql[done:begin], _with_guard(sql[begin:end], name, each.stmt, guard)]
        done = end
    return "".join([*parts, sql[done:]])


def _definer(stmt: Any) -> str | None:
    """Return the name of the function that a statement lets run as its owner; None of no such."""
    if isinstance(stmt, ast.CreateFunctionStmt):
        names, options = stmt.funcname, stmt.options
        if stmt.returnType and _texts(stmt.returnType.names) in _TRIGGER:
            return None
    elif isinstance(stmt, ast.AlterFunctionStmt):
        assert stmt.func is not None  # it has a name
        names, options = stmt.func.objname, stmt.actions
    else:
        return None
    is_definer = any(each.defname == "security" and each.arg.boolval for each in options or ())
    return ident(*_texts(names)) if is_definer else None


def _with_guard(text: str, name: str, stmt: Any, guard: Guard) -> str:
    if not isinstance(stmt, ast.CreateFunctionStmt):
        raise _unguarded(name, "it was made to by ALTER FUNCTION")
    given = {each.defname: each.arg for each in stmt.options or ()}
    language = given["language"].sval if "language" in given else "sql"
    if language != "plpgsql":
        raise _unguarded(name, f"its language is {language}")
    body = given["as"][0].sval
    head, quote, rest = text.partition(f"{QUOTE}{body}{QUOTE}")
    if not quote:
        raise _unguarded(name, f"its body is not quoted by {QUOTE}")
    begin = _OPTIONS.match(body).end()  # type: ignore[union-attr]
    own = body[begin:].strip().removesuffix(";")
    return f"{head}{QUOTE}{body[:begin]}{guard(name, own)}{QUOTE}{rest}"


def _unguarded(name: str, why: str) -> RescoreError:
    return RescoreError(
        f"function {name} runs as its owner, and no guard can be put into it: {why}",
        detail=f"A guard stands in the body of a CREATE FUNCTION in PL/pgSQL, quoted by {QUOTE}.",
        hint="Write it so in compiler/templates, or let it run as its caller.",
    )


def _texts(names: Any) -> tuple[str, ...]:
    return tuple(each.sval for each in names)
