"""A score made of several models' scores: their weighted sum, wherever one model's would stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rescore.compiler.inputs import Input
from rescore.compiler.quoting import ident
from rescore.compiler.scored import COMPILED, Model
from rescore.compiler.states import Refs


@dataclass(frozen=True)
class Ensemble:
    """Models of one profile and what the score of each weighs; it calls their routers.

    Whatever version of a member serves a row is what the sum is made of, from the commit that
    lets it serve.
    """

    name: str
    members: tuple[tuple[Model, float], ...]

    @property
    def models(self) -> tuple[Model, ...]:
        """The members."""
        return tuple(model for model, _ in self.members)

    @property
    def inputs(self) -> tuple[Input, ...]:
        """What its members read."""
        return tuple(dict.fromkeys(i for model in self.models for i in model.inputs))

    @property
    def spec(self) -> Mapping[str, Any]:
        """What the definition says of a model: nothing of an ensemble."""
        return {}

    @property
    def version(self) -> str:
        """SQL: the members' champions; NULL while one of them has none."""
        return self._all([model.version for model in self.models])

    @property
    def deferred(self) -> str:
        """SQL: whether some member is scored by Python."""
        return f"({' OR '.join(model.deferred for model in self.models)})"

    def function(self, suffix: str = "") -> str:
        """The qualified, quoted name of one of the ensemble's functions."""
        return ident(COMPILED, self.name + suffix)

    def call(self, refs: Refs, clock: str) -> str:
        """SQL: the score, given how each profile column is referred to."""
        # As computed features multiply: no product underflows, where PostgreSQL raises.
        parts = (
            f"rescore._times('{weight!r}'::pg_catalog.float8, {model.call(refs, clock)})"
            for model, weight in self.members
        )
        return f"({' OPERATOR(pg_catalog.+) '.join(parts)})"

    def served(self, refs: Refs) -> str:
        """SQL: the versions that serve the row, in the order of the members, as integer[]."""
        return self._all([model.served(refs) for model in self.models])

    def reads(self, inputs: Sequence[str]) -> str:
        """SQL: whether a version that serves reads one of these inputs."""
        return " OR ".join(model.reads(inputs) for model in self.models)

    def _all(self, versions: Sequence[str]) -> str:
        missing = " OR ".join(f"{model.version} IS NULL" for model in self.models)
        return f"CASE WHEN NOT ({missing}) THEN ARRAY[{', '.join(versions)}] END"
