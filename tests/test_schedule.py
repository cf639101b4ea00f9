"""The snapshot schedule."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnbench.errors import UserError
from bnbench.schedule import check_schedule, check_snapshots, scheduled_steps


def test_every_five_as_in_the_study():
    assert scheduled_steps("every:5", 20) == (0, 5, 10, 15, 20)
    assert scheduled_steps("every:5", 23) == (0, 5, 10, 15, 20, 23)
    assert scheduled_steps("every:5", 3) == (0, 3)


def test_a_full_length_run_of_the_study():
    # 312 updates an epoch, 100 epochs: each fifth step, and step 0; 31,200 is itself a multiple of five.
    assert len(scheduled_steps("every:5", 31_200)) == 31_200 // 5 + 1


def test_log_is_spaced_evenly_on_a_logarithmic_axis():
    assert scheduled_steps("log:3", 1000) == (0, 10, 100, 1000)
    assert scheduled_steps("log:6", 1000) == (0, 3, 10, 32, 100, 316, 1000)


def test_more_snapshots_than_there_is_use_for_are_refused_before_they_are_listed():
    with pytest.raises(UserError, match="more than 1,000,000 snapshots of γ and β in 1,000,000,000,000 steps"):
        scheduled_steps("every:5", 10**12)
    check_snapshots("every:5", 4_999_999)
    assert len(scheduled_steps("log:99999", 10**12)) < 100_001


def test_even_has_one_step_more_than_its_number_the_end_among_them():
    assert scheduled_steps("even:4", 100) == (0, 25, 50, 75, 100)
    assert scheduled_steps("even:30", 31_200) == tuple(range(0, 31_201, 1040))
    assert scheduled_steps("even:3", 16) == (0, 5, 11, 16)
    assert scheduled_steps("even:9", 4) == (0, 1, 2, 3, 4)
    assert scheduled_steps("even:5", 0) == (0,)


@given(st.integers(1, 300), st.integers(0, 5000))
def test_even_is_as_even_as_whole_steps_can_be(number, total):
    steps = scheduled_steps(f"even:{number}", total)
    if total >= number:
        assert len(steps) == number + 1
        gaps = {after - before for before, after in pairwise(steps)}
        assert max(gaps) - min(gaps) <= 1
    else:
        assert steps == tuple(range(total + 1))
    # Read backwards it is the same but for halves, which are rounded one way.
    assert all(abs(total - there - here) <= 1 for here, there in zip(steps, reversed(steps), strict=True))


@given(st.sampled_from(["every", "log", "even"]), st.integers(1, 300), st.integers(0, 5000))
def test_steps_ascend_from_the_first_to_the_last(family, number, total):
    steps = scheduled_steps(f"{family}:{number}", total)
    assert list(steps) == sorted(set(steps))
    assert steps[0] == 0
    assert steps[-1] == total
    if family == "every":
        assert all(step % number == 0 for step in steps[:-1])
        assert set(range(0, total, number)) <= set(steps)
    elif family == "log" and total > 0:
        ideals = [math.exp(math.log(total) * index / number) for index in range(1, number + 1)]
        assert all(any(abs(step - ideal) <= 0.500001 for ideal in ideals) for step in steps[1:])


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "5",
        "every",
        "every:",
        "every:0",
        "every:-5",
        "every:5.0",
        " every:5",
        "log:0",
        "log:100000",
        "each:5",
        "even:0",
        "even:",
        "even:2.5",
    ],
)
def test_anything_else_is_refused_with_the_grammar(expression):
    with pytest.raises(UserError, match=r"is not known\n.*every:N .*log:N.*even:N"):
        check_schedule(expression)
    with pytest.raises(UserError):
        scheduled_steps(expression, 100)


@pytest.mark.parametrize("expression", ["every:1", "every:5", "log:50", "log:99999", "even:1", "even:30"])
def test_a_good_schedule_is_given_back(expression):
    assert check_schedule(expression) == expression
