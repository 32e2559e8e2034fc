"""Labels in a definition, and what is logged for them: snapshots, treatments, the holdout."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from rescore.compiler.definition_errors import refuse
from rescore.compiler.definition_part import Part
from rescore.compiler.definition_types import Interval, Text

_PERCENT = re.compile(r"\s*([0-9]{1,3}(?:\.[0-9]{1,6})?)\s*%\s*")


def of_percent(value: Any) -> Any:
    """Return ``5%`` as 0.05, and anything else as it is."""
    found = _PERCENT.fullmatch(value) if isinstance(value, str) else None
    return float(found[1]) / 100 if found else value


def as_share(value: Any) -> Any:
    """Return a share of the customers, written ``0.05`` or ``5%``, as a number from 0 to 1."""
    value = of_percent(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
        raise refuse(f"{value!r} is no share", "Above 0 and at most 1, such as 0.1 or 10%.")
    return float(value)


Share: TypeAlias = Annotated[
    float, BeforeValidator(as_share, json_schema_input_type=float | str), Field(gt=0, le=1)
]


class Label(Part):
    """What a model learns: whether something happens in the time after a moment, or how much."""

    none: Text | None = Field(None, description="event: the label is true when none happens")
    any: Text | None = Field(None, description="event: the label is true when one happens")
    count: Text | None = Field(None, description="event: the label is how many happen")
    sum: Text | None = Field(None, description="event: the label is the sum of its column `of`")
    of: Text | None = Field(
        None, description="column that is summed; with `table` alone, of the table"
    )
    where: Text | None = Field(
        None, description="SQL condition on columns of the event (else of the table): which count"
    )
    table: Text | None = Field(
        None, description="table that people write to: the label is true when it has a row"
    )
    at: Text | None = Field(None, description="with `table`: column that says when it happened")
    key: Text | None = Field(
        None, description="with `table`: its key column; default: the profile's key name"
    )
    known_at: Text | None = Field(
        None, description="with `table`: column that says when it became known"
    )
    after: Interval | None = Field(None, description="the time begins so long after the moment")
    within: Interval = Field(description="the time ends so long after the moment")
    settle: Interval | None = Field(
        None, description="how long after that outcomes may still come to be known"
    )
    censored_by: Text | None = Field(
        None, description="label whose events, coming first, leave this outcome unknown"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Label:
        for problem in label_problems(self):
            raise problem
        return self

    @property
    def kind(self) -> Literal["none", "any", "count", "sum", "table"]:
        """What decides the label: absence, presence, number or sum of events, or a table."""
        for kind in SOURCES:
            if getattr(self, kind) is not None:
                return kind
        return "table"

    @property
    def source(self) -> str:
        """The event's name; empty where only a table is read."""
        return getattr(self, self.kind) if self.kind != "table" else ""

    @property
    def is_number(self) -> bool:
        """Whether it says how much, not whether."""
        return self.count is not None or self.of is not None


SOURCES: tuple[Literal["none", "any", "count", "sum"], ...] = ("none", "any", "count", "sum")


def label_problems(label: Label) -> Iterator[PydanticCustomError]:
    """Yield what is inconsistent among the keys of one label."""
    named = [f"`{kind}`" for kind in SOURCES if getattr(label, kind) is not None]
    if len(named) > 1:
        expected = "{none: orders, within: …}"
        yield refuse(f"a label has one of {' and '.join(named)}, not both", expected)
    if not named and label.table is None:
        yield refuse(
            "a label needs `none`, `any`, `count`, `sum` or `table`",
            "{none: orders, within: …} or {table: cancelled, at: cancelled_on, within: …}",
        )
    yield from _amount_problems(label)
    if label.table is None:
        for key in ("at", "key", "known_at"):
            if getattr(label, key) is not None:
                yield refuse(f"`{key}` needs `table`", "{table: …, at: …, within: …}", key=key)
    elif label.at is None:
        yield refuse("`table` needs `at`, its column of times", "{table: …, at: …, within: …}")
    if label.within <= (label.after or timedelta()):
        yield refuse(
            "`within` must be longer than `after`, or than nothing",
            "Both are counted from the moment.",
            key="within",
        )


def _amount_problems(label: Label) -> Iterator[PydanticCustomError]:
    example = "{sum: orders, of: amount, within: …}"
    if label.sum is not None and label.of is None:
        yield refuse("`sum` needs `of`, the column that is summed", example)
    if label.of is not None and label.kind not in ("sum", "table"):
        yield refuse("`of` needs `sum`, or a `table` alone", example, key="of")
    if label.kind in ("count", "sum") and label.table is not None:
        yield refuse(
            f"`{label.kind}` and `table` do not go together",
            "Two labels, or one of them.",
            key="table",
        )


class Snapshots(Part):
    """When scores are logged with what they were computed from."""

    every: Interval | None = Field(None, description="all customers, so often")
    on: Text | None = Field(None, description="event: customers as they are after one")
    share: Share = Field(1.0, description="of the customers of a round, or of the events")
    keep: Interval = Field(
        timedelta(days=400), description="for how long snapshots are kept", validate_default=True
    )
    corrections: Interval = Field(
        timedelta(days=30),
        description="for how long labels are looked at again after they were resolved",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Snapshots:
        example = "{every: 1 day} or {on: orders, share: 0.1}"
        if (self.every is None) == (self.on is None):
            raise refuse("`snapshot` has exactly one of `every` and `on`", example)
        if self.every is not None and self.every < timedelta(seconds=1):
            raise refuse("`every` is no time at all", "At least a second.", key="every")
        if not self.keep:
            raise refuse("`keep` is no time at all", "Such as 400 days.", key="keep")
        return self


class Interventions(Part):
    """Where treatments are recorded, and which customers are kept untreated."""

    table: Text = Field(description="table with one row per treatment")
    time: Text = Field(description="column that says when the customer was treated")
    key: Text | None = Field(None, description="key column; default: the profile's key name")
    where: Text | None = Field(None, description="SQL condition on its columns: which count")
    holdout: Share = Field(description="share of the customers never to be treated, such as 5%")
    column: Text = Field("holdout", description="profile column that says who they are")
    treated: Literal["leave_out", "weight"] = Field(
        "leave_out",
        description="treated customers are not learnt from; `weight`: where some were treated, "
        "those held out stand for all",
    )
