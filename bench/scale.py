"""How much of everything: the full bench, the quick one, and a tiny one for the tests."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """Sizes and durations of a run.

    Attributes
    ----------
    rounds: turns of each contender.
    seconds: of one turn of pgbench, or of an external worker.
    profiles: rows of the profile table under inserts.
    features: numbers of features under inserts.
    commits: settings of synchronous_commit under single inserts.
    clients: connections under single inserts.
    bulk: rows of one bulk statement.
    slow_rows: rows of a bulk statement for those that need a millisecond a row.
    scanned: rows of the profile table that is read and swept.
    publish_seconds: writers run while a version is published.
    growth_profiles, growth_features, growth_models: what the cost of an event is plotted over.
    categories: of a one-hot column, once; 0 to leave it out.
    learnt: resolved examples that are learnt from.
    """

    rounds: int
    seconds: int
    profiles: int
    features: tuple[int, ...]
    commits: tuple[str, ...]
    clients: tuple[int, ...]
    bulk: tuple[int, ...]
    slow_rows: int
    scanned: int
    publish_seconds: int
    growth_profiles: tuple[int, ...]
    growth_features: tuple[int, ...]
    growth_models: tuple[int, ...]
    categories: int = 180
    learnt: int = 5_000_000


FULL = Scale(
    rounds=3,
    seconds=2,
    profiles=100_000,
    features=(8, 20),
    commits=("on", "off"),
    clients=(1, 4),
    bulk=(1_000, 50_000),
    slow_rows=1_000,
    scanned=1_000_000,
    publish_seconds=8,
    growth_profiles=(10_000, 100_000, 1_000_000),
    growth_features=(5, 20, 60, 150),
    growth_models=(1, 3, 10),
)
QUICK = Scale(
    rounds=1,
    seconds=1,
    profiles=20_000,
    features=(8,),
    commits=("off",),
    clients=(1, 4),
    bulk=(50_000,),
    slow_rows=500,
    scanned=200_000,
    publish_seconds=4,
    growth_profiles=(10_000, 200_000),
    growth_features=(5, 20),
    growth_models=(1, 3),
    categories=0,
    learnt=200_000,
)
TINY = Scale(
    rounds=1,
    seconds=1,
    profiles=200,
    features=(4,),
    commits=("off",),
    clients=(1,),
    bulk=(50,),
    slow_rows=20,
    scanned=500,
    publish_seconds=3,
    growth_profiles=(100,),
    growth_features=(5,),
    growth_models=(1,),
    categories=5,
    learnt=4_000,
)
