"""The last values of a column, as an array: whether a category is among them, or how often."""

from __future__ import annotations

from rescore.compiler.catalog import Column
from rescore.compiler.features import INTEGERS, TEXTS, Kind, refuse_type, text_of
from rescore.compiler.inputs import Input
from rescore.compiler.quoting import ident
from rescore.compiler.states import ONLY, State

LISTED = (*TEXTS, *INTEGERS, "numeric", "boolean", "uuid")
"""Types whose values read the same in every session; besides enums."""


class LastValues(Kind):
    """The last n values, newest first by time, then by value; NULL values are passed over.

    An event newer than the newest is put before the others. Any other, at the same time too,
    takes a recount, which reads no more than the n newest events of the customer.
    """

    def states(self) -> tuple[State, ...]:
        column, kept, at = self.text_column(), self.feature.last_n, f"{self.name}__at"
        time, ref = self.source.need_time(self.name), f"e.{ident(column.name)}"
        value = text_of(column)
        usable = (f"{ref} IS NOT NULL", f"isfinite({time})")
        # So that ties break the same way everywhere.
        collate = ' COLLATE "C"' if column.type in TEXTS else ""
        order = f"{time} DESC, {ref}{collate} DESC"
        values = State(
            self.name,
            "text[]",
            "fold",
            self.when(f"ARRAY[{value}]", *usable),
            time=self.when(time, *usable),
            fold=f"({{d}} || {{p}})[1:{kept}]",
            gather=f"(array_agg({value} ORDER BY {order}) {ONLY})[1:{kept}]",
            guard=f"(rescore_v_time > p.{ident(at)}) IS NOT FALSE",
            newest=kept,
            order=order,
            about=f"the last {kept} values, newest first",
        )
        newest = State(at, "timestamp with time zone", "max", self.when(time, *usable))
        return values, newest

    def text_column(self) -> Column:
        """The event column, if its values have one text, whoever reads them."""
        column = self.value_column()
        if column.type not in LISTED and column.category != "E":
            raise refuse_type(self.name, column, f"an enum or one of {', '.join(LISTED)}")
        return column

    def input(self) -> Input:
        hot = self.feature.categories
        assert hot is not None
        return Input(
            self.name,
            self.name,
            "text[]",
            "list",
            missing=self.feature.missing_indicator,
            categories=tuple(hot.categories) if hot.categories else None,
            top=hot.top,
            other=hot.other,
            count=self.feature.count_of is not None,
        )
