"""An independent recount of what labels say, and the steps a history is made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from hypothesis import strategies as st

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
STEP = timedelta(hours=12)
CUSTOMERS = 4
CORRECTIONS = timedelta(days=6)
WITHIN = {"churn": 4.0, "leave": 5.0, "dun": 2.0, "lose": 3.0}
SETTLE = {"leave": 1.5, "dun": 1.5, "lose": 0.5}

DEFINITION = """
profile: {table: customers, key: {name: customer_id, type: bigint}, clock: session}
events: {orders: {time: ordered_at}, plans: {time: at}}
features:
  orders: {from: orders, count: true}
  recent: {from: orders, count: true, window: 2 days, bucket: 1 hour}
labels:
  churned: {none: orders, within: 4 days}
  left: {any: plans, where: "kind = 'cancel'", after: 1 day, within: 5 days, censored_by: unpaid}
  unpaid: {table: unpaid_list, key: client, at: churned_on, known_at: booked_on, within: 2 days,
           settle: 36 hours}
  gone: {none: orders, table: unpaid_list, key: client, at: churned_on, known_at: booked_on,
         within: 3 days, settle: 12 hours}
interventions: {table: offers, time: sent_at, where: "kind <> 'newsletter'", holdout: 30%}
snapshot: {every: 1 day, corrections: 6 days}
models:
  churn: {label: churned}
  leave: {label: left}
  dun: {label: unpaid}
  lose: {label: gone}
"""

customers = st.integers(1, CUSTOMERS)
# On a grid, so that times meet the edges of horizons; and late as well as early.
ago = st.integers(-6, 4)

STEPS = st.one_of(
    st.tuples(st.just("clock"), st.integers(0, 6)),
    st.tuples(st.just("clock"), st.integers(1, 3)),
    st.tuples(st.just("orders"), customers, ago),
    st.tuples(st.just("plans"), customers, ago, st.sampled_from(["cancel", "upgrade"])),
    st.tuples(st.just("unpaid"), customers, ago, st.integers(0, 5)),
    st.tuples(st.just("offers"), customers, ago, st.sampled_from(["rebate", "newsletter"])),
    st.tuples(st.just("forget"), st.sampled_from(["orders", "plans", "unpaid"])),
    st.tuples(st.just("snapshot")),
    st.tuples(st.just("resolve")),
    st.tuples(st.just("resolve")),
)


@dataclass
class Snapshot:
    """What one snapshot should hold."""

    model: str
    key: int
    at: datetime
    label: float | None = None
    censored: bool = False
    early: bool = False
    treated: datetime | None = None
    resolved_at: datetime | None = None
    first: float | None = None
    corrected_at: datetime | None = None

    @property
    def due(self) -> datetime:
        """When its outcome is settled."""
        days = WITHIN[self.model] + SETTLE.get(self.model, 0.0)
        return self.at + timedelta(days=days)

    def told(self) -> tuple[Any, ...]:
        """The columns of the table, in the order of the test's query."""
        shown = (self.label, self.censored, self.early, self.treated, self.due, self.resolved_at)
        return (self.model, str(self.key), self.at, *shown, self.first, self.corrected_at)


@dataclass
class History:
    """What happened, as plain lists, and the snapshots taken of it."""

    clock: datetime = START
    orders: list[tuple[int, datetime]] = field(default_factory=list)
    plans: list[tuple[int, datetime, str]] = field(default_factory=list)
    unpaid: list[tuple[int, datetime, datetime]] = field(default_factory=list)
    offers: list[tuple[int, datetime, str]] = field(default_factory=list)
    snapshots: list[Snapshot] = field(default_factory=list)

    def resolve(self) -> None:
        """Do what resolving should do to each snapshot."""
        for s in self.snapshots:
            horizon = s.due - s.at
            if s.resolved_at is not None and s.at < self.clock - horizon - CORRECTIONS:
                continue
            self._one(s)

    def _one(self, s: Snapshot) -> None:
        happened, label, censored = self._outcome(s)
        if s.due > self.clock:
            s.early, s.treated = happened and not censored, self._treated(s)
            return
        now = (None if censored else label), censored
        if s.resolved_at is None:
            s.resolved_at = self.clock
        elif now != (s.label, s.censored):
            s.first = s.label if s.corrected_at is None else s.first
            s.corrected_at = self.clock
        (s.label, s.censored), s.early, s.treated = now, False, self._treated(s)

    def _outcome(self, s: Snapshot) -> tuple[bool, float, bool]:
        """Whether what makes it true has happened, the label, and whether it is censored."""
        within = timedelta(days=WITHIN[s.model])
        orders = self._in(((k, t, t) for k, t in self.orders), s, timedelta(), within)
        unpaid = self._in(self.unpaid, s, timedelta(), within)
        if s.model == "churn":
            return False, float(not orders), False
        if s.model == "dun":
            return bool(unpaid), float(bool(unpaid)), False
        if s.model == "lose":
            return bool(unpaid), float(bool(unpaid) or not orders), False
        cancels = ((k, t, t) for k, t, kind in self.plans if kind == "cancel")
        left = self._in(cancels, s, timedelta(days=1), within)
        never = datetime.max.replace(tzinfo=timezone.utc)
        censored = min(unpaid, default=never) < min(left, default=never)
        return bool(left), float(bool(left)), censored

    def _in(self, rows: Any, s: Snapshot, after: timedelta, within: timedelta) -> list[datetime]:
        """Times of a customer's rows in the time after the moment, as known at the clock."""
        return [
            time
            for key, time, known in rows
            if key == s.key
            and s.at + after < time <= s.at + within
            and time <= self.clock
            and known <= self.clock
        ]

    def _treated(self, s: Snapshot) -> datetime | None:
        rows = ((k, t, t) for k, t, kind in self.offers if kind != "newsletter")
        return min(self._in(rows, s, timedelta(), timedelta(days=WITHIN[s.model])), default=None)
