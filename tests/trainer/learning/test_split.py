"""No outcome is ever on both sides."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rescore.errors import NotEnoughData
from rescore.trainer.learning.hashing import hash_keys
from rescore.trainer.learning.split import by_customer, by_time, newest

days = st.lists(st.integers(0, 60), min_size=1, max_size=50)


def moments(values: list[int]) -> np.ndarray:
    return np.datetime64("2024-01-01") + np.array(values, "timedelta64[D]")


@given(days, st.integers(0, 60), st.integers(1, 30))
def test_by_time_what_is_learnt_was_known_before_the_first_test(
    at: list[int], since: int, horizon: int
) -> None:
    scored = moments(at)
    settled: Any = scored + np.timedelta64(horizon, "D")
    sides = by_time(scored, settled, moments([since])[0])
    assert not (sides.train & sides.test).any()
    assert (sides.test == (scored >= moments([since])[0])).all()
    if sides.train.any() and sides.test.any():
        assert settled[sides.train].max() <= scored[sides.test].min()
    assert sides.gap == sum(since - horizon < day < since for day in at)


@given(st.lists(st.integers(0, 30), max_size=200), st.floats(0, 1))
def test_by_customer_nobody_is_on_both_sides(customers: list[int], share: float) -> None:
    sides = by_customer(hash_keys(customers, "gate"), share)
    learnt = {c for c, train in zip(customers, sides.train, strict=True) if train}
    tested = {c for c, test in zip(customers, sides.test, strict=True) if test}
    assert not learnt & tested
    assert learnt | tested == set(customers)


def test_by_customer_takes_the_share_asked_for() -> None:
    assert by_customer(hash_keys(range(20_000), "gate"), 0.2).test.mean() == pytest.approx(
        0.2, abs=0.01
    )


@given(days, st.integers(1, 50))
def test_newest_leaves_as_many_as_asked_and_no_later_day_does(at: list[int], least: int) -> None:
    scored = moments(at)
    if least > len(at):
        with pytest.raises(NotEnoughData, match=f"{len(at)} resolved"):
            newest(scored, least)
        return
    since = newest(scored, least)
    assert (scored >= since).sum() >= least > (scored > since).sum()
