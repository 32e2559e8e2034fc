"""Bands and reports of scores as SQL: when a trigger on the profile has something to do. Pure.

``OLD.<score>_reported`` is the score last reported: NULL when none was, NaN in rows that are older
than the column, whose score at that time is still in ``OLD.<score>``. Conditions name their
operators with the schema: the function that asks them at each update has no search_path of its own,
since setting one costs more than all it does.
"""

from __future__ import annotations

from rescore.compiler.profile import Profile
from rescore.compiler.quoting import ident, literal
from rescore.compiler.scored import Score

EVENTS = ("report", "insert", "update", "key", "delete", "truncate")
NAN = "'NaN'::double precision"


def trigger_names(plan: Profile) -> dict[str, str]:
    """Names of the triggers on the profile table, by what they do; they sort after ``row_…``."""
    wanted = EVENTS if reported(plan) else EVENTS[:1] if watched(plan) else ()
    return {event: f"rescore_{plan.slug}__score_{event}" for event in wanted}


def watched(plan: Profile) -> list[Score]:
    """Scores with bands or reports."""
    return [s for s in plan.scores if s.bands or s.reports]


def reported(plan: Profile) -> list[Score]:
    """Scores whose moves are reported."""
    return [s for s in plan.scores if s.reports]


def may_move(plan: Profile) -> str:
    """SQL over OLD and NEW, OLD empty in an insert: whether a band or a report may be to be set."""
    moved = [
        f"({_has_moved(s, f'OLD.{ident(s.reported_column)}')} AND {is_fresh(s)})"
        for s in reported(plan)
    ]
    banded = [_band_differs(s, "NEW") for s in plan.scores if s.bands]
    key = [differs(f"NEW.{ident(plan.key)}", f"OLD.{ident(plan.key)}")] if moved else []
    return "\n        OR ".join([*moved, *banded, *key])


def is_moved(score: Score) -> str:
    """SQL over NEW, ``rescore_v_last``, ``rescore_v_band``: whether the score is to be reported."""
    conditions = [_has_moved(score, "rescore_v_last")]
    if score.by_band:
        conditions.append(differs(f"NEW.{ident(score.band_column)}", "rescore_v_band"))
    return " OR ".join(conditions)


def is_fresh(score: Score) -> str:
    """SQL over NEW: whether the score is one its model gave, not one marked stale."""
    return f"(NEW.{ident(score.at_column)} IS NOT NULL OR NEW.{ident(score.column)} IS NULL)"


def is_reported(plan: Profile) -> str:
    """SQL over OLD and NEW, after an update: whether some score was reported.

    Short: a condition of a trigger is parsed anew in each statement.
    """
    columns = [c for s in reported(plan) for c in _told(s)]
    return " OR ".join(f"OLD.{ident(c)} IS DISTINCT FROM NEW.{ident(c)}" for c in columns)


def _told(score: Score) -> list[str]:
    return [score.reported_column, *([score.band_column] if score.by_band else [])]


def has_report(plan: Profile, row: str) -> str:
    """SQL over OLD or NEW: whether some score of the row was ever reported."""
    return " OR ".join(f"{row}.{ident(s.reported_column)} IS NOT NULL" for s in reported(plan))


def last(score: Score, row: str) -> str:
    """SQL: the score last reported of a row; of one older than the column, the score itself."""
    stored, value = f"{row}.{ident(score.reported_column)}", f"{row}.{ident(score.column)}"
    return f"CASE WHEN {_equals(stored, NAN)} THEN {value} ELSE {stored} END"


def last_band(score: Score, row: str) -> str:
    """SQL: the band last reported of a row.

    With ``band: true`` each change of the column is reported, so it is the column: a change of the
    bounds is then a change of band.
    """
    if not score.bands:
        return "NULL"
    now = band(score, f"({last(score, row)})")
    if not score.by_band:
        return now
    stored = f"{row}.{ident(score.reported_column)}"
    kept = f"CASE WHEN {stored} IS NOT NULL THEN {row}.{ident(score.band_column)} END"
    return f"CASE WHEN {_equals(stored, NAN)} THEN {now} ELSE {kept} END"


def band(score: Score, value: str) -> str:
    """SQL: the band a value is in; NULL below the lowest."""
    arms = [
        f"WHEN {value} OPERATOR(pg_catalog.>=) {_number(bound)} THEN {literal(name)}"
        for name, bound in reversed(score.bands)
    ]
    return f"CASE {' '.join(arms)} END"


def is_unkept(plan: Profile, row: str) -> list[str]:
    """SQL conditions, any of which says that a recount must write the row: no band, no report."""
    silent = [
        f"({row}.{ident(s.reported_column)} IS NULL AND {row}.{ident(s.at_column)} IS NOT NULL"
        f" AND {row}.{ident(s.column)} IS NOT NULL)"
        for s in reported(plan)
    ]
    return [*(_band_differs(s, row) for s in plan.scores if s.bands), *silent]


def differs(one: str, other: str) -> str:
    """SQL: ``IS DISTINCT FROM``, which cannot name its operator's schema."""
    return f"({_equals(one, other)} IS NOT TRUE AND ({one} IS NOT NULL OR {other} IS NOT NULL))"


def _has_moved(score: Score, before: str) -> str:
    new = f"NEW.{ident(score.column)}"
    if score.moved_by is None:
        return f"(({new} IS NULL) OPERATOR(pg_catalog.<>) ({before} IS NULL))"
    # First what is false of most updates; IS NOT FALSE lets NULL on either side through.
    far = f"pg_catalog.abs({new} OPERATOR(pg_catalog.-) {before})"
    moved = f"({far} OPERATOR(pg_catalog.>=) {_number(score.moved_by)}) IS NOT FALSE"
    return f"({moved} AND {differs(new, before)})"


def _band_differs(score: Score, row: str) -> str:
    column = f"{row}.{ident(score.band_column)}"
    return differs(column, f"({band(score, f'{row}.{ident(score.column)}')})")


def _equals(one: str, other: str) -> str:
    return f"({one} OPERATOR(pg_catalog.=) {other})"


def _number(value: float) -> str:
    return f"'{value!r}'::double precision"
