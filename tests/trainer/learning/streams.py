"""Streams with a known truth: customers, their snapshots, and what happened to them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import norm

from rescore.trainer.learning.batch import Batch

Floats = NDArray[np.float64]
Hashes = NDArray[np.uint64]

WEIGHTS = np.array([1.0, -1.0, 0.5, 0.0])
SCALES, CENTRES = np.array([1.0, 100.0, 0.01, 5.0]), np.array([0.0, 1000.0, 5.0, -3.0])
SGD: dict[str, dict[str, Any]] = {
    "sgd_classifier": {"loss": "log_loss", "learning_rate": "constant", "eta0": 0.02}
}
AVERAGED = {"sgd_classifier": {**SGD["sgd_classifier"], "average": True}}


def examples(
    random: np.random.Generator, n: int, base: float = -1.0, flip: float = 1.0, move: float = 0.0
) -> tuple[Batch, Floats]:
    """Return independent examples of a logistic model, and their true probabilities.

    Parameters
    ----------
    base: log-odds of the average example.
    flip: factor on the true weights; -1 turns the concept round.
    move: of every column, in its standard deviations.
    """
    raw = random.normal(size=(n, len(WEIGHTS)))
    chance = expit(base + raw @ WEIGHTS * flip)
    labels = (random.random(n) < chance).astype(np.int8)
    design = (raw + move) * SCALES + CENTRES
    return Batch(design, labels, random.integers(0, 2**63, n).astype(np.uint64)), chance


def batches(seed: int, count: int, size: int = 500, **truth: float) -> Iterator[Batch]:
    """Return batches of independent examples."""
    random = np.random.default_rng(seed)
    for _ in range(count):
        yield examples(random, size, **truth)[0]


@dataclass(frozen=True)
class Snapshots:
    """Daily snapshots of customers, whose outcomes hardly change from day to day."""

    hashes: Hashes
    labels: NDArray[np.int8]
    truth: Floats
    one: Floats
    other: Floats


def snapshots(
    random: np.random.Generator, customers: int, base: float = -1.0, days: int = 8
) -> Snapshots:
    """Return snapshots, their calibrated probability, and two equally good, noisy models' scores.

    Outcomes of one customer come from one hidden draw, so that rows are far from independent while
    each has exactly the probability ``truth``.
    """
    rows = random.poisson(days, customers) + 1
    of = np.repeat(np.arange(customers), rows)
    risk = base + random.normal(size=customers)[of] + 0.2 * random.normal(size=len(of))
    hidden = 0.95 * random.normal(size=customers)[of] + 0.31 * random.normal(size=len(of))
    labels = (norm.cdf(hidden / np.hypot(0.95, 0.31)) < expit(risk)).astype(np.int8)
    hashes = random.integers(0, 2**63, customers).astype(np.uint64)[of]
    noisy = [expit(risk + 0.7 * random.normal(size=customers)[of]) for _ in range(2)]
    return Snapshots(hashes, labels, expit(risk), *noisy)
