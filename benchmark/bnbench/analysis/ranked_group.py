"""The ranking within one setting, learning rate and placement.

Rows are ordered by final accuracy on the training data (`train_eval`, running statistics), as the founding study
compares. A variant of which any seed diverged ranks behind all others.
"""

from __future__ import annotations

import math
import statistics as plain
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from bnbench.analysis.measures import CurveMeasures, RunMeasures, TimeToTarget
from bnbench.analysis.statistics import PairedDifference, holm, paired_difference
from bnbench.errors import UserError
from bnbench.placement import NOWHERE
from bnbench.problem import Target
from bnbench.variant import VARIANTS

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


@dataclass(frozen=True)
class RankedVariant:
    """One row of a ranking."""

    variant: str
    symbol: str
    baseline: str | None
    """"lower" or "upper" where the study uses the variant as that baseline."""
    rank: int
    """1 is best; equal rows share a rank, and the next one is skipped."""
    seeds: tuple[int, ...]
    diverged: int
    """How many of the seeds diverged."""
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


@dataclass(frozen=True)
class RankedGroup:
    """The variants that may be compared with each other: one setting, learning rate and placement."""

    setting_id: str
    problems: tuple[str, ...]
    """The names that the setting goes by: usually one."""
    sizes: tuple[str, ...]
    placement: str
    learning_rate: float
    epochs: int
    overrides: tuple[str, ...] | None
    """What differs from the problem's file; None where that file is not known."""
    targets: tuple[Target, ...]
    rows: tuple[RankedVariant, ...]
    devices: tuple[str, ...]
    fingerprints: tuple[str, ...]
    notes: tuple[str, ...]
    """What a reader must know before believing the numbers."""


def ranked_groups(measures: Sequence[RunMeasures]) -> list[RankedGroup]:
    """The rankings of runs that may be compared with each other, in the order of the catalogue.

    Args:
        measures: one per run, sorted by run id.
    """
    settings: dict[tuple[str, float], list[RunMeasures]] = {}
    for each in measures:
        settings.setdefault((each.run.setting_id, each.run.learning_rate), []).append(each)
    found: list[RankedGroup] = []
    for runs in settings.values():
        placements = dict.fromkeys(each.run.placement for each in runs if each.run.placement != NOWHERE)
        found += [
            _group(placement, [each for each in runs if each.run.placement in {placement, NOWHERE}])
            for placement in placements or {NOWHERE: None}
        ]
    return sorted(found, key=_group_order)


def _group_order(group: RankedGroup) -> tuple[object, ...]:
    familiar = ("hidden", "every")
    place = familiar.index(group.placement) if group.placement in familiar else len(familiar)
    return (
        group.problems,
        group.sizes,
        bool(group.overrides),
        group.setting_id,
        group.learning_rate,
        place,
        group.placement,
    )


def _group(placement: str, runs: Sequence[RunMeasures]) -> RankedGroup:
    by_variant = _by_variant(runs)
    keys = {label: outcome_order(own) for label, own in by_variant.items()}
    lower = next((label for label, own in by_variant.items() if described(own[0].run.variant)[1] == LOWER), None)
    differences = {
        label: paired_difference(_final_by_seed(own), _final_by_seed(by_variant[lower]))
        for label, own in by_variant.items()
        if lower is not None and label != lower
    }
    holm_t = _holm({label: each.t_p for label, each in differences.items()})
    holm_flip = _holm({label: each.sign_flip_p for label, each in differences.items()})
    rows = [
        _row(
            label,
            own,
            place=1 + sum(key < keys[label] for key in keys.values()),
            difference=differences.get(label),
            corrected=(holm_t.get(label), holm_flip.get(label)),
        )
        for label, own in by_variant.items()
    ]
    first = runs[0]
    return RankedGroup(
        setting_id=first.run.setting_id,
        problems=distinct(each.run.problem for each in runs),
        sizes=distinct(each.run.size for each in runs),
        placement=placement,
        learning_rate=first.run.learning_rate,
        epochs=first.epochs,
        overrides=first.overrides,
        targets=tuple(time.target for time in first.measures.times),
        rows=tuple(sorted(rows, key=lambda row: (row.rank, catalogue_order(row.variant)))),
        devices=distinct(each.device for each in runs),
        fingerprints=distinct(each.fingerprint or "not recorded" for each in runs),
        notes=_group_notes(runs, by_variant),
    )


