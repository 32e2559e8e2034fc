"""What a sweep does to the scores of a row, as SQL over the row ``p``. Pure."""

from __future__ import annotations

from typing import Any

from rescore.compiler.inputs import Input
from rescore.compiler.profile import Profile
from rescore.compiler.quoting import ident
from rescore.compiler.scored import Model, Score
from rescore.compiler.windows import MOMENT

CLOCK = "rescore_v_clock"


def sweeping(plan: Profile) -> dict[str, Any]:
    """Return what the template ``sweep.sql.j2`` is given besides the plan."""
    return {
        "due": plan.due("p", MOMENT),
        "swept": [pair for s in plan.scores for pair in _refreshed(plan, s)],
        "is_due": " OR ".join(_is_due(plan, s) for s in plan.scores),
        "late_is_due": {s.column: _late_is_due(plan, s) for s in plan.scores},
        "design_rows": {
            s.column: s.model.design_row(_ref, CLOCK)
            for s in plan.scores
            if isinstance(s.model, Model)
        },
        "late_scores": {s.column: s.model.call(_ref, CLOCK) for s in plan.scores},
        "late_versions": {s.column: s.model.served(_ref) for s in plan.scores},
        "moves": {moves(plan, s): _moves(s) for s in plan.scores},
    }


def moves(plan: Profile, score: Score) -> str:
    """Name of the variable that says whether the serving version reads the clock."""
    names = [m.name for m in plan.scorers]
    return f"rescore_v_moves_{names.index(score.model.name) + 1}"


def serves(plan: Profile, score: Score) -> str:
    """SQL: the version that serves this row; NULL while none does or `only` leaves it out."""
    version = score.model.served(_ref)
    return f"CASE WHEN {plan.only_sql()} THEN {version} END" if plan.only else version


def is_marked(plan: Profile, score: Score) -> str:
    """SQL: whether the score is marked stale."""
    return f"(p.{ident(score.at_column)} IS NULL AND {serves(plan, score)} IS NOT NULL)"


def _ref(column: str) -> str:
    return f"p.{ident(column)}"


def _refreshed(plan: Profile, score: Score) -> list[tuple[str, str]]:
    """Column and SQL of a score; one that Python scores stays as it is until its batch."""
    late, version = score.model.deferred, score.model.version
    fresh = {
        score.column: score.model.call(_ref, CLOCK),
        score.version_column: score.model.served(_ref),
        score.at_column: f"CASE WHEN {version} IS NOT NULL THEN {CLOCK} END",
    }
    kept = {c: f"CASE WHEN {late} THEN {_ref(c)} ELSE {value} END" for c, value in fresh.items()}
    if plan.only is None:
        return list(kept.items())
    return [(c, f"CASE WHEN {plan.only_sql()} THEN {value} END") for c, value in kept.items()]


def _is_due(plan: Profile, score: Score) -> str:
    """SQL: whether a compiled score is written: marked, of another version, or moved."""
    late = score.model.deferred
    other = f"{_ref(score.version_column)} IS DISTINCT FROM {serves(plan, score)}"
    needed = f"{other} OR {is_marked(plan, score)} OR ({_is_old(plan, score)} AND {_moved(score)})"
    only = f"({plan.only_sql()}) IS NOT TRUE" if plan.only else "false"
    left_out = f"{only} AND {_ref(score.version_column)} IS NOT NULL"
    return f"CASE WHEN {late} THEN {left_out} ELSE {needed} END"


def _late_is_due(plan: Profile, score: Score) -> str:
    """SQL: whether Python is to score the row; whether that moves it is seen afterwards."""
    version = score.model.version
    other = f"{_ref(score.version_column)} IS DISTINCT FROM {version}"
    needed = f"({other} OR {_ref(score.at_column)} IS NULL OR {_is_old(plan, score)})"
    return f"{plan.only_sql()} AND {needed}" if plan.only else needed


def _is_old(plan: Profile, score: Score) -> str:
    at = _ref(score.at_column)
    return f"({moves(plan, score)} AND {at} < rescore_v_old AND {at} <> {CLOCK})"


def _timed(score: Score) -> list[Input]:
    """Inputs whose value changes while nothing happens."""
    since = ("days_since", "days_until")
    return [i for i in score.model.inputs if i.kind in since or "{clock}" in i.cast]


def _is_moved(timed: Input, at: str) -> str:
    """SQL: whether the clock has moved the input since the score: a time, or a number of now."""
    argument = timed.argument(_ref, CLOCK)
    if timed.kind != "number":
        return f"{argument} IS NOT NULL"
    return f"{timed.argument(_ref, at)} IS DISTINCT FROM {argument}"


def _moves(score: Score) -> str:
    """SQL: whether the serving version has an input that changes while nothing happens."""
    return score.model.reads([i.name for i in _timed(score)])


def _moved(score: Score) -> str:
    """SQL: whether the clock has moved the score by more than the tolerance.

    With a tolerance of 0 no score is computed twice: an input that has moved is enough.
    """
    inputs = (_is_moved(i, _ref(score.at_column)) for i in _timed(score))
    known = " OR ".join(inputs) or "false"
    near = f"abs({_ref(score.column)} - {score.model.call(_ref, CLOCK)}) <= rescore_v_tolerance"
    return f"CASE WHEN rescore_v_tolerance = 0 THEN {known} ELSE ({near}) IS NOT TRUE END"
