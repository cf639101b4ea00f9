"""The ranking of variants: within one setting, learning rate and placement; and over several problems.

Values only: `bnbench.analysis.ranking_tables` renders them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Unpack

from bnbench.analysis.comparison import circumstances_of, comparison_keys, comparisons
from bnbench.analysis.frames import IdentityFilters, Results
from bnbench.analysis.measures import RunMeasures, TargetLookup, measure_runs
from bnbench.analysis.overall_ranking import OverallRanking, overall_ranking
from bnbench.analysis.ranked_group import RankedGroup, ranked_group
from bnbench.analysis.records import RunRecord
from bnbench.analysis.settings import problem_targets
from bnbench.components.placements import NOWHERE


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
        UserError: a filter is not an identity column.
    """
    asked = filters.get("placement")
    if asked is not None:
        filters["placement"] = [*([asked] if isinstance(asked, str) else asked), NOWHERE]
    # Whatever is damaged or does not agree is found out before anything is measured.
    deque(results.sound(results.select(**filters), "curves"), maxlen=0)
    failed = [record.identity.run_id for record in results.select(**filters) if record.status == "failed"]
    measures = measure_runs(results, targets=targets, **filters)
    if asked is not None and NOWHERE not in asked:
        beside = [k for k in comparison_keys(circumstances_of(each.run) for each in measures) if k.placement != NOWHERE]
        measures = [each for each in measures if any(key.holds(circumstances_of(each.run)) for key in beside)]
    disagreements = {each.run.run_id: results.disagreement(each.record) for each in measures}
    return rank_measures(
        measures,
        among=results.records,
        failed=failed,
        disagreements={run_id: text for run_id, text in disagreements.items() if text is not None},
    )


def rank_measures(
    measures: Iterable[RunMeasures],
    *,
    among: Iterable[RunRecord] = (),
    failed: Sequence[str] = (),
    disagreements: Mapping[str, str] = MappingProxyType({}),
) -> Ranking:
    """Rank runs that have been measured; their order makes no difference.

    Args:
        measures: one per run.
        among: all runs that there are, by which variants of one name are told apart; the measured ones if empty.
        failed: ids of runs that failed, to be mentioned.
        disagreements: run id to what the folders of its training do not agree on, to be mentioned.
    """
    by_id = {each.run.run_id: each for each in sorted(measures, key=lambda each: each.run.run_id)}
    groups = [
        ranked_group(compared, by_id, [disagreements[run_id] for run_id in compared.run_ids if run_id in disagreements])
        for compared in comparisons([each.record for each in by_id.values()], among)
    ]
    sizes = dict.fromkeys(size for group in groups for size in group.sizes)
    overall = [overall_ranking(size, [group for group in groups if size in group.sizes]) for size in sizes]
    return Ranking(tuple(groups), tuple(each for each in overall if each is not None), tuple(failed))
