"""Scalers that learn on: batches give what the whole gives, forgetting is a half-life."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from rescore.trainer.learning.scaling import FEWEST, Affine, can_move, faded, move

values = st.floats(-1e6, 1e6).map(lambda x: round(x, 3))
designs = hnp.arrays(float, st.tuples(st.integers(2, 30), st.just(2)), elements=values)
ATTRIBUTES = ("mean_", "var_", "scale_", "n_samples_seen_")


def assert_same(one: Any, other: Any) -> None:
    for name in ATTRIBUTES:
        found, expected = np.asarray(getattr(one, name)), np.asarray(getattr(other, name))
        assert np.allclose(found, expected, rtol=1e-7, atol=1e-4), (name, found, expected)


def learnt(parts: list[Any], weights: list[Any] | None = None) -> StandardScaler:
    scaler = StandardScaler()
    for n, part in enumerate(parts):
        if len(part):
            move(scaler, part, np.ones(len(part)) if weights is None else weights[n], 1.0)
    return scaler


@given(designs, st.data())
def test_batches_give_what_scikit_learn_gives_the_whole(design: Any, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(design)), max_size=3)))
    assert_same(learnt(np.split(design, cuts)), StandardScaler().fit(design))


@given(designs, st.data())
def test_a_weight_is_a_repetition(design: Any, data: st.DataObject) -> None:
    counts = data.draw(hnp.arrays(int, len(design), elements=st.integers(1, 3)))
    half = len(design) // 2
    weighted = learnt(
        [design[:half], design[half:]], [counts[:half].astype(float), counts[half:].astype(float)]
    )
    assert_same(weighted, StandardScaler().fit(np.repeat(design, counts, axis=0)))


@given(designs, st.randoms(use_true_random=False))
def test_order_within_a_batch_does_not_matter(design: Any, random: Any) -> None:
    order = list(range(len(design)))
    random.shuffle(order)
    assert_same(learnt([design[:2], design]), learnt([design[:2], design[order]]))


def test_columns_that_stand_still_keep_a_scale_of_one() -> None:
    design = np.column_stack([np.full(500, 1e9 + 0.1), np.arange(500.0)])
    moved = learnt(np.split(design, 5))
    assert moved.scale_[0] == 1
    assert_same(moved, StandardScaler().fit(design))


def test_after_a_half_life_an_example_weighs_half() -> None:
    random = np.random.default_rng(1)
    parts = [random.normal(m, 1 + m, (4000, 2)) for m in range(4)]
    scaler = StandardScaler()
    for part in parts:
        move(scaler, part, np.ones(4000), 0.5)
    weights = np.repeat([1 / 8, 1 / 4, 1 / 2, 1], 4000)
    whole = np.concatenate(parts)
    mean = np.average(whole, axis=0, weights=weights)
    assert scaler.mean_ == pytest.approx(mean)
    assert scaler.var_ == pytest.approx(np.average((whole - mean) ** 2, axis=0, weights=weights))
    assert scaler.n_samples_seen_ == pytest.approx(weights.sum())


def test_after_a_long_silence_something_is_left() -> None:
    scaler = learnt([np.random.default_rng(1).normal(5, 2, (5000, 1))])
    move(scaler, np.array([[100.0]]), np.ones(1), 1e-9)
    assert scaler.scale_[0] == pytest.approx(3.6, abs=0.2)  # one example among a thousand
    assert faded(10.0, 0.5) == 10.0 and faded(5000.0, 0.0) == FEWEST


@given(designs, designs)
def test_the_change_leads_from_old_values_to_new_ones(first: Any, second: Any) -> None:
    scaler = learnt([first])
    before, old = scaler.transform(second), Affine.of(scaler)
    change = move(scaler, second, np.ones(len(second)), 1.0).after(old)
    now = scaler.transform(second)
    assert np.allclose(before * change.factor + change.shift, now, rtol=1e-6, atol=1e-6)
    assert np.allclose(Affine.of(scaler).apply(second), now, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("without", [{"with_mean": False}, {"with_std": False}])
def test_half_a_scaler_moves_too(without: dict[str, bool]) -> None:
    random, scaler = np.random.default_rng(1), StandardScaler(**without)
    for _ in range(3):
        move(scaler, part := random.normal(3, 2, (100, 2)), np.ones(100), 1.0)
    assert np.allclose(Affine.of(scaler).apply(part), scaler.transform(part))


def test_ranges_do_not_move() -> None:
    assert can_move(StandardScaler()) and not can_move(MinMaxScaler())
