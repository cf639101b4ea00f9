"""The rules about γ and β, as pure functions of channel values.

A number is taken of each run, over the channels of its slots pooled; the runs' numbers are averaged over the seeds; the
average is compared with the level that the claim names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean as exact_mean
from typing import assert_never

import numpy as np
import numpy.typing as npt

from bnbench.analysis.claims.verdict import Decision, Verdict
from bnbench.analysis.statistics import SEEDS_FOR_INTERVAL
from bnbench.analysis.trajectory import NEUTRAL
from bnbench.claim import Quantity, Ratio, Share, Slots, Statistic
from bnbench.words import counted

Channels = Sequence[npt.NDArray[np.float32]]
"""The values of one parameter of one run at one moment: an array of channels for each slot with a BatchNorm, in
order; those in the shortcuts of residual blocks apart, since they are neither first nor last nor between."""
Values = Mapping[int, float | None]
"""Seed to a run's number; None where the run diverged, or has no such slot."""


def pooled(channels: Channels, slots: Slots, shortcuts: Channels = ()) -> npt.NDArray[np.float64] | None:
    """The channels of some of the slots, one after the other; None where the run has no such slot.

    None, too, where a value is not finite: what such a run's channels come to is no number.
    """
    chosen = {
        "all": [*channels, *shortcuts],
        "first": channels[:1],
        "intermediate": channels[1:-1],
        "last": channels[-1:],
        "others": channels[:-1],
    }[slots]
    values = np.concatenate(chosen).astype(np.float64) if len(chosen) else None
    return values if values is not None and bool(np.isfinite(values).all()) else None


Pooled = npt.NDArray[np.float64] | None
"""The channels of some slots, one after the other (`pooled`)."""


def statistic(values: Pooled, start: Pooled, quantity: Quantity) -> float | None:
    """One number of one run; None where the run has no such slot.

    Args:
        values: the parameter's, of the quantity's slots, at its moment.
        start: those of the first snapshot.
        quantity: which number: `activity` is A, the mean of |γ - 1| or |β|; `moved` the mean distance from the start.
    """
    if values is None:
        return None
    low, high = float(values.min()), float(values.max())
    if quantity.statistic == "moved":
        return None if start is None else float(np.abs(values - start).mean())
    numbers: Mapping[Statistic, float] = {
        "activity": float(np.abs(values - NEUTRAL[quantity.parameter]).mean()),
        "positive extreme": max(0.0, high),
        "negative extreme": max(0.0, -low),
        "range": high - low,
        "mid-range": (high + low) / 2,
        "share below": float((np.abs(values) < (quantity.level or 0.0)).mean()),
    }
    return numbers[quantity.statistic]


def share(values: Pooled, everything: Pooled, part: Share) -> float | None:
    """The share of the slots' channels that meet a condition; None where the run has no such slot.

    Args:
        values: of the slots that are counted.
        everything: of all of the run's, whose largest |value| the band is a share of.
        part: what is counted.
    """
    if values is None or everything is None:
        return None
    edge = part.band * float(np.abs(everything).max())
    match part.condition:
        case "> 0":
            found = values > 0
        case "> 1":
            found = values > 1
        case "> +band":
            found = values > edge
        case "< -band":
            found = values < -edge
        case "<= +band":
            found = values <= edge
        case "|value| < level":
            found = np.abs(values) < _given(part.level)
        case "|value - neutral| < level":
            found = np.abs(values - NEUTRAL[part.parameter]) < _given(part.level)
        case other:
            assert_never(other)
    return float(found.mean())


def _given(level: float | None) -> float:
    if level is None:
        raise AssertionError("a file whose condition has no level is refused when it is read")
    return level


def at_least_or_below(values: Values, at_least: float | None, below: float | None) -> Decision:
    """The mean over seeds reaches one level, and stays below another, where they are given."""
    mean, says = _mean(values)
    if mean is None:
        return Decision(Verdict.UNDECIDED, says=says)
    return _decided((at_least is None or mean >= at_least) and (below is None or mean < below), mean, says)


def more_than(values: Values, level: float) -> Decision:
    """The mean over seeds is more than a level."""
    mean, says = _mean(values)
    return Decision(Verdict.UNDECIDED, says=says) if mean is None else _decided(mean > level, mean, says)


def exceeds(a: Values, b: Values) -> Decision:
    """The mean over seeds of a is larger than that of b."""
    mean_a, mean_b, says = _means(a, b)
    if mean_a is None or mean_b is None:
        return Decision(Verdict.UNDECIDED, says=says)
    return _decided(mean_a > mean_b, mean_a - mean_b, says)


def ratio(numerator: Values, denominator: Values, bounds: Ratio) -> Decision:
    """The ratio of the means over seeds lies within its bounds; undecided where the denominator is 0."""
    above, under, says = _means(numerator, denominator)
    if above is None or under is None:
        return Decision(Verdict.UNDECIDED, says=says)
    if under == 0:
        return Decision(Verdict.UNDECIDED, says="nothing to compare with: the denominator is 0")
    value = above / under
    good = (
        (bounds.at_least is None or value >= bounds.at_least)
        and (bounds.at_most is None or value <= bounds.at_most)
        and (bounds.below is None or value < bounds.below)
    )
    return _decided(good, value, says)


def _means(a: Values, b: Values) -> tuple[float | None, float | None, str | None]:
    """The means over the seeds that both have, and why they do not suffice for a decision."""
    seeds = a.keys() & b.keys()
    (mean_a, says_a), (mean_b, says_b) = (_mean({seed: side[seed] for seed in seeds}) for side in (a, b))
    return mean_a, mean_b, says_a or says_b


def _mean(values: Values) -> tuple[float | None, str | None]:
    """The mean over seeds, None where a seed has no value; and why it does not suffice for a decision."""
    present = [value for value in values.values() if value is not None]
    missing = len(values) - len(present)
    if missing or not values:
        return None, f"{missing} of {len(values)} seeds without a value: diverged, not finite, or no such slot"
    if len(values) >= SEEDS_FOR_INTERVAL:
        return exact_mean(present), None
    return exact_mean(present), f"{counted(len(values), 'seed')}: a decision needs {SEEDS_FOR_INTERVAL}"


def _decided(good: bool, effect: float, says: str | None) -> Decision:
    if says is not None:
        return Decision(Verdict.UNDECIDED, effect, says=says)
    return Decision(Verdict.HOLDS if good else Verdict.REFUTED, effect)
