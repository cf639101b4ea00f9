"""The ranking of variants: within one setting, learning rate and placement; and over several problems.

Rows are ordered by final accuracy on the training data (`train_eval`, running statistics), as the founding study
compares. A variant of which any seed diverged ranks behind all others. Over problems there are three measures, none of
which mixes accuracies of different problems: the mean rank; the score of AlgoPerf's performance profile, with
optimiser steps as time (Dahl et al. 2023); and DeepOBS's speed (Schneider et al. 2019).

Values only: `bnbench.analysis.tables` renders them.
"""

from __future__ import annotations

import math
import statistics as plain
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Unpack

from scipy import stats

from bnbench.analysis.frames import IdentityFilters, Results
from bnbench.analysis.measures import (
    CurveMeasures,
    RunMeasures,
    TargetLookup,
    TimeToTarget,
    measure_runs,
)
from bnbench.analysis.settings import problem_targets
from bnbench.analysis.statistics import FriedmanTest, PairedDifference, friedman_test, holm, paired_difference
from bnbench.errors import UserError
from bnbench.placement import NOWHERE
from bnbench.problem import Target
from bnbench.variant import VARIANTS

LARGEST_RATIO = 4.0
"""r_max of AlgoPerf: whoever is slower than four times the fastest counts as not having arrived."""

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


@dataclass(frozen=True)
class OverallVariant:
    """One variant over several problems."""

    variant: str
    symbol: str
    baseline: str | None
    mean_rank: float
    """Mean over problems of the rank of the final training accuracy, tied ranks averaged, each seed ranked for itself
    and a variant that diverged in any seed last in all of them. Placements and learning rates are averaged inside
    their problem first."""
    rank_difference: PairedDifference | None
    """Mean rank minus the lower baseline's, paired by seed, the problems taken as given; below 0 is better. None for
    the baseline itself and where there is none."""
    ratios: tuple[tuple[float, float], ...]
    """(weight, r): steps to target over the fastest variant's; infinite for a miss. Weights add up to 1."""
    score: float | None
    """B = (1/n) Σ max(0, r_max - r) / (r_max - 1), in [0, 1]; None where no problem has a target."""
    speed: float | None
    """DeepOBS's speed in epochs, averaged like the ranks; None where no problem has a target."""

    def profile(self, ratio: float) -> float:
        """The share of problems on which the variant needs at most `ratio` times the fastest one's steps: ρ(τ)."""
        return sum(weight for weight, own in self.ratios if own <= ratio)


@dataclass(frozen=True)
class OverallRanking:
    """The variants over all problems of one size."""

    size: str
    problems: tuple[tuple[str, ...], ...]
    """The problems; names that share a setting are one problem."""
    groups: int
    """How many rankings went in."""
    problems_with_target: int
    seeds: tuple[int, ...]
    """The seeds that every group has; the rank differences are paired over these."""
    rows: tuple[OverallVariant, ...]
    """Best mean rank first."""
    friedman: FriedmanTest | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Ranking:
    """Everything `bnbench rank` says."""

    groups: tuple[RankedGroup, ...]
    overall: tuple[OverallRanking, ...]
    """One per size that has at least two problems."""
    failed: tuple[str, ...]
    """Runs that failed and so are in no row."""


def rank(results: Results, *, targets: TargetLookup = problem_targets, **filters: Unpack[IdentityFilters]) -> Ranking:
    """Rank what a results folder holds.

    Args:
        results: an opened results folder.
        targets: where a problem's targets come from.
        **filters: a value, or several, for any identity column. A filter on the placement keeps the runs without any
            BatchNorm, which belong to every placement.

    Raises:
        UserError: a filter is not an identity column, or a table is damaged.
    """
    asked = filters.get("placement")
    if asked is not None:
        filters["placement"] = [*([asked] if isinstance(asked, str) else asked), NOWHERE]
    failed = [record.identity.run_id for record in results.select(**filters) if record.status == "failed"]
    measures = measure_runs(results, targets=targets, **filters)
    if asked is not None and NOWHERE not in asked:
        beside = {(each.run.setting_id, each.run.learning_rate) for each in measures if each.run.placement != NOWHERE}
        measures = [each for each in measures if (each.run.setting_id, each.run.learning_rate) in beside]
    return rank_measures(measures, failed=failed)


