"""Ranks over many comparisons, and the performance profile: a ranking in, a figure out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from bnbench.analysis.ranking import LARGEST_RATIO, OverallRanking, RankedGroup
from bnbench.report.curves import line_style, variant_legend
from bnbench.report.page import TEXT, Page
from bnbench.report.style import Look, looks_of, percent, variant_label

ROW = 2.4
"""Height of a row of the rank plot, in lines of type."""


@dataclass(frozen=True)
class RankRow:
    """One comparison: which variants, and in which order."""

    title: str
    ranks: dict[str, float]
    """Variant to rank; equal ones share the mean of their places."""
    diverged: frozenset[str] = frozenset()
    """Those of which a seed diverged."""


def rank_row(title: str, group: RankedGroup) -> RankRow:
    """A row from a ranked group. Variants that share a place stand between the places they take up."""
    places = [row.rank for row in group.rows]
    ranks = {row.variant: row.rank + (places.count(row.rank) - 1) / 2 for row in group.rows}
    return RankRow(title, ranks, frozenset(row.variant for row in group.rows if row.diverged))


def rank_plot(rows: Sequence[RankRow], mean: RankRow | None = None, page: Page = TEXT) -> Figure:
    """The place of each variant in each comparison, by final training accuracy; best at the left.

    A line of comparisons from top to bottom; the variants' places are joined. A cross is a variant of which a seed
    diverged: it ranks last. Below, the mean rank over problems, where there are several.

    Args:
        rows: at least one.
        mean: the mean ranks.
        page: the size.
    """
    with page.style():
        looks = looks_of(name for row in rows for name in row.ranks)
        shown = [*rows, mean] if mean is not None else list(rows)
        figure = page.figure((ROW * len(shown) + 8) * page.font / 72)
        axes = figure.subplots()
        page.dress(axes)
        for index, (name, look) in enumerate(looks.items()):
            _draw_places(axes, rows, name, look, page, order=index)
            if mean is not None and name in mean.ranks:
                axes.plot(
                    [mean.ranks[name]], [len(rows) + 0.35], marker=look.marker, color=look.colour,
                    markersize=2.2 * page.marker, markeredgecolor="white", linestyle="none",
                )  # fmt: skip
        heights = [*range(len(rows)), *([len(rows) + 0.35] if mean is not None else [])]
        axes.set_yticks(heights, [row.title for row in shown])
        if mean is not None:
            axes.axhline(len(rows) - 0.35, color="black", linewidth=page.line * 0.6)
        axes.set_ylim(heights[-1] + 0.6, -0.6)
        axes.set_xlim(0.6, len(looks) + 0.4)
        axes.set_xticks(range(1, len(looks) + 1))
        axes.set_xlabel("rank by final training accuracy [1 is best]")
        variant_legend(figure, looks, page)
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


def _draw_places(axes: Axes, rows: Sequence[RankRow], name: str, look: Look, page: Page, *, order: int) -> None:
    places = np.array([row.ranks.get(name, np.nan) for row in rows])
    heights = np.arange(len(rows), dtype=np.float64)
    axes.plot(places, heights, **line_style(look, page), alpha=0.75, label=name, zorder=2 + 0.01 * order)
    gone = np.array([name in row.diverged for row in rows])
    for chosen, marker, edge in ((~gone, look.marker, "white"), (gone, "x", look.colour)):
        if chosen.any():
            axes.plot(
                places[chosen], heights[chosen], marker=marker, color=look.colour, markersize=2 * page.marker,
                markeredgecolor=edge, markeredgewidth=page.line / 2, linestyle="none", zorder=3 + 0.01 * order,
            )  # fmt: skip
