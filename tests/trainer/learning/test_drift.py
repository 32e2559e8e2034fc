"""Drift: counts that add up, indices that are known where nothing moved, guards against the absurd."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import ks_2samp

from rescore.trainer.learning.drift import (
    ColumnCounts,
    Drift,
    drift,
    drifts,
    implausible,
    merged,
    psi,
    rate_shift,
    recent,
    reference,
)
from rescore.trainer.learning.intervals import Interval

NAMES = ["orders", "spend", "is_pro"]
values = hnp.arrays(float, st.integers(1, 60), elements=st.floats(-1e6, 1e6))


def sample(seed: int, n: int = 4000, move: float = 0.0) -> Any:
    random = np.random.default_rng(seed)
    return np.column_stack(
        [random.poisson(3, n), random.lognormal(2 + move, 1, n), random.random(n) < 0.3 + move / 4]
    ).astype(float)


def counts(data: Any, like: Any) -> ColumnCounts:
    return ColumnCounts.like(like).plus(data)


@given(values, values, st.data())
def test_parts_add_up_to_the_whole_in_any_order(kept: Any, more: Any, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(more)))
    whole, parts = counts(more, kept), counts(more[cut:], kept) + counts(more[:cut], kept)
    assert np.array_equal(whole.counts, parts.counts)
    assert whole.mean == pytest.approx(more.mean(), rel=1e-9, abs=1e-6)
    assert parts.total == pytest.approx(whole.total, abs=1e-3)


@given(values)
def test_a_training_sample_is_never_outside_itself(kept: Any) -> None:
    assert counts(kept, kept).outside == 0
    assert counts([kept.min() - 1, kept.max() + 1], kept).outside == 1


@given(values)
def test_json_keeps_it(kept: Any) -> None:
    before = counts(kept, kept)
    after = ColumnCounts.from_json(json.loads(json.dumps(before.to_json())))
    assert np.array_equal(after.edges, before.edges) and np.array_equal(after.counts, before.counts)
    assert (after + before).weight == 2 * len(kept)


@given(values, values)
def test_nothing_moved_is_zero_and_both_ways_is_the_same(one: Any, other: Any) -> None:
    before, now = counts(one, one), counts(other, one)
    assert psi(before.counts, before.counts) == 0
    assert psi(before.counts, now.counts) == pytest.approx(psi(now.counts, before.counts))
    assert psi(before.counts, now.counts) >= 0
    assert drift(before, before, (10, 10)).ks == 0


def test_index_by_hand() -> None:
    before, now = np.array([50.0, 50.0]), np.array([80.0, 20.0])
    smoothed = np.array([80.5, 20.5]) / 101
    expected = ((smoothed - 0.5) * np.log(smoothed / 0.5)).sum()
    assert psi(before, now) == pytest.approx(expected)
    assert np.isfinite(psi(np.array([100.0, 0.0]), np.array([0.0, 100.0])))


def test_by_chance_the_index_is_what_is_said() -> None:
    kept = reference(NAMES, sample(0, 2000))
    found = [drifts(kept, recent(kept, NAMES, sample(s, 1000)), (2000, 1000)) for s in range(1, 80)]
    for name in NAMES:
        mean = np.mean([each[name].psi for each in found])
        assert mean == pytest.approx(found[0][name].psi_by_chance, rel=0.35)


def test_the_largest_gap_is_the_statistic_of_kolmogorov_and_smirnov() -> None:
    one, other = sample(1)[:, 1], sample(2, move=0.3)[:, 1]
    found = drift(counts(one, one), counts(other, one), (len(one), len(other)))
    expected = ks_2samp(one, other)
    assert found.ks == pytest.approx(expected.statistic, abs=0.02)
    assert found.p_value < 1e-6
    kept, calm = counts(one, one), [counts(sample(s)[:, 1], one) for s in range(3, 60)]
    assert np.mean([drift(kept, each, (4000, 4000)).p_value < 0.05 for each in calm]) <= 0.1


def test_rows_of_few_customers_are_no_evidence() -> None:
    one, other = sample(1)[:, 1], sample(2, move=0.1)[:, 1]
    many, few = (drift(counts(one, one), counts(other, one), (n, n)) for n in (4000, 20))
    assert many.p_value < 0.01 < 0.5 < few.p_value
    assert few.psi == many.psi and few.psi_by_chance > many.psi_by_chance


def test_what_has_moved_stands_out() -> None:
    kept = reference(NAMES, sample(1))
    day = recent(kept, NAMES, sample(2, move=0.5))
    week = merged(day, recent(kept, NAMES, sample(3, move=0.5)))
    found = drifts(kept, week, (4000, 8000))
    assert found["spend"].psi > 0.15 > 10 * found["orders"].psi
    assert found["is_pro"].now - found["is_pro"].before == pytest.approx(0.125, abs=0.03)
    assert week["spend"].weight == 8000


def test_without_examples_nothing_is_claimed() -> None:
    kept = counts([1.0, 2.0], [1.0, 2.0])
    found = drift(kept, ColumnCounts.like([1.0, 2.0]), (2, 0))
    assert (found.psi, found.ks, found.p_value) == (0, 0, 1)
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["now"] is None
    assert isinstance(found, Drift)


def test_counts_over_other_edges_do_not_add_up() -> None:
    with pytest.raises(ValueError, match="edges"):
        counts([1.0], [1.0, 2.0]) + counts([1.0], [1.0, 3.0])


def test_base_rates_that_differ_by_chance_or_more() -> None:
    before = Interval(0.10, 0.08, 0.12, 0.95, 200)
    assert rate_shift(before, Interval(0.11, 0.09, 0.13, 0.95, 200)).holds(0)
    moved = rate_shift(before, Interval(0.20, 0.17, 0.23, 0.95, 100))
    assert moved.estimate == pytest.approx(0.10) and not moved.holds(0)
    assert (moved.low, moved.high) == pytest.approx((0.10 - 0.0361, 0.10 + 0.0361), abs=1e-4)


def test_absurd_rows_are_found_and_new_highs_are_not() -> None:
    design = sample(1)
    kept, day = reference(NAMES, design), sample(2)
    assert not implausible(kept, NAMES, day).any()
    day[:5, 1], day[5, 0], day[6, 2] = 1e9, -1e4, 3.0
    assert implausible(kept, NAMES, day).nonzero()[0].tolist() == [0, 1, 2, 3, 4, 5]
    still = reference(["constant"], np.full((9, 1), 7.0))
    assert implausible(still, ["constant"], np.array([[7.0], [70.0], [1e3]])).tolist() == [
        False,
        False,
        True,
    ]


def test_a_column_that_stood_at_zero_may_move() -> None:
    kept = reference(["rare"], np.zeros((500, 1)))
    found = implausible(kept, ["rare"], np.array([[1.0], [9.0], [1e3], [-1e3]]))
    assert found.tolist() == [False, False, True, True]
