"""Figures that compare: differences to vanilla, ranks, the performance profile, sensitivity to the learning rate."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from bnbench.analysis.comparison import Comparison, by_placement
from bnbench.analysis.frames import Results
from bnbench.analysis.measures import measure_runs
from bnbench.analysis.ranked_group import RankedGroup
from bnbench.analysis.ranking import Ranking, rank
from bnbench.report.captions import described, file_name, joined, kind_command, lettered
from bnbench.report.comparisons import (
    BASELINE,
    DifferenceGroup,
    RateGroup,
    differences_to_vanilla,
    learning_rate_sensitivity,
)
from bnbench.report.export import Drawing
from bnbench.report.gallery import curve_group
from bnbench.report.page import TEXT, Page
from bnbench.report.ranks import performance_profile, rank_plot, rank_row
from bnbench.report.titles import circumstances, placement_title, problem_label

ABOUT_DIFFERENCES = (
    "Training accuracy minus vanilla's, paired by seed, on train_eval with running statistics. Left: after every "
    "epoch, the mean over the seeds with its pointwise 95 % t interval (from three seeds; cut off at 100 points). "
    "Right: the final difference, the mean over the last tenth of the epochs, with its 95 % t interval."
)
ABOUT_RANKS = (
    "Rank of each variant in each comparison, by final training accuracy (mean over the last tenth of the epochs and "
    "over the seeds, on train_eval with running statistics); equal ones stand between their places. A cross: a seed "
    "of the variant diverged, which ranks last."
)
ABOUT_RATES = (
    "Final training accuracy (mean over the last tenth of the epochs, on train_eval with running statistics) over the "
    "learning rate. Points: mean over the seeds; bars: from the lowest to the highest seed; a little apart for the "
    "eye. A cross at the bottom: a seed diverged."
)


def draw_differences(
    results: Results,
    groups: Sequence[Comparison],
    page: Page = TEXT,
    *,
    number: int | None = None,
    whole: Sequence[Comparison] = (),
) -> Drawing:
    """Training accuracy minus vanilla's, of groups that have runs of vanilla and of another variant.

    Args:
        results: an opened results folder.
        groups: at least one.
        page: the size of the figure.
        number: of the page, where there are several.
        whole: the groups of all pages, which the command is to draw.

    Raises:
        UserError: a table is damaged.
    """
    letters = lettered(groups)
    parts = []
    for group, letter in zip(groups, letters, strict=True):
        ranked = _ranked(results, group)
        final = tuple((row.variant, row.difference) for row in ranked.rows if row.difference is not None)
        parts.append(DifferenceGroup(curve_group(results, group, letter), final))
    title = f"Differences to vanilla, {_problems(groups)}"
    return Drawing(
        name=file_name("difference", groups, number),
        title=title,
        caption=f"{title}. {ABOUT_DIFFERENCES} {described(groups, letters)}",
        command=kind_command("difference", whole or groups, page),
        page=page,
        figure=differences_to_vanilla(parts, page),
    )


def comparable(group: Comparison) -> bool:
    """Whether a group has runs of vanilla and of another variant with a seed in common."""
    base = group.row(BASELINE)
    return base is not None and any(set(base.seeds) & set(row.seeds) for row in group.rows if row is not base)


def draw_ranks(results: Results, groups: Sequence[Comparison], page: Page = TEXT) -> Drawing:
    """The rank of each variant in each group, and the mean rank where there are several problems.

    Args:
        results: an opened results folder.
        groups: of at least two variants each, at least one.
        page: the size of the figure.

    Raises:
        UserError: a table is damaged.
    """
    ordered = sorted(groups, key=lambda group: group.problem)
    rows = [
        rank_row(problem_label(group.problem, group.size), circumstances(group), _ranked(results, group))
        for group in ordered
    ]
    overall = _ranking(results, groups).overall
    mean = {row.variant: row.mean_rank for row in overall[0].rows} if overall else None
    beside = f"Beside the names: the mean rank over {len(overall[0].problems)} problems." if overall else ""
    title = f"Ranks of the variants, {_problems(groups)}"
    notes = " ".join(f"{note[:1].upper()}{note[1:]}." for note in overall[0].notes) if overall else ""
    return Drawing(
        name=file_name("rank", groups),
        title=title,
        caption=f"{title}. {ABOUT_RANKS} {beside} {notes} {described(groups, [''] * len(groups))}".replace("  ", " "),
        command=kind_command("rank", groups, page),
        page=page,
        figure=rank_plot(rows, mean, page),
    )


def draw_profile(results: Results, groups: Sequence[Comparison], page: Page = TEXT) -> Drawing | None:
    """The performance profile; None with fewer than two problems, or where none has a target.

    Args:
        results: an opened results folder.
        groups: all that take part.
        page: the size of the figure.

    Raises:
        UserError: a table is damaged.
    """
    overall = _ranking(results, groups).overall
    if not overall or not overall[0].problems_with_target:
        return None
    found = overall[0]
    title = f"Performance profile over {found.problems_with_target} problems with a target"
    about = (
        "The share of problems that a variant solves (median over the seeds of the steps to the target) within τ times "
        "the steps of the fastest variant; beside the names the score, the area from 1 to 4 over 3 (Dahl et al. 2023)."
    )
    notes = " ".join(f"{note[:1].upper()}{note[1:]}." for note in found.notes)
    return Drawing(
        name=file_name("profile", groups),
        title=title,
        caption=f"{title}. {about} {notes} {described(groups, [''] * len(groups))}".replace("  ", " "),
        command=kind_command("profile", groups, page),
        page=page,
        figure=performance_profile(found, page),
    )


def draw_sensitivity(
    results: Results,
    groups: Sequence[Comparison],
    page: Page = TEXT,
    *,
    number: int | None = None,
    whole: Sequence[Comparison] = (),
) -> Drawing:
    """Final accuracy over the learning rate, a panel for each setting and placement.

    Args:
        results: an opened results folder.
        groups: each setting and placement at two learning rates or more.
        page: the size of the figure.
        number: of the page, where there are several.
        whole: the groups of all pages, which the command is to draw.

    Raises:
        UserError: a table is damaged.
    """
    swept = by_placement(groups)
    letters = lettered(swept)
    panels = [
        RateGroup(f"{letter}{placement_title(own[0])}", _final(results, own))
        for letter, own in zip(letters, swept, strict=True)
    ]
    title = f"Sensitivity to the learning rate, {_problems(groups)}"
    of_group = [(group, letter) for letter, own in zip(letters, swept, strict=True) for group in own]
    said = described([group for group, _ in of_group], [letter for _, letter in of_group])
    return Drawing(
        name=file_name("sensitivity", groups, number),
        title=title,
        caption=f"{title}. {ABOUT_RATES} {said}",
        command=kind_command("sensitivity", whole or groups, page),
        page=page,
        figure=learning_rate_sensitivity(panels, page),
    )


def _problems(groups: Sequence[Comparison]) -> str:
    return joined(dict.fromkeys(problem_label(group.problem, group.size) for group in groups))


def _ranking(results: Results, groups: Sequence[Comparison]) -> Ranking:
    return rank(results, run_id=[run_id for group in groups for run_id in group.run_ids])


def _ranked(results: Results, group: Comparison) -> RankedGroup:
    return next(each for each in rank(results, run_id=group.run_ids).groups if each.key == group.key)


def _final(results: Results, groups: Sequence[Comparison]) -> pd.DataFrame:
    measures = measure_runs(results, run_id=[run_id for group in groups for run_id in group.run_ids])
    labels = {run_id: label for group in groups for run_id, label in group.labels.items()}
    rows = [
        {
            "variant": labels[each.run.run_id],
            "seed": each.run.seed,
            "learning_rate": each.run.learning_rate,
            "final_accuracy": each.measures.final_train_accuracy,
        }
        for each in measures
    ]
    return pd.DataFrame(rows).astype({"final_accuracy": "float64"})
