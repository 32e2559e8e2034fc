"""Replay purchases one by one, day by day, with a retraining at each month's end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from functools import cache
from importlib.resources import files
from typing import Any

from rescore.examples.cdnow.data import Purchase, by_day
from rescore.trainer.database import Connection
from rescore.trainer.operations import sweep
from rescore.trainer.train import train

PROFILE = "customer_profile"
MODEL = "churn"


@dataclass
class Replay:
    """What happened on the way.

    Attributes
    ----------
    events: purchases inserted, each a statement and a transaction of its own.
    seconds: time spent inserting them, without the retraining.
    story: the followed customer's score after each purchase and each month's end.
    """

    customer: int
    events: int = 0
    seconds: float = 0.0
    story: list[dict[str, Any]] = field(default_factory=list)


@cache
def statement(name: str) -> str:
    """Return the text of one of the example's .sql files, read once: some run 20,000 times."""
    return files("rescore.examples.cdnow").joinpath(f"{name}.sql").read_text(encoding="utf-8")


def moment(day: date) -> datetime:
    """Return a day as the data has it: midnight UTC."""
    return datetime(day.year, day.month, day.day, tzinfo=timezone.utc)


def set_clock(conn: Connection, day: date) -> None:
    """Let the session's profiles count days from this day."""
    conn.execute("SELECT pg_catalog.set_config('rescore.clock', %s, false)", (str(moment(day)),))


def learn(conn: Connection, day: date) -> Any:
    """Train on what was known on the day, publish, and rescore everybody, silent customers too."""
    set_clock(conn, day)
    report = train(conn, MODEL, until=moment(day), publish=True)
    sweep(conn, PROFILE)
    return report


def replay(
    conn: Connection,
    purchases: list[Purchase],
    customer: int,
    month_end: Callable[[date], None],
    progress: Callable[[int, int], None],
) -> Replay:
    """Insert purchases in order; call ``month_end`` when a month's last day is in."""
    done = Replay(customer)
    _tell(conn, done, purchases[0].day, "as history left it")
    for day, today in days(purchases):
        set_clock(conn, day)
        started = time.monotonic()
        for purchase in today:
            _insert(conn, purchase, done)
        done.seconds += time.monotonic() - started
        done.events += len(today)
        progress(done.events, len(purchases))
        if ends_month(day):
            month_end(day)
            _tell(conn, done, day, "month's end: trained, swept")
    return done


def _insert(conn: Connection, purchase: Purchase, done: Replay) -> None:
    when = moment(purchase.day)
    conn.execute(
        statement("insert"),
        (purchase.customer_id, when, purchase.quantity, purchase.amount),
    )
    if purchase.customer_id == done.customer:
        _tell(conn, done, purchase.day, f"buys for ${purchase.amount}")


def _tell(conn: Connection, done: Replay, day: date, what: str) -> None:
    row = conn.execute(statement("score"), (done.customer,)).fetchone()
    if row is None:  # before the customer's first purchase
        return
    before = done.story[-1]["churn_score"] if done.story else None
    told = {"day": day.isoformat(), "what": what, "orders": row[0]}
    done.story.append({**told, "was": before, "churn_score": row[1]})


def days(purchases: list[Purchase]) -> Iterator[tuple[date, list[Purchase]]]:
    """Yield every day from the first to the last, those without purchases too."""
    bought = dict(by_day(purchases))
    day, last = min(bought), max(bought)
    while day <= last:
        yield day, bought.get(day, [])
        day += timedelta(days=1)


def ends_month(day: date) -> bool:
    """Whether a day is the last of its month."""
    return (day + timedelta(days=1)).day == 1