def rank_measures(measures: Iterable[RunMeasures], *, failed: Sequence[str] = ()) -> Ranking:
    """Rank runs that have been measured; their order makes no difference.

    Args:
        measures: one per run.
        failed: ids of runs that failed, to be mentioned.
    """
    groups = _groups(sorted(measures, key=lambda each: each.run.run_id))
    sizes = dict.fromkeys(size for group in groups for size in group.sizes)
    overall = [_overall(size, [group for group in groups if size in group.sizes]) for size in sizes]
    return Ranking(tuple(groups), tuple(each for each in overall if each is not None), tuple(failed))


def score(ratios: Iterable[tuple[float, float]], largest: float = LARGEST_RATIO) -> float:
    """AlgoPerf's score in closed form: the area under the performance profile from 1 to r_max, over r_max - 1.

    Args:
        ratios: (weight, r), the weights adding up to 1; r is infinite for a miss.
        largest: r_max.
    """
    return sum(weight * max(0.0, largest - ratio) / (largest - 1) for weight, ratio in ratios)


def time_ratios(times: Mapping[str, float]) -> dict[str, float]:
    """Each variant's time over the fastest one's; a miss is infinite, and if all missed all are.

    Args:
        times: variant to steps, infinite for a miss.
    """
    best = min(times.values(), default=math.inf)
    return {name: _ratio(time, best) for name, time in times.items()}


def _ratio(time: float, best: float) -> float:
    if math.isinf(time):
        return math.inf
    if time == best:  # of 0 steps too
        return 1.0
    return time / best if best > 0 else math.inf


# --- within one group -------------------------------------------------------------------------------------------


def _groups(measures: Sequence[RunMeasures]) -> list[RankedGroup]:
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
    keys = {label: _order(own) for label, own in by_variant.items()}
    lower = next((label for label, own in by_variant.items() if _described(own[0].run.variant)[1] == LOWER), None)
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
        problems=_distinct(each.run.problem for each in runs),
        sizes=_distinct(each.run.size for each in runs),
        placement=placement,
        learning_rate=first.run.learning_rate,
        epochs=first.epochs,
        overrides=first.overrides,
        targets=tuple(time.target for time in first.measures.times),
        rows=tuple(sorted(rows, key=lambda row: (row.rank, _catalogue_order(row.variant)))),
        devices=_distinct(each.device for each in runs),
        fingerprints=_distinct(each.fingerprint or "not recorded" for each in runs),
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
    for each in sorted(runs, key=lambda one: (_catalogue_order(one.run.variant), one.run.seed)):
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
    symbol, baseline = _described(runs[0].run.variant)
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


def _order(runs: Sequence[RunMeasures]) -> tuple[float, float]:
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
    devices = _distinct(each.device for each in runs)
    if len(devices) > 1:
        notes.append(f"mixes kinds of device: {', '.join(devices)}")
    fingerprints = _distinct((each.fingerprint or "not recorded")[:12] for each in runs)
    if len(fingerprints) > 1:
        notes.append(f"mixes data of different fingerprints: {', '.join(fingerprints)}")
    if len({tuple(each.run.seed for each in own) for own in by_variant.values()}) > 1:
        notes.append("the variants have different seeds: means are over each one's own, differences over shared ones")
    if all(len(own) == 1 for own in by_variant.values()):
        notes.append("one seed: nothing can be said about noise")
    for index, time in enumerate(runs[0].measures.times):
        if all(math.isinf(each.measures.times[index].steps) for each in runs):
            notes.append(f"no variant reached {_level(time.target)} in any seed")
    for label in by_variant:
        name, _, mark = label.partition("#")
        if mark == "1":
            notes.append(f"the variant '{name}' was defined differently in some of these runs: shown apart")
    return tuple(notes)


