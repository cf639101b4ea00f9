"""The performance profile: on what share of the problems a variant arrives within so many times the fastest's steps."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from bnbench.analysis.comparison import Comparison
from bnbench.analysis.frames import Results
from bnbench.analysis.overall_ranking import LARGEST_RATIO, OverallRanking
from bnbench.analysis.ranking import rank
from bnbench.report.captions import described
from bnbench.report.figures.kind import FigureKind, Labels, Request, labelled, together
from bnbench.report.figures.parts import legend_room, line_style, variant_legend
from bnbench.report.page import TEXT, Page
from bnbench.report.style import looks_of, percent, variant_label
from bnbench.words import counted

ABOUT = (
    "The share of problems that a variant solves (median over the seeds of the steps to the target) within τ times "
    "the steps of the fastest variant; beside the names the score, the area from 1 to 4 over 3 (Dahl et al. 2023)."
)
_COLUMNS = ["x", "y", "series", "panel", "score"]
_X_LABEL = "steps to target over the fastest variant's, τ [ratio]"
_Y_LABEL = "problems solved within τ [%]"


def profile_frame(overall: OverallRanking) -> pd.DataFrame:
    """The corners of each variant's staircase: `x` is τ, `y` the share; beside them its `score` (NaN: none)."""
    rows = []
    for row in overall.rows:
        reached = sorted({1.0, *(ratio for _, ratio in row.ratios if ratio <= LARGEST_RATIO), LARGEST_RATIO})
        rows += [(ratio, row.profile(ratio), row.variant, "", row.score) for ratio in reached]
    return pd.DataFrame(rows, columns=_COLUMNS).astype({"score": "float64"})


def data(results: Results, found: Sequence[Comparison], _request: Request) -> pd.DataFrame:
    """The profile over all problems; empty with fewer than two, or where none has a target."""
    overall = rank(results, run_id=[run_id for each in found for run_id in each.run_ids]).overall
    if not overall or not overall[0].problems_with_target:
        return pd.DataFrame(columns=_COLUMNS)
    first = overall[0]
    notes = [f"{note[:1].upper()}{note[1:]}." for note in first.notes]
    return labelled(
        profile_frame(first),
        Labels(
            _X_LABEL,
            _Y_LABEL,
            caption=" ".join([ABOUT, *notes]),
            title=f"Performance profile over {counted(first.problems_with_target, 'problem')} with a target",
            runs=described(found, [""] * len(found)),
        ),
    )


def draw(frame: pd.DataFrame, page: Page = TEXT) -> Figure:
    """The frame of `data`, a staircase for each variant."""
    with page.style():
        looks = looks_of(map(str, frame["series"].unique()))
        figure = page.figure(page.width * (0.5 if page.wide else 0.55) + legend_room(looks, page))
        axes = figure.subplots()
        page.dress(axes)
        scores = {}
        for series, own in frame.groupby("series", sort=False):
            name = str(series)
            look = looks[name]
            axes.step(
                own["x"].to_list(), own["y"].to_list(), where="post", **line_style(look, page), marker=look.marker,
                markeredgecolor="white", markeredgewidth=page.line / 4, label=name,
            )  # fmt: skip
            scores[name] = float(own["score"].iloc[0])
        axes.set_xlim(0.97, LARGEST_RATIO * 1.01)
        axes.set_ylim(-0.02, 1.03)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 5, 10]))
        axes.yaxis.set_major_formatter(FuncFormatter(percent))
        axes.set_xlabel(_X_LABEL)
        axes.set_ylabel(_Y_LABEL)
        names = {
            name: f"{variant_label(name)}  {scores[name]:.2f}" if scores[name] == scores[name] else variant_label(name)
            for name in looks
        }
        variant_legend(figure, looks, page, names=names)
        return figure


PROFILE = FigureKind(
    "profile",
    "Performance profile",
    "performance profile over problems",
    data,
    draw,
    lacks="two problems, one of them with a target",
    portions=together,
    makes="bnbench run digits_3c3d digits_mlp --variant all --seeds 3",
)
