"""Fewer points for a figure that could not show them all: done before anything is drawn."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bnbench.analysis.frames import Trajectory


def even_steps(trajectory: Trajectory, most: int) -> Trajectory:
    """A trajectory on evenly spaced steps, at most `most` of them, the first and the last among them.

    What comes back are recorded values, never means: at each step the last snapshot taken until then. A trajectory that
    is even and short enough already comes back as it is.

    Args:
        trajectory: [snapshots] steps, ascending, and values [snapshots, channels]; at least one snapshot.
        most: at least two.

    Raises:
        ValueError: `most` is less than two.
    """
    if most < 2:
        raise ValueError(f"{most} points have no first and last")
    steps = trajectory.steps
    gaps = np.diff(steps)
    if len(steps) <= most and (len(gaps) == 0 or bool((gaps == gaps[0]).all())):
        return trajectory
    # As many as the closest two snapshots ask for, so that a short, uneven trajectory loses nothing to be seen.
    wanted = min(most, int((steps[-1] - steps[0]) // gaps.min()) + 1)
    grid = np.linspace(steps[0], steps[-1], max(wanted, 2)).round().astype(np.int64)
    return Trajectory(grid, trajectory.values[np.searchsorted(steps, grid, side="right") - 1])


def every_so_many(length: int, most: int) -> npt.NDArray[np.int64]:
    """Positions of at most `most` of `length` points, evenly spread, the first and the last among them."""
    if length <= most:
        return np.arange(length, dtype=np.int64)
    return np.unique(np.linspace(0, length - 1, most).round().astype(np.int64))
