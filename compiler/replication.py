"""Triggers that must fire for what logical replication brings. Pure.

A subscription writes with ``session_replication_role = replica``, in which only triggers enabled
ALWAYS or REPLICA fire; and row by row, without the statement triggers of INSERT, UPDATE and DELETE.
"""

from __future__ import annotations

from rescore.compiler.outbox import trigger_names
from rescore.compiler.profile import Profile
from rescore.compiler.quoting import ident

OPERATIONS = ("insert", "update", "delete", "truncate")


def always_fired(plan: Profile) -> list[tuple[str, str, str]]:
    """Return schema, table and name of each trigger to be enabled ALWAYS.

    Those of the replicated event tables and then, since their work on the profile is done in the
    same session, the profile's own.
    """
    found = [
        (s.table.schema, s.table.name, plan.trigger(s, operation))
        for s in plan.sources
        if s.replicated
        for operation in OPERATIONS
    ]
    own = [*plan.own_triggers.values(), *trigger_names(plan).values()] if found else []
    return found + [(plan.schema, plan.table, name) for name in own]


def enabled_always(plan: Profile) -> str:
    """SQL that enables them so: as it is created, or replaced, a trigger fires for others only."""
    return "".join(
        f"ALTER TABLE {ident(schema, table)} ENABLE ALWAYS TRIGGER {ident(name)};\n"
        for schema, table, name in always_fired(plan)
    )
