"""What a probe says of a run at one step, in one number: the quantities that claims name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pandas as pd

from bnbench.claim import ProbeQuantity


@dataclass(frozen=True)
class Probed:
    """A quantity: the table it is read from, and how."""

    table: str
    series: Callable[[pd.DataFrame, int], dict[int, float]]
    """(rows of one run, classes) to step and value."""


PROBE_QUANTITIES: Mapping[ProbeQuantity, Probed] = {}
