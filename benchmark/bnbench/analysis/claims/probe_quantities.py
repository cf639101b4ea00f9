"""What a probe says of a run at one step, in one number: the quantities that claims name, step by step."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bnbench.analysis import probes
from bnbench.claim import ProbeQuantity


@dataclass(frozen=True)
class Probed:
    """A quantity: the table it is read from, and what it is at one step."""

    table: str
    columns: tuple[str, ...]
    at_step: Callable[[pd.DataFrame, int], float]
    """(the rows of one step, classes) to its value; NaN where the probe could not measure it."""

    def series(self, rows: pd.DataFrame, classes: int) -> dict[int, float]:
        """Step to value.

        Args:
            rows: of one run.
            classes: C, of the run's data.
        """
        return {int(str(step)): self.at_step(part, classes) for step, part in rows.groupby("step")}


def _landscape(rows: pd.DataFrame) -> probes.Landscape | None:
    """None where a row is missing: the probe notes why."""
    columns = (rows[name].to_numpy(np.float64) for name in _LANDSCAPE[1:])
    step_size, loss, norm, distance = columns
    if (step_size == 0).sum() != 1 or not (step_size > 0).any():
        return None
    return probes.landscape(step_size, loss, norm, distance)


def _of_landscape(quantity: Callable[[probes.Landscape], float]) -> Callable[[pd.DataFrame, int], float]:
    def at_step(rows: pd.DataFrame, classes: int) -> float:
        found = _landscape(rows)
        return math.nan if found is None else quantity(found)

    return at_step


def _of_spectrum(quantity: Callable[[probes.Spectrum], float]) -> Callable[[pd.DataFrame, int], float]:
    def at_step(rows: pd.DataFrame, classes: int) -> float:
        ordered = rows.sort_values("index")
        if len(ordered) < classes:
            return math.nan
        value, share, residual = (ordered[name].to_numpy(np.float64) for name in _EIGENVALUES[2:])
        # No quantity that claims name depends on the rate.
        return quantity(probes.spectrum(value, share, residual, classes=classes, learning_rate=math.nan))

    return at_step


def _shift(rows: pd.DataFrame, classes: int) -> float:
    """Of the slots the median."""
    values = rows["relative_shift"].to_numpy(np.float64)
    return float(np.median(values)) if np.isfinite(values).all() else math.nan


_LANDSCAPE = ("step", "step_size", "loss", "gradient_norm", "gradient_distance")
_EIGENVALUES = ("step", "index", "value", "gradient_share", "residual")

PROBE_QUANTITIES: Mapping[ProbeQuantity, Probed] = {
    "loss variation": Probed("landscape", _LANDSCAPE, _of_landscape(lambda found: found.loss_variation)),
    "gradient change": Probed("landscape", _LANDSCAPE, _of_landscape(lambda found: found.relative_gradient_distance)),
    "effective smoothness": Probed("landscape", _LANDSCAPE, _of_landscape(lambda found: found.smoothness)),
    "covariate shift": Probed("covariate_shift", ("step", "slot", "relative_shift"), _shift),
    "eigenvalue ratio": Probed("eigenvalues", _EIGENVALUES, _of_spectrum(lambda found: found.outlier_ratio)),
    "gradient share": Probed("eigenvalues", _EIGENVALUES, _of_spectrum(lambda found: found.gradient_share)),
}