# --- over several problems --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Entry:
    """A group that takes part in an overall ranking, cut down to the variants and seeds that are compared."""

    group: RankedGroup
    ranks: Mapping[int, Mapping[str, float]]
    """Seed to variant to rank, tied ranks averaged."""

    def rank_of(self, variant: str) -> float:
        return plain.fmean(each[variant] for each in self.ranks.values())


def _overall(size: str, groups: Sequence[RankedGroup]) -> OverallRanking | None:
    notes: list[str] = []
    usable = [group for group in groups if len(group.rows) > 1]
    notes += [f"left out, one variant only: {_title(group)}" for group in groups if group not in usable]
    usable = _own_settings_first(usable, notes)
    compared = _compared(usable, notes)
    entries = [_Entry(group, _seed_ranks(group, compared)) for group in usable]
    for entry in entries:
        if not entry.ranks:
            notes.append(f"left out, no seed in common: {_title(entry.group)}")
    problems = _problems([entry for entry in entries if entry.ranks])
    if len(problems) < 2 or len(compared) < 2:
        return None
    members = [entry for problem in problems for entry in problem]
    seeds = tuple(sorted(set.intersection(*(set(entry.ranks) for entry in members))))
    mean_ranks = {variant: [_rank_in(problem, variant) for problem in problems] for variant in compared}
    by_seed = {
        variant: {seed: plain.fmean(_rank_in(problem, variant, seed) for problem in problems) for seed in seeds}
        for variant in compared
    }
    ratios, speeds = _times(problems, compared, notes)
    lower = next((name for name in compared if _described(name)[1] == LOWER), None)
    rows = [
        OverallVariant(
            variant=variant,
            symbol=_described(variant)[0],
            baseline=_described(variant)[1],
            mean_rank=plain.fmean(mean_ranks[variant]),
            rank_difference=paired_difference(by_seed[variant], by_seed[lower])
            if lower is not None and variant != lower
            else None,
            ratios=ratios[variant],
            score=score(ratios[variant]) if ratios[variant] else None,
            speed=plain.fmean(speeds[variant]) if speeds[variant] else None,
        )
        for variant in compared
    ]
    return OverallRanking(
        size=size,
        problems=tuple(_distinct(name for entry in problem for name in entry.group.problems) for problem in problems),
        groups=len(members),
        problems_with_target=len(speeds[compared[0]]),
        seeds=seeds,
        rows=tuple(sorted(rows, key=lambda row: (row.mean_rank, _catalogue_order(row.variant)))),
        friedman=friedman_test(
            [[mean_ranks[variant][index] for variant in compared] for index in range(len(problems))]
        ),
        notes=tuple(notes),
    )


def _own_settings_first(groups: Sequence[RankedGroup], notes: list[str]) -> list[RankedGroup]:
    """Overridden runs stand for a problem only where there are none at its own settings."""
    at_own = {name for group in groups if not group.overrides for name in group.problems}
    kept = [group for group in groups if not group.overrides or not at_own.intersection(group.problems)]
    dropped = dict.fromkeys((group.problems, group.overrides) for group in groups if group not in kept)
    notes += [f"left out, overridden: {' = '.join(names)} with {', '.join(what or ())}" for names, what in dropped]
    return kept


def _compared(groups: Sequence[RankedGroup], notes: list[str]) -> list[str]:
    """The variants that every group has: ratios and ranks depend on who is compared."""
    everywhere = [{row.variant for row in group.rows} for group in groups]
    shared = set.intersection(*everywhere) if everywhere else set()
    dropped = sorted(set().union(*everywhere) - shared, key=_catalogue_order)
    if dropped:
        notes.append(f"left out, not in every problem and placement: {', '.join(dropped)}")
    return sorted(shared, key=_catalogue_order)


