"""What one trajectory did: γ, β, the bias or the scale of one slot of one run, an array [snapshots, channels].

**Neutral** is 1 for γ, 0 for β and for a bias. The scale of weights (g of weight normalisation) begins where its
weights were drawn: it is measured as a multiple of its first snapshot, so that its neutral is 1, too. A *deviation* is
a value minus neutral. **Dead band:** deviations of at most 5 % of the largest one (of any channel of the trajectory, at
any snapshot) count as neither above nor below neutral where crossings are counted and where a final value is asked for:
every γ and β starts at exactly neutral, and what stays about there crosses it by noise alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from bnbench.analysis.frames import Trajectory

NEUTRAL: dict[str, float] = {"gamma": 1.0, "beta": 0.0, "bias": 0.0, "scale": 1.0}
"""The value at which a parameter does nothing, in the order in which parameters are listed."""

DEAD_BAND = 0.05
"""Half the width of the dead band, as a share of the trajectory's largest deviation."""

SMOOTHED_SHARE = 0.01
"""The moving average's width, as a share of the steps (thesis.md's rule for claim c20, and so for the next)."""
EXCESS_ALLOWED = 1.5
"""A smoothed trajectory is monotonic if its total variation is at most this many times |end - start|."""

REACHED_SHARE = 0.95
"""Share of its final deviation at which a channel counts as having arrived."""

EARLY_SHARE = 0.1
"""Share of the steps after which the early magnitude is taken."""

_BLOCK = 16
"""Channels that are measured together: bounds the memory of intermediate results, and fits a processor's cache."""

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Values = npt.NDArray[np.float32] | Floats


@dataclass(frozen=True)
class SnapshotMeasures:
    """What holds across the channels of a trajectory, a value for each snapshot."""

    mean: Floats
    median: Floats
    standard_deviation: Floats
    """Over the channels, which are all there are: the squares' sum is divided by their number."""
    minimum: Floats
    maximum: Floats
    magnitude: Floats
    """A = mean of |value - neutral| over the channels: ‖γ - 1‖₁ or ‖β‖₁ per channel."""
    root_mean_square: Floats
    """‖γ - 1‖₂ or ‖β‖₂ over √channels."""
    share_above: Floats
    """Channels whose value is greater than neutral, 0 to 1; without any dead band."""
    share_below: Floats


@dataclass(frozen=True)
class TrajectoryMeasures:
    """What one trajectory did. Up to the first `dead_band` at its last snapshot, then over the whole of training."""

    channels: int
    snapshots: int
    last_step: int
    """The step of the last snapshot: of a diverged run, the last whose values are all finite."""
    mean: float
    median: float
    standard_deviation: float
    minimum: float
    maximum: float
    magnitude: float
    root_mean_square: float
    share_above: float
    share_below: float
    lowest: float
    """The smallest value of any channel at any snapshot."""
    highest: float
    early_magnitude: float
    """The magnitude at the last snapshot within the first tenth of the steps."""
    dead_band: float
    """Half its width, in the parameter's own units."""
    crossings: float
    """How often a channel crosses neutral, mean over the channels; visits to the dead band do not count."""
    most_crossings: int
    """Of any channel."""
    crossing_share: float
    """Channels that cross neutral at all, 0 to 1."""
    monotonic_share: float
    """Channels whose trajectory is monotonic, 0 to 1; one that never moves is."""
    excess_variation: float
    """Smoothed total variation over |end - start|, median over the channels: 1 is monotonic, infinity returns to where
    it came from."""
    settled_step: float
    """The first step at which a channel has 95 % of its final deviation, median over the channels that end outside the
    dead band; NaN where there are none."""


def snapshot_measures(values: Values, neutral: float) -> SnapshotMeasures:
    """The measures across channels, snapshot by snapshot.

    Args:
        values: [snapshots, channels].
        neutral: the value at which the parameter does nothing.
    """
    exact = values.astype(np.float64)
    deviation = exact - neutral
    return SnapshotMeasures(
        mean=exact.mean(axis=1),
        median=np.median(exact, axis=1),
        standard_deviation=exact.std(axis=1),
        minimum=exact.min(axis=1),
        maximum=exact.max(axis=1),
        magnitude=np.abs(deviation).mean(axis=1),
        root_mean_square=np.sqrt(np.square(deviation).mean(axis=1)),
        share_above=(deviation > 0).mean(axis=1),
        share_below=(deviation < 0).mean(axis=1),
    )


