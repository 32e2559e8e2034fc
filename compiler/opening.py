"""What events made before a day from which on they are complete: kept beside the counters. Pure.

With `history_from`, a recount is what the events since that day say, joined to what is kept. That
is taken, when the day is first named or moved, from the counters as they are: what the events
since have added is taken off again. Where arithmetic cannot do that, the events before that are
still there tell; where these do not make the counter either, it is kept whole if nothing since
can be in it twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from rescore.compiler.event_source import EventSource
from rescore.compiler.printing import printed
from rescore.compiler.profile import Profile
from rescore.compiler.quoting import ident, literal
from rescore.compiler.states import Refs, State, differs
from rescore.compiler.windows import MOMENT


def days(plan: Profile) -> dict[str, str]:
    """Return the first complete day of each event that names one, as SQL."""
    return {s.name: s.first_day for s in plan.sources if s.first_day}


def opening_sql(plan: Profile, old: Mapping[str, Any], columns: Sequence[str]) -> str:
    """Return SQL that keeps the counters whose day is new, and drops those of another meaning.

    Parameters
    ----------
    old: the plan that was applied before.
    columns: the states that mean what they meant, and were there.
    """
    before: Mapping[str, str] = old.get("days", {})
    printed_sql: list[str] = []
    for source in plan.sources:
        kept = [s for s in source.states if s.opens and s.column in columns]
        if source.first_day != before.get(source.name, "") and kept:
            printed_sql.append(_taken(plan, source, kept, before.get(source.name, "")))
    known = old.get("states", {})
    other = [s for s in plan.openings if s.column in known and s.column not in columns]
    if other:
        nothing = [(s.opening, "NULL") for s in other]
        printed_sql.append(printed("opening_none.sql.j2", plan=plan, openings=nothing))
    return "\n".join(printed_sql)


def undone_states(plan: Profile, old: Mapping[str, Any]) -> set[str]:
    """Return states that are counted from all events again."""
    ends = set(old.get("days", {})) - set(days(plan))
    return {s.column for source in plan.sources if source.name in ends for s in source.states}


def _taken(plan: Profile, source: EventSource, states: Sequence[State], first_day: str) -> str:
    earlier = replace(source, first_day=first_day, last_day=source.first_day)
    return printed(
        "opening.sql.j2",
        plan=plan,
        source=source,
        before=earlier,
        states=states,
        openings=[(s.opening, _opening(plan, s, bool(first_day))) for s in states],
    ).replace(MOMENT, plan.moment_sql)


def _opening(plan: Profile, state: State, moved: bool) -> str:
    """SQL: what the events before have made of a state."""
    stored = f"p.{ident(state.column)}"
    if state.combine == "add":
        return f"{stored} - COALESCE(c.{ident(state.column)}, 0)"
    kept = {s.column: s for s in plan.openings}

    def earlier(column: str) -> str:
        return kept[column].opened(_refs("a"), "p") if moved else f"a.{ident(column)}"

    joined = state.filled(state.merging.merge(earlier, _refs("c")))
    explained = f"NOT ({differs(state, stored, joined, _refs('p'))})"
    return f"CASE WHEN {explained} THEN {earlier(state.column)} ELSE {_whole(state, stored)} END"


def _refs(alias: str) -> Refs:
    return lambda column: f"{alias}.{ident(column)}"


def _whole(state: State, stored: str) -> str:
    """SQL: the counter itself, if what came since can be in it twice, or is not in it at all."""
    if state.combine != "fold" or "hll_union" in state.fold:
        return stored
    since = f"c.{ident(state.merging.at or state.column)}"
    refused = f"rescore._no_opening({literal(state.column)})::{state.type}"
    return f"CASE WHEN {since} IS NULL THEN {stored} ELSE {refused} END"