def _by_variant(runs: Sequence[RunMeasures]) -> dict[str, list[RunMeasures]]:
    """Label to runs in order of seeds. A name whose row in the table has changed between runs is several variants."""
    rows: dict[str, list[str]] = {}
    for each in runs:
        known = rows.setdefault(each.run.variant, [])
        if each.variant_row not in known:
            known.append(each.variant_row)
    found: dict[str, list[RunMeasures]] = {}
    for each in sorted(runs, key=lambda one: (catalogue_order(one.run.variant), one.run.seed)):
        known = rows[each.run.variant]
        label = each.run.variant if len(known) == 1 else f"{each.run.variant}#{known.index(each.variant_row) + 1}"
        found.setdefault(label, []).append(each)
    return found


def _row(
    label: str,
    runs: Sequence[RunMeasures],
    *,
    place: int,
    difference: PairedDifference | None,
    corrected: tuple[float | None, float | None],
) -> RankedVariant:
    symbol, baseline = described(runs[0].run.variant)
    _, _, mark = label.partition("#")

    def over_seeds(value: Callable[[CurveMeasures], float | None]) -> Summary:
        return _summary(runs, value)

    return RankedVariant(
        variant=label,
        symbol=f"{symbol}#{mark}" if mark else symbol,
        baseline=baseline,
        rank=place,
        seeds=tuple(each.run.seed for each in runs),
        diverged=sum(each.diverged for each in runs),
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
        runs=tuple(runs),
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


def _group_notes(runs: Sequence[RunMeasures], by_variant: Mapping[str, Sequence[RunMeasures]]) -> tuple[str, ...]:
    notes: list[str] = []
    devices = distinct(each.device for each in runs)
    if len(devices) > 1:
        notes.append(f"mixes kinds of device: {', '.join(devices)}")
    fingerprints = distinct((each.fingerprint or "not recorded")[:12] for each in runs)
    if len(fingerprints) > 1:
        notes.append(f"mixes data of different fingerprints: {', '.join(fingerprints)}")
    if len({tuple(each.run.seed for each in own) for own in by_variant.values()}) > 1:
        notes.append("the variants have different seeds: means are over each one's own, differences over shared ones")
    if all(len(own) == 1 for own in by_variant.values()):
        notes.append("one seed: nothing can be said about noise")
    for index, time in enumerate(runs[0].measures.times):
        if all(math.isinf(each.measures.times[index].steps) for each in runs):
            notes.append(f"no variant reached {target_level(time.target)} in any seed")
    for label in by_variant:
        name, _, mark = label.partition("#")
        if mark == "1":
            notes.append(f"the variant '{name}' was defined differently in some of these runs: shown apart")
    return tuple(notes)


def group_title(group: RankedGroup) -> str:
    """A ranking's problems, placement and learning rate, in words."""
    return f"{' = '.join(group.problems)}, placement {group.placement}, learning rate {group.learning_rate:g}"


def target_level(target: Target) -> str:
    """What a target asks for: "test accuracy ≥ 0.9"."""
    return f"{target.split} {target.metric} {target.sign} {target.level:g}"


def described(variant: str) -> tuple[str, str | None]:
    """(symbol, baseline) of a variant; its bare name where the package that offered it is gone."""
    name = variant.partition("#")[0]
    try:
        row = VARIANTS.get(name)
    except UserError:
        return variant, None
    return row.symbol, row.baseline


def catalogue_order(variant: str) -> tuple[int, str]:
    """A sorting key: the study's order, others behind."""
    names = VARIANTS.names()
    name = variant.partition("#")[0]
    return (names.index(name) if name in names else len(names), variant)


def distinct(values: Iterable[str]) -> tuple[str, ...]:
    """Each value once, sorted."""
    return tuple(sorted(set(values)))
