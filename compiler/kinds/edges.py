"""The first and the last event: what it said, and how long ago it was."""

from __future__ import annotations

from rescore.compiler.features import Kind, column_input, common, refuse_type
from rescore.compiler.inputs import Input
from rescore.compiler.quoting import ident
from rescore.compiler.states import Combine, State


class Edge(Kind):
    """Value of the first or last event, by time, then by value; NULL values are passed over."""

    def states(self) -> tuple[State, ...]:
        column = self.value_column()
        if not column.comparable:
            raise refuse_type(self.name, column, "a type that can be ordered")
        time = self.source.need_time(self.name)
        ref = f"e.{ident(column.name)}"
        usable = (f"{ref} IS NOT NULL", f"isfinite({time})")
        which: Combine = "first" if self.feature.kind == "first" else "last"
        at = f"{self.name}__at"
        collate = ' COLLATE "C"' if column.category == "S" else ""
        value = State(self.name, column.type, which, self.when(ref, *usable), time, at, collate)
        bound: Combine = "min" if which == "first" else "max"
        return value, State(at, "timestamp with time zone", bound, self.when(time, *usable))

    def input(self) -> Input:
        return column_input(self.name, self.feature, self.value_column(), self.source.zone)


class DaysSince(Kind):
    """Days since the first or last event; missing while there is none."""

    def states(self) -> tuple[State, ...]:
        time = self.source.need_time(self.name)
        combine: Combine = "min" if self.feature.which == "first" else "max"
        value = self.when(time, f"isfinite({time})")
        return (State(f"{self.name}__at", "timestamp with time zone", combine, value),)

    def input(self) -> Input:
        at = f"{self.name}__at"
        type_ = "timestamp with time zone"
        return Input(self.name, at, type_, "days_since", bounded=True, **common(self))
