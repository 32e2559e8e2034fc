"""The company's truth: accounts, what happens to them day by day, and why they leave."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

import numpy as np
from numpy.typing import NDArray

from rescore.trainer.learning.hashing import hash_keys, shares

Floats = NDArray[np.float64]
Days = NDArray[np.int64]
START = datetime(2025, 1, 1, tzinfo=timezone.utc)
HOLDOUT = 0.2
HOLDOUT_SALT = "accounts holdout"
RISE = 212  # day of the rise in price: 2025-08-01
COUNTRIES = ("DE", "FR", "NL", "PL", "")


@dataclass(frozen=True)
class World:
    """What happened, by account and day. Days are counted from START.

    Attributes
    ----------
    names: account ids, shape (accounts,).
    basic: which have the cheaper plan.
    countries: numbers in COUNTRIES, of which the last one is not known.
    joined, left: first day, and the day of leaving; the number of days where none came.
    uses, minutes: shape (days, accounts), days of use and their length.
    failed, severe, mild: shape (days, accounts): payments that failed, tickets of two kinds.
    offers: shape (days, accounts).
    hazards: shape (days, accounts): the true chance to leave that day; NaN where not active.
    """

    names: NDArray[np.str_]
    basic: NDArray[np.bool_]
    countries: Days
    joined: Days
    left: Days
    uses: NDArray[np.bool_]
    minutes: Floats
    failed: NDArray[np.bool_]
    severe: NDArray[np.bool_]
    mild: NDArray[np.bool_]
    offers: NDArray[np.bool_]
    hazards: Floats

    @property
    def days(self) -> int:
        """How many days there are."""
        return len(self.uses)

    def hazard(self, name: str, moment: datetime) -> float:
        """Return the true chance of an account to leave on the day of a moment."""
        place = int(np.searchsorted(self.names, name))
        return float(self.hazards[(moment - START).days, place])


def generate(
    accounts: int = 1000, days: int = 365, seed: int = 0, holdout: float = HOLDOUT
) -> World:
    """Return a company that lived for so many days.

    Parameters
    ----------
    accounts: that ever join; half of them are there on the first day.
    seed: the same one gives the same company.
    holdout: share of the accounts that never gets an offer; with 1, what comes without any.
    """
    rng = np.random.default_rng(seed)
    return _Life(rng, accounts, days, holdout).live()


class _Life:
    """Accounts as they are today, and everything that has happened to them."""

    def __init__(self, rng: np.random.Generator, accounts: int, days: int, holdout: float) -> None:
        self.rng, self.accounts, self.days = rng, accounts, days
        self.names = np.array([f"A-{i:06d}" for i in range(accounts)])
        self.basic = rng.random(accounts) < 0.6
        self.countries = rng.choice(len(COUNTRIES), accounts, p=[0.4, 0.25, 0.15, 0.1, 0.1])
        later = rng.integers(1, max(days - 60, 2), accounts)
        self.joined = np.where(np.arange(accounts) % 2 == 0, 0, later)
        self.left = np.full(accounts, days)
        self.held_out = shares(hash_keys(self.names, HOLDOUT_SALT)) < holdout
        self.interest = rng.normal(0, 1, accounts)
        shape = (days, accounts)
        self.uses, self.failed, self.severe, self.mild, self.offers = (
            np.zeros(shape, dtype=bool) for _ in range(5)
        )
        self.minutes, self.hazards = np.zeros(shape), np.full(shape, np.nan)

    def live(self) -> World:
        for day in range(self.days):
            self._leave(day)
            self._happen(day)
        return World(
            self.names,
            self.basic,
            self.countries,
            self.joined,
            self.left,
            self.uses,
            self.minutes,
            self.failed,
            self.severe,
            self.mild,
            self.offers,
            self.hazards,
        )

    def _leave(self, day: int) -> None:
        """Let accounts leave at the beginning of the day, and offer something to those at risk."""
        active = (self.joined < day) & (self.left > day)
        hazard = np.where(active, self._hazard(day), np.nan)
        self.hazards[day] = hazard
        self.left[active & (self.rng.random(self.accounts) < hazard)] = day
        risky = active & (self.left > day) & (hazard > 0.008) & ~self.held_out
        self.offers[day] = risky & (self.rng.random(self.accounts) < 0.1)

    def _hazard(self, day: int) -> Floats:
        """Return the chance to leave, from what has happened before the day."""
        used = self._lately(self.uses, day, 14)
        odds = -4.9 - 0.45 * np.minimum(used, 10) + 0.5 * self.basic
        odds = odds + 1.5 * np.minimum(self._lately(self.failed, day, 30), 2)
        odds = odds + 1.2 * np.minimum(self._lately(self.severe, day, 30), 2)
        odds = odds + 0.3 * np.cos(2 * np.pi * day / 365)  # more leave in winter
        odds = odds + 0.7 * (self.basic & (RISE <= day < RISE + 60))
        odds = odds - 0.8 * (self._lately(self.offers, day, 30) > 0)
        return np.asarray(1 / (1 + np.exp(-odds)))

    def _lately(self, what: NDArray[np.bool_], day: int, days: int) -> Days:
        return np.asarray(what[max(day - days, 0) : day].sum(axis=0))

    def _happen(self, day: int) -> None:
        """Let accounts use the product, write tickets, and fail to pay."""
        chance = self.rng.random
        active = (self.joined <= day) & (self.left > day)
        self.interest = 0.985 * self.interest + self.rng.normal(0, 0.17, self.accounts)
        weekday = 0.5 if (START + timedelta(days=day)).weekday() < 5 else -0.5
        self.uses[day] = active & (
            chance(self.accounts) < 1 / (1 + np.exp(-1.5 * self.interest + 1 - weekday))
        )
        self.minutes[day] = np.round(self.rng.lognormal(3 + 0.4 * self.interest, 0.6), 2)
        billed = active & ((day - self.joined) % 30 == 0)
        self.failed[day] = billed & (chance(self.accounts) < 0.08)
        self.severe[day] = active & (chance(self.accounts) < 0.004)
        self.mild[day] = active & (chance(self.accounts) < 0.008)
