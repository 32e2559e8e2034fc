"""What came of a moment, as SQL: the events of labels and treatments. Pure values.

One implementation for all: training on past moments, snapshots that resolve, corrections.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from rescore.compiler.catalog import Table
from rescore.compiler.quoting import ident
from rescore.compiler.windows import interval

CLOCK = "rescore_v_clock"


@dataclass(frozen=True)
class Occurrences:
    """Rows of a table that each say: this happened to that customer, then.

    Attributes
    ----------
    table: the table; ``join`` reaches the key behind a link.
    key: the column with the key, bare, for index scans; SQL over ``e`` (or ``l``).
    key_column: the table's own column that leads to it.
    time, known_at: timestamptz over ``e``; the latter empty where it is known at once.
    condition: SQL over ``e`` of the rows that count; empty for all.
    value: SQL over ``e`` of what is added up; empty where only its time is asked for.
    """

    table: Table
    join: str
    key: str
    key_column: str
    time: str
    known_at: str
    condition: str
    value: str = ""

    @property
    def relation(self) -> str:
        return ident(self.table.schema, self.table.name)

    @property
    def known(self) -> str:
        """SQL condition: it had happened, and was known, at the clock; and it counts."""
        late = f" AND {self.known_at} <= {CLOCK}" if self.known_at else ""
        counts = f" AND ({self.condition})" if self.condition else ""
        return f"{self.time} <= {CLOCK}{late}{counts}"


@dataclass(frozen=True)
class Outcome:
    """A label: what it looks for, in which time after a moment, and what leaves it unknown.

    Attributes
    ----------
    absence: true when no event of ``event`` happens; else when one does.
    event, row: an event table's rows and a label table's; one of them at least.
    censoring: events that, coming before any of these, leave the outcome unknown.
    settle: the longest that outcomes, or what censors them, take to be known.
    amount: whether it is a number: the sum of the values of ``event`` or ``row``.
    """

    name: str
    absence: bool
    event: Occurrences | None
    row: Occurrences | None
    censoring: tuple[Occurrences, ...]
    after: timedelta
    within: timedelta
    settle: timedelta
    amount: bool = False

    @property
    def sources(self) -> tuple[Occurrences, ...]:
        """All that is read."""
        own = [o for o in (self.event, self.row) if o]
        return (*own, *self.censoring)

    @property
    def begins(self) -> str:
        """SQL: after which moment what happens counts."""
        return f"k.rescore_at + {interval(self.after)}" if self.after else "k.rescore_at"

    @property
    def ends(self) -> str:
        """SQL: the last moment that counts."""
        return f"k.rescore_at + {interval(self.within)}"

    @property
    def horizon(self) -> timedelta:
        """How long after a moment its outcome is settled."""
        return self.within + self.settle

    @property
    def known_early(self) -> bool:
        """Whether a positive outcome can be known before the horizon is over."""
        return not self.amount and (not self.absence or self.row is not None)

    def happened(self, firsts: Mapping[str, str]) -> str:
        """SQL: whether something that makes the label true has happened.

        Parameters
        ----------
        firsts: SQL of the first time of ``event`` and ``row``, NULL when there is none.
        """
        wanted = (["event"] if self.event and not self.absence else []) + (
            ["row"] if self.row else []
        )
        return " OR ".join(f"{firsts[name]} IS NOT NULL" for name in wanted) or "false"

    def positive(self, firsts: Mapping[str, str]) -> str:
        """SQL: the label once the horizon is over."""
        absent = f" OR {firsts['event']} IS NULL" if self.absence else ""
        return f"({self.happened(firsts)}{absent})"


@dataclass(frozen=True)
class Treatment:
    """Treatments, and the profile column that says who is kept from them.

    ``declaration`` is the column's type with the share of the key that fills it.
    """

    occurrences: Occurrences
    column: str
    declaration: str
