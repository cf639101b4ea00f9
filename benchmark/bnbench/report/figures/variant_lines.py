"""Quantities of runs over training steps, a panel for each, the variants in one pair of axes."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from bnbench.report.figures.kind import PanelLabel, Scale, labels_on
from bnbench.report.figures.parts import BAND, legend_room, line_style, mark_every, variant_legend
from bnbench.report.figures.probed import STEP_LABEL, over_seeds
from bnbench.report.page import Page
from bnbench.report.style import Look, looks_of, percent, typeset

FEW_POINTS = 12
"""Up to so many points of a line each has a marker."""


def draw_variant_lines(frame: pd.DataFrame, page: Page) -> Figure:
    """A tidy frame with `seed` and `diverged_at_step`, its labels on it, as lines: mean and band over the seeds.

    A seed that diverged is in no mean: it is a thin line up to a cross at the last step that was measured. Panels whose
    axes mean the same share one scale.
    """
    labels = labels_on(frame)
    named = {} if labels is None else labels.panels
    panels = {
        str(title): (named.get(str(title), PanelLabel("" if labels is None else labels.y)), own)
        for title, own in frame.groupby("panel", sort=False)
    }
    alike = len({label for label, _ in panels.values()}) == 1
    with page.style():
        looks = looks_of(map(str, frame["series"].unique()))
        across = _across(len(panels), page)
        down = -(-len(panels) // across)
        height = page.width * (0.6 if across == 1 else 0.8) / across * down + 7 * page.font / 72
        figure = page.figure(page.tallest if page.wide else height + legend_room(looks, page))
        grid = figure.subplots(down, across, squeeze=False, sharey=alike, sharex=True)
        for place, (title, (label, own)) in enumerate(panels.items()):
            axes: Axes = grid.flat[place]
            page.dress(axes)
            axes.tick_params(labelbottom=True)
            if alike and title:
                axes.set_title(title)
            if not alike or place % across == 0:
                set_y_label(axes, label)
            if place >= len(panels) - across:
                axes.set_xlabel(STEP_LABEL)
            _draw_panel(axes, own, looks, page)
            axes.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True, min_n_ticks=2, steps=[1, 2, 2.5, 5, 10]))
            if not alike:
                scale_axis(axes, label.scale, own["y"])
        if alike:
            (label, _), *_ = panels.values()
            scale_axis(grid[0, 0], label.scale, frame["y"])
        for axes in grid.flat[len(panels) :]:
            axes.set_visible(False)
        variant_legend(figure, looks, page)
        return figure


def set_y_label(axes: Axes, label: PanelLabel) -> None:
    """What y is, with its unit."""
    said = typeset(label.y)
    axes.set_ylabel(f"{said} [%]" if label.scale in {"share", "part"} else said)


def scale_axis(axes: Axes, scale: Scale, values: pd.Series) -> None:
    """Set the scale of a y axis after everything is drawn.

    Args:
        axes: whose y axis.
        scale: which.
        values: what is drawn there.
    """
    finite = values.to_numpy(np.float64)
    finite = finite[np.isfinite(finite)]
    if scale == "log":
        positive = finite[finite > 0]
        axes.set_yscale("log")
        if len(positive):
            axes.set_ylim(positive.min() / 1.3, positive.max() * 1.3)
        axes.yaxis.set_major_locator(LogLocator(numticks=6))
        axes.yaxis.set_minor_formatter(NullFormatter())
        return
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]))
    if scale in {"share", "part"}:
        axes.yaxis.set_major_formatter(FuncFormatter(percent))
    if scale == "share":
        axes.set_ylim(0, 1.02)
    elif len(finite) and finite.min() >= 0:
        axes.set_ylim(0, 1.05 * float(finite.max()) or 1.0)


def _across(panels: int, page: Page) -> int:
    if page.width < 4:
        return 1 if panels <= 3 else 2
    if panels in {2, 4} and not page.wide:
        return 2
    return min(panels, 4 if page.wide else 3)


def _draw_panel(axes: Axes, frame: pd.DataFrame, looks: dict[str, Look], page: Page) -> None:
    for index, (name, look) in enumerate(looks.items()):
        own = frame[frame["series"] == name].rename(columns={"x": "step", "y": "value"})
        good = own[own["diverged_at_step"].isna()]
        if len(good):
            steps, mean, low, high = over_seeds(good, "value")
            axes.plot(
                steps, mean, **line_style(look, page), label=name, marker=look.marker, markeredgecolor="white",
                markeredgewidth=page.line / 4, zorder=2 + 0.01 * index,
                markevery=1 if len(steps) <= FEW_POINTS else mark_every(len(steps), index),
            )  # fmt: skip
            if good["seed"].nunique() > 1:
                axes.fill_between(steps, low, high, color=look.colour, alpha=BAND, linewidth=0)
        for _, rows in own[own["diverged_at_step"].notna()].sort_values("step").groupby("seed", sort=False):
            axes.plot(rows["step"], rows["value"], **line_style(look, page, thin=True), label=name)
            finite = rows[np.isfinite(rows["value"])]
            if len(finite):
                axes.plot(
                    finite["step"].iloc[-1:], finite["value"].iloc[-1:], marker="x", color=look.colour,
                    linestyle="none", markersize=1.8 * page.marker, markeredgewidth=page.line, zorder=4,
                )  # fmt: skip
