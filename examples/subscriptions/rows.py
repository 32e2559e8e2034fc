"""The company's tables as rows, in the order in which they came: late ones late, some twice."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import numpy as np

from rescore.examples.subscriptions.world import COUNTRIES, RISE, START, World

NAMESPACE = uuid.UUID("6f1d3c52-6a2e-4d53-9d0b-2f7a0c1b9e77")
LATE = 0.05
TWICE = 0.02


class Arrival(NamedTuple):
    """A row, the table it comes to, and when it comes."""

    at: datetime
    table: str
    row: tuple[Any, ...]


def arrivals(world: World, seed: int = 0) -> list[Arrival]:
    """Return every row of every table in order of arrival."""
    rng = np.random.default_rng((seed, 1))
    made = [
        *_accounts(world),
        *_invoices(world, rng),
        *_tickets(world, rng),
        *_usage(world, rng),
        *_changes(world),
        *_offers(world),
    ]
    return sorted(made, key=lambda each: each.at)


def moment(day: int, hours: float) -> datetime:
    """Return an hour of a day of the company, to the second."""
    return START + timedelta(days=int(day), seconds=round(hours * 3600))


def subscription(name: str) -> uuid.UUID:
    """Return the number of an account's subscription."""
    return uuid.uuid5(NAMESPACE, name)


def _accounts(world: World) -> Iterator[Arrival]:
    for place, name in enumerate(world.names.tolist()):
        at = moment(world.joined[place], 0.5)
        plan = "basic" if world.basic[place] else "pro"
        country = COUNTRIES[world.countries[place]] or None
        yield Arrival(at, "accounts", (name, plan, country, at))
        yield Arrival(at, "subscriptions", (subscription(name), name, at))
        yield Arrival(at, "status_changes", (name, at, "active"))


def _invoices(world: World, rng: np.random.Generator) -> Iterator[Arrival]:
    """Yield a bill every 30 days and what was paid; a payment may be delivered twice."""
    for place, name in enumerate(world.names.tolist()):
        for day in range(world.joined[place], min(world.left[place], world.days), 30):
            price = (19 if day < RISE else 24) if world.basic[place] else 49
            yield Arrival(moment(day, 1), "invoices", (subscription(name), moment(day, 1), price))
            failed = bool(world.failed[day, place])
            paid = (name, moment(day, 2), None if failed else price, failed)
            for _ in range(2 if rng.random() < TWICE and not failed else 1):
                yield Arrival(moment(day, 2), "payments", paid)


def _tickets(world: World, rng: np.random.Generator) -> Iterator[Arrival]:
    for severe, happened in ((True, world.severe), (False, world.mild)):
        for day, place in np.argwhere(happened):
            grade = int(rng.integers(3, 6)) if severe else [None, 1, 2][rng.integers(3)]
            at = moment(day, rng.uniform(8, 18))
            yield Arrival(at, "tickets", (str(world.names[place]), at, grade))


def _usage(world: World, rng: np.random.Generator) -> Iterator[Arrival]:
    """Yield days of use; some come up to five days late, and of some the length is not known."""
    for day, place in np.argwhere(world.uses):
        at = moment(day, rng.uniform(6, 22))
        wait = rng.uniform(24, 120) if rng.random() < LATE else 0.1
        came = at + timedelta(seconds=round(wait * 3600))
        minutes = None if rng.random() < 0.03 else float(world.minutes[day, place])
        yield Arrival(came, "usage", (str(world.names[place]), at, minutes, came))


def _changes(world: World) -> Iterator[Arrival]:
    for place in np.flatnonzero(world.left < world.days):
        at = moment(world.left[place], 0.2)
        yield Arrival(at, "status_changes", (str(world.names[place]), at, "cancelled"))


def _offers(world: World) -> Iterator[Arrival]:
    for day, place in np.argwhere(world.offers):
        at = moment(day, 12)
        yield Arrival(at, "offers", (str(world.names[place]), at, 20))