def _seed_ranks(group: RankedGroup, compared: Sequence[str]) -> dict[int, dict[str, float]]:
    """Each seed ranked for itself, so that a rank difference can be paired by seed.

    A variant that diverged in any seed is last in all of them, as it is in the group's own table.
    """
    runs = {row.variant: {each.run.seed: each for each in row.runs} for row in group.rows if row.variant in compared}
    diverged = {row.variant: _order(row.runs) for row in group.rows if row.diverged}
    if len(runs) < 2:
        return {}
    ranks: dict[int, dict[str, float]] = {}
    for seed in sorted(set.intersection(*(set(own) for own in runs.values()))):
        keys = [diverged.get(variant) or _order([runs[variant][seed]]) for variant in compared]
        positions = [sorted(set(keys)).index(key) for key in keys]
        ranks[seed] = dict(zip(compared, map(float, stats.rankdata(positions)), strict=True))
    return ranks


def _problems(entries: Sequence[_Entry]) -> list[list[_Entry]]:
    """Groups that share a setting or a problem's name are one problem: they are not independent evidence."""
    problems: list[list[_Entry]] = []
    for entry in entries:
        kin = [problem for problem in problems if any(_related(entry, other) for other in problem)]
        problems = [problem for problem in problems if problem not in kin]
        problems.append([*(other for problem in kin for other in problem), entry])
    return problems


def _related(one: _Entry, other: _Entry) -> bool:
    shared_name = set(one.group.problems) & set(other.group.problems)
    return one.group.setting_id == other.group.setting_id or bool(shared_name)


def _times(
    problems: Sequence[Sequence[_Entry]], compared: Sequence[str], notes: list[str]
) -> tuple[dict[str, tuple[tuple[float, float], ...]], dict[str, list[float]]]:
    """(weight, ratio) and DeepOBS's speed of each variant. Targets, then placements, are averaged in their problem."""
    timed = [problem for problem in problems if any(entry.group.targets for entry in problem)]
    ratios: dict[str, list[tuple[float, float]]] = {variant: [] for variant in compared}
    speeds: dict[str, list[float]] = {variant: [] for variant in compared}
    for problem in timed:
        with_target = [entry.group for entry in problem if entry.group.targets]
        own_speeds: dict[str, list[float]] = {variant: [] for variant in compared}
        for group in with_target:
            rows = {row.variant: row.targets for row in group.rows}
            weight = 1.0 / (len(timed) * len(with_target) * len(group.targets))
            for index, target in enumerate(group.targets):
                found = time_ratios({variant: rows[variant][index].steps for variant in compared})
                if all(math.isinf(ratio) for ratio in found.values()):
                    notes.append(f"no variant reached {_level(target)}: {_title(group)}; all score 0 there")
                for variant in compared:
                    ratios[variant].append((weight, found[variant]))
            for variant in compared:
                own_speeds[variant].append(plain.fmean(time.speed for time in rows[variant]))
        for variant in compared:
            speeds[variant].append(plain.fmean(own_speeds[variant]))
    return {variant: tuple(pairs) for variant, pairs in ratios.items()}, speeds


def _rank_in(problem: Sequence[_Entry], variant: str, seed: int | None = None) -> float:
    """The mean rank over a problem's groups: in one seed, or over all seeds of each group."""
    return plain.fmean(entry.rank_of(variant) if seed is None else entry.ranks[seed][variant] for entry in problem)


# --- words ------------------------------------------------------------------------------------------------------


def _title(group: RankedGroup) -> str:
    return f"{' = '.join(group.problems)}, placement {group.placement}, learning rate {group.learning_rate:g}"


def _level(target: Target) -> str:
    sign = "≥" if target.metric == "accuracy" else "≤"
    return f"{target.split} {target.metric} {sign} {target.level:g}"


def _described(variant: str) -> tuple[str, str | None]:
    """(symbol, baseline) of a variant; its bare name where the package that offered it is gone."""
    name = variant.partition("#")[0]
    try:
        row = VARIANTS.get(name)
    except UserError:
        return variant, None
    return row.symbol, row.baseline


def _catalogue_order(variant: str) -> tuple[int, str]:
    names = VARIANTS.names()
    name = variant.partition("#")[0]
    return (names.index(name) if name in names else len(names), variant)


def _distinct(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(values)))
