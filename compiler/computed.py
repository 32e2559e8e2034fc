"""Features computed from other features: ``ratio`` and ``expr``.

They are no states: what a model is given is an expression over profile columns and the clock.
One that needs neither the clock nor a plain column is also stored, for whoever reads the table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from rescore.compiler.computed_expression import names, number_sql, ratio_sql
from rescore.compiler.definition import Feature
from rescore.compiler.features import FLOATS, number_options
from rescore.compiler.inputs import Input
from rescore.compiler.states import DISTINCT, Derived, State
from rescore.errors import BadDefinition, DoesNotFit


def reads(feature: Feature) -> tuple[str, ...]:
    """Return the features that a computed one reads; none for any other.

    Raises
    ------
    BadDefinition: its expression is none, or holds something that is not allowed.
    """
    if feature.ratio is not None:
        return tuple(dict.fromkeys(feature.ratio))
    return names(feature.expr) if feature.expr is not None else ()


def computed_input(name: str, feature: Feature, given: Callable[[str], Input]) -> Input:
    """Return the input of a computed feature, given the inputs it is computed from.

    Raises
    ------
    BadDefinition: its expression is wrong, or too long once the others stand in it.
    DoesNotFit: it reads a category.
    """
    columns: dict[str, int] = {}

    def place(column: str) -> str:
        return f"{{{columns.setdefault(column, len(columns))}}}"

    try:
        cast = _sql(name, feature, lambda part: _as_number(name, given(part), place))
    except BadDefinition as error:
        message = f"feature {name}: {error.message}"
        raise BadDefinition(message, detail=error.detail, hint=error.hint) from None
    first, *others = columns
    return Input(
        name, first, "double precision", "number", cast, nullable=True, bounded=True,
        beside=tuple(others), computed=True, **number_options(feature),
    )  # fmt: skip


def _sql(name: str, feature: Feature, leaf: Callable[[str], str]) -> str:
    if feature.ratio is not None:
        over, under = feature.ratio
        return ratio_sql(leaf(over), leaf(under), feature.smooth or 0.0)
    return number_sql(feature.expr or "", leaf)


def _as_number(name: str, given: Input, place: Callable[[str], str]) -> str:
    """SQL of an input's plain number, as an expression may hold it: days at the clock."""
    ref = given.argument(place, "{clock}")
    if given.kind == "days_since":
        return f"rescore._days_after(GREATEST({{clock}}, {ref}), {ref})"
    if given.kind == "days_until":
        return f"rescore._days_after({ref}, {{clock}})"
    if given.kind == "category":
        raise DoesNotFit(
            f"feature {name}: {given.name} is a category",
            detail="An expression is made of numbers and days.",
            hint="Count or sum the events that meet a condition, with `where`.",
        )
    return ref if given.computed else _number(given, ref)


def _number(given: Input, ref: str) -> str:
    if given.type in FLOATS:
        return ref if given.bounded else f"rescore._of_float({ref})"
    if given.type == "numeric":
        return f"rescore._of_{'fixed' if given.bounded else 'numeric'}({ref})"
    whole = f"({ref})::pg_catalog.int4" if given.type == "boolean" else f"({ref})"
    return f"({whole})::pg_catalog.float8"


def stored(
    computed: Input, states: Mapping[str, State], derived: Mapping[str, Derived]
) -> Derived | None:
    """Return the profile column of a computed feature; None where it cannot be kept.

    It can where it depends on nothing but what triggers keep, exactly.
    """
    used: dict[str, int] = {}

    def place(state: str) -> str:
        return f"{{{used.setdefault(state, len(used))}}}"

    columns = (computed.column, *computed.beside)
    if "{clock}" in computed.cast or not all(c in states or c in derived for c in columns):
        return None
    formula = computed.argument(
        lambda c: derived[c].expression(place) if c in derived else place(c), ""
    )
    if any(states[s].differs != DISTINCT for s in used):
        return None
    return Derived(computed.name, "double precision", formula, tuple(used), computed=True)


def keep(
    inputs: Sequence[Input], states: Sequence[State], derived: Sequence[Derived]
) -> tuple[tuple[Input, ...], tuple[Derived, ...]]:
    """Return inputs and derived columns, once computed features are stored where they can be."""
    by_state, by_derived = {s.column: s for s in states}, {d.column: d for d in derived}
    made = {
        i.name: column
        for i in inputs
        if i.computed and (column := stored(i, by_state, by_derived)) is not None
    }
    read = (
        replace(i, column=i.name, beside=(), cast="{}") if i.name in made else i for i in inputs
    )
    return tuple(read), (*derived, *made.values())
