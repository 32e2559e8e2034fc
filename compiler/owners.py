"""As whom a profile's triggers run: the owner of its table, whom all owners of what it reads trust.

A trigger function that ran as whoever applied the definition would lend that role's rights to
everybody who owns one of the tables: a trigger, a default or a view in the table's place runs as
the role that touches it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import psycopg

from rescore.compiler import render
from rescore.compiler.build import Tables
from rescore.compiler.difference import Plan
from rescore.compiler.profile import Profile
from rescore.compiler.queries import query
from rescore.compiler.quoting import ident
from rescore.errors import NotAllowed

Connection = psycopg.Connection[Any]


@dataclass(frozen=True)
class Definer:
    """The role the triggers of a profile run as, and whether it is the one that applies."""

    name: str
    applies: bool


def find_definer(conn: Connection, profile: Profile, tables: Tables) -> Definer:
    """Return the role that the triggers of a profile are to run as.

    Raises
    ------
    NotAllowed: an owner of a table could run code as the role, or the role does not see every row.
    """
    given = {
        "profile": profile.relation,
        "tables": [ident(t.schema, t.name) for t in (*tables.events.values(), *tables.beside)],
        "links": [ident(t.schema, t.name) for t in tables.links.values()],
    }
    row = conn.execute(query("definer"), given).fetchone()
    assert row is not None
    problems = conn.execute(query("owner_problems"), {**given, "definer": row[0]}).fetchall()
    if problems:
        raise _refused(str(row[1]), problems)
    return Definer(str(row[1]), bool(row[2]))


def _refused(definer: str, problems: list[Any]) -> NotAllowed:
    shown = "; ".join(problem for problem, _ in problems[1:])
    return NotAllowed(
        problems[0][0],
        detail=f"Triggers would run as {definer}, the owner of the profile table: it must see "
        "every row, and whoever owns another of the tables could run code as it."
        + (f" Also: {shown}." if shown else ""),
        hint=" ".join(dict.fromkeys(hint for _, hint in problems)),
    )


def _deferred(conn: Connection, made: Plan, definer: Definer) -> list[str]:
    """Say which triggers would not run as the definer, whatever function writes their rows."""
    names = [name for name, _ in made.locks] or [made.profile.relation]
    return [
        f"{name} is deferred: before PostgreSQL 18 it runs as whoever commits, not as "
        f"{definer.name}; sweep and rebuild as a role with no rights that role should not have"
        for (name,) in conn.execute(query("deferred"), {"tables": names})
    ]


def with_owners(conn: Connection, made: Plan, definer: Definer) -> Plan:
    """Return the plan that also gives to the definer what is to run as it.

    A new profile table is given to it too, and shown to the roles that read scores.
    """
    made = replace(made, notes=[*made.notes, *_deferred(conn, made, definer)])
    if not made.profile.exists:
        readers = [role for (role,) in conn.execute(query("readers"))]
        owner = None if definer.applies else definer.name
        return replace(made, sql=f"{made.sql}\n{render.grants(made.profile, owner, readers)}")
    given = {"profile": made.profile.name, "definer": ident(definer.name)}
    row = conn.execute(query("misowned"), given).fetchone()
    if made.sql or not row or not row[0]:
        return made
    changes = [*made.changes, f"give functions and triggers to {definer.name}"]
    return replace(made, sql=query("secure").decode(), changes=changes)
