from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnbench.analysis.frames import Trajectory
from bnbench.report.decimation import even_steps, every_so_many


def trajectory(steps) -> Trajectory:
    """Each value tells its step and channel."""
    steps = np.asarray(sorted(steps), np.int64)
    return Trajectory(steps, (steps[:, None] + np.array([0.0, 0.25])).astype(np.float32))


@given(st.sets(st.integers(0, 5_000), min_size=2, max_size=60), st.integers(2, 80))
def test_no_more_than_asked_for_evenly_spaced_with_first_and_last(steps, most):
    whole = trajectory(steps)
    kept = even_steps(whole, most)
    assert 2 <= len(kept.steps) <= max(most, 2)
    assert (kept.steps[0], kept.steps[-1]) == (whole.steps[0], whole.steps[-1])
    gaps = np.diff(kept.steps)
    assert gaps.max() - gaps.min() <= 1, "even but for rounding to whole steps"
    for step, values in zip(kept.steps, kept.values, strict=True):
        assert values[0] == whole.steps[whole.steps <= step].max(), "the last snapshot taken until then"


def test_what_is_even_and_short_enough_is_left_alone():
    whole = trajectory(range(0, 100, 5))
    assert even_steps(whole, 20) is whole


def test_a_full_length_trajectory_comes_down_to_the_pixels():
    whole = trajectory(range(0, 54_601, 5))
    assert len(whole.steps) == 10_921
    assert len(even_steps(whole, 400).steps) == 400


def test_the_last_step_off_the_schedule_is_kept():
    kept = even_steps(trajectory([0, 5, 10, 12]), 100)
    assert kept.steps[-1] == 12
    assert kept.values[-1, 0] == 12


def test_two_at_least():
    with pytest.raises(ValueError, match="first and last"):
        even_steps(trajectory([0, 5]), 1)


@given(st.integers(1, 5_000), st.integers(2, 300))
def test_positions_are_spread_with_both_ends(length, most):
    kept = every_so_many(length, most)
    assert len(kept) <= max(most, 1)
    assert (kept[0], kept[-1]) == (0, length - 1)
    assert (np.diff(kept) > 0).all()
    if length <= most:
        assert len(kept) == length
