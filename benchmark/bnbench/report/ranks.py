"""Ranks over many comparisons, and the performance profile: a ranking in, a figure out."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from bnbench.analysis.overall_ranking import LARGEST_RATIO, OverallRanking
from bnbench.analysis.ranked_group import RankedGroup
from bnbench.report.curves import line_style, variant_legend
from bnbench.report.page import TEXT, Page
from bnbench.report.style import GRID, Look, looks_of, percent, variant_label

ROW = 2.1
"""Height of a row of the rank plot, in lines of type."""
GAP = 1.0
"""Rows between two problems; the first of them holds the problem's name."""
DODGE = 0.17
"""Rows between variants that share a place."""


@dataclass(frozen=True)
class RankRow:
    """One comparison: which variants, and in which order."""

    section: str
    """The problem; comparisons of one problem stand together."""
    title: str
    ranks: dict[str, float]
    """Variant to rank; equal ones share the mean of their places."""
    diverged: frozenset[str] = frozenset()
    """Those of which a seed diverged."""


def rank_row(section: str, title: str, group: RankedGroup) -> RankRow:
    """A row from a ranked group. Variants that share a place stand between the places they take up."""
    places = [row.rank for row in group.rows]
    ranks = {row.variant: row.rank + (places.count(row.rank) - 1) / 2 for row in group.rows}
    return RankRow(section, title, ranks, frozenset(row.variant for row in group.rows if row.diverged))


def rank_plot(rows: Sequence[RankRow], mean: Mapping[str, float] | None = None, page: Page = TEXT) -> Figure:
    """The place of each variant in each comparison, by final training accuracy; best at the left.

    Comparisons from top to bottom, problem by problem; inside a problem a variant's places are joined. Variants that
    share a place stand above each other. A cross is a variant of which a seed diverged: it ranks last.

    Args:
        rows: at least one; those of one problem behind each other.
        mean: variant to mean rank over several problems, written beside its name.
        page: the size.
    """
    with page.style():
        looks = looks_of(name for row in rows for name in row.ranks)
        sections = [list(own) for _, own in itertools.groupby(rows, key=lambda row: row.section)]
        count = len(rows) + GAP * len(sections)
        figure = page.figure((ROW * count + 7) * page.font / 72)
        axes = figure.subplots()
        page.dress(axes)
        axes.grid(visible=False, axis="y")
        heights: list[float] = []
        top = 0.0
        for section in sections:
            # No wider than the tick labels: the name stands at the right end of its own row.
            axes.annotate(
                section[0].section, (0, top), xycoords=("axes fraction", "data"),
                xytext=(-page.font * 0.75, 0), textcoords="offset points",
                ha="right", va="center", fontsize=page.small, fontweight="bold", annotation_clip=False,
            )  # fmt: skip
            own = [top + GAP + index for index in range(len(section))]
            heights += own
            for index, (name, look) in enumerate(looks.items()):
                _draw_places(axes, section, own, name, look, page, order=index)
            for height in own:
                axes.axhline(height, color=GRID, linewidth=page.line / 2, zorder=0.5)
            top = own[-1] + 1
        axes.set_yticks(heights, [row.title for row in rows])
        axes.set_ylim(heights[-1] + 0.6, -0.5)
        axes.set_xlim(0.6, len(looks) + 0.4)
        axes.set_xticks(range(1, len(looks) + 1))
        axes.set_xlabel("rank by final training accuracy [1 is best]")
        names = {
            name: f"{variant_label(name)}  {mean[name]:.2f}" if mean and name in mean else variant_label(name)
            for name in looks
        }
        variant_legend(figure, looks, page, names=names)
        return figure


def performance_profile(overall: OverallRanking, page: Page = TEXT) -> Figure:
    """The share of problems on which a variant needs at most τ times the fastest one's steps to the target.

    Dahl et al. (2023), section 4; the score is the area under the curve from 1 to 4, over 3.

    Args:
        overall: over at least two problems, of which at least one has a target.
        page: the size.
    """
    with page.style():
        looks = looks_of(row.variant for row in overall.rows)
        figure = page.figure(page.width * (0.5 if page.wide else 0.55))
        axes = figure.subplots()
        page.dress(axes)
        scores = {}
        for row in overall.rows:
            reached = sorted({1.0, *(ratio for _, ratio in row.ratios if ratio <= LARGEST_RATIO), LARGEST_RATIO})
            share = [row.profile(ratio) for ratio in reached]
            look = looks[row.variant]
            axes.step(
                reached, share, where="post", **line_style(look, page), marker=look.marker,
                markeredgecolor="white", markeredgewidth=page.line / 4, label=row.variant,
            )  # fmt: skip
            scores[row.variant] = row.score
        axes.set_xlim(0.97, LARGEST_RATIO * 1.01)
        axes.set_ylim(-0.02, 1.03)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 5, 10]))
        axes.yaxis.set_major_formatter(FuncFormatter(percent))
        axes.set_xlabel("steps to target over the fastest variant's, τ [ratio]")
        axes.set_ylabel("problems solved within τ [%]")
        names = {
            name: f"{variant_label(name)}  {scores[name]:.2f}" if scores[name] is not None else variant_label(name)
            for name in looks
        }
        variant_legend(figure, looks, page, names=names)
        return figure


def _draw_places(
    axes: Axes, rows: Sequence[RankRow], heights: Sequence[float], name: str, look: Look, page: Page, *, order: int
) -> None:
    places = np.array([row.ranks.get(name, np.nan) for row in rows])
    # Equal variants above each other, around the middle of the row.
    shifted = np.array([height + DODGE * _position(row, name) for height, row in zip(heights, rows, strict=True)])
    axes.plot(places, shifted, **line_style(look, page), alpha=0.75, label=name, zorder=2 + 0.01 * order)
    gone = np.array([name in row.diverged for row in rows])
    for chosen, marker, edge in ((~gone, look.marker, "white"), (gone, "x", look.colour)):
        if chosen.any():
            axes.plot(
                places[chosen], shifted[chosen], marker=marker, color=look.colour, markersize=2 * page.marker,
                markeredgecolor=edge, markeredgewidth=page.line / (2 if edge == "white" else 1),
                linestyle="none", zorder=3 + 0.01 * order,
            )  # fmt: skip


def _position(row: RankRow, name: str) -> float:
    """Where a variant stands among those that share its place: 0 alone, else around 0."""
    equal = [other for other in looks_of(row.ranks) if row.ranks[other] == row.ranks.get(name)]
    return equal.index(name) - (len(equal) - 1) / 2 if name in equal else 0.0
