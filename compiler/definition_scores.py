"""Scores in a definition: the column, its bands, and what of its moves is reported."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, TypeAlias

from pydantic import BeforeValidator, Field, PlainSerializer, model_validator

from rescore.compiler.definition_errors import refuse
from rescore.compiler.definition_part import Part
from rescore.compiler.definition_types import Text

LARGEST = 1e100
MOST_BANDS = 100
EXAMPLE = "{low: 0, medium: 0.3, high: 0.7}: each band with its lower bound."


def as_bands(value: Any) -> Any:
    """Return bands, a mapping of names to rising lower bounds, as pairs in that order."""
    # Stored as pairs: jsonb forgets the order of keys.
    pairs = list(value.items()) if isinstance(value, dict) else value
    if not isinstance(pairs, list) or not all(_is_pair(p) for p in pairs):
        raise refuse(f"bands: {value!r} is wrong", EXAMPLE)
    if not 1 <= len(pairs) <= MOST_BANDS:
        raise refuse(f"there are {len(pairs)} bands", f"1 to {MOST_BANDS}, such as {EXAMPLE}")
    for name, bound in pairs:
        _check_band(name, bound)
    for (_, before), (name, bound) in pairwise(pairs):
        if not before < bound:
            raise refuse(
                f'the bound of band "{name}", {bound!r}, does not exceed {before!r}', EXAMPLE
            )
    return tuple((name, float(bound)) for name, bound in pairs)


def _is_pair(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == 2


def _check_band(name: Any, bound: Any) -> None:
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        raise refuse(f"{name!r} is no name for a band", "Printable text that is not blank.")
    if isinstance(bound, bool) or not isinstance(bound, (int, float)):
        raise refuse(f'band "{name}": {bound!r} is no number', EXAMPLE)
    if not abs(bound) <= LARGEST:
        raise refuse(f'band "{name}": {bound!r} is too large', f"At most {LARGEST:g} either way.")


Bands: TypeAlias = Annotated[
    tuple[tuple[Text, float], ...],
    BeforeValidator(as_bands, json_schema_input_type=dict[Text, float]),
    PlainSerializer(lambda bands: [list(band) for band in bands], return_type=list[Any]),
]


Weight: TypeAlias = Annotated[float, Field(ge=-LARGEST, le=LARGEST)]


class Outbox(Part):
    """Which moves of a score are written to the outbox."""

    moved_by: Annotated[float, Field(ge=0, le=LARGEST)] | None = Field(
        None, description="by so much or more since the last report; 0: any move"
    )
    band: bool = Field(False, description="`true`: into another band")

    @model_validator(mode="after")
    def _reports_something(self) -> Outbox:
        if self.moved_by is None and not self.band:
            raise refuse("the outbox reports nothing", "{moved_by: 0.1}, {band: true} or both.")
        return self


class Score(Part):
    """A profile column that a model writes, or several."""

    model: Text | None = Field(None, description="the model")
    ensemble: dict[Text, Weight] | None = Field(
        None,
        min_length=2,
        description="in place of `model`, several and their weights: `{churn: 0.7, lapse: 0.3}`",
    )
    bands: Bands | None = Field(
        None, description="names of ranges, each with its lower bound: `{low: 0, high: 0.7}`"
    )
    outbox: Outbox | None = Field(
        None, description="moves written to `rescore.outbox`: `{moved_by: 0.1}`, `{band: true}`"
    )

    @model_validator(mode="after")
    def _has_models(self) -> Score:
        if (self.model is None) == (self.ensemble is None):
            raise refuse("a score has either `model` or `ensemble`", "One of them.")
        return self

    @property
    def members(self) -> dict[str, float]:
        """The models and what their scores weigh."""
        return dict(self.ensemble) if self.ensemble else {self.model or "": 1.0}

    @model_validator(mode="after")
    def _has_bands(self) -> Score:
        if self.outbox and self.outbox.band and not self.bands:
            raise refuse("`band: true` needs `bands`", EXAMPLE, key="outbox")
        return self

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Endings of the columns that stand beside the score."""
        band = ("_band",) if self.bands else ()
        return ("_version", "_at", *band, *(("_reported",) if self.outbox else ()))
