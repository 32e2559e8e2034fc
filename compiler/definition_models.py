"""The parts of a definition, as pydantic models: one per section of the file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Protocol

from pydantic import BeforeValidator, Field, model_validator

from rescore.compiler import definition_checks
from rescore.compiler.definition_errors import refuse
from rescore.compiler.definition_learn import SEGMENTS, Learn
from rescore.compiler.definition_part import Part
from rescore.compiler.definition_traffic import Traffic
from rescore.compiler.definition_types import (
    COMPUTED_KINDS,
    DEFAULT_ESTIMATOR,
    EVENT_KINDS,
    Categories,
    Category,
    Clip,
    Day,
    Edges,
    Interval,
    Kept,
    Kind,
    Names,
    Pair,
    Parameter,
    Text,
    as_estimator,
    as_features,
    as_last,
    as_one_hot,
)
from rescore.plpython.transforms import MOST_EDGES

MOST_WAITING = 100_000
"""Rows of a queue, unless the definition says otherwise."""


def _no_default(schema: dict[str, Any]) -> None:
    """Drop a default that another value of the file fills."""
    schema.pop("default")


class Key(Part):
    """The column that names an entity."""

    name: Text = Field(description="column of the profile table")
    type: Literal["bigint", "text", "uuid"] = Field(
        description="`bigint` (smaller integer columns too), `text` or `uuid`"
    )


class Profile(Part):
    """The table with one row per entity."""

    table: Text = Field(description='table as SQL writes it: `customers`, `crm."Customers"`')
    name: Text = Field(
        "",
        description="name of the profile; default: the table as written",
        json_schema_extra=_no_default,
    )
    key: Key = Field(description="the key column: `{name: …, type: …}`")
    only: Text | None = Field(None, description="SQL condition: who is scored and learnt from")
    history: dict[str, Text] = Field(
        {}, description="plain column → event that holds its past, or `static`"
    )
    timezone: Text = Field("UTC", description="zone of columns without one")
    clock: Literal["now", "session"] = Field(
        "now", description="`now`, or `session`: the session sets the time, for replays"
    )
    on_error: Literal["record", "raise"] = Field(
        "record", description="a failing score: `record` keeps the event, `raise` refuses it"
    )

    @model_validator(mode="before")
    @classmethod
    def _default_name(cls, data: Any) -> Any:
        if isinstance(data, dict) and "name" not in data and data.get("table") is not None:
            return {**data, "name": data["table"]}
        return data


class Link(Part):
    """A table through which events without the key find it."""

    table: Text = Field(description="table as SQL writes it")
    on: Text = Field(description="column that event and link table share")
    gives: Text = Field(description="column of the link table that holds the key")


class Queue(Part):
    """How long the queue of an event table may get."""

    limit: int = Field(
        MOST_WAITING,
        ge=1,
        le=10**9,
        description="rows; beyond, a transaction counts its own events when it commits",
    )


class Event(Part):
    """A table of events."""

    table: Text = Field(
        "",
        description="table as SQL writes it; default: the event's name",
        json_schema_extra=_no_default,
    )
    time: Text | None = Field(None, description="column that says when it happened")
    key: Text | None = Field(None, description="key column; default: the profile's key name")
    via: Text | None = Field(None, description="link that gives the key, in place of `key`")
    known_at: Text | None = Field(None, description="column that says when it became known")
    trigger: Literal["statement", "row", "replicated"] = Field(
        "statement",
        description="`statement`; `row` where statement triggers do not fire; `replicated` where a "
        "subscription of logical replication fills the table",
    )
    index: bool = Field(True, description="ask for an index on the key")
    mode: Literal["live", "queued"] = Field(
        "live", description="`live`, or `queued`: events are counted soon after, by `rescore run`"
    )
    queue: Queue | None = Field(
        None, description="with `mode: queued`: `{limit: 100000}`, the most rows that wait"
    )

    history_from: Day | None = Field(
        None, description="day before which events are gone or incomplete: counters are kept"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Event:
        if self.queue and self.mode != "queued":
            raise refuse("`queue` without `mode: queued`", "Only queued events wait.")
        if self.history_from and self.time is None:
            raise refuse("`history_from` without `time`", "`time`: the column that says when.")
        return self

    @property
    def most_waiting(self) -> int:
        """How many rows of the queue may wait; 0 where events are counted at once."""
        if self.mode != "queued":
            return 0
        return self.queue.limit if self.queue else MOST_WAITING


class OneHot(Part):
    """Which categories become columns: the named ones, or the most frequent."""

    categories: Categories | None = Field(
        None, alias="values", min_length=1, max_length=1000, description="the categories, in order"
    )
    top: int | None = Field(None, ge=1, le=1000, description="so many of the most frequent")
    other: bool = Field(False, description="one more column for all other categories")

    @model_validator(mode="after")
    def _one_form(self) -> OneHot:
        if (self.categories is None) == (self.top is None):
            raise refuse("one_hot needs either `values` or `top`", "A list, or {top: 30}.")
        repeated = {c for c in self.categories or () if (self.categories or ()).count(c) > 1}
        if repeated:
            raise refuse(f'one_hot names the category "{min(repeated)}" twice')
        return self


class Feature(Part):
    """A value of the profile: kept from events, or a plain column.

    The attributes are the keys of the file, except that ``from`` is :attr:`source` and the key
    ``column`` is :attr:`plain`; :attr:`kind`, :attr:`column` and :attr:`which` are the normal form.
    """

    source: Text | None = Field(None, alias="from", description="the event it is kept from")
    count: Literal[True] | None = Field(None, description="number of events: `true`")
    sum: Text | None = Field(None, description="sum of an event column")
    avg: Text | None = Field(None, description="mean of an event column")
    min: Text | None = Field(None, description="smallest value of an event column")
    max: Text | None = Field(None, description="largest value of an event column")
    first: Text | None = Field(None, description="event column at the earliest event")
    last: Annotated[
        Text | int | None,
        BeforeValidator(as_last, json_schema_input_type=Text | Kept | None),
    ] = Field(None, description="event column at the latest event; or `5`: the last 5 values")
    of: Text | None = Field(None, description="with `last: 5`: the event column")
    days_since: Literal["first", "last"] | None = Field(
        None, description="days since the `first` or `last` event"
    )
    ewma: Text | None = Field(
        None, description="with `half_life`: mean of an event column, weighted by how long ago"
    )
    distinct: Text | None = Field(None, description="number of different values of an event column")
    gap: Literal["avg", "last"] | None = Field(
        None, description="days between events: `avg` (mean), or `last` (the last two)"
    )
    plain: Text | None = Field(None, alias="column", description="a column of the profile table")
    days_until: Literal[True] | None = Field(
        None, description="with `column`: days until its time, negative when past: `true`"
    )
    ratio: Pair | None = Field(None, description="`[a, b]`: feature a divided by feature b")
    smooth: float | None = Field(
        None, ge=0, le=1e100, description="with `ratio`: number added to both, against chance"
    )
    expr: Text | None = Field(None, description="SQL expression over other features, by name")
    where: Text | None = Field(None, description="SQL condition on event columns: which count")
    window: Interval | None = Field(None, description="only events of so long a time")
    offset: Interval | None = Field(None, description="with `window`: which ended so long ago")
    bucket: Interval | None = Field(
        None, description="with `window`: what it is exact to; default: 1 day for 24 days or more"
    )
    tumbling: Interval | None = Field(None, description="only events of the current window")
    closed: Literal[True] | None = Field(
        None, description="with `tumbling`: the last window that ended, in place of the current"
    )
    half_life: Interval | None = Field(
        None, description="with `count`, `sum`, `ewma`: an event's weight halves in so long a time"
    )
    stat: Literal["mean", "deviation"] | None = Field(
        None, description="with `ewma`: `mean` (default) or `deviation`, the standard deviation"
    )
    one_hot: Annotated[
        OneHot | None,
        BeforeValidator(as_one_hot, json_schema_input_type=OneHot | list[Category] | None),
    ] = Field(None, description="categories that become columns: a list, or `{top: 30}`")
    count_of: Annotated[
        OneHot | None,
        BeforeValidator(as_one_hot, json_schema_input_type=OneHot | list[Category] | None),
    ] = Field(None, description="with `last: 5`: how often each category is among them")
    other: bool | None = Field(
        None, description="with `one_hot`, `count_of`: a column for other categories"
    )
    missing: Literal["indicator"] | None = Field(
        None, description="`indicator`: one more column, 1 when the value is missing"
    )
    default: float | None = Field(
        None, ge=-1e100, le=1e100, description="number that stands for a missing value"
    )
    clip: Clip | None = Field(
        None, description="`[lowest, highest]`: numbers beyond are moved there; either may be null"
    )
    log1p: Literal[True] | None = Field(
        None, description="`true`: sign(x) · ln(1 + abs(x)), after `clip`"
    )
    bucketize: Edges | None = Field(
        None,
        min_length=1,
        max_length=MOST_EDGES,
        description="`[10, 20]`: a column for each interval in place of the number, after `log1p`",
    )

    @model_validator(mode="before")
    @classmethod
    def _fold_other(cls, data: Any) -> Any:
        key = "count_of" if isinstance(data, dict) and "count_of" in data else "one_hot"
        if not isinstance(data, dict) or "other" not in data or key not in data:
            return data
        encoding = as_one_hot(data[key])
        if not isinstance(encoding, dict) or "other" in encoding:
            raise refuse(f"`other` is given twice or beside a wrong {key}", "Give it once.")
        rest = {key: value for key, value in data.items() if key != "other"}
        return {**rest, key: {**encoding, "other": data["other"]}}

    @model_validator(mode="after")
    def _consistent(self) -> Feature:
        for problem in definition_checks.feature_problems(self):
            raise problem
        return self

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """Every kind the keys name; a valid feature has exactly one."""
        keys = (*EVENT_KINDS, *COMPUTED_KINDS)
        named: tuple[Kind, ...] = tuple(k for k in keys if getattr(self, k) is not None)
        if self.days_until:
            return (*named, "days_until")
        return named if self.plain is None else (*named, "column")

    @property
    def kind(self) -> Kind:
        """What the feature is."""
        return self.kinds[0]

    @property
    def column(self) -> str | None:
        """The event column aggregated, or the plain column; None where none is."""
        if self.kind in ("count", "days_since", "gap", *COMPUTED_KINDS):
            return None
        if self.last_n:
            return self.of
        value = self.plain if self.plain is not None else getattr(self, self.kind)
        return str(value)

    @property
    def last_n(self) -> int:
        """For ``last`` with a number: how many values are kept; otherwise 0."""
        return self.last if isinstance(self.last, int) else 0

    @property
    def categories(self) -> OneHot | None:
        """The categories that become columns, whether they are counted or not."""
        return self.one_hot or self.count_of

    @property
    def which(self) -> Literal["first", "last"] | None:
        """For ``days_since``: of which event."""
        return self.days_since

    @property
    def missing_indicator(self) -> bool:
        """Whether a column says that the value is missing."""
        return self.missing == "indicator"


class HasFeatures(Protocol):
    """A definition, as far as a model needs it."""

    @property
    def features(self) -> Mapping[str, Feature]:
        """The features by name, in the order of the file."""


class Except(Part):
    """All features but these."""

    names: Names = Field(alias="except", min_length=1, description="features left out")


class Model(Part):
    """A name under which versions are trained and published."""

    label: Text | None = Field(None, description="label it learns; not needed to publish files")
    features: Annotated[
        Literal["all"] | Names | Except,
        BeforeValidator(as_features, json_schema_input_type=Literal["all"] | list[Text] | Except),
    ] = Field(
        "all", description="`all`, a list, or `{except: […]}`; a list's order is the inputs' order"
    )
    estimator: Annotated[
        dict[str, dict[str, Parameter]],
        BeforeValidator(as_estimator, json_schema_input_type=dict[str, dict[str, Parameter]] | str),
    ] = Field(DEFAULT_ESTIMATOR, description="scikit-learn estimator and its parameters")
    scaler: Literal["standard", "minmax", "maxabs", "robust", "none"] = Field(
        "standard", description="`standard`, `minmax`, `maxabs`, `robust` or `none`"
    )
    calibrate: Literal["platt"] | None = Field(
        None, description="`platt`: scores become probabilities that come true as often as they say"
    )
    learn: Learn | None = Field(None, description="how it learns on from resolved snapshots")
    engine: Literal["auto", "python"] = Field(
        "auto", description="`python`: score with PL/Python even what could be compiled"
    )
    traffic: Traffic | None = Field(
        None, description="rules by which versions are promoted, demoted and rolled back"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Model:
        for problem in definition_checks.estimator_problems(self.estimator):
            raise problem
        return self

    @property
    def estimator_name(self) -> str:
        """Snake-case name of the scikit-learn class."""
        return next(iter(self.estimator))

    @property
    def is_segments(self) -> bool:
        """Whether its score is the number of a segment, which is learnt without a label."""
        return self.estimator_name == SEGMENTS

    @property
    def estimator_parameters(self) -> dict[str, Parameter]:
        """Keyword arguments of the estimator, as written."""
        return dict(self.estimator[self.estimator_name])

    def feature_names(self, definition: HasFeatures) -> list[str]:
        """Return the names of the model's features, in the order of its inputs."""
        if self.features == "all":
            return list(definition.features)
        if isinstance(self.features, Except):
            return [name for name in definition.features if name not in self.features.names]
        return list(self.features)
