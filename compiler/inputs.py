"""How a column of the profile enters a score. Pure values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from rescore.compiler.states import Refs


@dataclass(frozen=True)
class Input:
    """How a feature enters a model: the argument of the scorer and its contract.

    ``retired`` marks what only the serving version still reads, and no new one will.
    ``column`` is the profile column it is read from, ``beside`` others it needs; ``cast`` turns
    references to them into the argument: a format string of ``{}``, or ``{0}``, ``{1}`` … and
    ``{clock}``, all names and operators schema-qualified, since it is inlined into users' queries.
    ``computed``: from other features.
    """

    name: str
    column: str
    type: str
    kind: Literal["number", "days_since", "days_until", "category", "list"]
    cast: str = "{}"
    nullable: bool = True
    bounded: bool = False
    default: float | None = 0.0
    missing: bool = False
    categories: tuple[str, ...] | None = None
    top: int | None = None
    other: bool = False
    retired: bool = False
    beside: tuple[str, ...] = ()
    clip: tuple[float | None, float | None] | None = None
    log1p: bool = False
    buckets: tuple[float, ...] | None = None
    count: bool = False
    computed: bool = False

    def argument(self, refs: Refs, clock: str) -> str:
        """SQL of the argument, given how each profile column is referred to, and the clock."""
        if self.cast == "{}":
            return refs(self.column)
        given = [f"({refs(c)})" for c in (self.column, *self.beside)]
        return self.cast.format(*given, clock=clock)

    def contract(self) -> dict[str, Any]:
        """The JSON of docs/architecture.md."""
        made: dict[str, Any] = {"name": self.name, "type": self.type, "kind": self.kind}
        made |= {"nullable": self.nullable, "bounded": self.bounded}
        made |= {"default": self.default, "missing": self.missing}
        if self.retired:
            made["retired"] = True
        made |= self._transforms()
        if self.kind == "list":
            made["count"] = self.count
        if self.kind in ("category", "list"):
            made["other"] = self.other
            made |= {"top": self.top} if self.top else {"categories": list(self.categories or ())}
        return made

    def _transforms(self) -> dict[str, Any]:
        """What is done to the number, as far as anything is: other contracts stay as they were."""
        made: dict[str, Any] = {"clip": list(self.clip)} if self.clip else {}
        made |= {"log1p": True} if self.log1p else {}
        return made | ({"buckets": list(self.buckets)} if self.buckets else {})
