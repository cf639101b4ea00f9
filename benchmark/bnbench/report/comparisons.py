"""Differences to vanilla, and sensitivity to the learning rate: frames in, a figure out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from bnbench.analysis.statistics import SEEDS_FOR_INTERVAL, PairedDifference, t_interval
from bnbench.report.curves import BAND, CurveGroup, line_style, mark_every, variant_legend
from bnbench.report.page import TEXT, Page
from bnbench.report.style import ACCURACY_LABEL, DIFFERENCE_LABEL, EPOCH_LABEL, Look, looks_of, percent, variant_label

BASELINE = "vanilla"
ROW_HEIGHT = 0.27
"""Height of a row of axes, in page widths; a narrow page has higher ones."""
FEW_EPOCHS = 40
"""Up to so many, the ends of the intervals are drawn as lines; more of them hide the curves."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class DifferenceGroup:
    """A group's curves, and the differences of the final accuracy that the ranking found."""

    curves: CurveGroup
    final: tuple[tuple[str, PairedDifference], ...]
    """Variant to its final training accuracy minus vanilla's, paired by seed."""


@dataclass(frozen=True)
class EpochDifferences:
    """A variant's training accuracy minus vanilla's, paired by seed, at every epoch that all paired seeds have."""

    epochs: Floats
    mean: Floats
    low: Floats | None
    """Lower end of the 95 % t interval at each epoch; None with fewer than three seeds."""
    high: Floats | None


def differences_to_vanilla(groups: Sequence[DifferenceGroup], page: Page = TEXT) -> Figure:
    """Training accuracy minus vanilla's, in percentage points, a row for each group.

    Left: at every epoch, the mean over the seeds of the difference inside each seed, with its pointwise 95 % t interval
    from three seeds. Right: the final difference with its interval, as `bnbench rank` has it. A variant that diverged
    in any seed (or against a vanilla that did) has no mean: its row says so.

    Args:
        groups: at least one, each with runs of vanilla.
        page: the size.
    """
    with page.style():
        looks = looks_of(name for group in groups for name in group.curves.variants())
        del looks[BASELINE]
        height = (
            page.tallest
            if page.wide
            else page.width * ROW_HEIGHT * (1.5 if page.width < 4 else 1.0) * len(groups) + 6 * page.font / 72
        )
        figure = page.figure(height)
        rows = figure.subplots(len(groups), 2, squeeze=False, width_ratios=(3, 2))
        for (left, right), group in zip(rows, groups, strict=True):
            page.heading(left, group.curves.title)
            for axes in (left, right):
                page.dress(axes)
            _draw_over_epochs(left, group.curves, looks, page)
            _draw_final(right, group, looks, page)
        for left, right in rows[:-1]:
            left.set_xlabel("")
            right.set_xlabel("")
        variant_legend(figure, looks, page)
        return figure


def epoch_differences(group: CurveGroup, variant: str) -> EpochDifferences:
    """A variant's accuracy minus vanilla's at every epoch, over the seeds that both have."""
    rows = group.training()
    own, base = (
        rows[rows["variant"] == name].pivot(index="epoch", columns="seed", values="accuracy")
        for name in (variant, BASELINE)
    )
    differences = (own - base).dropna(axis="columns", how="all").dropna(axis="index")
    values = differences.to_numpy(np.float64)
    epochs, mean = differences.index.to_numpy(np.float64), values.mean(axis=1)
    if values.shape[1] < SEEDS_FOR_INTERVAL:
        return EpochDifferences(epochs, mean, None, None)
    intervals = [t_interval(row) for row in values]
    low, high = (np.array([getattr(each, end) for each in intervals]) for end in ("low", "high"))
    return EpochDifferences(epochs, mean, low, high)


