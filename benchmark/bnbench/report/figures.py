"""Figures: frames in, a matplotlib figure out. Nothing here reads a store or writes a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from bnbench.report.style import Look, looks_of
from bnbench.variant import VARIANTS

ROW_HEIGHT = 2.6
WIDTH = 8.0
"""Inches."""


@dataclass(frozen=True)
class CurveGroup:
    """Runs that may be drawn into one pair of axes: one problem, one placement, one learning rate."""

    title: str
    curves: pd.DataFrame
    """Rows of `curves` of these runs: variant, seed, epoch, split, statistics, loss, accuracy."""
    diverged: tuple[tuple[str, int], ...]
    """(variant, seed) of the runs that diverged."""


def training_curves(groups: Sequence[CurveGroup]) -> Figure:
    """Training loss and accuracy over the epochs, a row of axes for each group (thesis, figure 4.1).

    Measured on `train_eval` with running statistics. With several seeds the line is their mean and the band spans
    them; a run that diverged ends in a cross, and its seed in no mean.

    Args:
        groups: at least one.
    """
    figure = Figure(figsize=(WIDTH, ROW_HEIGHT * len(groups) + 0.7), layout="constrained")
    axes = figure.subplots(len(groups), 2, squeeze=False)
    looks = looks_of(sorted({name for group in groups for name in group.curves["variant"].unique()}))
    for (loss, accuracy), group in zip(axes, groups, strict=True):
        rows = group.curves[(group.curves["split"] == "train_eval") & (group.curves["statistics"] == "running")]
        for name, look in looks.items():
            own = rows[rows["variant"] == name]
            diverged = {seed for variant, seed in group.diverged if variant == name}
            for panel, metric in ((loss, "loss"), (accuracy, "accuracy")):
                _draw_variant(panel, own, metric, look, diverged)
        loss.set_ylabel("training loss [nats]")
        loss.set_ylim(bottom=0)
        accuracy.set_ylabel("training accuracy")
        accuracy.set_ylim(0, 1)
        seeds = rows["seed"].nunique()
        loss.set_title(f"{group.title}, {seeds} seed{'s' if seeds > 1 else ''}", loc="left", fontsize=9)
        for panel in (loss, accuracy):
            panel.set_xlabel("epoch")
            panel.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=2))
            panel.grid(visible=True, color="0.9", linewidth=0.6)
            panel.spines[["top", "right"]].set_visible(False)
            panel.set_xlim(left=0)
    handles = [Line2D([], [], color=look.colour, linestyle=look.dash, linewidth=1.4) for look in looks.values()]
    names = [VARIANTS.get(name).symbol if name in VARIANTS else name for name in looks]
    figure.legend(handles, names, loc="outside upper center", ncols=len(looks), frameon=False)
    return figure


def _draw_variant(panel: Axes, rows: pd.DataFrame, metric: str, look: Look, diverged: set[int]) -> None:
    """A variant's mean and range over the seeds that finished, and each diverged seed on its own."""
    settled = rows[~rows["seed"].isin(diverged)]
    over_seeds = settled.groupby("epoch")[metric].agg(["mean", "min", "max"])
    panel.plot(over_seeds.index, over_seeds["mean"], color=look.colour, linestyle=look.dash, linewidth=1.4)
    if settled["seed"].nunique() > 1:
        panel.fill_between(
            over_seeds.index, over_seeds["min"], over_seeds["max"], color=look.colour, alpha=0.15, linewidth=0
        )
    for seed in sorted(diverged):
        own = rows[(rows["seed"] == seed)].sort_values("epoch")
        panel.plot(own["epoch"], own[metric], color=look.colour, linestyle=look.dash, linewidth=0.8)
        finite = own[own[metric].notna()]
        panel.plot(finite["epoch"].tail(1), finite[metric].tail(1), marker="x", color=look.colour, markersize=7)
