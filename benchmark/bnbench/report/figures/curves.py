"""Training loss and accuracy over the epochs, the variants in one pair of axes."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from bnbench.analysis.comparison import Comparison
from bnbench.analysis.frames import Results
from bnbench.report.captions import joined, lettered
from bnbench.report.figures.kind import FigureKind, Labels, Request, by_setting_in_pages, labelled
from bnbench.report.figures.parts import BAND, Floats, legend_room, line_style, mark_every, variant_legend
from bnbench.report.page import TEXT, Page
from bnbench.report.style import ACCURACY_LABEL, EPOCH_LABEL, LOSS_LABEL, Look, looks_of, percent, variant_label
from bnbench.report.titles import comparison_title

ROW_HEIGHT = 0.285
"""Height of a row of axes, in page widths."""
ABOUT = (
    "Training loss (cross-entropy, without the ℓ2 term) and training accuracy, on train_eval with running statistics, "
    "before the first step and after every epoch. Lines: mean over the seeds; bands: from the lowest to the highest "
    "seed. Where a seed diverged there is no mean: each seed is a thin line, a diverged one ends in a cross at the "
    "step where it stopped. Triangles at the upper edge: values above the axis or not finite."
)
METRICS: Mapping[str, str] = {"loss": LOSS_LABEL, "accuracy": ACCURACY_LABEL}
NOT_STOPPED = -1


@dataclass(frozen=True)
class CurveGroup:
    """Runs that may be drawn into one pair of axes: one problem, one placement, one learning rate."""

    title: str
    curves: pd.DataFrame
    """Rows of `curves` of these runs: variant, seed, epoch, step, split, statistics, loss, accuracy."""
    diverged: Mapping[tuple[str, int], int] = field(default_factory=dict)
    """(variant, seed) of the runs that diverged to the step at which they stopped."""
    epochs: int | None = None
    """As planned; the last recorded one if None."""

    def training(self) -> pd.DataFrame:
        """The rows that the founding study compares: `train_eval` with running statistics, in order of epochs."""
        rows = self.curves
        return rows[(rows["split"] == "train_eval") & (rows["statistics"] == "running")].sort_values("epoch")

    def variants(self) -> list[str]:
        """The variants that have rows, in the study's order."""
        return list(looks_of(str(name) for name in self.curves["variant"].unique()))

    def last_epoch(self) -> int:
        """Where the epoch axis ends."""
        return self.epochs if self.epochs is not None else int(self.curves["epoch"].max())

    def stopped_at_epoch(self, variant: str, seed: int) -> float | None:
        """When a diverged run stopped, in epochs; None where no run got as far as an evaluation."""
        rows = self.curves[self.curves["epoch"] > 0]
        if rows.empty:
            return None
        return self.diverged[variant, seed] * float(rows["epoch"].iloc[0]) / float(rows["step"].iloc[0])


def curve_group(results: Results, compared: Comparison, letter: str = "") -> CurveGroup:
    """A comparison's curves, read."""
    columns = ["run_id", "seed", "epoch", "step", "split", "statistics", "loss", "accuracy"]
    rows = results.curves(columns=columns, run_id=compared.run_ids)
    return CurveGroup(
        title=f"{letter}{comparison_title(compared)}",
        curves=rows.assign(variant=rows["run_id"].map(compared.labels)),
        diverged=compared.stopped_at,
        epochs=compared.epochs,
    )


def data(results: Results, found: Sequence[Comparison], _request: Request) -> pd.DataFrame:
    """Every run's curves: a panel for each comparison and metric.

    Beside the columns of a tidy frame: `group` (the comparison), `metric`, `seed`, `step`, `stopped_at_step` (of a
    diverged run; else -1) and `epochs` (as planned).
    """
    pieces = []
    for compared, letter in zip(found, lettered(found), strict=True):
        group = curve_group(results, compared, letter)
        rows = group.training()
        stopped = [
            group.diverged.get((str(variant), int(seed)), NOT_STOPPED)
            for variant, seed in zip(rows["variant"], rows["seed"], strict=True)
        ]
        who = rows[["epoch", "variant", "seed", "step"]].rename(columns={"epoch": "x", "variant": "series"})
        pieces += [
            who.assign(
                y=rows[metric],
                panel=f"{group.title}, {label}",
                group=group.title,
                metric=metric,
                stopped_at_step=stopped,
                epochs=group.epochs,
            )
            for metric, label in METRICS.items()
        ]
    return labelled(pd.concat(pieces, ignore_index=True), Labels(EPOCH_LABEL, joined(METRICS.values()), caption=ABOUT))


