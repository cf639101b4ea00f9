"""The rules about loss and accuracy, as pure functions of one value per seed.

A value is None where the run diverged before it (or, of a loss, was not finite). A side that has such a seed loses to
one that has none; where both have, nothing is decided.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from statistics import fmean

import numpy as np

from bnbench.analysis.claims.verdict import Decision, Verdict
from bnbench.analysis.interval import Interval
from bnbench.analysis.statistics import (
    SEEDS_FOR_INTERVAL,
    one_sided_t_test,
    paired_difference,
    t_interval,
    welch_interval,
)
from bnbench.claim import Measure

Values = Mapping[int, float | None]
"""Seed to value."""

DELTA: Mapping[Measure, float] = {
    "final accuracy": 0.01,
    "final loss": 0.01,
    "early accuracy": 0.02,
    "final test accuracy": 0.01,
}
"""δ: the difference that counts as none."""


def greater(a: Values, b: Values, delta: float, *, paired: bool = True) -> Decision:
    """Whether a > b: holds if the 95 % interval of a - b lies above 0, is refuted if it lies below δ.

    Args:
        a: one side.
        b: the other.
        delta: the difference that counts as none.
        paired: whether a seed has the same weights and batches on both sides; if not (two problems), the interval is
            Welch's.
    """
    lost = _lost(a, b, paired=paired)
    if lost is not None:
        return lost
    mean, interval, says = _difference(a, b, paired=paired)
    return Decision(_above(interval, delta), mean, interval, says)


def with_one_sided_test(decision: Decision, a: Values, b: Values) -> Decision:
    """The decision with the p of the paired one-sided t test of a > b beside it, which decides nothing."""
    seeds = sorted(a.keys() & b.keys())
    differences = [each for each in (_minus(a[seed], b[seed]) for seed in seeds) if each is not None]
    if len(differences) < SEEDS_FOR_INTERVAL:
        return decision
    p = one_sided_t_test(np.asarray(differences, np.float64))
    said = f"one-sided paired t test: {'no spread' if p is None else f'p = {p:.2g}'}"
    return replace(decision, says=f"{decision.says}; {said}" if decision.says else said)


def not_greater(a: Values, b: Values, delta: float, *, paired: bool = True) -> Decision:
    """Not a > b: refuted where a > b holds, holds where it is refuted."""
    decision = greater(a, b, delta, paired=paired)
    opposite = {Verdict.HOLDS: Verdict.REFUTED, Verdict.REFUTED: Verdict.HOLDS}
    return replace(decision, verdict=opposite.get(decision.verdict, decision.verdict))


def similar(a: Values, b: Values, delta: float, *, paired: bool = True) -> Decision:
    """Whether a ~ b: holds if the 95 % interval of a - b lies inside ±δ, is refuted if it lies outside."""
    lost = _lost(a, b, paired=paired)
    if lost is not None:
        # Whichever side has diverged: they differ.
        return lost if lost.verdict is Verdict.UNDECIDED else replace(lost, verdict=Verdict.REFUTED)
    mean, interval, says = _difference(a, b, paired=paired)
    return Decision(_inside(interval, -delta, delta), mean, interval, says)


def level(values: Values, at_least: float | None, at_most: float | None) -> Decision:
    """Whether the mean over seeds lies within bounds: by its 95 % interval, inside or wholly outside.

    A seed without a value (diverged) leaves it undecided.
    """
    present = [value for value in values.values() if value is not None]
    mean = fmean(present) if present else None
    if len(present) < len(values):
        return Decision(Verdict.UNDECIDED, says=_diverged(len(values) - len(present), len(values)))
    if len(values) < SEEDS_FOR_INTERVAL:
        return Decision(Verdict.UNDECIDED, mean, says=_too_few(len(values)))
    interval = t_interval(np.asarray(present, np.float64))
    low, high = -math.inf if at_least is None else at_least, math.inf if at_most is None else at_most
    return Decision(_inside(interval, low, high), mean, interval)


def most_of_the_gain(none: Values, part: Values, whole: Values, delta: float) -> Decision:
    """Whether part - none > whole - part, as a > b on the difference of the two gains inside each seed.

    Where `none` diverged and the others did not, the part's gain is beyond all measure and the claim holds.
    """
    seeds = sorted(none.keys() & part.keys() & whole.keys())
    first = {seed: _minus(part[seed], none[seed]) for seed in seeds}
    second = {seed: _minus(whole[seed], part[seed]) for seed in seeds}
    diverged = {name: sum(side[s] is None for s in seeds) for name, side in _named(none, part, whole)}
    if len(seeds) < SEEDS_FOR_INTERVAL or not any(diverged.values()):
        mean, interval, words = _difference(first, second, paired=True)
        return Decision(_above(interval, delta), mean, interval, words)
    says = "; ".join(f"{name}: {_diverged(count, len(seeds))}" for name, count in diverged.items() if count)
    if diverged["none"] and not diverged["part"] and not diverged["whole"]:
        return Decision(Verdict.HOLDS, says=says)
    if diverged["part"] and not diverged["whole"]:
        return Decision(Verdict.REFUTED, says=says)
    return Decision(Verdict.UNDECIDED, says=says)


def fails_to_train(final_accuracy: Values, classes: int) -> Decision:
    """Fails to train: diverged, or final accuracy < 2 / C, in every seed; refuted if any seed trains."""
    failing = _failing(final_accuracy, classes)
    if len(final_accuracy) < SEEDS_FOR_INTERVAL:
        return Decision(Verdict.UNDECIDED, _share(failing, final_accuracy), says=_too_few(len(final_accuracy)))
    verdict = Verdict.HOLDS if failing == len(final_accuracy) else Verdict.REFUTED
    return Decision(verdict, _share(failing, final_accuracy), says=_failed(failing, final_accuracy))


def trains(final_accuracy: Values, classes: int) -> Decision:
    """Trains: holds if no seed fails, is refuted if the run fails to train (every seed does), else undecided."""
    failing = _failing(final_accuracy, classes)
    share = _share(failing, final_accuracy)
    if len(final_accuracy) < SEEDS_FOR_INTERVAL:
        return Decision(Verdict.UNDECIDED, share, says=_too_few(len(final_accuracy)))
    by_count = {0: Verdict.HOLDS, len(final_accuracy): Verdict.REFUTED}
    return Decision(by_count.get(failing, Verdict.UNDECIDED), share, says=_failed(failing, final_accuracy))


def _difference(a: Values, b: Values, *, paired: bool) -> tuple[float | None, Interval | None, str | None]:
    """Mean, interval and what must be said of a - b, where every seed has a value."""
    if paired:
        difference = paired_difference(a, b)
        return difference.mean, difference.t_interval, difference.says
    sides = [np.asarray([value for value in side.values() if value is not None], np.float64) for side in (a, b)]
    mean = float(sides[0].mean() - sides[1].mean())
    fewest = min(len(side) for side in sides)
    if fewest < SEEDS_FOR_INTERVAL:
        return mean, None, _too_few(fewest)
    return mean, welch_interval(*sides), "two problems: Welch's interval"


def _inside(interval: Interval | None, low: float, high: float) -> Verdict:
    if interval is None:
        return Verdict.UNDECIDED
    if low < interval.low and interval.high < high:
        return Verdict.HOLDS
    return Verdict.REFUTED if interval.low > high or interval.high < low else Verdict.UNDECIDED


def _above(interval: Interval | None, delta: float) -> Verdict:
    if interval is None:
        return Verdict.UNDECIDED
    if interval.low > 0:
        return Verdict.HOLDS
    return Verdict.REFUTED if interval.high < delta else Verdict.UNDECIDED


def _lost(a: Values, b: Values, *, paired: bool) -> Decision | None:
    """The decision where a side has seeds without a value: `holds` if a wins; None where both have all."""
    if paired:
        seeds = a.keys() & b.keys()
        a, b = ({seed: side[seed] for seed in seeds} for side in (a, b))
    missing_a, missing_b = (sum(value is None for value in side.values()) for side in (a, b))
    if not (missing_a or missing_b):
        return None
    sides = [(name, count) for name, count in (("first", missing_a), ("second", missing_b)) if count]
    fewest = min(len(a), len(b))
    of = {"first": len(a), "second": len(b)}
    says = "; ".join(f"the {name}: {_diverged(count, of[name])}" for name, count in sides)
    if fewest < SEEDS_FOR_INTERVAL:
        return Decision(Verdict.UNDECIDED, says=f"{says}; {_too_few(fewest)}")
    if missing_a and missing_b:
        return Decision(Verdict.UNDECIDED, says=says)
    return Decision(Verdict.REFUTED if missing_a else Verdict.HOLDS, says=says)


def _minus(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b


def _named(none: Values, part: Values, whole: Values) -> tuple[tuple[str, Values], ...]:
    return (("none", none), ("part", part), ("whole", whole))


def _failing(final_accuracy: Values, classes: int) -> int:
    return sum(value is None or value < 2 / classes for value in final_accuracy.values())


def _share(count: int, values: Values) -> float | None:
    return count / len(values) if values else None


def _failed(failing: int, values: Values) -> str:
    diverged = sum(value is None for value in values.values())
    return f"{failing} of {len(values)} seeds fail, {diverged} of them by divergence"


def _diverged(count: int, seeds: int) -> str:
    return f"{count} of {seeds} diverged"


def _too_few(seeds: int) -> str:
    return f"{seeds} seed{'s' if seeds != 1 else ''}: a decision needs {SEEDS_FOR_INTERVAL}"
