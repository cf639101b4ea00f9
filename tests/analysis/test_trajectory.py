"""What one trajectory did: computed by hand, and laws that hold for any."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from bnbench.analysis.frames import Trajectory
from bnbench.analysis.trajectory import (
    as_measured,
    crossings,
    dead_band,
    excess_variation,
    measure_trajectory,
    monotonic,
    settled_steps,
    smoothed,
    snapshot_measures,
)

# --- one trajectory, by hand ------------------------------------------------------------------------------------


def channels(*rows):
    """Channels given one after the other, as [snapshots, channels]."""
    return np.array(rows, dtype=np.float64).T


def test_the_measures_across_channels_by_hand():
    got = snapshot_measures(np.array([[1.0, 1.0, 1.0, 1.0], [0.5, 1.0, 1.25, 2.25]], np.float32), neutral=1.0)
    assert got.mean.tolist() == [1.0, 1.25]
    assert got.median.tolist() == [1.0, 1.125]
    assert got.minimum.tolist() == [1.0, 0.5]
    assert got.maximum.tolist() == [1.0, 2.25]
    # Deviations -0.5, 0, 0.25, 1.25: their absolute sum 2, their squares' sum 1.875.
    assert got.magnitude.tolist() == [0.0, 0.5]
    assert got.root_mean_square.tolist() == [0.0, pytest.approx(math.sqrt(1.875 / 4))]
    # Around the mean: -0.75, -0.25, 0, 1; squares' sum 1.625.
    assert got.standard_deviation.tolist() == [0.0, pytest.approx(math.sqrt(1.625 / 4))]
    assert got.share_above.tolist() == [0.0, 0.5]
    assert got.share_below.tolist() == [0.0, 0.25]


def test_the_dead_band_is_five_per_cent_of_the_largest_deviation_ever():
    assert dead_band(channels([0, 2, 0], [0, -4, 1]), 0.0) == pytest.approx(0.2)
    assert dead_band(channels([1, 1.5, 1], [1, 0.2, 1]), 1.0) == pytest.approx(0.04)
    assert dead_band(channels([1, 1, 1]), 1.0) == 0.0


@pytest.mark.parametrize(
    ("channel", "count"),
    [
        ([0, 1, 2, 3], 0),
        ([0, 1, 0, 1], 0),  # leaves, comes back to neutral, leaves to the same side
        ([0, 1, -1], 1),
        ([0, 1, 0, -1, 0, 1], 2),
        ([0, 0.05, -0.05, 0.05, -0.05], 0),  # noise inside the band
        ([0, 1, 0.05, -0.05, 0.04, 1], 0),  # a visit to the band from above
        ([0, 1, -0.1, 1], 0),  # the band's edge is inside
        ([0, 1, -0.11, 1], 2),
        ([0, 0, 0], 0),
        ([-1, 1, -1, 1], 3),
    ],
)
def test_crossings_by_hand(channel, count):
    assert crossings(channels(channel), 0.0, 0.1).tolist() == [count]
    # The same around 1, and upside down.
    assert crossings(channels(channel) + 1.0, 1.0, 0.1 + 1e-12).tolist() == [count]
    assert crossings(-channels(channel), 0.0, 0.1).tolist() == [count]


def test_the_moving_average_is_over_one_per_cent_of_the_steps_and_shorter_at_the_ends():
    steps = np.arange(0, 1001, 5)
    values = np.random.default_rng(0).normal(size=(len(steps), 3))
    got = smoothed(steps, values)
    for index, step in enumerate(steps):
        near = np.abs(steps - step) <= 5.0
        assert got[index] == pytest.approx(values[near].mean(axis=0))
    assert got[0] == pytest.approx(values[:2].mean(axis=0))
    assert got[7] == pytest.approx(values[6:9].mean(axis=0))


def test_the_moving_average_goes_by_steps_not_by_snapshots():
    steps = np.array([0, 1, 2, 4, 500, 1000])
    assert smoothed(steps, channels([0, 3, 6, 9, 7, 8]))[:, 0].tolist() == [4.5, 4.5, 4.5, 4.5, 7, 8]


def test_total_variation_over_distance_by_hand():
    steps = np.array([0, 50, 100])  # too far apart to be smoothed
    values = channels([0, 1, 2], [0, 2, 1], [0, 5, 4], [0, 1, 0], [3, 3, 3], [2, 1, -2])
    assert excess_variation(steps, values).tolist() == [1.0, 3.0, 1.5, math.inf, 1.0, 1.0]
    assert monotonic(steps, values).tolist() == [True, False, True, False, True, True]


def test_the_rule_sees_through_noise_that_is_quicker_than_one_per_cent_of_the_steps():
    steps = np.arange(0, 10_001, 5)
    noise = np.array([0.05, 0.0, -0.05])[np.arange(len(steps)) % 3]
    values = channels(steps / 10_000 + noise)
    assert np.abs(np.diff(values, axis=0)).sum() > 100  # without smoothing: a hundred times the distance
    assert monotonic(steps, values).tolist() == [True]


def test_settling_by_hand():
    steps = np.array([0, 5, 10, 20, 40])
    values = channels(
        [1, 1.5, 1.94, 1.96, 2],  # 95 % of a deviation of 1 at step 20
        [1, 3, 2, 2, 2],  # overshoots at step 5
        [1, 1.9, 0.8, 0.2, 0],  # ends below: what it did above does not count
        [1, 3, 2, 1, 1.1],  # ends inside the dead band
    )
    got = settled_steps(steps, values, 1.0, band=0.1 + 1e-9)
    assert got[:3].tolist() == [20, 5, 40]
    assert math.isnan(got[3])


def test_everything_about_one_trajectory_by_hand():
    steps = np.array([0, 10, 50, 100])
    values = np.array([[0, 0, 0], [1, -1, 0], [2, 1, 0], [4, -2, 0.1]], np.float32)
    got = measure_trajectory(Trajectory(steps, values), "beta")
    assert (got.channels, got.snapshots, got.last_step) == (3, 4, 100)
    assert (got.mean, got.median) == (pytest.approx(0.7), pytest.approx(0.1))
    assert (got.minimum, got.maximum, got.lowest, got.highest) == (-2, 4, -2, 4)
    assert got.magnitude == pytest.approx(6.1 / 3)
    assert got.early_magnitude == pytest.approx(2 / 3)
    assert (got.share_above, got.share_below) == (pytest.approx(2 / 3), pytest.approx(1 / 3))
    assert got.dead_band == pytest.approx(0.2)
    assert (got.crossings, got.most_crossings, got.crossing_share) == (pytest.approx(2 / 3), 2, pytest.approx(1 / 3))
    # Variations 4, 6 and 0.1 over distances 4, 2 and 0.1.
    assert (got.monotonic_share, got.excess_variation) == (pytest.approx(2 / 3), 1.0)
    assert got.settled_step == 100


def test_what_comes_after_a_value_that_is_not_finite_is_left_out():
    steps = np.array([0, 5, 10, 15])
    values = np.array([[1, 1], [2, 1], [3, np.inf], [4, 1]], np.float32)
    got = measure_trajectory(Trajectory(steps, values), "gamma")
    assert (got.snapshots, got.last_step, got.maximum) == (2, 5, 2)
    with pytest.raises(ValueError, match="finite"):
        measure_trajectory(Trajectory(steps[:1], np.full((1, 2), np.nan, np.float32)), "gamma")


def test_a_scale_is_measured_as_a_multiple_of_its_first_snapshot():
    values = np.array([[2.0, 4.0], [2.0, 5.0], [3.0, 2.0]], np.float32)
    got = measure_trajectory(Trajectory(np.arange(3) * 5, values), "scale")
    assert (got.mean, got.minimum, got.maximum) == (1.0, 0.5, 1.5)
    assert got.magnitude == 0.5
    assert as_measured(Trajectory(np.arange(3), values), "gamma").values is values


def test_what_never_moves():
    got = measure_trajectory(Trajectory(np.arange(4) * 5, np.full((4, 2), 0.1, np.float32)), "beta")
    assert (got.monotonic_share, got.excess_variation, got.crossings) == (1.0, 1.0, 0.0)
    assert got.settled_step == 0
    still = measure_trajectory(Trajectory(np.arange(4) * 5, np.ones((4, 2), np.float32)), "gamma")
    assert (still.magnitude, still.dead_band, still.share_above) == (0.0, 0.0, 0.0)
    assert math.isnan(still.settled_step)
    alone = measure_trajectory(Trajectory(np.array([0]), np.ones((1, 2), np.float32)), "gamma")
    assert (alone.last_step, alone.monotonic_share, alone.crossings) == (0, 1.0, 0.0)


# --- laws -------------------------------------------------------------------------------------------------------

MOVES = arrays.arrays(np.int64, st.tuples(st.integers(2, 60), st.integers(1, 40)), elements=st.integers(-1000, 1000))
GAPS = st.lists(st.integers(1, 300), min_size=1, max_size=59)


def at_steps(values, gaps):
    """As many ascending steps as there are snapshots."""
    return np.concatenate([[0], np.cumsum(np.resize(gaps, len(values) - 1))]).astype(np.int64)


@given(MOVES, GAPS)
def test_a_monotonic_series_has_no_excess_variation(moves, gaps):
    rising = np.cumsum(np.abs(moves), axis=0) / 1000.0
    for values in (rising, -rising):
        assert excess_variation(at_steps(values, gaps), values) == pytest.approx(np.ones(values.shape[1]), abs=1e-9)
        assert monotonic(at_steps(values, gaps), values).all()


@given(MOVES, GAPS)
def test_the_rule_agrees_with_its_definition_written_out(moves, gaps):
    values, steps = moves / 1000.0, at_steps(moves, gaps)
    half = 0.005 * steps[-1]
    means = np.array([values[np.abs(steps - step) <= half].mean(axis=0) for step in steps])
    variation, distance = np.abs(np.diff(means, axis=0)).sum(axis=0), np.abs(means[-1] - means[0])
    clear = np.abs(variation - 1.5 * distance) > 1e-9
    assert (monotonic(steps, values) == (variation <= 1.5 * distance))[clear].all()


@given(MOVES, st.integers(0, 500))
def test_crossings_agree_with_a_walk_and_do_not_change_under_mirroring_and_repetition(moves, band):
    counted = crossings(moves.astype(np.float64), 0.0, float(band))
    for channel, count in zip(moves.T, counted, strict=True):
        sides = [int(np.sign(value)) for value in channel if abs(value) > band]
        assert count == sum(one != other for one, other in itertools.pairwise(sides))
    assert (crossings(-moves.astype(np.float64), 0.0, float(band)) == counted).all()
    assert (crossings(moves[::-1].astype(np.float64), 0.0, float(band)) == counted).all()
    assert (crossings(np.repeat(moves, 3, axis=0).astype(np.float64), 0.0, float(band)) == counted).all()
    wider = crossings(moves.astype(np.float64), 0.0, float(band) + 100)
    assert (wider <= counted).all()


@given(MOVES, GAPS, st.floats(0.01, 100))
def test_scale_and_channel_order_do_not_matter(moves, gaps, factor):
    steps = at_steps(moves, gaps)
    one = measure_trajectory(Trajectory(steps, moves.astype(np.float32)), "beta")
    other = measure_trajectory(Trajectory(steps, moves[:, ::-1].astype(np.float32) * np.float32(2.0)), "beta")
    assert other.magnitude == pytest.approx(2 * one.magnitude)
    for name in ("crossings", "crossing_share", "monotonic_share", "excess_variation", "share_above"):
        assert getattr(other, name) == pytest.approx(getattr(one, name)), name
    assert other.settled_step == pytest.approx(one.settled_step, nan_ok=True)
    assert 0 <= one.share_above + one.share_below <= 1
