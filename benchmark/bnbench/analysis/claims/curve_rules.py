"""The rules about loss and accuracy, as pure functions of one value per seed.

A value is None where the run diverged before it (or, of a loss, was not finite). A side that has such a seed loses to
one that has none; where both have, nothing is decided.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from bnbench.analysis.claims.verdict import Decision, Verdict
from bnbench.analysis.interval import Interval
from bnbench.analysis.statistics import SEEDS_FOR_INTERVAL, paired_difference
from bnbench.claim import Measure

Values = Mapping[int, float | None]
"""Seed to value."""

DELTA: Mapping[Measure, float] = {"final accuracy": 0.01, "final loss": 0.01, "early accuracy": 0.02}
"""δ: the difference that counts as none."""


def greater(a: Values, b: Values, delta: float) -> Decision:
    """Whether a > b: holds if the 95 % interval of a - b lies above 0, is refuted if it lies below δ."""
    lost = _lost(a, b)
    if lost is not None:
        return lost
    return _decided_greater(a, b, delta)


def not_greater(a: Values, b: Values, delta: float) -> Decision:
    """Not a > b: refuted where a > b holds, holds where it is refuted."""
    decision = greater(a, b, delta)
    opposite = {Verdict.HOLDS: Verdict.REFUTED, Verdict.REFUTED: Verdict.HOLDS}
    return replace(decision, verdict=opposite.get(decision.verdict, decision.verdict))


def similar(a: Values, b: Values, delta: float) -> Decision:
    """Whether a ~ b: holds if the 95 % interval of a - b lies inside ±δ, is refuted if it lies outside."""
    lost = _lost(a, b)
    if lost is not None:
        # Whichever side has diverged: they differ.
        return lost if lost.verdict is Verdict.UNDECIDED else replace(lost, verdict=Verdict.REFUTED)
    difference = paired_difference(a, b)
    interval = difference.t_interval
    if interval is None:
        verdict = Verdict.UNDECIDED
    elif -delta < interval.low and interval.high < delta:
        verdict = Verdict.HOLDS
    elif interval.low > delta or interval.high < -delta:
        verdict = Verdict.REFUTED
    else:
        verdict = Verdict.UNDECIDED
    return Decision(verdict, difference.mean, interval, difference.says)


def most_of_the_gain(none: Values, part: Values, whole: Values, delta: float) -> Decision:
    """Whether part - none > whole - part, as a > b on the difference of the two gains inside each seed.

    Where `none` diverged and the others did not, the part's gain is beyond all measure and the claim holds.
    """
    seeds = sorted(none.keys() & part.keys() & whole.keys())
    first = {seed: _minus(part[seed], none[seed]) for seed in seeds}
    second = {seed: _minus(whole[seed], part[seed]) for seed in seeds}
    diverged = {name: sum(side[s] is None for s in seeds) for name, side in _named(none, part, whole)}
    if len(seeds) < SEEDS_FOR_INTERVAL or not any(diverged.values()):
        return _decided_greater(first, second, delta)
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


def _decided_greater(a: Values, b: Values, delta: float) -> Decision:
    difference = paired_difference(a, b)
    return Decision(_above(difference.t_interval, delta), difference.mean, difference.t_interval, difference.says)


def _above(interval: Interval | None, delta: float) -> Verdict:
    if interval is None:
        return Verdict.UNDECIDED
    if interval.low > 0:
        return Verdict.HOLDS
    return Verdict.REFUTED if interval.high < delta else Verdict.UNDECIDED


def _lost(a: Values, b: Values) -> Decision | None:
    """The decision where a side has seeds without a value: `holds` if a wins; None where both have all."""
    seeds = a.keys() & b.keys()
    missing_a, missing_b = (sum(side[seed] is None for seed in seeds) for side in (a, b))
    if not (missing_a or missing_b):
        return None
    sides = [(name, count) for name, count in (("first", missing_a), ("second", missing_b)) if count]
    says = "; ".join(f"the {name}: {_diverged(count, len(seeds))}" for name, count in sides)
    if len(seeds) < SEEDS_FOR_INTERVAL:
        return Decision(Verdict.UNDECIDED, says=f"{says}; {_too_few(len(seeds))}")
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
