"""No outcome may be on both sides of a split."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from rescore.trainer.split import Moment, time_split

START = datetime(1997, 1, 1, tzinfo=timezone.utc)


def moment(day: int, horizon: int = 90) -> Moment:
    return Moment(START + timedelta(days=day), START + timedelta(days=day + horizon))


def test_newest_tests_and_the_gap_is_left_out() -> None:
    split = time_split([moment(150), moment(0), moment(60), moment(61)])
    assert split is not None
    assert split.test == moment(150)
    assert split.train == (moment(0), moment(60))


def test_none_without_an_earlier_moment() -> None:
    assert time_split([]) is None
    assert time_split([moment(0)]) is None
    assert time_split([moment(0), moment(89)]) is None


@given(st.sets(st.integers(0, 1000), max_size=30), st.integers(0, 400))
def test_training_outcomes_are_over_before_the_test_begins(days: set[int], horizon: int) -> None:
    split = time_split([moment(day, horizon) for day in days])
    if split is not None:
        assert split.train
        assert all(m.settled <= split.test.at and m.at < split.test.at for m in split.train)