def dead_band(values: Values, neutral: float) -> float:
    """Half the width of a trajectory's dead band: 5 % of the largest deviation of any channel at any snapshot."""
    return DEAD_BAND * max(float(values.max()) - neutral, neutral - float(values.min()), 0.0)


def crossings(values: Values, neutral: float, band: float) -> Integers:
    """How often each channel goes from one side of the dead band to the other.

    Args:
        values: [snapshots, channels].
        neutral: the middle of the band.
        band: half its width; a value at its edge is inside.

    Returns:
        [channels]. A channel that starts inside, leaves and comes back to the side it left to has not crossed.
    """
    return _per_channel(lambda block: _crossings(block - neutral, band), values).astype(np.int64)


def smoothed(steps: Integers, values: Values) -> Floats:
    """The moving average over 1 % of the steps, centred, cut off at both ends of training.

    Every snapshot becomes the mean of those at most half a per cent of the steps away from it, so the result of a
    monotonic series is monotonic, and it does not matter whether snapshots are evenly spaced.

    Args:
        steps: [snapshots], ascending.
        values: [snapshots, channels].

    Returns:
        [snapshots, channels]
    """
    return np.ascontiguousarray(_smoothed(_Window.of(steps), values.T.astype(np.float64)).T)


def excess_variation(steps: Integers, values: Values) -> Floats:
    """The total variation of each channel's smoothed trajectory over |end - start| of the same.

    Args:
        steps: [snapshots], ascending.
        values: [snapshots, channels].

    Returns:
        [channels]: 1 for what only rises or only falls or never moves, infinity for what moves and ends where it began.
    """
    window = _Window.of(steps)
    return _per_channel(lambda block: _excess(_smoothed(window, block)), values)


def monotonic(steps: Integers, values: Values) -> npt.NDArray[np.bool_]:
    """Which channels are monotonic by the rule of claim c20: smoothed total variation at most 1.5 · |end - start|.

    Args:
        steps: [snapshots], ascending.
        values: [snapshots, channels].

    Returns:
        [channels]
    """
    return excess_variation(steps, values) <= EXCESS_ALLOWED


def settled_steps(steps: Integers, values: Values, neutral: float, band: float) -> Floats:
    """The first snapshot's step at which each channel has 95 % of its final deviation, on the final side of neutral.

    Args:
        steps: [snapshots], ascending.
        values: [snapshots, channels].
        neutral: where deviations are counted from.
        band: half the width of the dead band.

    Returns:
        [channels]: NaN for a channel that ends inside the dead band, which has no final value to arrive at.
    """
    return _per_channel(lambda block: _settled(steps, block - neutral, band), values)


def as_measured(trajectory: Trajectory, parameter: str) -> Trajectory:
    """A trajectory in the unit in which its parameter is measured: that of a scale is its first snapshot."""
    if parameter != "scale" or len(trajectory.values) == 0:
        return trajectory
    return replace(trajectory, values=trajectory.values / trajectory.values[0])


def measure_trajectory(trajectory: Trajectory, parameter: str) -> TrajectoryMeasures:
    """Everything about one trajectory; of one with values that are not finite, up to the first such snapshot.

    Args:
        trajectory: at least one snapshot, as it was recorded.
        parameter: "gamma", "beta", "bias" or "scale".

    Raises:
        ValueError: no snapshot is finite throughout.
    """
    neutral = NEUTRAL[parameter]
    steps, values = finite(as_measured(trajectory, parameter))
    if len(steps) == 0:
        raise ValueError("no snapshot of the trajectory is finite")
    last = snapshot_measures(values[[snapshot_at(steps, EARLY_SHARE), -1]], neutral)
    band = dead_band(values, neutral)
    window = _Window.of(steps)

    def measure(block: Floats) -> Floats:
        """The three that need the whole of training, from one transposed copy of the channels."""
        deviation = block - neutral
        crossed, excess = _crossings(deviation, band), _excess(_smoothed(window, block))
        return np.stack([crossed, excess, _settled(steps, deviation, band)], axis=1)

    crossed, excess, settled = _per_channel(measure, values).T
    arrived = settled[~np.isnan(settled)]
    return TrajectoryMeasures(
        channels=values.shape[1],
        snapshots=len(steps),
        last_step=int(steps[-1]),
        **{name: float(column[-1]) for name, column in vars(last).items()},
        lowest=float(values.min()),
        highest=float(values.max()),
        early_magnitude=float(last.magnitude[0]),
        dead_band=band,
        crossings=float(crossed.mean()),
        most_crossings=int(crossed.max()),
        crossing_share=float((crossed > 0).mean()),
        monotonic_share=float((excess <= EXCESS_ALLOWED).mean()),
        excess_variation=float(np.median(excess)),
        settled_step=float(np.median(arrived)) if len(arrived) else float("nan"),
    )


