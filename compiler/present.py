"""What is in the database of a profile that was applied before: triggers, functions, tables."""

from __future__ import annotations

from typing import Any

import psycopg

from rescore.compiler.profile import Profile
from rescore.compiler.queries import query
from rescore.compiler.quoting import ident

Connection = psycopg.Connection[Any]


def shapes(conn: Connection, profile: Profile) -> list[dict[str, Any]]:
    """What the profile depends on of each table, so that it can be told later what became of it."""
    read: dict[tuple[str, str], set[str]] = {}
    for s in profile.sources:
        read.setdefault((s.table.schema, s.table.name), set()).update(s.columns)
    for k in profile.links:
        read.setdefault((k.table.schema, k.table.name), set()).update((k.on, k.gives))
    found = []
    for (schema, name), columns in sorted(read.items()):
        given = {"name": ident(schema, name), "columns": sorted(columns)}
        shape = (conn.execute(query("shape"), given).fetchone() or [None])[0]
        found.append({"schema": schema, "name": name, "shape": shape})
    return found


def parts_come(conn: Connection, profile: Profile) -> bool:
    """Whether events came or went with partitions, unseen by any trigger."""
    return conn.execute(query("parts_come"), {"profile": profile.name}).rowcount > 0


def triggers_on(conn: Connection, profile: Profile, old: dict[str, Any]) -> list[list[str]]:
    """Triggers of the profile, with the tables they are on whatever these were called before."""
    if not old:
        return []
    return [list(r) for r in conn.execute(query("strays"), {"profile": profile.name})]


def has_triggers(
    conn: Connection, stored: dict[str, Any], old: dict[str, Any], profile: Profile
) -> bool:
    """Whether all triggers it had, and still needs, are there and enabled.

    If not, events may have gone uncounted. What new triggers are to see is counted when they come.
    """
    paused = (conn.execute(query("paused"), {"profile": profile.name}).fetchone() or [False])[0]
    before = old.get("triggers", [])  # the first version noted names alone
    wanted = [t for t in stored["triggers"] if t in before or t[2] in before]
    names = [t[2] for t in wanted]
    given = {"names": names, "always": stored["always"], "paused": paused}
    found = {tuple(r) for r in conn.execute(query("present_triggers"), given)}
    return {tuple(t) for t in wanted} <= found


def has_functions(conn: Connection, stored: dict[str, Any]) -> bool:
    """Whether all generated functions are there."""
    names = stored["functions"]
    found = {r[0] for r in conn.execute(query("present_functions"), {"names": names})}
    return set(names) <= found
