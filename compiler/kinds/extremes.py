"""The least and the greatest value."""

from __future__ import annotations

from rescore.compiler.features import FLOATS, INTEGERS, Kind, common, refuse_type, usable
from rescore.compiler.inputs import Input
from rescore.compiler.quoting import ident
from rescore.compiler.states import Combine, State


class Extreme(Kind):
    """Least or greatest value of a numeric column; missing while there is none."""

    def states(self) -> tuple[State, ...]:
        column = self.value_column()
        ref = f"e.{ident(column.name)}"
        if column.type not in (*INTEGERS, *FLOATS, "numeric"):
            raise refuse_type(self.name, column, "a numeric type")
        combine: Combine = "min" if self.feature.kind == "min" else "max"
        return (State(self.name, column.type, combine, self.when(ref, usable(column))),)

    def input(self) -> Input:
        column = self.value_column()
        bounded = column.type in INTEGERS or column.bounded
        cast = "{}::pg_catalog.float8" if column.type == "real" else "{}"
        type_ = "double precision" if column.type == "real" else column.type
        return Input(self.name, self.name, type_, "number", cast, True, bounded, **common(self))