def start_of(trajectories: Iterable[Trajectory], parameter: str) -> float:
    """The value that a parameter started from: the median of all channels at the first snapshot.

    Where nothing finite was recorded it is neutral.

    Args:
        trajectories: of one run, a slot each.
        parameter: "gamma", "beta" or "bias".
    """
    first = [trajectory.values[0].astype(np.float64) for trajectory in trajectories if len(trajectory.values)]
    values = np.concatenate(first) if first else np.empty(0)
    values = values[np.isfinite(values)]
    # float32 keeps 0.1 as 0.10000000149: six digits are what anybody sees.
    return float(f"{np.median(values):.6g}") if len(values) else NEUTRAL[parameter]


def snapshot_at(steps: Integers, share: float) -> int:
    """The last snapshot within a share of the steps."""
    return int(np.searchsorted(steps, steps[0] + share * (steps[-1] - steps[0]), side="right")) - 1


def finite(trajectory: Trajectory) -> tuple[Integers, npt.NDArray[np.float32]]:
    """A trajectory up to its first snapshot with a value that is not finite."""
    good = np.asarray(np.isfinite(trajectory.values).all(axis=1))
    count = good.size if good.all() else int(good.argmin())
    return trajectory.steps[:count], trajectory.values[:count]


def _per_channel(measure: Callable[[Floats], Floats], values: Values) -> Floats:
    """A measure of each channel on its own, a few channels at a time as rows [channels, snapshots]."""
    blocks = range(0, values.shape[1], _BLOCK)
    return np.concatenate(
        [measure(np.ascontiguousarray(values[:, start : start + _BLOCK].T, np.float64)) for start in blocks]
    )


def _crossings(deviation: Floats, band: float) -> Floats:
    side = (deviation > band).astype(np.int8) - (deviation < -band).astype(np.int8)
    # Inside the band, a channel counts as still being where it was last seen outside.
    seen = np.maximum.accumulate(np.where(side != 0, np.arange(side.shape[1]), 0), axis=1)
    side = np.take_along_axis(side, seen, axis=1)
    changes: Floats = (side[:, 1:] * side[:, :-1] < 0).sum(axis=1).astype(np.float64)
    return changes


@dataclass(frozen=True, eq=False)
class _Window:
    """Which snapshots are averaged: for each one the first, and the one after the last."""

    start: npt.NDArray[np.intp]
    stop: npt.NDArray[np.intp]

    @classmethod
    def of(cls, steps: Integers) -> _Window:
        reach = SMOOTHED_SHARE / 2 * float(steps[-1] - steps[0])
        return cls(np.searchsorted(steps, steps - reach, "left"), np.searchsorted(steps, steps + reach, "right"))


def _smoothed(window: _Window, values: Floats) -> Floats:
    """[channels, snapshots] to the same."""
    # Counted from the first value, so that what never moves stays exactly where it is.
    sums = np.zeros((values.shape[0], values.shape[1] + 1))
    np.cumsum(values - values[:, :1], axis=1, out=sums[:, 1:])
    means: Floats = values[:, :1] + (sums[:, window.stop] - sums[:, window.start]) / (window.stop - window.start)
    return means


def _excess(values: Floats) -> Floats:
    variation = np.abs(np.diff(values, axis=1)).sum(axis=1)
    distance = np.abs(values[:, -1] - values[:, 0])
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = variation / distance
    # Summing rounds, and no path is shorter than the straight one.
    return np.where(variation == 0, 1.0, np.maximum(ratio, 1.0))


def _settled(steps: Integers, deviation: Floats, band: float) -> Floats:
    final = deviation[:, -1:]
    there = deviation * np.sign(final) >= REACHED_SHARE * np.abs(final)
    reached = steps[there.argmax(axis=1)].astype(np.float64)
    return np.where(np.abs(final[:, 0]) > band, reached, np.nan)
