"""The ranking within one comparison.

Rows are ordered by final accuracy on the training data (`train_eval`, running statistics), as the founding study
compares. A variant of which any seed diverged ranks behind all others.
"""

from __future__ import annotations

import math
import statistics as plain
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from bnbench.analysis.comparison import Comparison, VariantRow
from bnbench.analysis.measures import CurveMeasures, RunMeasures, TimeToTarget
from bnbench.analysis.statistics import PairedDifference, holm, paired_difference
from bnbench.analysis.variant_labels import catalogue_order
from bnbench.problem import Target

LOWER, UPPER = "lower", "upper"


class Absence(StrEnum):
    """Why there is no number."""

    DIVERGED = "diverged"
    NOT_FINITE = "not finite"
    NOT_RECORDED = "not recorded"


@dataclass(frozen=True)
class Summary:
    """A measure over the seeds of one variant."""

    mean: float | None
    deviation: float | None
    """Sample standard deviation, from two seeds."""
    absence: Absence | None
    """Why there is no mean; None where there is one."""


@dataclass(frozen=True)
class TargetTime:
    """How soon one variant is at one target."""

    target: Target
    epochs: float
    """Median over seeds of the first epoch at the target; a miss is infinite and takes part."""
    steps: float
    """The same in optimiser steps."""
    reached: int
    """Seeds that got there."""
    speed: float
    """DeepOBS's measure: the mean first epoch at the target, where a miss counts as the number of epochs + 1."""


@dataclass(frozen=True, kw_only=True)
class RankedVariant(VariantRow):
    """One row of a ranking."""

    rank: int
    """1 is best; equal rows share a rank, and the next one is skipped."""
    final_train_loss: Summary
    final_train_accuracy: Summary
    final_valid_accuracy: Summary
    final_test_accuracy: Summary
    best_train_loss: Summary
    best_train_accuracy: Summary
    area: Summary
    early_train_accuracy: Summary
    targets: tuple[TargetTime, ...]
    difference: PairedDifference | None
    """Final training accuracy minus the lower baseline's; None for the baseline itself and where there is none."""
    holm_t_p: float | None
    """The t test's p, corrected for the comparisons with the lower baseline in this group."""
    holm_sign_flip_p: float | None
    runs: tuple[RunMeasures, ...]
    """Of its records, in their order."""


@dataclass(frozen=True, kw_only=True)
class RankedGroup(Comparison):
    """A comparison whose variants are ranked."""

    rows: tuple[RankedVariant, ...]
    """The best first."""
    targets: tuple[Target, ...]
    notes: tuple[str, ...]
    """What a reader must know before believing the numbers."""

    @property
    def best_stands_out(self) -> bool:
        """Whether the best can be told from the next one, by final training accuracy.

        The 95 % t interval of their difference, paired by seed, lies above 0; so it takes three seeds. A variant that
        diverged has no mean and is no rival.
        """
        finals = [_final_by_seed(row.runs) for row in self.rows if row.final_train_accuracy.mean is not None]
        if len(finals) < 2:
            return False
        interval = paired_difference(finals[0], finals[1]).t_interval
        return interval is not None and interval.low > 0


def ranked_group(compared: Comparison, measures: Mapping[str, RunMeasures], more: Sequence[str] = ()) -> RankedGroup:
    """The ranking of a comparison.

    Args:
        compared: the runs.
        measures: what each of them achieved, by run id.
        more: what else a reader must know of them.
    """
    runs_of = {row.variant: tuple(measures[record.identity.run_id] for record in row.records) for row in compared.rows}
    keys = {label: outcome_order(own) for label, own in runs_of.items()}
    lower = next((row.variant for row in compared.rows if row.baseline == LOWER), None)
    differences = {
        label: paired_difference(_final_by_seed(own), _final_by_seed(runs_of[lower]))
        for label, own in runs_of.items()
        if lower is not None and label != lower
    }
    holm_t = _holm({label: each.t_p for label, each in differences.items()})
    holm_flip = _holm({label: each.sign_flip_p for label, each in differences.items()})
    rows = [
        _row(
            row,
            runs_of[row.variant],
            place=1 + sum(key < keys[row.variant] for key in keys.values()),
            difference=differences.get(row.variant),
            corrected=(holm_t.get(row.variant), holm_flip.get(row.variant)),
        )
        for row in compared.rows
    ]
    first = runs_of[compared.rows[0].variant][0]
    return RankedGroup(
        setting_id=compared.setting_id,
        learning_rate=compared.learning_rate,
        placement=compared.placement,
        problems=compared.problems,
        sizes=compared.sizes,
        rows=tuple(sorted(rows, key=lambda row: (row.rank, catalogue_order(row.variant)))),
        targets=tuple(time.target for time in first.measures.times),
        notes=(*compared.cautions, *_notes(compared, runs_of), *more),
    )


