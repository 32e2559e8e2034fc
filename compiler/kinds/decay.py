"""What fades: an event's weight is 1 at its own time and halves with every half-life since.

All weights fade alike, so a total is kept as of the last event that counts, and is right at any
later moment once it is faded to it (``rescore.decayed``); a mean and a deviation do not fade at
all. Two sets of events are joined by fading the older one first, in any order.
"""

from __future__ import annotations

from abc import abstractmethod

from rescore.compiler.catalog import Column
from rescore.compiler.features import FLOATS, INTEGERS, Kind, common, refuse_type
from rescore.compiler.inputs import Input
from rescore.compiler.intervals import interval_text
from rescore.compiler.quoting import ident, literal
from rescore.compiler.states import ONLY, State
from rescore.compiler.windows import MOMENT, interval

TIME = "timestamp with time zone"
NUMBER = "double precision"
LEAST = "1e-90"
ALIKE = "abs({p} - {r}) <= 1e-9 * GREATEST(1, abs({p}), abs({r}), abs({scale}))"


def _unlike(scale: str) -> str:
    """SQL condition: numbers differ by more than rounding; ``scale`` is what they are made of."""
    alike = ALIKE.replace("{scale}", scale)
    both = "{p} IS NOT NULL AND {r} IS NOT NULL"
    return f"CASE WHEN {both} THEN NOT ({alike}) ELSE {{p}} IS DISTINCT FROM {{r}} END"


def numeric(feature: str, column: Column) -> Column:
    """Return the column, or refuse one that holds no numbers."""
    if column.type not in (*INTEGERS, *FLOATS, "numeric"):
        raise refuse_type(feature, column, "a numeric type")
    return column


class Decayed(Kind):
    """What the kinds of this module share: the half-life, and which events count when."""

    @abstractmethod
    def counted(self) -> str:
        """SQL over ``e``: the event counts, apart from its time; empty: every event does."""

    @property
    def half_life(self) -> str:
        """SQL of the half-life."""
        assert self.feature.half_life is not None
        return interval(self.feature.half_life)

    @property
    def rate(self) -> str:
        """SQL of the part that fades in a second; the logarithm of it."""
        assert self.feature.half_life is not None
        return f"(ln('2'::float8) / {self.feature.half_life.total_seconds()!r}::float8)"

    @property
    def time(self) -> str:
        """SQL over ``e``: the time of an event that counts, NULL for others."""
        return self.when(self.source.need_time(self.name), *filter(None, [self.counted()]))

    @property
    def at(self) -> str:
        """The state column with the time of the last event that counts."""
        return f"{self.name}__at"

    def last(self, past: str = "") -> State:
        """The state that the others are as of."""
        return State(self.at, TIME, "max", self.time, past=past)

    def gathered(self, what: str, numbers: str = "") -> str:
        """SQL aggregate over rows ``e``: a function of the times, and of numbers where given."""
        x = f"array_agg({numbers}) {ONLY}" if numbers else "NULL"
        times = f"array_agg({self.time}) {ONLY}, max({self.time}) {ONLY}"
        return f"rescore._gather_{what}({x}, {times}, {self.rate})"

    @property
    def left(self) -> str:
        """SQL format: what is left of 1 at the row's time at that of an event that is not late."""
        return f"exp(GREATEST(tstzrange_subdiff({{pt}}, {{dt}}) * {self.rate}, -466))"

    def total(self, column: str, value: str, numbers: str = "", past: str = "") -> State:
        """A state that fades: a sum of weighted contributions as of the last event that counts."""
        fold = f"rescore._join_total({{p}}, {{pt}}, {{d}}, {{dt}}, {self.rate})"
        # Written out, with one exp() for the order in which events usually come: half the cost.
        step = f"{{p}} * {self.left} + {{d}}"
        sure = self.time == self.source.time
        return State(
            column,
            NUMBER,
            "fold",
            value,
            self.time,
            self.at,
            fold=fold,
            gather=self.gathered("total", numbers),
            past=past,
            step=step if sure else f"CASE WHEN {{dt}} IS NULL THEN {{p}} ELSE {step} END",
            start="0",
            differs=_unlike("0"),
            about=self.about(column),
        )

    def about(self, column: str) -> str:
        """What the comment of a column says."""
        return ""


