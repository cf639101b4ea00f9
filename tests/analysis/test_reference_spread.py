"""The band over seeds and the two-sample test: against scipy, against the published formula, and by simulation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from bnbench.analysis.reference.spread import Spread, from_scale, spreads, to_scale, typical_variance

SEEDS = 5


def simulate(rng, *, unlike, together, variants=5, points=9):
    """[points, seeds + 1] losses of one problem: variants spread differently, the points of a run move together."""
    size = np.exp(unlike * rng.standard_normal((variants, 1, 1)))
    shared = rng.standard_normal((variants, 1, SEEDS + 1))
    own = rng.standard_normal((variants, points, SEEDS + 1))
    noise = size * (math.sqrt(together) * shared + math.sqrt(1 - together) * own)
    return np.exp(0.1 * noise).reshape(variants * points, SEEDS + 1)


@pytest.mark.parametrize(
    ("unlike", "together", "at_least"),
    [(0.0, 0.0, 0.0), (0.0, 0.7, 0.0), (0.8, 0.0, 0.02), (0.8, 0.7, 0.02)],
    ids=["alike", "alike, curves together", "unlike", "unlike, curves together"],
)
def test_a_sound_run_alarms_about_as_often_as_stated_and_not_more(unlike, together, at_least):
    stated, trials = 0.05, 500
    rng = np.random.default_rng(7)
    alarms = 0
    for _ in range(trials):
        table = simulate(rng, unlike=unlike, together=together)
        level = stated / len(table)
        found = spreads("loss", table[:, :SEEDS])
        reach = np.array([spread.band(level) for spread in found])
        fresh = table[:, SEEDS]
        alarms += bool(np.any((fresh < reach[:, 0]) | (fresh > reach[:, 1])))
    noise = 3 * math.sqrt(stated * (1 - stated) / trials)
    assert at_least <= alarms / trials <= stated + noise


def test_a_run_that_is_off_does_alarm():
    rng = np.random.default_rng(7)
    noticed = 0
    for _ in range(50):
        table = simulate(rng, unlike=0.3, together=0.5)
        found = spreads("loss", table[:, :SEEDS])
        noticed += not all(
            spread.contains(float(value) * 4, 0.01 / len(table))
            for spread, value in zip(found, table[:, SEEDS], strict=True)
        )
    assert noticed == 50


def test_two_sample_tests_alarm_about_as_often_as_stated():
    rng = np.random.default_rng(11)
    stated, trials, alarms = 0.05, 400, 0
    for _ in range(trials):
        table = np.exp(0.1 * rng.standard_normal((10, 1)) * rng.standard_normal((10, 2 * SEEDS)))
        found = spreads("loss", table[:, :SEEDS])
        p = [spread.p(list(row)) for spread, row in zip(found, table[:, SEEDS:], strict=True)]
        alarms += min(p) < stated / len(p)
    assert 0.01 <= alarms / trials <= stated + 3 * math.sqrt(stated * (1 - stated) / trials)


def test_one_point_alone_has_its_own_variance_and_students_tests():
    ours, theirs = [0.42, 0.37, 0.51], [0.30, 0.36, 0.33, 0.41, 0.35]
    (spread,) = spreads("loss", [theirs])
    assert spread.freedom == 4
    expected = stats.ttest_ind(np.log(ours), np.log(theirs), equal_var=True).pvalue
    assert spread.p(ours) == pytest.approx(expected, rel=1e-12)


def test_the_band_is_where_the_test_of_one_value_turns():
    (spread,) = spreads("accuracy", [[0.90, 0.92, 0.91, 0.93, 0.90]])
    low, high = spread.band(0.01)
    assert (low < 0.90, high > 0.93) == (True, True)
    for edge in (low, high):
        assert spread.p([edge]) == pytest.approx(0.01, rel=1e-6)
    assert spread.contains(low + 1e-6, 0.01)
    assert not spread.contains(low - 1e-6, 0.01)


def test_the_typical_variance_satisfies_the_moment_equations():
    rng = np.random.default_rng(3)
    freedom, true_freedom, true_typical = 4.0, 6.0, 0.04
    variances = true_typical * stats.f.rvs(freedom, true_freedom, size=20_000, random_state=rng)
    typical, weight = typical_variance(variances, freedom)
    assert typical == pytest.approx(true_typical, rel=0.05)
    assert weight == pytest.approx(true_freedom, rel=0.05)
    logs = np.log(variances)
    spread = special.polygamma(1, freedom / 2) + special.polygamma(1, weight / 2)
    assert logs.var(ddof=1) == pytest.approx(spread, rel=1e-6)


def test_variances_that_differ_by_chance_only_are_worth_any_number_of_degrees():
    variances = 0.01 * np.random.default_rng(5).chisquare(4, size=200) / 4
    typical, weight = typical_variance(variances, 4.0)
    assert typical == pytest.approx(0.01, rel=0.2)
    assert weight > 40


def test_what_others_are_like_counts_at_most_as_much_as_the_own_seeds():
    table = 1 + 0.01 * np.random.default_rng(5).standard_normal((200, SEEDS))
    assert {spread.freedom for spread in spreads("loss", table)} == {8.0}


def test_seeds_that_agree_exactly_leave_room_for_the_sixth_digit_only():
    (spread,) = spreads("accuracy", [[0.5] * SEEDS])
    assert spread.contains(0.5, 1e-6)
    assert spread.contains(0.5 + 1e-7, 1e-6)
    assert not spread.contains(0.51, 1e-6)


def test_two_seeds_say_nothing():
    with pytest.raises(ValueError, match="2 seeds"):
        spreads("loss", [[0.1, 0.2]])


@given(st.floats(0, 1))
def test_the_accuracy_scale_goes_there_and_back(value):
    assert from_scale("accuracy", float(to_scale("accuracy", value))) == pytest.approx(value, abs=1e-12)


@given(st.floats(1e-9, 1e9))
def test_the_loss_scale_goes_there_and_back(value):
    assert from_scale("loss", float(to_scale("loss", value))) == pytest.approx(value, rel=1e-9)


def test_bands_end_at_no_accuracy_and_at_full_accuracy():
    low, high = Spread("accuracy", mean=math.pi / 4, variance=4.0, freedom=4, seeds=SEEDS).band(0.01)
    assert (low, high) == (0.0, 1.0)
