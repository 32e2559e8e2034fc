"""How much of everything: the full bench, the quick one, and a tiny one for the tests."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """Sizes and durations of a run.

    Attributes
    ----------
    budget: share of each work's seconds that it may take, see ``run.WORKS``; one turn is done
        whatever it takes.
    rounds: turns of each contender at most.
    seconds: of one turn of pgbench, or of an external worker.
    profiles: rows of the profile table under inserts.
    features: numbers of features under inserts.
    models: numbers of models under inserts.
    commits: settings of synchronous_commit under single inserts.
    clients: connections under single inserts.
    bulk: rows of one bulk statement.
    slow_rows: rows of a bulk statement for those that need a millisecond a row.
    scanned: rows of the profile table that is read and swept.
    publish_seconds: writers run while a version is published.
    growth_profiles, growth_features, growth_models: what the cost of an event is plotted over.
    categories: of a one-hot column.
    learnt: resolved examples that are learnt from.
    hot_shares: shares of the events that are one customer's.
    tuning: of the private server; for the tests one that does not wait for the disk.
    """

    budget: float
    rounds: int
    seconds: float
    profiles: int
    features: tuple[int, ...]
    models: tuple[int, ...]
    commits: tuple[str, ...]
    clients: tuple[int, ...]
    bulk: tuple[int, ...]
    slow_rows: int
    scanned: int
    publish_seconds: int
    growth_profiles: tuple[int, ...]
    growth_features: tuple[int, ...]
    growth_models: tuple[int, ...]
    categories: int
    learnt: int
    hot_shares: tuple[float, ...]
    tuning: str = "bench"


FULL = Scale(
    budget=1,
    rounds=7,
    seconds=1,
    profiles=100_000,
    features=(8, 20),
    models=(1, 3, 10),
    commits=("on", "off"),
    clients=(1, 4),
    bulk=(1_000, 50_000),
    slow_rows=1_000,
    scanned=1_000_000,
    publish_seconds=6,
    growth_profiles=(10_000, 100_000, 1_000_000, 10_000_000),
    growth_features=(5, 20, 60, 200),
    growth_models=(1, 3, 10, 20),
    categories=180,
    learnt=5_000_000,
    hot_shares=(0, 0.01, 0.1, 0.5),
)
QUICK = Scale(
    budget=0.12,
    rounds=3,
    seconds=1,
    profiles=20_000,
    features=(8,),
    models=(1, 3),
    commits=("off",),
    clients=(1, 4),
    bulk=(50_000,),
    slow_rows=200,
    scanned=100_000,
    publish_seconds=3,
    growth_profiles=(10_000, 200_000),
    growth_features=(5, 20),
    growth_models=(1, 3),
    categories=180,
    learnt=200_000,
    hot_shares=(0, 0.1),
)
TINY = Scale(
    budget=0,
    rounds=1,
    seconds=0.1,
    profiles=200,
    features=(4,),
    models=(1,),
    commits=("off",),
    clients=(2,),
    bulk=(50,),
    slow_rows=20,
    scanned=500,
    publish_seconds=2,
    growth_profiles=(100,),
    growth_features=(5,),
    growth_models=(1,),
    categories=5,
    learnt=4_000,
    hot_shares=(0.5,),
    tuning="tests",
)