class DecayedCount(Decayed):
    """How many events, each weighted by how long ago it was."""

    def counted(self) -> str:
        return ""

    def contribution(self) -> str:
        """SQL over ``e``: what an event adds at its own time."""
        return "1"

    def states(self) -> tuple[State, ...]:
        x, weight = self.contribution(), f"rescore._weight({MOMENT}, {self.time}, {self.rate})"
        each = weight if x == "1" else f"({x}) * {weight}"
        # As of a moment one plain sum does, a third of the time: nothing is added to that later.
        value = self.total(self.name, x, "" if x == "1" else x, past=f"sum({each})")
        return value, self.last(past=f"max({MOMENT})")

    def input(self) -> Input:
        cast = f"rescore.decayed({{0}}, {{1}}, {{clock}}, {self.half_life})"
        given = common(self)
        return Input(
            self.name, self.name, NUMBER, "number", cast, False, True, beside=(self.at,), **given
        )

    def about(self, column: str) -> str:
        assert self.feature.half_life is not None
        length = interval_text(self.feature.half_life)
        now = f"rescore.decayed({ident(column)}, {ident(self.at)}, now(), {literal(length)})"
        return f"As of {ident(self.at)}, halved every {length} since: {now} is the value now."


class DecayedSum(DecayedCount):
    """Sum of a numeric column, each value weighted by how long ago it was; as float8."""

    def counted(self) -> str:
        column = numeric(self.name, self.value_column())
        ref = f"e.{ident(column.name)}"
        return f"{ref} <> 0" if column.type in INTEGERS else f"abs({ref}) BETWEEN {LEAST} AND 1e100"

    def contribution(self) -> str:
        ref = f"e.{ident(self.value_column().name)}"
        return self.when(f"{ref}::{NUMBER}", self.counted())


class Ewma(Decayed):
    """Mean of a numeric column by the same weights, or its standard deviation.

    Missing while there is no value; the deviation also while there is only one.
    """

    def counted(self) -> str:
        column = numeric(self.name, self.value_column())
        ref = f"e.{ident(column.name)}"
        return f"{ref} IS NOT NULL" if column.type in INTEGERS else f"abs({ref}) <= 1e100"

    @property
    def number(self) -> str:
        """SQL over ``e``: the value of an event that counts; what is too small to divide is 0."""
        column = self.value_column()
        ref = f"e.{ident(column.name)}"
        exact = f"{ref}::{NUMBER}"
        if column.type not in INTEGERS:
            exact = f"CASE WHEN abs({ref}) >= {LEAST} THEN {exact} ELSE 0 END"
        return self.when(exact, self.counted())

    @property
    def spread(self) -> bool:
        """Whether the deviation is shown rather than the mean."""
        return self.feature.stat == "deviation"

    def states(self) -> tuple[State, ...]:
        weight = self.total(f"{self.name}__weight", "1")
        shown = (self.deviation(),) if self.spread else ()
        return (*shown, self.mean(), weight, self.last())

    def input(self) -> Input:
        return self.number_input(self.name, NUMBER, nullable=True, bounded=True)

    def mean(self) -> State:
        """The state that holds the mean."""
        column = f"{self.name}__mean" if self.spread else self.name
        return State(
            column,
            NUMBER,
            "fold",
            self.number,
            self.time,
            self.at,
            fold=f"rescore._join_mean({{p}}, {{p1}}, {{pt}}, {{d}}, {{d1}}, {{dt}}, {self.rate})",
            gather=self.gathered("mean", self.number),
            shortcut=self.mean_after_one,
            beside=(f"{self.name}__weight",),
            differs=_unlike("0"),
        )

    @property
    def mean_after_one(self) -> str:
        """SQL format of the mean after an event that is not late: of both, by their weights.

        Written out and not a function, whose expressions would be set up anew in each transaction.
        It begins at the heavier of the two: equal values stay as they are, and of -1e100 with no
        weight left nothing stays.
        """
        weight = f"{{p1}} * {self.left}"
        heavy = f"{{p}} + ({{d}} - {{p}}) / ({weight} + 1)"
        light = f"{{d}} + ({{p}} - {{d}}) * ({weight}) / ({weight} + 1)"
        mean = f"CASE WHEN {weight} >= '1'::float8 THEN {heavy} ELSE {light} END"
        moved = f"({mean} + '1e-83'::float8) - '1e-83'::float8"
        return (
            f"CASE WHEN {{dt}} IS NULL THEN {{p}} WHEN {{pt}} IS NULL THEN {{d}} ELSE {moved} END"
        )

    def deviation(self) -> State:
        """The state that holds the deviation."""
        groups = "{p}, {p1}, {p2}, {pt}, {d}, {d1}, {d2}, {dt}"
        return State(
            self.name,
            NUMBER,
            "fold",
            f"NULL::{NUMBER}",
            self.time,
            self.at,
            fold=f"rescore._join_deviation({groups}, {self.rate})",
            gather=self.gathered("deviation", self.number),
            beside=(f"{self.name}__mean", f"{self.name}__weight"),
            differs=_unlike("{p1}"),
        )