def draw(frame: pd.DataFrame, page: Page) -> Figure:
    """The frame of `data`, a pair of axes for each comparison."""
    return training_curves(groups_of_frame(frame), page)


def groups_of_frame(frame: pd.DataFrame) -> list[CurveGroup]:
    """The runs of each pair of axes of a frame that has the columns of `data`."""
    groups = []
    for title, own in frame.groupby("group", sort=False):
        loss, accuracy = (own[own["metric"] == metric] for metric in METRICS)
        rows = loss.rename(columns={"x": "epoch", "y": "loss", "series": "variant"})
        stopped = rows.loc[rows["stopped_at_step"] != NOT_STOPPED, ["variant", "seed", "stopped_at_step"]]
        groups.append(
            CurveGroup(
                title=str(title),
                curves=rows.assign(accuracy=accuracy["y"].to_numpy(), split="train_eval", statistics="running"),
                diverged={(str(v), int(s)): int(step) for v, s, step in stopped.itertuples(index=False)},
                epochs=int(own["epochs"].iloc[0]),
            )
        )
    return groups


def training_curves(
    groups: Sequence[CurveGroup],
    page: Page = TEXT,
    *,
    names: Mapping[str, str] | None = None,
    alike: bool = False,
) -> Figure:
    """Training loss and accuracy over the epochs, a pair of axes for each group (thesis, figures 4.1 to 4.5, A.1 …).

    Measured on `train_eval` with running statistics. With several seeds the line is their mean and the band spans
    them. Where a seed of a variant diverged there is no mean: each of its seeds is drawn, thin, a diverged one up to
    a cross at the step where it stopped. Values above the loss axis, and evaluations that were not finite, are a
    triangle at its upper edge.

    Args:
        groups: at least one.
        page: the size.
        names: what the variants are called; their symbols if None.
        alike: whether all groups have the same axes.
    """
    with page.style():
        looks = looks_of(name for group in groups for name in group.variants())
        figure, pairs = _axes(len(groups), page, legend_room(looks, page))
        for group, (loss, accuracy) in zip(groups, pairs, strict=True):
            _set_up(loss, accuracy, group, page, columns=len(groups) if page.wide else 1, names=names)
        if alike:
            for column in zip(*pairs, strict=True):
                highest = max(each.get_ylim()[1] for each in column)
                for each in column:
                    each.set_ylim(top=highest)
        for group, (loss, accuracy) in zip(groups, pairs, strict=True):
            rows = group.training()
            for index, (name, look) in enumerate(looks.items()):
                own = rows[rows["variant"] == name]
                if own.empty:
                    continue
                for axes, metric in ((loss, "loss"), (accuracy, "accuracy")):
                    _draw_variant(axes, group, own, metric, look, index, page)
        for index, (loss, accuracy) in enumerate(pairs):
            if page.wide:
                loss.set_xlabel("")
                if index:
                    loss.set_ylabel("")
                    accuracy.set_ylabel("")
            elif index < len(pairs) - 1:
                loss.set_xlabel("")
                accuracy.set_xlabel("")
        variant_legend(figure, looks, page, names)
        return figure


def _axes(count: int, page: Page, room: float) -> tuple[Figure, list[tuple[Axes, Axes]]]:
    if page.wide:
        figure = page.figure(page.tallest)
        grid = figure.subplots(2, count, squeeze=False)
        return figure, [(grid[0, column], grid[1, column]) for column in range(count)]
    height = page.width * (ROW_HEIGHT if page.width > 4 else 1.35 * ROW_HEIGHT)
    figure = page.figure(height * count + 6 * page.font / 72 + room)
    grid = figure.subplots(count, 2, squeeze=False)
    return figure, [(grid[row, 0], grid[row, 1]) for row in range(count)]


def _set_up(
    loss: Axes, accuracy: Axes, group: CurveGroup, page: Page, *, columns: int, names: Mapping[str, str] | None
) -> None:
    characters = int(page.width / columns * 72 / (page.font * 0.58))
    page.heading(loss, "\n".join(textwrap.wrap(_title(group, names), characters)))
    for axes, label in ((loss, LOSS_LABEL), (accuracy, ACCURACY_LABEL)):
        page.dress(axes)
        axes.set_xlabel(EPOCH_LABEL)
        axes.set_ylabel(label)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=2, steps=[1, 2, 5, 10]))
        last = max(group.last_epoch(), 1)
        axes.set_xlim(-0.01 * last, 1.02 * last)  # room for the markers at both ends
        axes.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]))
    rows = group.training()
    loss.set_ylim(0, loss_ceiling(rows))
    highest = rows["accuracy"].max()
    accuracy.yaxis.set_major_formatter(FuncFormatter(percent))
    accuracy.set_ylim(0, 1 if not highest > 0 else min(1.02, 1.1 * float(highest)))


