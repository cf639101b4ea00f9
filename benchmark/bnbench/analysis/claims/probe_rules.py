"""The rule about what probes measured, as pure functions of series over the steps of a run.

For each seed r is the median of log(a / b) over the probed steps after the first tenth, or log(a / b) at a moment.
A step counts where both values are finite and above 0. Ten such steps at least, else the seed has no data; a seed of
which fewer than half of the probed steps count is missing. Runs that diverged are missing too: rules about accuracy
decide on them, never ratios.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bnbench.analysis.claims.verdict import Decision, Verdict
from bnbench.analysis.interval import Interval
from bnbench.analysis.statistics import SEEDS_FOR_INTERVAL, t_interval
from bnbench.words import counted

FEWEST_STEPS = 10
"""Steps that must count after the first tenth."""
EARLY_SHARE = 0.1
MOMENT_SLACK = 0.01
"""How far, as a share of the steps, a probed step may be from the moment that a part names."""

Series = Mapping[int, float]
"""Step to value; NaN, or no step, where the probe could not measure."""


@dataclass(frozen=True)
class Reading:
    """What the two runs of one seed come to."""

    value: float | None
    """r; None where there is none."""
    says: str = ""
    """Why there is none."""
    measured: bool = True
    """Whether the probe ran often enough for there to be data at all."""


def log_ratio(a: Series, b: Series, at: float | None = None, b_at: float | None = None) -> Reading:
    """R of one seed.

    Args:
        a: what the probe measured in one run.
        b: what it measured in the other, at the same steps.
        at: the moment, as a share of the steps; None for all probed steps after the first tenth.
        b_at: the moment of b, if another.
    """
    if not a or not b:
        return Reading(None, "the probe did not run", measured=False)
    last = max(*a, *b)
    if at is not None:
        return _at_moments(a, b, at * last, (at if b_at is None else b_at) * last)
    steps = [step for step in sorted(a.keys() | b.keys()) if step > EARLY_SHARE * last]
    good_steps = [step for step in steps if _counts(a.get(step, math.nan)) and _counts(b.get(step, math.nan))]
    if len(steps) < FEWEST_STEPS:
        says = f"{counted(len(steps), 'probed step')} after the first tenth, {FEWEST_STEPS} are needed"
        return Reading(None, says, measured=False)
    if len(good_steps) < max(FEWEST_STEPS, len(steps) / 2):
        said = f"{len(good_steps)} of {len(steps)} probed steps count"
        return Reading(None, said, measured=len(good_steps) >= FEWEST_STEPS)
    return Reading(float(np.median([math.log(a[step] / b[step]) for step in good_steps])))


def _at_moments(a: Series, b: Series, a_step: float, b_step: float) -> Reading:
    last = max(*a, *b)
    first, second = _moment(a, a_step, last), _moment(b, b_step, last)
    if first is None or second is None:
        return Reading(None, f"no probed step near step {a_step if first is None else b_step:.0f}", measured=False)
    if not (_counts(first) and _counts(second)):
        return Reading(None, "the probe could not measure at that moment")
    return Reading(math.log(first / second))


def typical(series: Series, at: float | None) -> float | None:
    """One run's own number, to be shown beside the ratio: at the moment, or the median after the first tenth."""
    if not series:
        return None
    last = max(series)
    if at is not None:
        value = _moment(series, at * last, last)
        return value if value is not None and math.isfinite(value) else None
    counting = [value for step, value in series.items() if step > EARLY_SHARE * last and _counts(value)]
    return float(np.median(counting)) if counting else None


def probe_ratio(readings: Mapping[int, Reading], above: float | None, below: float | None) -> Decision:
    """Whether the ratio lies above a bound, below one, or between two: by the 95 % interval of r.

    Args:
        readings: seed to what its runs come to.
        above: the lower bound of the ratio.
        below: the upper bound.

    Returns:
        The effect and its interval are the ratio itself, exp(r).
    """
    if not any(each.measured for each in readings.values()):
        return Decision(Verdict.NO_DATA, says=next((each.says for each in readings.values()), "no run"))
    values = [each.value for each in readings.values() if each.value is not None]
    missing = [f"seed {seed}: {each.says}" for seed, each in readings.items() if each.value is None]
    says = "; ".join(missing) or None
    mean = math.exp(float(np.mean(values))) if values else None
    if len(values) < SEEDS_FOR_INTERVAL:
        few = f"{counted(len(values), 'seed')}: a decision needs {SEEDS_FOR_INTERVAL}"
        return Decision(Verdict.UNDECIDED, mean, says="; ".join([*missing, few]))
    interval = t_interval(np.asarray(values, np.float64))
    low, high = -math.inf if above is None else math.log(above), math.inf if below is None else math.log(below)
    if low < interval.low and interval.high < high:
        verdict = Verdict.HOLDS
    elif interval.high < low or interval.low > high:
        verdict = Verdict.REFUTED
    else:
        verdict = Verdict.UNDECIDED
    return Decision(verdict, mean, Interval(math.exp(interval.low), math.exp(interval.high)), says)


def _counts(value: float) -> bool:
    return math.isfinite(value) and value > 0


def _moment(series: Series, wanted: float, last: int) -> float | None:
    nearest = min(series, key=lambda step: abs(step - wanted))
    return series[nearest] if abs(nearest - wanted) <= MOMENT_SLACK * last else None
