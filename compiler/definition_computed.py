"""What must hold between features that are computed and those they are computed from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rescore.compiler.computed_expression import MAX_CHAIN, cycles, names, number_sql
from rescore.compiler.definition_errors import Problem, did_you_mean
from rescore.compiler.definition_types import COMPUTED_KINDS
from rescore.errors import RescoreError

if TYPE_CHECKING:
    from rescore.compiler.definition import Definition, Feature


def computed_problems(definition: Definition) -> Iterator[Problem]:
    """Yield wrong expressions, unknown features, categories read as numbers, and cycles."""
    uses: dict[str, tuple[str, ...]] = {}
    for name, feature in definition.features.items():
        if feature.kind not in COMPUTED_KINDS:
            continue
        try:
            uses[name] = _reads(feature)
        except RescoreError as error:
            path = ("features", name, feature.kind)
            yield Problem(path, error.message, error.detail, error.hint)
            continue
        yield from _of_reads(definition, name, uses[name])
    yield from _cycles(uses)


def _reads(feature: Feature) -> tuple[str, ...]:
    if feature.ratio is not None:
        return feature.ratio
    number_sql(feature.expr or "", lambda name: "x")
    return names(feature.expr or "")


def _of_reads(definition: Definition, name: str, reads: tuple[str, ...]) -> Iterator[Problem]:
    path = ("features", name, definition.features[name].kind)
    known = [n for n in definition.features if n != name]
    if not reads:
        yield Problem(path, "the expression reads no feature", "At least one, by name.")
    for read in reads:
        if read not in definition.features:
            hint = did_you_mean(read, known)
            if read.lower() in {n.lower() for n in known}:
                hint = 'Quote names that are not all lower case: "Name".'
            listed = f"Features: {', '.join(known)}."
            yield Problem(path, f'there is no feature "{read}"', listed, hint)
        elif definition.features[read].one_hot is not None:
            yield Problem(
                path,
                f'the feature "{read}" is a category, not a number',
                "An expression is made of numbers and days.",
                "Count or sum the events that meet a condition, with `where`.",
            )


def _cycles(uses: dict[str, tuple[str, ...]]) -> Iterator[Problem]:
    for way in cycles(uses):
        if way[-1] not in way[:-1]:
            yield Problem(
                ("features", way[0]),
                f"more than {MAX_CHAIN} features computed from one another in a row",
                f"From {way[0]} to {way[-1]}.",
                "Write what they are computed from in fewer steps.",
            )
            continue
        yield Problem(
            ("features", way[0]),
            f"computed from itself: {' → '.join(way)}",
            "Features that follow from each other in one direction.",
        )
