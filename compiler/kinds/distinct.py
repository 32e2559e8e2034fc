"""How many different values: exact while they are few, an estimate (HyperLogLog) from there on."""

from __future__ import annotations

from rescore.compiler.catalog import Column
from rescore.compiler.features import INTEGERS, TEXTS, Kind, refuse_type, text_of
from rescore.compiler.inputs import Input
from rescore.compiler.quoting import ident
from rescore.compiler.states import Derived, State
from rescore.errors import DoesNotFit

PARAMETERS = "10, 5, 64::bigint, 1"
"""1,024 registers of 5 bits, 64 values kept one by one before, sparse while that is smaller."""

BYTES = {
    "uuid": "uuid_send",
    "date": "date_send",
    "time without time zone": "time_send",
    "time with time zone": "timetz_send",
    "timestamp without time zone": "timestamp_send",
    "timestamp with time zone": "timestamptz_send",
}
"""Functions that give a value's bytes; equal values have equal ones."""

UNLIKE = "({p} OPERATOR(SCHEMA.=) {r}) IS NOT TRUE AND num_nonnulls({p}, {r}) > 0"


class Distinct(Kind):
    """How many different values a column has had; NULL is none.

    The state is a function of the set of values: a sorted set of their hashes, then the greatest
    rank in each register. Whatever the order, and whether one by one or joined, it is the same to
    the byte.
    """

    def states(self) -> tuple[State, ...]:
        column, hll = self.value_column(), self.schema
        ref = f"e.{ident(column.name)}"
        hashed = self.hashed(column)
        one = f"{hll}.hll_add({hll}.hll_empty({PARAMETERS}), {hashed})"
        sketch = State(
            f"{self.name}__hll",
            f"{hll}.hll",
            "fold",
            self.when(one, f"{ref} IS NOT NULL"),
            time=self.when("true", f"{ref} IS NOT NULL"),
            fold=f"{_literally(hll)}.hll_union({{p}}, {{d}})",
            gather=f"{hll}.hll_add_agg({hashed}, {PARAMETERS})",
            differs=UNLIKE.replace("SCHEMA", _literally(hll)),
            about="the different values so far, as a HyperLogLog sketch",
            dear=True,
        )
        return (sketch,)

    def derived(self) -> Derived:
        formula = f"COALESCE(round({_literally(self.schema)}.hll_cardinality({{0}})), 0)::bigint"
        return Derived(self.name, "bigint", formula, (f"{self.name}__hll",), start="0")

    def input(self) -> Input:
        return self.number_input(self.name, "bigint", nullable=False, bounded=True)

    @property
    def schema(self) -> str:
        """The quoted schema of the extension, or the error that there is none."""
        if not self.source.hll:
            raise DoesNotFit(
                f"feature {self.name}: `distinct` needs the extension hll",
                detail="It is not in this database.",
                hint="Install the package postgresql-15-hll (with your server's version for 15), "
                "then run CREATE EXTENSION hll in this database.",
            )
        return ident(self.source.hll)

    def hashed(self, column: Column) -> str:
        """SQL over ``e``: a hash of the value; equal values have one, whatever the session.

        All arguments are written, in the types declared: no other function fits better, even in a
        schema where others may make functions.
        """
        ref, hll = f"e.{ident(column.name)}", self.schema
        if column.type in INTEGERS:
            return f"{hll}.hll_hash_bigint({ref}::bigint, 0)"
        if column.type in TEXTS or column.category == "E":
            return f"{hll}.hll_hash_text({text_of(column)}, 0)"
        if column.type == "numeric":
            # Its hash function takes NaN and the infinities for one.
            return f"{hll}.hll_hash_text(trim_scale({ref})::text, 0)"
        if column.type in BYTES:
            return f"{hll}.hll_hash_bytea({BYTES[column.type]}({ref}), 0)"
        if not column.hashable:
            raise refuse_type(self.name, column, "a type that can be hashed")
        # By the type's own hash function: 0 and -0, or 1 month and 30 days, are one value.
        return f"{hll}.hll_hash_bigint(hash_record_extended(ROW({ref}), 0), 0)"


def _literally(text: str) -> str:
    """Return text that ``str.format`` leaves as it is."""
    return text.replace("{", "{{").replace("}", "}}")
