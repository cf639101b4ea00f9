"""What lies between two numbers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Interval:
    """From `low` to `high`; in the analysis a two-sided confidence interval at `statistics.CONFIDENCE`."""

    low: float
    high: float
