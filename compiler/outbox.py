"""Bands and reports of scores as SQL: when a trigger on the profile has something to do. Pure.

``OLD.<score>_reported`` is the score last reported: NULL when none was, NaN in rows that are older
than the column, whose score at that time is still in ``OLD.<score>``.
"""

from __future__ import annotations

from rescore.compiler.profile import Profile, Score
from rescore.compiler.quoting import ident, literal

EVENTS = ("set_insert", "set_update", "insert", "update", "delete", "truncate")
BY_RESCORE = "pg_catalog.current_setting('rescore.writing', true) IS NOT DISTINCT FROM 'on'"


def trigger_names(plan: Profile) -> dict[str, str]:
    """Names of the triggers on the profile table, by what they do; they sort after ``row_…``."""
    wanted = EVENTS if reported(plan) else EVENTS[:2] if watched(plan) else ()
    return {event: f"rescore_{plan.slug}__score_{event}" for event in wanted}


def watched(plan: Profile) -> list[Score]:
    """Scores with bands or reports."""
    return [s for s in plan.scores if s.bands or s.reports]


def reported(plan: Profile) -> list[Score]:
    """Scores whose moves are reported."""
    return [s for s in plan.scores if s.reports]


def is_new(plan: Profile) -> str:
    """SQL over NEW, before an insert: whether band or report are to be set.

    A row that an event's trigger creates is updated next, and reported then.
    """
    moved = [_differs(f"NEW.{ident(s.reported_column)}", f"NEW.{ident(s.column)}")
             for s in reported(plan)]  # fmt: skip
    banded = [_band_differs(s) for s in plan.scores if s.bands]
    return f"NOT ({BY_RESCORE}) AND ({' OR '.join(banded + moved)})"


def may_move(plan: Profile) -> str:
    """SQL over OLD and NEW, before an update: whether band or report may have to be set."""
    key = [_differs(*(f"{row}.{ident(plan.key)}" for row in ("OLD", "NEW")))]
    banded = [_band_differs(s) for s in plan.scores if s.bands]
    moved = [f"({is_fresh(s)} AND {_has_moved(s, _old(s))})" for s in reported(plan)]
    return " OR ".join([*moved, *banded, *(key if moved else [])])


def is_moved(score: Score) -> str:
    """SQL over NEW, ``rescore_v_last``, ``rescore_v_band``: whether the score is to be reported."""
    conditions = [_has_moved(score, "rescore_v_last")]
    if score.by_band:
        conditions.append(_differs(f"NEW.{ident(score.band_column)}", "rescore_v_band"))
    return " OR ".join(conditions)


def is_fresh(score: Score) -> str:
    """SQL over NEW: whether the score is one its model gave, not one marked stale."""
    return f"(NEW.{ident(score.at_column)} IS NOT NULL OR NEW.{ident(score.column)} IS NULL)"


def is_reported(plan: Profile) -> str:
    """SQL over OLD and NEW, after an update: whether some score was reported."""
    found = [_differs(*(f"{row}.{ident(plan.key)}" for row in ("OLD", "NEW")))]
    for s in reported(plan):
        found.append(_differs(*(f"{row}.{ident(s.reported_column)}" for row in ("OLD", "NEW"))))
        if s.by_band:
            found.append(_differs(*(f"{row}.{ident(s.band_column)}" for row in ("OLD", "NEW"))))
    return " OR ".join(found)


def has_report(plan: Profile, row: str) -> str:
    """SQL over OLD or NEW: whether some score of the row was ever reported."""
    return " OR ".join(f"{row}.{ident(s.reported_column)} IS NOT NULL" for s in reported(plan))


def last(score: Score, row: str) -> str:
    """SQL: the score last reported of a row; of one older than the column, the score itself."""
    stored, value = f"{row}.{ident(score.reported_column)}", f"{row}.{ident(score.column)}"
    return f"CASE WHEN {stored} = 'NaN' THEN {value} ELSE {stored} END"


def last_band(score: Score, row: str) -> str:
    """SQL: the band last reported of a row.

    With ``band: true`` each change of the column is reported, so it is the column: a change of the
    bounds is then a change of band.
    """
    if not score.bands:
        return "NULL::text"
    now = band(score, last(score, row))
    if not score.by_band:
        return now
    stored = f"{row}.{ident(score.reported_column)}"
    kept = f"CASE WHEN {stored} IS NOT NULL THEN {row}.{ident(score.band_column)} END"
    return f"CASE WHEN {stored} = 'NaN' THEN {now} ELSE {kept} END"


def band(score: Score, value: str) -> str:
    """SQL: the band a value is in; NULL below the lowest."""
    arms = [f"WHEN {value} >= {_number(b)} THEN {literal(n)}" for n, b in reversed(score.bands)]
    return f"CASE {' '.join(arms)} END"


def is_unkept(plan: Profile, row: str) -> list[str]:
    """SQL conditions, of which any says that a recount must write the row: no band, no report."""
    banded = [
        _differs(f"{row}.{ident(s.band_column)}", band(s, f"{row}.{ident(s.column)}"))
        for s in plan.scores
        if s.bands
    ]
    silent = [
        f"({row}.{ident(s.reported_column)} IS NULL AND {row}.{ident(s.at_column)} IS NOT NULL"
        f" AND {row}.{ident(s.column)} IS NOT NULL)"
        for s in reported(plan)
    ]
    return banded + silent


def _has_moved(score: Score, before: str) -> str:
    new = f"NEW.{ident(score.column)}"
    if score.moved_by is None:
        return f"(({new} IS NULL) <> ({before} IS NULL))"
    # First what is false of most updates; IS NOT FALSE lets NULL on either side through.
    far = f"(abs({new} - {before}) >= {_number(score.moved_by)}) IS NOT FALSE"
    return f"({far} AND {_differs(new, before)})"


def _band_differs(score: Score) -> str:
    return _differs(f"NEW.{ident(score.band_column)}", band(score, f"NEW.{ident(score.column)}"))


def _differs(one: str, other: str) -> str:
    return f"{one} IS DISTINCT FROM {other}"


def _old(score: Score) -> str:
    return f"OLD.{ident(score.reported_column)}"


def _number(value: float) -> str:
    return f"'{value!r}'::double precision"