def _row(
    row: VariantRow,
    runs: tuple[RunMeasures, ...],
    *,
    place: int,
    difference: PairedDifference | None,
    corrected: tuple[float | None, float | None],
) -> RankedVariant:
    def over_seeds(value: Callable[[CurveMeasures], float | None]) -> Summary:
        return _summary(runs, value)

    return RankedVariant(
        variant=row.variant,
        records=row.records,
        rank=place,
        final_train_loss=over_seeds(lambda each: each.final_train_loss),
        final_train_accuracy=over_seeds(lambda each: each.final_train_accuracy),
        final_valid_accuracy=over_seeds(lambda each: each.final_valid_accuracy),
        final_test_accuracy=over_seeds(lambda each: each.final_test_accuracy),
        best_train_loss=over_seeds(lambda each: each.best_train_loss),
        best_train_accuracy=over_seeds(lambda each: each.best_train_accuracy),
        area=over_seeds(lambda each: each.area),
        early_train_accuracy=over_seeds(lambda each: each.early_train_accuracy),
        targets=tuple(_target_time(runs, index) for index in range(len(runs[0].measures.times))),
        difference=difference,
        holm_t_p=corrected[0],
        holm_sign_flip_p=corrected[1],
        runs=runs,
    )


def _summary(runs: Sequence[RunMeasures], value: Callable[[CurveMeasures], float | None]) -> Summary:
    if any(each.diverged for each in runs):
        return Summary(None, None, Absence.DIVERGED)
    values = [value(each.measures) for each in runs]
    given = [each for each in values if each is not None]
    if len(given) < len(values):
        return Summary(None, None, Absence.NOT_RECORDED)
    if not all(math.isfinite(each) for each in given):
        return Summary(None, None, Absence.NOT_FINITE)
    return Summary(plain.fmean(given), plain.stdev(given) if len(given) > 1 else None, None)


def _target_time(runs: Sequence[RunMeasures], index: int) -> TargetTime:
    times: list[TimeToTarget] = [each.measures.times[index] for each in runs]
    first_epochs = [
        time.epochs if math.isfinite(time.epochs) else each.epochs + 1.0 for time, each in zip(times, runs, strict=True)
    ]
    return TargetTime(
        target=times[0].target,
        epochs=plain.median(time.epochs for time in times),
        steps=plain.median(time.steps for time in times),
        reached=sum(math.isfinite(time.epochs) for time in times),
        speed=plain.fmean(first_epochs),
    )


def outcome_order(runs: Sequence[RunMeasures]) -> tuple[float, float]:
    """Smaller is better: finished by accuracy, then without an accuracy, then diverged by the share of seeds."""
    diverged = sum(each.diverged for each in runs)
    if diverged:
        return (2.0, diverged / len(runs))
    mean = _summary(runs, lambda each: each.final_train_accuracy).mean
    return (1.0, 0.0) if mean is None else (0.0, -mean)


def _final_by_seed(runs: Sequence[RunMeasures]) -> dict[int, float | None]:
    return {each.run.seed: each.measures.final_train_accuracy for each in runs}


def _holm(p_values: Mapping[str, float | None]) -> dict[str, float]:
    given = {label: p for label, p in p_values.items() if p is not None}
    return dict(zip(given, holm(list(given.values())), strict=True))


def _notes(compared: Comparison, runs_of: Mapping[str, Sequence[RunMeasures]]) -> list[str]:
    notes: list[str] = []
    if len({frozenset(row.seeds) for row in compared.rows}) > 1:
        notes.append("the variants have different seeds: means are over each one's own, differences over shared ones")
    if all(len(row.records) == 1 for row in compared.rows):
        notes.append("one seed: nothing can be said about noise")
    runs = [run for own in runs_of.values() for run in own]
    for index, time in enumerate(runs[0].measures.times):
        if all(math.isinf(each.measures.times[index].steps) for each in runs):
            notes.append(f"no variant reached {target_level(time.target)} in any seed")
    return notes


def group_title(group: Comparison) -> str:
    """A ranking's problems, placement and learning rate, in words."""
    return f"{group.called}, placement {group.placement}, learning rate {group.learning_rate:g}"


def target_level(target: Target) -> str:
    """What a target asks for: "test accuracy ≥ 0.9"."""
    return f"{target.split} {target.metric} {target.sign} {target.level:g}"
