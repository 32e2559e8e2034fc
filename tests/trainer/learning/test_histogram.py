"""Score histograms: batches add up to the whole, order and cut do not matter, weights repeat."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rescore.errors import BadFeature, NotFinite
from rescore.trainer.learning.histogram import ScoreHistogram, checked_weights

GROUPS = 8
numbers = st.integers(1, 40)


@st.composite
def scored(draw: st.DrawFn) -> tuple[Any, Any, Any, Any]:
    n = draw(numbers)
    scores = draw(hnp.arrays(float, n, elements=st.floats(0, 1)))
    labels = draw(hnp.arrays(np.int8, n, elements=st.integers(0, 1)))
    groups = draw(hnp.arrays(np.intp, n, elements=st.integers(0, GROUPS - 1)))
    weights = draw(hnp.arrays(np.intp, n, elements=st.integers(0, 3)))
    return scores, labels, groups, weights


def empty() -> ScoreHistogram:
    return ScoreHistogram.like(np.linspace(0.1, 0.9, 30), groups=GROUPS, bins=32)


def filled(scores: Any, labels: Any, groups: Any, weights: Any = None) -> ScoreHistogram:
    histogram = empty()
    histogram.add(scores, labels, groups, weights)
    return histogram


def assert_same(one: ScoreHistogram, other: ScoreHistogram) -> None:
    for name in ("counts", "losses", "sums"):
        assert np.allclose(getattr(one, name), getattr(other, name), rtol=1e-12, atol=1e-9), name


@given(scored(), st.data())
def test_batches_add_up_to_the_whole(rows: Any, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(rows[0])))
    first, second = (
        filled(*(part[side] for part in rows)) for side in (slice(cut), slice(cut, None))
    )
    assert_same(first + second, filled(*rows))
    first.add(*(part[cut:] for part in rows))
    assert_same(first, filled(*rows))


@given(scored(), st.randoms(use_true_random=False))
def test_order_does_not_matter(rows: Any, random: Any) -> None:
    order = list(range(len(rows[0])))
    random.shuffle(order)
    assert_same(filled(*(part[order] for part in rows)), filled(*rows))


@given(scored())
def test_a_weight_is_a_repetition(rows: Any) -> None:
    scores, labels, groups, weights = rows
    repeated = (np.repeat(part, weights) for part in (scores, labels, groups))
    assert_same(filled(*rows), filled(*repeated))
    assert filled(*rows).weight == weights.sum()
    assert filled(*rows).positives == weights[labels == 1].sum()


def test_scores_on_the_threshold_are_predicted_positive() -> None:
    histogram = ScoreHistogram.like([0.3], threshold=0.3, groups=1, bins=4)
    histogram.add(np.array([np.nextafter(0.3, 0), 0.3]), [0, 0], np.zeros(2, np.intp))
    above = int(np.searchsorted(histogram.edges, 0.3, side="right"))
    assert histogram.counts[0, 0, :above].sum() == histogram.counts[0, 0, above:].sum() == 1


def test_margins_have_no_losses() -> None:
    histogram = ScoreHistogram.like([-3.0, 5.0], probability=False, groups=1)
    histogram.add(np.array([-1e30, 1e30]), [0, 1], np.zeros(2, np.intp))
    assert not histogram.losses.any()
    assert histogram.counts[0, 0, 0] == histogram.counts[0, 1, -1] == 1


def test_histograms_of_other_edges_do_not_add_up() -> None:
    with pytest.raises(ValueError, match="edges"):
        empty() + ScoreHistogram.like([0.5], groups=GROUPS)


@pytest.mark.parametrize("score", [np.nan, np.inf])
def test_scores_that_are_not_finite_are_refused(score: float) -> None:
    with pytest.raises(NotFinite, match="of example 2"):
        filled(np.array([0.5, score]), [0, 1], np.zeros(2, np.intp))


@pytest.mark.parametrize("weights", [[1.0, -1.0], [1.0, np.nan], [1.0]])
def test_weights_that_are_none_are_refused(weights: list[float]) -> None:
    with pytest.raises(BadFeature, match="weight"):
        checked_weights(weights, 2)
