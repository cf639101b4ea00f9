"""γ and β over training as contour plots, a panel per BatchNorm layer: trajectories in, a figure out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import CenteredNorm
from matplotlib.figure import Figure, SubFigure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator

from bnbench.analysis.frames import Trajectory
from bnbench.report.page import TEXT, Page
from bnbench.report.style import NEUTRAL, PARAMETER_LABELS, diverging_map

SIDE_BY_SIDE = 3
"""Models with at most so many BatchNorm layers stand two in a row."""
MODEL_HEIGHT = 0.27
"""Of one row of panels, in page widths."""
SMALLEST_RANGE = 1e-6
"""Half the width of the scale of a model whose parameter never moved."""


@dataclass(frozen=True)
class ModelTrajectories:
    """One model of a contour figure: γ or β of one run."""

    title: str
    slots: Mapping[str, Trajectory]
    """BatchNorm layer to trajectory, in the network's order."""


def affine_contours(models: Sequence[ModelTrajectories], parameter: str, page: Page = TEXT) -> Figure:
    """γ or β of whole models over training (thesis, figures 4.6 to 4.13, A.2 …).

    A row per model with a panel per BatchNorm layer: training step up, channels across, sorted by their final value.
    Each model has one diverging scale, shared by its layers and centred at the value at which the parameter does
    nothing (1 for γ, 0 for β). Contour lines part the scale into quarters, dashed below the centre, solid above, so
    that the sign survives in grey. What is not finite is grey.

    Args:
        models: at least one, each with at least one layer.
        parameter: "gamma" or "beta".
        page: the size.
    """
    with page.style():
        widest = max(len(model.slots) for model in models)
        across = 2 if widest <= SIDE_BY_SIDE and len(models) > 1 else 1
        down = -(-len(models) // across)
        figure = page.figure(page.tallest if page.wide else page.width * MODEL_HEIGHT * down)
        parts = figure.subfigures(down, across, squeeze=False)
        for index, model in enumerate(models):
            part = parts[index // across][index % across]
            _draw_model(part, model, parameter, page, shown=widest)
        return figure


def resolution(page: Page, models: int, layers: int) -> int:
    """How many steps up a panel of a page's figure can show."""
    across = 2 if layers <= SIDE_BY_SIDE and models > 1 else 1
    height = page.tallest if page.wide else page.width * MODEL_HEIGHT * -(-models // across)
    return max(2, int(min(height, page.tallest) / -(-models // across) * page.dots_per_inch))


def sort_channels(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The channels in ascending order of their final value; of the last finite snapshot, where a run diverged.

    Args:
        values: [snapshots, channels]
    """
    finite = np.flatnonzero(np.isfinite(values).all(axis=1))
    last = values[finite[-1]] if len(finite) else values[-1]
    return values[:, np.argsort(last, kind="stable")]


def centred_scale(model: ModelTrajectories, centre: float) -> CenteredNorm:
    """The one scale of a model: symmetric around the centre, as wide as the farthest finite value of any layer."""
    farthest = SMALLEST_RANGE
    for trajectory in model.slots.values():
        distance = np.abs(trajectory.values[np.isfinite(trajectory.values)].astype(np.float64) - centre)
        farthest = max(farthest, float(distance.max(initial=0.0)))
    return CenteredNorm(centre, farthest)


def _draw_model(part: SubFigure, model: ModelTrajectories, parameter: str, page: Page, *, shown: int) -> None:
    """A row of panels with its colour bar; as many columns as the figure's widest model has."""
    scale = centred_scale(model, NEUTRAL[parameter])
    panels: list[Axes] = list(part.subplots(1, shown, squeeze=False, sharey=True)[0])
    part.suptitle(model.title, x=0.01, ha="left", fontsize=page.font)
    last_step = max(int(trajectory.steps[-1]) for trajectory in model.slots.values())
    unit = 1000 if last_step >= 10_000 else 1
    image = None
    for axes, (slot, trajectory) in zip(panels, model.slots.items(), strict=False):
        image = _draw_slot(axes, slot, trajectory, scale, unit, page)
    for axes in panels[len(model.slots) :]:
        axes.set_visible(False)
    panels[0].set_ylabel(f"training step [{'10³ ' if unit > 1 else ''}updates]")
    for axes in panels[1:]:
        axes.tick_params(labelleft=False)
    panels[(len(model.slots) - 1) // 2].set_xlabel("channel, sorted by final value")
    assert image is not None
    bar = part.colorbar(image, ax=panels[: len(model.slots)], aspect=14, pad=0.015, fraction=0.04)
    bar.set_label(PARAMETER_LABELS[parameter])
    bar.ax.tick_params(labelsize=page.small, width=page.line / 2)
    bar.locator = MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10])
    bar.outline.set_linewidth(page.line / 2)


def _draw_slot(axes: Axes, slot: str, trajectory: Trajectory, scale: CenteredNorm, unit: int, page: Page) -> AxesImage:
    values = sort_channels(trajectory.values)
    channels = values.shape[1]
    low, high = float(trajectory.steps[0]) / unit, float(trajectory.steps[-1]) / unit
    half = (high - low) / max(len(values) - 1, 1) / 2 or 0.5
    image = axes.imshow(
        np.ma.masked_invalid(values),
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        cmap=diverging_map(),
        norm=scale,
        extent=(0.5, channels + 0.5, low - half, high + half),
    )
    page.dress(axes, grid=False)
    axes.set_title(slot)
    axes.set_xticks([1, channels] if channels > 1 else [1])
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    return image