def _draw_over_epochs(axes: Axes, group: CurveGroup, looks: dict[str, Look], page: Page) -> None:
    axes.axhline(0, color="black", linewidth=page.line * 0.6)
    for index, (name, look) in enumerate(looks.items()):
        if name not in group.variants():
            continue
        found = epoch_differences(group, name)
        if not len(found.epochs):
            continue
        axes.plot(
            found.epochs,
            100 * found.mean,
            **line_style(look, page),
            label=name,
            marker=look.marker,
            markeredgecolor="white",
            markeredgewidth=page.line / 4,
            markevery=mark_every(len(found.epochs), index),
        )
        if found.low is not None and found.high is not None:
            low, high = np.clip(100 * found.low, -100, 100), np.clip(100 * found.high, -100, 100)
            axes.fill_between(found.epochs, low, high, color=look.colour, alpha=BAND / 2, linewidth=0)
            if len(found.epochs) <= FEW_EPOCHS:
                for edge in (low, high):
                    axes.plot(found.epochs, edge, **line_style(look, page, thin=True), alpha=0.6)
        gone = {step for (variant, _), step in group.diverged.items() if variant in {name, BASELINE}}
        if gone:
            axes.plot(
                found.epochs[-1:], 100 * found.mean[-1:], marker="x", color=look.colour, ms=2 * page.marker, zorder=4
            )
    last = max(group.last_epoch(), 1)
    axes.set_xlim(-0.01 * last, 1.02 * last)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=2, steps=[1, 2, 5, 10]))
    axes.set_xlabel(EPOCH_LABEL)
    axes.set_ylabel(DIFFERENCE_LABEL)


def _draw_final(axes: Axes, group: DifferenceGroup, looks: dict[str, Look], page: Page) -> None:
    """The final differences, one below the other, the interval as a bar."""
    axes.axvline(0, color="black", linewidth=page.line * 0.6)
    final = dict(group.final)
    names = [name for name in looks if name in final]
    for row, name in enumerate(names):
        look, difference = looks[name], final[name]
        if difference.mean is None:
            said = f"no value in {difference.unusable} of {len(difference.seeds)} seeds"
            axes.annotate(
                said if difference.unusable else difference.says or "", (0, row), xytext=(page.font / 2, 0),
                textcoords="offset points", va="center", color=look.colour, fontsize=page.small,
            )  # fmt: skip
            continue
        if difference.t_interval is not None:
            axes.plot(
                [100 * difference.t_interval.low, 100 * difference.t_interval.high], [row, row],
                color=look.colour, linewidth=1.6 * page.line, solid_capstyle="butt",
            )  # fmt: skip
        axes.plot(
            [100 * difference.mean], [row], marker=look.marker, color=look.colour, markersize=1.7 * page.marker,
            markeredgecolor="white", markeredgewidth=page.line / 3, linestyle="none", label=name,
        )  # fmt: skip
    axes.set_yticks(range(len(names)), [variant_label(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(f"final {DIFFERENCE_LABEL}")
    if all(difference.mean is None for difference in final.values()):
        axes.set_xlim(-1, 4)
        axes.set_xticks([0])


@dataclass(frozen=True)
class RateGroup:
    """Runs of one setting and placement at several learning rates."""

    title: str
    final: pd.DataFrame
    """A row per run: variant, seed, learning_rate, final_accuracy (on `train_eval`; NaN: diverged)."""


def learning_rate_sensitivity(groups: Sequence[RateGroup], page: Page = TEXT) -> Figure:
    """Final training accuracy over the learning rate, a panel for each group.

    Points: mean over the seeds; bars: from the lowest to the highest seed. A variant of which a seed diverged at a rate
    has a cross at the bottom there, and its line is interrupted.

    Args:
        groups: at least one.
        page: the size.
    """
    with page.style():
        looks = looks_of(str(name) for group in groups for name in group.final["variant"].unique())
        across = min(len(groups), 3 if page.wide else 2)
        down = -(-len(groups) // across)
        height = page.tallest if page.wide else page.width * 0.36 * down + 6 * page.font / 72
        figure = page.figure(height)
        panels = list(figure.subplots(down, across, squeeze=False).flat)
        for axes, group in zip(panels, groups, strict=False):
            _draw_rates(axes, group, looks, page)
        for axes in panels[len(groups) :]:
            axes.set_visible(False)
        variant_legend(figure, looks, page)
        return figure


def _draw_rates(axes: Axes, group: RateGroup, looks: dict[str, Look], page: Page) -> None:
    page.dress(axes)
    page.heading(axes, group.title)
    axes.set_xscale("log")
    rates = np.sort(group.final["learning_rate"].unique())
    for index, (name, look) in enumerate(looks.items()):
        own = group.final[group.final["variant"] == name].pivot(
            index="learning_rate", columns="seed", values="final_accuracy"
        )
        own = own.reindex(rates)
        recorded = group.final[group.final["variant"] == name].groupby("learning_rate")["final_accuracy"]
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
    axes.set_xlabel("learning rate [logarithmic]")
    axes.set_xlim(rates[0] / 1.6, rates[-1] * 1.6)
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0,)))
    axes.set_xticks(rates, [f"{rate:.3g}" for rate in rates])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.minorticks_off()