def _title(group: CurveGroup, names: Mapping[str, str] | None) -> str:
    """The group's title, and of which variants seeds diverged."""
    rows = group.training()
    parts = []
    for name in group.variants():
        gone = {seed for variant, seed in group.diverged if variant == name}
        if gone:
            seeds = rows[rows["variant"] == name]["seed"].nunique()
            label = variant_label(name) if names is None else names[name]
            parts.append(f"{label} {len(gone)} of {seeds}")
    return f"{group.title} (diverged: {', '.join(parts)})" if parts else group.title


def loss_ceiling(rows: pd.DataFrame) -> float:
    """Where a loss axis ends: above everything, unless a few values would leave the rest no room.

    The loss of an untrained network is about ln C; one far above that (running statistics that have not settled, or a
    run about to diverge) goes off the axis and is marked at its edge.
    """
    finite = rows[np.isfinite(rows["loss"])]
    if finite.empty:
        return 1.0
    untrained = finite[finite["epoch"] == 0]
    usual = float((finite if untrained.empty else untrained)["loss"].median())
    highest = float(finite["loss"].max())
    return 1.05 * highest if highest <= 2 * usual else 1.5 * usual


def _draw_variant(
    axes: Axes, group: CurveGroup, rows: pd.DataFrame, metric: str, look: Look, index: int, page: Page
) -> None:
    name = str(rows["variant"].iloc[0])
    gone = {seed for variant, seed in group.diverged if variant == name}
    if gone:
        for seed in sorted(rows["seed"].unique()):
            _draw_seed(axes, group, rows[rows["seed"] == seed], metric, look, page, diverged=seed in gone)
        return
    over_seeds = rows.pivot(index="epoch", columns="seed", values=metric)
    epochs, values = over_seeds.index.to_numpy(np.float64), over_seeds.to_numpy(np.float64)
    mean = values.mean(axis=1)  # not finite where any seed is not: marked, never averaged away
    axes.plot(
        epochs, mean, **line_style(look, page), label=name, marker=look.marker, markeredgecolor="white",
        markeredgewidth=page.line / 4, markevery=mark_every(len(epochs), index), zorder=2 + 0.01 * index,
    )  # fmt: skip
    if values.shape[1] > 1:
        low, high = values.min(axis=1), values.max(axis=1)
        axes.fill_between(epochs, low, high, color=look.colour, alpha=BAND, linewidth=0)
    _mark_beyond(axes, epochs, mean, look, page)


def _draw_seed(
    axes: Axes, group: CurveGroup, rows: pd.DataFrame, metric: str, look: Look, page: Page, *, diverged: bool
) -> None:
    """One seed of a variant of which some seed diverged."""
    name, seed = str(rows["variant"].iloc[0]), int(rows["seed"].iloc[0])
    epochs, values = rows["epoch"].to_numpy(np.float64), rows[metric].to_numpy(np.float64)
    axes.plot(epochs, values, **line_style(look, page, thin=True), label=name)
    _mark_beyond(axes, epochs, values, look, page)
    finite = np.flatnonzero(np.isfinite(values))
    if not diverged or not len(finite):
        return
    last = finite[-1]
    end = group.stopped_at_epoch(name, seed)
    end = float(epochs[last]) if end is None else max(end, float(epochs[last]))
    height = min(float(values[last]), axes.get_ylim()[1])
    axes.plot([epochs[last], end], [height, height], color=look.colour, linestyle=":", linewidth=page.line * 0.55)
    axes.plot(
        [end], [height], marker="x", color=look.colour, markersize=1.8 * page.marker, markeredgewidth=page.line,
        clip_on=False, zorder=4, linestyle="none",
    )  # fmt: skip


def _mark_beyond(axes: Axes, epochs: Floats, values: Floats, look: Look, page: Page) -> None:
    """A triangle at the upper edge wherever a value is above the axis or not finite."""
    top = axes.get_ylim()[1]
    beyond = epochs[~np.isfinite(values) | (values > top)]
    if not len(beyond):
        return  # an unclipped line without points upsets matplotlib's layout
    axes.plot(
        beyond, np.full(len(beyond), top), marker="^", color=look.colour, linestyle="none", markersize=page.marker,
        clip_on=False, zorder=4,
    )  # fmt: skip


CURVES = FigureKind(
    "curves",
    "Training curves",
    "training loss and accuracy, the variants in one pair of axes",
    data,
    draw,
    portions=by_setting_in_pages(high=5, wide=3),
    joint=" of ",
)
