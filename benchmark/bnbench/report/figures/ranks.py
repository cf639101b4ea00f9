"""The place of each variant in each comparison, by final training accuracy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bnbench.analysis.comparison import Comparison
from bnbench.analysis.frames import Results
from bnbench.analysis.ranked_group import RankedGroup
from bnbench.analysis.ranking import rank
from bnbench.report.captions import described
from bnbench.report.figures.kind import FigureKind, Labels, Portion, Request, labelled
from bnbench.report.figures.parts import legend_room, line_style, variant_legend
from bnbench.report.page import TEXT, Page
from bnbench.report.style import GRID, Look, looks_of, variant_label
from bnbench.report.titles import circumstances, problem_label

ROW = 2.1
"""Height of a row of the rank plot, in lines of type."""
GAP = 1.0
"""Rows between two problems; the first of them holds the problem's name."""
MOST_TICKS = 16
"""Of that many ranks and more only some are written."""
DODGE = 0.17
"""Rows between variants that share a place."""
ABOUT = (
    "Rank of each variant in each comparison, by final training accuracy (mean over the last tenth of the epochs and "
    "over the seeds, on train_eval with running statistics); equal ones stand between their places. A cross: a seed "
    "of the variant diverged, which ranks last."
)
RANK_LABEL = "rank by final training accuracy [1 is best]"


def portions(found: Sequence[Comparison], _page: Page) -> list[Portion]:
    """One drawing of all that have something to compare."""
    usable = [each for each in found if len(each.rows) > 1]
    return [Portion(usable)] if usable else []


def rank_rows(row: int, panel: str, title: str, group: RankedGroup) -> list[dict[str, object]]:
    """The places in one comparison. Variants that share a place stand between the places they take up."""
    places = [each.rank for each in group.rows]
    return [
        {
            "x": each.rank + (places.count(each.rank) - 1) / 2,
            "y": title,
            "series": each.variant,
            "panel": panel,
            "row": row,
            "diverged": each.diverged > 0,
        }
        for each in group.rows
    ]


def data(results: Results, found: Sequence[Comparison], _request: Request) -> pd.DataFrame:
    """`x` is the rank of a variant, `y` the comparison, its problem the panel.

    Beside them: the comparison's number (`row`), whether a seed of the variant `diverged`, and its `mean` rank over
    several problems (else NaN).
    """
    ranking = rank(results, run_id=[run_id for each in found for run_id in each.run_ids])
    ranked = {group.key: group for group in ranking.groups}
    rows = [
        row
        for place, each in enumerate(found)
        for row in rank_rows(place, problem_label(each.problem, each.remark), circumstances(each), ranked[each.key])
    ]
    mean = {row.variant: row.mean_rank for row in ranking.overall[0].rows} if ranking.overall else {}
    beside, notes = [], []
    for overall in ranking.overall[:1]:
        beside.append(f"Beside the names: the mean rank over {len(overall.problems)} problems.")
        notes += [f"{note[:1].upper()}{note[1:]}." for note in overall.notes]
    frame = pd.DataFrame(rows)
    return labelled(
        frame.assign(mean=frame["series"].map(mean).astype("float64")),
        Labels(
            RANK_LABEL,
            "comparison",
            caption=" ".join([ABOUT, *beside, *notes]),
            runs=described(found, [""] * len(found)),
        ),
    )


def draw(frame: pd.DataFrame, page: Page = TEXT) -> Figure:
    """The frame of `data`; best at the left.

    Comparisons from top to bottom, problem by problem; inside a problem a variant's places are joined. Variants that
    share a place stand above each other. A cross is a variant of which a seed diverged: it ranks last.
    """
    with page.style():
        looks = looks_of(map(str, frame["series"].unique()))
        sections = [own for _, own in frame.groupby("panel", sort=False)]
        count = frame["row"].nunique() + GAP * len(sections)
        figure = page.figure((ROW * count + 7) * page.font / 72 + legend_room(looks, page))
        axes = figure.subplots()
        page.dress(axes)
        axes.grid(visible=False, axis="y")
        heights: list[float] = []
        top = 0.0
        for section in sections:
            # Nothing else stands in this row, so a long name has all of it.
            axes.annotate(
                section["panel"].iloc[0], (0, top), xycoords=("axes fraction", "data"),
                xytext=(page.font * 0.4, 0), textcoords="offset points", ha="left", va="center", fontsize=page.small,
                fontweight="bold", bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
            )  # fmt: skip
            rows = [own for _, own in section.groupby("row")]
            own_heights = [top + GAP + index for index in range(len(rows))]
            heights += own_heights
            for index, (name, look) in enumerate(looks.items()):
                _draw_places(axes, rows, own_heights, name, look, page, order=index)
            for height in own_heights:
                axes.axhline(height, color=GRID, linewidth=page.line / 2, zorder=0.5)
            top = own_heights[-1] + 1
        axes.set_yticks(heights, [str(own["y"].iloc[0]) for _, own in frame.groupby("row")])
        axes.set_ylim(heights[-1] + 0.6, -0.5)
        axes.set_xlim(0.6, len(looks) + 0.4)
        axes.set_xticks(range(1, len(looks) + 1, 1 + len(looks) // MOST_TICKS))
        axes.set_xlabel(RANK_LABEL)
        mean = frame.drop_duplicates("series").set_index("series")["mean"].dropna()
        names = {
            name: f"{variant_label(name)}  {mean[name]:.2f}" if name in mean else variant_label(name) for name in looks
        }
        variant_legend(figure, looks, page, names=names)
        return figure


def _draw_places(
    axes: Axes,
    rows: Sequence[pd.DataFrame],
    heights: Sequence[float],
    name: str,
    look: Look,
    page: Page,
    *,
    order: int,
) -> None:
    ranks = [dict(zip(own["series"], own["x"], strict=True)) for own in rows]
    diverged = [set(own.loc[own["diverged"], "series"]) for own in rows]
    places = np.array([own.get(name, np.nan) for own in ranks])
    # Equal variants above each other, around the middle of the row.
    shifted = np.array([height + DODGE * _position(own, name) for height, own in zip(heights, ranks, strict=True)])
    axes.plot(places, shifted, **line_style(look, page), alpha=0.75, label=name, zorder=2 + 0.01 * order)
    gone = np.array([name in own for own in diverged])
    for chosen, marker, edge in ((~gone, look.marker, "white"), (gone, "x", look.colour)):
        if chosen.any():
            axes.plot(
                places[chosen], shifted[chosen], marker=marker, color=look.colour, markersize=2 * page.marker,
                markeredgecolor=edge, markeredgewidth=page.line / (2 if edge == "white" else 1),
                linestyle="none", zorder=3 + 0.01 * order,
            )  # fmt: skip


def _position(ranks: dict[str, float], name: str) -> float:
    """Where a variant stands among those that share its place: 0 alone, else around 0."""
    equal = [other for other in looks_of(ranks) if ranks[other] == ranks.get(name)]
    return equal.index(name) - (len(equal) - 1) / 2 if name in equal else 0.0


RANKS = FigureKind(
    "rank",
    "Ranks of the variants",
    "place of each variant in each comparison",
    data,
    draw,
    lacks="two variants of a problem",
    portions=portions,
)
