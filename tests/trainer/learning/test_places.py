"""The table finds what the search finds, also on edges, at the ends and where edges are dense."""

from __future__ import annotations

import numpy as np
import pytest

from rescore.trainer.learning.histogram import ScoreHistogram
from rescore.trainer.learning.places import CELLS, Places

RNG = np.random.default_rng(1)
EVEN = np.linspace(0.1, 0.9, 100)
EDGES = {
    "even": EVEN,
    "dense": np.sort(RNG.normal(0.01, 1e-6, 500)),
    "on cells": np.arange(0, CELLS, 64) / CELLS,
    "one": np.array([0.5]),
    "at both ends": np.array([0.0, 1e-300, 0.5, 1 - 1e-16, 1.0]),
}


@pytest.mark.parametrize("kind", EDGES)
def test_as_many_edges_are_below_as_a_search_finds(kind: str) -> None:
    edges = EDGES[kind]
    near = [np.nextafter(edges, 0), edges, np.minimum(np.nextafter(edges, 2), 1)]
    numbers = np.concatenate([*near, RNG.random(5000), RNG.normal(0.01, 1e-6, 500), [0.0, 1.0]])
    found = Places(edges).of(numbers)
    assert np.array_equal(found, np.searchsorted(edges, numbers, side="right"))


def test_scores_outside_are_searched_for() -> None:
    scores = np.array([-0.5, 0.2, 1.5])
    histogram = ScoreHistogram.like(scores, probability=True, bins=64)
    histogram.add(scores, [0, 1, 1], np.zeros(3, dtype=np.intp))
    at = np.searchsorted(histogram.edges, scores, side="right")
    assert histogram.counts.sum() == 3
    assert [histogram.counts[0, label, n] for label, n in zip((0, 1, 1), at, strict=True)] == [
        1
    ] * 3
