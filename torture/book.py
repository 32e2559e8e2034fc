"""What a client was told: the statements the server confirmed, compared with what is there."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Book:
    """One client's account of its statements.

    Attributes
    ----------
    rows: number of a statement → how many rows of it must be there.
    unsure: numbers whose confirmation did not come: all of their rows may be there, or none.
    done: what was done → how often.
    errors: what no client should ever see.
    """

    first: int
    rows: dict[int, int] = field(default_factory=dict)
    unsure: dict[int, set[int]] = field(default_factory=dict)
    done: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)
    _used: int = 0

    def number(self) -> int:
        """Return a number for a statement that was not used before, by this client or another."""
        self._used += 1
        return self.first + self._used

    def differences(self, present: dict[int, int]) -> list[str]:
        """Return what is there but should not be, or is not but should, a line each."""
        found = []
        for batch, rows in self.rows.items():
            allowed = self.unsure.get(batch, {rows})
            if present.get(batch, 0) not in allowed:
                found.append(f"statement {batch}: {present.get(batch, 0)} rows of {rows}")
        return found


def merged(books: list[Book]) -> Counter[str]:
    """Return how often what was done, by all clients together."""
    return sum((b.done for b in books), Counter())
