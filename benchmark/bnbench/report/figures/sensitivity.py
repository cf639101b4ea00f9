"""Final training accuracy over the learning rate, a panel for each setting and placement."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from bnbench.analysis.comparison import Comparison, by_placement
from bnbench.analysis.frames import Results
from bnbench.analysis.measures import measure_runs
from bnbench.report.captions import described, lettered
from bnbench.report.figures.kind import FigureKind, Labels, Portion, Request, labelled
from bnbench.report.figures.parts import legend_room, line_style, variant_legend
from bnbench.report.page import TEXT, Page
from bnbench.report.style import ACCURACY_LABEL, Look, looks_of, percent
from bnbench.report.titles import placement_title

ON_A_PAGE = 6
"""Panels, at most."""
ABOUT = (
    "Final training accuracy (mean over the last tenth of the epochs, on train_eval with running statistics) over the "
    "learning rate. Points: mean over the seeds; bars: from the lowest to the highest seed; a little apart for the "
    "eye. A cross at the bottom: a seed diverged."
)
RATE_LABEL = "learning rate [logarithmic]"


def portions(found: Sequence[Comparison], _page: Page) -> list[Portion]:
    """What was run at two learning rates or more, as many panels as fit on a page."""
    swept = [own for own in by_placement(found) if len({each.learning_rate for each in own}) > 1]
    pages = [swept[start : start + ON_A_PAGE] for start in range(0, len(swept), ON_A_PAGE)]
    whole = [each for own in swept for each in own]
    return [
        Portion([each for own in part for each in own], number if len(pages) > 1 else None, whole)
        for number, part in enumerate(pages, start=1)
    ]


def data(results: Results, found: Sequence[Comparison], _request: Request) -> pd.DataFrame:
    """A row for each run: `x` its learning rate, `y` its final accuracy (NaN: diverged); beside them its `seed`."""
    swept = by_placement(found)
    pieces, said = [], []
    for own, letter in zip(swept, lettered(swept), strict=True):
        labels = {run_id: label for each in own for run_id, label in each.labels.items()}
        pieces += [
            {
                "x": each.run.learning_rate,
                "y": each.measures.final_train_accuracy,
                "series": labels[each.run.run_id],
                "panel": f"{letter}{placement_title(own[0])}",
                "seed": each.run.seed,
            }
            for each in measure_runs(results, run_id=list(labels))
        ]
        said.append(described(own, [letter] * len(own)))
    frame = pd.DataFrame(pieces, columns=["x", "y", "series", "panel", "seed"]).astype({"y": "float64"})
    return labelled(frame, Labels(RATE_LABEL, f"final {ACCURACY_LABEL}", caption=ABOUT, runs=" ".join(said)))


def draw(frame: pd.DataFrame, page: Page = TEXT) -> Figure:
    """The frame of `data`, a panel for each setting and placement.

    Points: mean over the seeds; bars: from the lowest to the highest seed. A variant of which a seed diverged at a rate
    has a cross at the bottom there, and its line is interrupted.
    """
    groups = list(frame.groupby("panel", sort=False))
    with page.style():
        looks = looks_of(map(str, frame["series"].unique()))
        across = min(len(groups), 3 if page.wide else 2)
        down = -(-len(groups) // across)
        height = page.tallest if page.wide else page.width * 0.36 * down + 6 * page.font / 72 + legend_room(looks, page)
        figure = page.figure(height)
        panels = list(figure.subplots(down, across, squeeze=False).flat)
        for axes, (title, own) in zip(panels, groups, strict=False):
            page.dress(axes)
            page.heading(axes, str(title))
            _draw_rates(axes, own, looks, page)
        for axes in panels[len(groups) :]:
            axes.set_visible(False)
        variant_legend(figure, looks, page)
        return figure


def _draw_rates(axes: Axes, frame: pd.DataFrame, looks: dict[str, Look], page: Page) -> None:
    axes.set_xscale("log")
    rates = np.sort(frame["x"].unique())
    for index, (name, look) in enumerate(looks.items()):
        rows = frame[frame["series"] == name]
        own = rows.pivot(index="x", columns="seed", values="y").reindex(rates)
        recorded = rows.groupby("x")["y"]
        gone = recorded.apply(lambda values: bool(values.isna().any())).reindex(rates, fill_value=False)
        values = own.where(~gone)
        # Side by side, a few percent of the axis apart: the bars would hide each other.
        shifted = rates * 10 ** (0.012 * (index - len(looks) / 2) * max(np.log10(rates[-1] / rates[0]), 1))
        mean = values.mean(axis=1).to_numpy(np.float64)
        low, high = values.min(axis=1).to_numpy(np.float64), values.max(axis=1).to_numpy(np.float64)
        axes.plot(
            shifted, mean, **line_style(look, page), label=name, marker=look.marker, markeredgecolor="white",
            markeredgewidth=page.line / 4, markersize=1.3 * page.marker,
        )  # fmt: skip
        axes.vlines(shifted, low, high, color=look.colour, linewidth=page.line)
        if gone.any():
            axes.plot(
                shifted[gone.to_numpy(bool)], np.zeros(int(gone.sum())), marker="x", color=look.colour,
                markersize=1.8 * page.marker, markeredgewidth=page.line, linestyle="none", clip_on=False, zorder=4,
            )  # fmt: skip
    axes.set_ylim(0, 1.02)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(percent))
    axes.set_ylabel(f"final {ACCURACY_LABEL}")
    axes.set_xlabel(RATE_LABEL)
    axes.set_xlim(rates[0] / 1.6, rates[-1] * 1.6)
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0,)))
    axes.set_xticks(rates, [f"{rate:.3g}" for rate in rates])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.minorticks_off()


SENSITIVITY = FigureKind(
    "sensitivity",
    "Sensitivity to the learning rate",
    "final accuracy over the learning rate",
    data,
    draw,
    lacks="one placement at two learning rates",
    portions=portions,
    makes="bnbench run digits_3c3d --variant all --lr-factor 0.1 --lr-factor 1 --lr-factor 10 --seeds 3",
)
