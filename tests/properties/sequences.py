"""The shop's independent recount of different values, last values and gaps, in plain Python."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from typing import Any

Row = dict[str, Any]

FEATURES = """
  channels:         {from: orders, distinct: channel}
  heights:          {from: orders, distinct: weight, where: "qty IS NOT NULL"}
  prices:           {from: orders, distinct: amount, window: 2 days, bucket: 12 hours}
  severities:       {from: complaints, distinct: severity}
  totals:           {from: invoices, distinct: total}
  last_channels:    {from: orders, last: 3, of: channel, one_hot: [web, store], other: true, missing: indicator}
  last_qtys:        {from: orders, last: 4, of: qty, count_of: [1, 2, -1], other: true}
  some_channels:    {from: orders, last: 2, of: channel, where: "qty > 0", count_of: [web, phone]}
  last_severities:  {from: complaints, last: 2, of: severity, one_hot: [5]}
  last_billed:      {from: invoices, last: 3, of: subscription_id, count_of: [a, b]}
  every:            {from: orders, gap: avg, missing: indicator}
  web_every:        {from: orders, gap: avg, where: "channel = 'web'"}
  since_last:       {from: orders, gap: last, default: 30}
  complaint_gap:    {from: complaints, gap: last, where: "severity >= 2", missing: indicator}
  invoice_every:    {from: invoices, gap: avg}
  invoice_gap:      {from: invoices, gap: last}
"""

SOURCE = {
    "severities": "complaints",
    "totals": "invoices",
    "last_severities": "complaints",
    "last_billed": "invoices",
    "complaint_gap": "complaints",
    "invoice_every": "invoices",
    "invoice_gap": "invoices",
}


def sequences(orders: list[Row], complaints: list[Row], invoices: list[Row]) -> Row:
    """Return what these events say, whenever they happened."""
    ordered, complained, billed = "ordered_at", "created_at", "issued_at"
    weighed = [r for r in orders if r["qty"] is not None]
    some = [r for r in orders if (r["qty"] or 0) > 0]
    grave = [r for r in complaints if (r["severity"] or 0) >= 2]
    web = [r for r in orders if r["channel"] == "web"]
    return {
        "channels": different(r["channel"] for r in orders),
        "heights": different(r["weight"] for r in weighed),
        "severities": different(r["severity"] for r in complaints),
        "totals": different(r["total"] for r in invoices),
        "last_channels": newest(orders, ordered, "channel", 3),
        "last_qtys": newest(orders, ordered, "qty", 4),
        "some_channels": newest(some, ordered, "channel", 2),
        "last_severities": newest(complaints, complained, "severity", 2),
        "last_billed": newest(invoices, billed, "subscription_id", 3),
        "every": mean_gap(orders, ordered),
        "web_every": mean_gap(web, ordered),
        "since_last": last_gap(orders, ordered),
        "complaint_gap": last_gap(grave, complained),
        "invoice_every": mean_gap(invoices, billed),
        "invoice_gap": last_gap(invoices, billed),
    }


def different(values: Iterable[Any]) -> int:
    """Return how many different values there are; NaN is one, NULL none."""
    return len({"NaN" if value != value else value for value in values if value is not None})


def newest(rows: list[Row], time: str, column: str, kept: int) -> list[str] | None:
    """Return the last values as texts, newest first; of events at one time the greatest first."""
    found = [(_at(r[time]), r[column]) for r in rows if r[column] is not None]
    by_value = sorted(found, key=lambda f: _bytes(f[1]), reverse=True)
    in_order = sorted(by_value, key=lambda f: f[0], reverse=True)
    return [str(value) for _, value in in_order[:kept]] or None


def _bytes(value: Any) -> Any:
    return value.encode() if isinstance(value, str) else value


def mean_gap(rows: list[Row], time: str) -> float | None:
    """Return the mean of the days from each event to the next."""
    times = sorted(_at(r[time]) for r in rows)
    gaps = [(later - sooner) / timedelta(days=1) for sooner, later in pairwise(times)]
    return math.fsum(gaps) / len(gaps) if gaps else None


def last_gap(rows: list[Row], time: str) -> float | None:
    """Return the days between the last two events."""
    times = sorted((_at(r[time]) for r in rows), reverse=True)
    return (times[0] - times[1]) / timedelta(days=1) if len(times) > 1 else None


def _at(value: Any) -> datetime:
    at = value if isinstance(value, datetime) else datetime(value.year, value.month, value.day)
    return at if at.tzinfo else at.replace(tzinfo=timezone.utc)
