"""The ranking over several problems, by three measures none of which mixes accuracies of different problems.

The mean rank; the score of AlgoPerf's performance profile, with optimiser steps as time (Dahl et al. 2023); and
DeepOBS's speed (Schneider et al. 2019).
"""

from __future__ import annotations

import math
import statistics as plain
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from scipy import stats

from bnbench.analysis.comparison import distinct
from bnbench.analysis.naming import remark_of_runs
from bnbench.analysis.ranked_group import LOWER, RankedGroup, group_title, outcome_order, target_level
from bnbench.analysis.statistics import FriedmanTest, PairedDifference, friedman_test, paired_difference
from bnbench.analysis.variant_labels import baseline_of, catalogue_order, symbol_of

LARGEST_RATIO = 4.0
"""r_max of AlgoPerf: whoever is slower than four times the fastest counts as not having arrived."""


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
    remark: str | None
    """What must be said of size and data beside a number: "tiny, on handwritten digits"."""
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


def overall_ranking(size: str, groups: Sequence[RankedGroup]) -> OverallRanking | None:
    """Rank the variants that all problems of one size have.

    Args:
        size: "full", "short" or "tiny".
        groups: the rankings within settings, placements and learning rates.

    Returns:
        None where fewer than two problems, or two variants, can be compared.
    """
    notes: list[str] = []
    usable = [group for group in groups if len(group.rows) > 1]
    notes += [f"left out, one variant only: {group_title(group)}" for group in groups if group not in usable]
    usable = _own_settings_first(usable, notes)
    compared = _compared(usable, notes)
    entries = [_Entry(group, _seed_ranks(group, compared)) for group in usable]
    for entry in entries:
        if not entry.ranks:
            notes.append(f"left out, no seed in common: {group_title(entry.group)}")
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
    lower = next((name for name in compared if baseline_of(name) == LOWER), None)
    rows = [
        OverallVariant(
            variant=variant,
            symbol=symbol_of(variant),
            baseline=baseline_of(variant),
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
        remark=remark_of_runs((name, size, entry.group.dataset) for entry in members for name in entry.group.problems),
        problems=tuple(distinct(name for entry in problem for name in entry.group.problems) for problem in problems),
        groups=len(members),
        problems_with_target=len(speeds[compared[0]]),
        seeds=seeds,
        rows=tuple(sorted(rows, key=lambda row: (row.mean_rank, catalogue_order(row.variant)))),
        friedman=friedman_test(
            [[mean_ranks[variant][index] for variant in compared] for index in range(len(problems))]
        ),
        notes=tuple(notes),
    )


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


@dataclass(frozen=True)
class _Entry:
    """A group that takes part in an overall ranking, cut down to the variants and seeds that are compared."""

    group: RankedGroup
    ranks: Mapping[int, Mapping[str, float]]
    """Seed to variant to rank, tied ranks averaged."""

    def rank_of(self, variant: str) -> float:
        return plain.fmean(each[variant] for each in self.ranks.values())


def _own_settings_first(groups: Sequence[RankedGroup], notes: list[str]) -> list[RankedGroup]:
    """Overridden runs stand for a problem only where there are none at its own settings."""
    at_own = {name for group in groups if not group.overrides for name in group.problems}
    kept = [group for group in groups if not group.overrides or not at_own.intersection(group.problems)]
    dropped = dict.fromkeys((group.problems, group.overrides) for group in groups if group not in kept)
    notes += [f"left out, overridden: {' = '.join(names)} with {', '.join(what or ())}" for names, what in dropped]
    return kept


def _compared(groups: Sequence[RankedGroup], notes: list[str]) -> list[str]:
    """The variants that every group has, defined in one way: ratios and ranks depend on who is compared."""
    everywhere = [{row.variant for row in group.rows} for group in groups]
    shared = set.intersection(*everywhere) if everywhere else set()
    dropped = sorted(set().union(*everywhere) - shared, key=catalogue_order)
    if dropped:
        notes.append(f"left out, not in every problem and placement: {', '.join(dropped)}")
    definitions = {(row.variant, row.records[0].variant_row) for group in groups for row in group.rows}
    several = sorted((n for n, number in Counter(n for n, _ in definitions).items() if number > 1), key=catalogue_order)
    if redefined := [name for name in several if name in shared]:
        notes.append(f"left out, defined differently in some of the problems: {', '.join(redefined)}")
    return sorted(shared - set(redefined), key=catalogue_order)


def _seed_ranks(group: RankedGroup, compared: Sequence[str]) -> dict[int, dict[str, float]]:
    """Each seed ranked for itself, so that a rank difference can be paired by seed.

    A variant that diverged in any seed is last in all of them, as it is in the group's own table.
    """
    runs = {row.variant: {each.run.seed: each for each in row.runs} for row in group.rows if row.variant in compared}
    diverged = {row.variant: outcome_order(row.runs) for row in group.rows if row.diverged}
    if len(runs) < 2:
        return {}
    ranks: dict[int, dict[str, float]] = {}
    for seed in sorted(set.intersection(*(set(own) for own in runs.values()))):
        keys = [diverged.get(variant) or outcome_order([runs[variant][seed]]) for variant in compared]
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
                    notes.append(f"no variant reached {target_level(target)}: {group_title(group)}; all score 0 there")
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
