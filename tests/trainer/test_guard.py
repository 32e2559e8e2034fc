"""The least and the greatest of each column: what the guard looks at first."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as drawn

from rescore.trainer.loop.guard import SIDE_BY_SIDE, bounds

NUMBERS = st.floats(allow_nan=False) | st.just(0.0)


@pytest.mark.parametrize("whole", [0, 1, 3])
@given(rest=drawn.arrays(float, st.tuples(st.integers(1, 5), st.just(3)), elements=NUMBERS))
def test_are_those_of_each_column(whole: int, rest: np.ndarray) -> None:
    values = np.vstack([np.tile(rest[:1], (whole * SIDE_BY_SIDE, 1)), rest])
    for order in (values, values[::-1].copy()):
        least, most = bounds(order)
        assert least.tolist() == values.min(axis=0).tolist()
        assert most.tolist() == values.max(axis=0).tolist()


@pytest.mark.parametrize("at", [0, SIDE_BY_SIDE - 1, SIDE_BY_SIDE, 2 * SIDE_BY_SIDE])
def test_a_value_that_is_no_number_is_seen_wherever_it_is(at: int) -> None:
    values = np.ones((2 * SIDE_BY_SIDE + 1, 2))
    values[at, 1] = np.nan
    assert [np.isnan(found).tolist() for found in bounds(values)] == [[False, True]] * 2
