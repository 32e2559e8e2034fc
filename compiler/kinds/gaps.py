"""Days between events: on average, and between the last two."""

from __future__ import annotations

from rescore.compiler.features import Kind
from rescore.compiler.inputs import Input
from rescore.compiler.quoting import ident
from rescore.compiler.states import ONLY, Derived, State

TIME = "timestamp with time zone"
DAYS = "tstzrange_subdiff({later}, {sooner}) / 86400"
"""As numbers: of times too far apart intervals are wrong, and from PostgreSQL 17 on errors."""


class MeanGap(Kind):
    """Mean days between consecutive events: from the first to the last, by one less than there are.

    Missing with fewer than two events; events at the same time are 0 days apart.
    """

    def states(self) -> tuple[State, ...]:
        time = self.source.need_time(self.name)
        value = self.when(time, f"isfinite({time})")
        return (
            State(f"{self.name}__n", "bigint", "add", self.when("1")),
            State(f"{self.name}__first", TIME, "min", value),
            State(f"{self.name}__last", TIME, "max", value),
        )

    def derived(self) -> Derived:
        days = DAYS.format(later="{2}", sooner="{1}")
        formula = f"CASE WHEN {{0}} > 1 THEN {days} / ({{0}} - 1) END"
        columns = tuple(s.column for s in self.states())
        return Derived(self.name, "double precision", formula, columns)

    def input(self) -> Input:
        return self.number_input(self.name, "double precision", nullable=True, bounded=True)


class LastGap(Kind):
    """Days between the last two events; missing with fewer, 0 when they are at the same time."""

    def states(self) -> tuple[State, ...]:
        time, at = self.source.need_time(self.name), f"{self.name}__at"
        order = f"{time} DESC"
        return (
            State(
                at,
                f"{TIME}[]",
                "fold",
                self.when(f"ARRAY[{time}]", f"isfinite({time})"),
                fold="({d} || {p})[1:2]",
                gather=f"(array_agg({time} ORDER BY {order}) {ONLY})[1:2]",
                guard=f"(rescore_v_time >= (p.{ident(at)})[1]) IS NOT FALSE",
                newest=2,
                order=order,
                about="the times of the last two events, newest first",
            ),
        )

    def derived(self) -> Derived:
        formula = DAYS.format(later="({0})[1]", sooner="({0})[2]")
        return Derived(self.name, "double precision", formula, (f"{self.name}__at",))

    def input(self) -> Input:
        return self.number_input(self.name, "double precision", nullable=True, bounded=True)
