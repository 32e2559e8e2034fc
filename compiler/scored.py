"""What scores the rows of a profile: models and their score columns. Pure values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rescore.compiler.inputs import Input
from rescore.compiler.quoting import ident, literal
from rescore.compiler.states import Refs

if TYPE_CHECKING:
    from rescore.compiler.ensemble import Ensemble

MAX_ARGUMENTS = 90
COMPILED = "rescore_compiled"


@dataclass(frozen=True)
class Model:
    """A model over this profile: its inputs, in order, and how it is defined."""

    name: str
    inputs: tuple[Input, ...]
    engine: str
    spec: Mapping[str, Any]
    key: str

    @property
    def parts(self) -> tuple[tuple[Input, ...], ...]:
        """The inputs in groups a function can take."""
        step = MAX_ARGUMENTS
        return tuple(self.inputs[i : i + step] for i in range(0, len(self.inputs), step)) or ((),)

    def function(self, suffix: str = "") -> str:
        """The qualified, quoted name of one of the model's functions."""
        return ident(COMPILED, self.name + suffix)

    @property
    def models(self) -> tuple[Model, ...]:
        """Itself: an ensemble has several."""
        return (self,)

    @property
    def version(self) -> str:
        """SQL: the champion; NULL while there is none."""
        return f"{self.function('_version')}()"

    @property
    def deferred(self) -> str:
        """SQL: whether the champion is scored by Python, in batches after the counters."""
        return f"{self.function('_deferred')}()"

    def reads(self, inputs: Sequence[str]) -> str:
        """SQL: whether a version that serves reads one of these inputs."""
        names = ", ".join(map(literal, inputs))
        return f"rescore._reads({literal(self.name)}, ARRAY[{names}]::text[])"

    def call(self, refs: Refs, clock: str) -> str:
        """SQL: the score by the version that serves the key, given how columns are referred to.

        Free of unqualified names and operators: it is inlined into users' queries. Without a
        challenger the planner drops its branch; no function takes an argument twice.
        """
        challenger = self._summed("_challenger", refs, clock)
        return (
            f"CASE WHEN {self.challenged(refs)} THEN {challenger}"
            f" ELSE {self._champion(refs, clock)} END"
        )

    def challenged(self, refs: Refs) -> str:
        """SQL: whether the challenger serves the row."""
        return f"{self.function('_challenged')}({self._key(refs)})"

    def served(self, refs: Refs) -> str:
        """SQL: the version that serves the row; NULL while none does."""
        return f"{self.function('_served')}({self._key(refs)})"

    def served_row(self, refs: Refs, clock: str) -> str:
        """SQL: the design row of the version that serves the row, as float8[]."""
        champion, challenger = (self.design_row(refs, clock, r) for r in ("", "_challenger"))
        return f"CASE WHEN {self.challenged(refs)} THEN {challenger} ELSE {champion} END"

    def others(self, refs: Refs, clock: str) -> str:
        """SQL: scores of versions beside the served one, as jsonb by number; NULL when none."""
        if len(self.parts) > 1:
            return "NULL::pg_catalog.jsonb"
        made = f"{self.function('_others')}({self._arguments(0, refs, clock)})"
        return f"{made} OPERATOR(pg_catalog.-) {self.served(refs)}::pg_catalog.text"

    def _key(self, refs: Refs) -> str:
        return f"{refs(self.key)}::pg_catalog.text"

    def _champion(self, refs: Refs, clock: str) -> str:
        linear = self._summed("", refs, clock)
        if len(self.parts) == 1:
            return linear
        row = self.design_row(refs, clock)
        python = f"rescore._python_score({literal(self.name)}, {self.version}, {row})"
        return f"CASE WHEN {self.deferred} THEN {python} ELSE {linear} END"

    def _summed(self, role: str, refs: Refs, clock: str) -> str:
        """SQL: the compiled score by champion or challenger, from partial sums if it is split."""
        if len(self.parts) == 1:
            return f"{self.function(role)}({self._arguments(0, refs, clock)})"
        numbers = range(len(self.parts))
        parts = (self._part(f"{role}_p{i + 1}", i, refs, clock) for i in numbers)
        return f"{self.function(role + '_link')}({' OPERATOR(pg_catalog.+) '.join(parts)})"

    def design_row(self, refs: Refs, clock: str, role: str = "") -> str:
        """SQL: the numbers the estimator sees, as float8[]."""
        if len(self.parts) == 1:
            return f"{self.function(role + '_x')}({self._arguments(0, refs, clock)})"
        numbers = range(len(self.parts))
        parts = (self._part(f"{role}_x_p{i + 1}", i, refs, clock) for i in numbers)
        return " OPERATOR(pg_catalog.||) ".join(parts)

    def _part(self, suffix: str, part: int, refs: Refs, clock: str) -> str:
        return f"{self.function(suffix)}({self._arguments(part, refs, clock)})"

    def _arguments(self, part: int, refs: Refs, clock: str) -> str:
        given = [i.argument(refs, clock) for i in self.parts[part]]
        return ", ".join([*given, clock])


@dataclass(frozen=True)
class Score:
    """A score column, the model that writes it, and what is made of it.

    ``bands`` are names with rising lower bounds; ``moved_by`` and ``by_band`` say which moves are
    reported, none unless ``reports``.
    """

    column: str
    model: Model | Ensemble
    bands: tuple[tuple[str, float], ...] = ()
    moved_by: float | None = None
    by_band: bool = False

    @property
    def is_ensemble(self) -> bool:
        """Whether several models make it."""
        return len(self.model.models) > 1

    @property
    def version_column(self) -> str:
        return f"{self.column}_version"

    @property
    def at_column(self) -> str:
        return f"{self.column}_at"

    @property
    def band_column(self) -> str:
        return f"{self.column}_band"

    @property
    def reported_column(self) -> str:
        return f"{self.column}_reported"

    @property
    def reports(self) -> bool:
        """Whether some of its moves are written to the outbox."""
        return self.moved_by is not None or self.by_band

    @property
    def columns(self) -> tuple[tuple[str, str], ...]:
        """Its profile columns and their types."""
        return (
            (self.column, "double precision"),
            (self.version_column, "integer[]" if self.is_ensemble else "integer"),
            (self.at_column, "timestamp with time zone"),
            *(((self.band_column, "text"),) if self.bands else ()),
            *(((self.reported_column, "double precision"),) if self.reports else ()),
        )


@dataclass(frozen=True)
class Only:
    """Who is scored: an expression over plain columns, compiled to a function of its own."""

    sql: str
    columns: tuple[tuple[str, str], ...]
