"""How many, how much in all, how much on average."""

from __future__ import annotations

from rescore.compiler.features import FLOATS, INTEGERS, Kind, refuse_type, usable
from rescore.compiler.inputs import Input
from rescore.compiler.quoting import ident
from rescore.compiler.states import Derived, State


class Count(Kind):
    """How many events (that meet the condition)."""

    def states(self) -> tuple[State, ...]:
        return (State(self.name, "bigint", "add", self.when("1")),)

    def input(self) -> Input:
        return self.number_input(self.name, "bigint", nullable=False, bounded=True)


class Sum(Kind):
    """Sum of a numeric column.

    Integers are summed as bigint, everything else as numeric, which does not drift when
    values are taken back. NaN, infinities and magnitudes above 1e100 count as missing.
    """

    def states(self) -> tuple[State, ...]:
        return (self.total(self.name),)

    def total(self, column: str) -> State:
        """The state that holds the sum."""
        return State(column, self.type, "add", self.number())

    @property
    def type(self) -> str:
        """Type of the sum."""
        small = self.value_column().type in ("smallint", "integer")
        return "bigint" if small else "numeric"

    def number(self) -> str:
        """SQL over ``e``: the value where it counts, in the type of the sum."""
        column = self.value_column()
        ref = f"e.{ident(column.name)}"
        if column.type in INTEGERS:
            return self.when(f"{ref}::{self.type}" if self.type == "numeric" else f"{ref}::bigint")
        if column.type not in (*FLOATS, "numeric"):
            raise refuse_type(self.name, column, "a numeric type")
        value = ref if column.bounded else f"round({ref}::numeric, 20)"
        return self.when(value, usable(column))

    def input(self) -> Input:
        return self.number_input(self.name, self.type, nullable=False, bounded=True)


class Avg(Sum):
    """Mean of a numeric column; missing while there is no value."""

    def states(self) -> tuple[State, ...]:
        counted = f"CASE WHEN {self.number()} IS NOT NULL THEN 1 END"
        return (self.total(f"{self.name}__sum"), State(f"{self.name}__n", "bigint", "add", counted))

    def derived(self) -> Derived:
        formula = "CASE WHEN {1} > 0 THEN ({0})::double precision / ({1})::double precision END"
        return Derived(
            self.name, "double precision", formula, (f"{self.name}__sum", f"{self.name}__n")
        )

    def input(self) -> Input:
        return self.number_input(self.name, "double precision", nullable=True, bounded=True)
