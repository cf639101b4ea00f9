"""The ranking of variants: within one setting, learning rate and placement; and over several problems.

Values only: `bnbench.analysis.ranking_tables` renders them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Unpack

from bnbench.analysis.frames import IdentityFilters, Results
from bnbench.analysis.measures import RunMeasures, TargetLookup, measure_runs
from bnbench.analysis.overall_ranking import OverallRanking, overall_ranking
from bnbench.analysis.ranked_group import RankedGroup, ranked_groups
from bnbench.analysis.settings import problem_targets
from bnbench.placement import NOWHERE


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
    groups = ranked_groups(sorted(measures, key=lambda each: each.run.run_id))
    sizes = dict.fromkeys(size for group in groups for size in group.sizes)
    overall = [overall_ranking(size, [group for group in groups if size in group.sizes]) for size in sizes]
    return Ranking(tuple(groups), tuple(each for each in overall if each is not None), tuple(failed))
