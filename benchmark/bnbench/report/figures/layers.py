"""A quantity of each layer over training, as lines and as heat maps: what activity and sparsity are drawn by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from bnbench.analysis.variant_labels import symbol_of
from bnbench.report.figures.kind import PanelLabel, Scale
from bnbench.report.figures.parts import BAND, Floats
from bnbench.report.figures.variant_lines import scale_axis, set_y_label
from bnbench.report.page import TEXT, Page
from bnbench.report.style import EPOCH_LABEL, percent, sequential_map, slot_colours, variant_label

LINE_HEIGHT = 0.25
"""Height of a row of panels, in page widths."""
SLOT_ROW = 1.7
"""Height of a layer's row in a heat map, in lines of type."""


@dataclass(frozen=True)
class LayerPanel:
    """One panel: a quantity of every layer of one variant over training."""

    title: str
    rows: pd.DataFrame
    """seed, slot, epoch (a fraction inside an epoch), value; at the same epochs for every seed and slot."""
    variant: str | None = None
    """Whose it is, where the title has its symbol as plain text."""


@dataclass(frozen=True)
class LayerRow:
    """Panels that share a quantity and its scale."""

    label: str
    """What it is, with its unit; of a share without one."""
    panels: tuple[LayerPanel, ...]
    scale: Scale = "linear"


def tidy_layers(rows: Sequence[LayerRow], slots: Sequence[str]) -> pd.DataFrame:
    """Rows of panels as a tidy frame: `x` is the epoch, `y` the quantity, a series for each layer.

    Beside them: the `seed`, the `row` of panels, the `scale` of its axis, and the `variant` if it is given. What is of
    other layers than these is left out.
    """
    pieces = [
        panel.rows[["epoch", "value", "slot", "seed"]]
        .rename(columns={"epoch": "x", "value": "y", "slot": "series"})
        .assign(panel=panel.title, row=place, label=row.label, scale=row.scale)
        .assign(**({} if panel.variant is None else {"variant": panel.variant}))
        for place, row in enumerate(rows)
        for panel in row.panels
    ]
    frame = pd.concat(pieces, ignore_index=True)
    frame = frame[frame["series"].isin(list(slots))]
    return frame.astype({"series": pd.CategoricalDtype(list(slots), ordered=True)})


def layer_rows(frame: pd.DataFrame) -> tuple[list[LayerRow], list[str]]:
    """The rows of panels of a tidy frame, and the layers in the network's order."""
    named = frame.rename(columns={"x": "epoch", "y": "value", "series": "slot"}).astype({"slot": str})
    rows = [
        LayerRow(
            str(own["label"].iloc[0]),
            tuple(LayerPanel(_title(str(title), panel), panel) for title, panel in own.groupby("panel", sort=False)),
            own["scale"].iloc[0],
        )
        for _, own in named.groupby("row")
    ]
    return rows, list(frame["series"].cat.categories)


def _title(panel: str, rows: pd.DataFrame) -> str:
    """A panel's title for matplotlib: the symbol of its variant with the subscript set as one."""
    if "variant" not in rows:
        return panel
    variant = str(rows["variant"].iloc[0])
    return panel.replace(symbol_of(variant), variant_label(variant))


def layer_lines(rows: Sequence[LayerRow], slots: Sequence[str], page: Page = TEXT) -> Figure:
    """A line per layer over training, the mean over the seeds; bands from the lowest to the highest seed.

    A row of panels per quantity, with one axis shared by its panels. The first layer is dark, the last light.

    Args:
        rows: at least one.
        slots: the layers, in the network's order.
        page: the size.
    """
    with page.style():
        widest = max(len(row.panels) for row in rows)
        height = page.width * LINE_HEIGHT * (1.0 if widest > 2 else 1.35) * len(rows) + 7 * page.font / 72
        figure = page.figure(height)
        grid = figure.subplots(len(rows), widest, squeeze=False, sharex=True, sharey="row")
        colours = slot_colours(slots)
        # Rows of one quantity have one scale.
        alike = len({row.label for row in rows}) == 1
        values = [pd.concat([panel.rows["value"] for panel in row.panels]) for row in rows]
        for place, (axes_row, row) in enumerate(zip(grid, rows, strict=True)):
            for axes, panel in zip(axes_row, row.panels, strict=False):
                page.dress(axes)
                axes.set_title(panel.title)
                _draw_lines(axes, panel.rows, colours, page)
                axes.set_xlabel(EPOCH_LABEL)
                axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True, min_n_ticks=2, steps=[1, 2, 5, 10]))
                axes.tick_params(labelbottom=True)
            for axes in axes_row[len(row.panels) :]:
                axes.set_visible(False)
            first = axes_row[0]
            set_y_label(first, PanelLabel(row.label, row.scale))
            scale_axis(first, row.scale, pd.concat(values) if alike else values[place])
        handles = [Line2D([], [], color=colour, linewidth=1.5 * page.line) for colour in colours.values()]
        lines = -(-len(slots) // 9)
        figure.legend(
            handles, list(slots), loc="outside upper center",
            ncols=min(len(slots), 5) if page.width < 4 else -(-len(slots) // lines),
            handlelength=1.4, columnspacing=1.0,
        )  # fmt: skip
        return figure


def layer_heat_map(rows: Sequence[LayerRow], slots: Sequence[str], page: Page = TEXT, *, most: int = 400) -> Figure:
    """Layer × epoch: the mean over the seeds as a colour, a panel per variant, one scale per quantity.

    Lightness rises with the value, so that the figure can be read in grey; the scale starts at 0. Grey: not recorded.

    Args:
        rows: at least one.
        slots: the layers, in the network's order, the first on top.
        page: the size.
        most: epochs that are drawn.
    """
    with page.style():
        widest = max(len(row.panels) for row in rows)
        height = (SLOT_ROW * len(slots) + 6) * page.font / 72 * len(rows)
        figure = page.figure(height)
        parts = figure.subfigures(len(rows), 1, squeeze=False)[:, 0]
        for part, row in zip(parts, rows, strict=True):
            axes_row: list[Axes] = list(part.subplots(1, widest, squeeze=False, sharey=True)[0])
            highest = max((float(np.nanmax(_grid(panel.rows, slots)[1])) for panel in row.panels), default=0.0)
            scale = Normalize(0, 1 if row.scale == "share" else highest or 1.0)
            image = None
            for axes, panel in zip(axes_row, row.panels, strict=False):
                image = _draw_map(axes, panel, slots, scale, page, most)
            for axes in axes_row[len(row.panels) :]:
                axes.set_visible(False)
            assert image is not None
            bar = part.colorbar(image, ax=axes_row[: len(row.panels)], aspect=14, pad=0.015, fraction=0.05)
            bar.set_label(row.label)
            bar.ax.tick_params(labelsize=page.small, width=page.line / 2)
            bar.outline.set_linewidth(page.line / 2)
            if row.scale == "share":
                bar.ax.yaxis.set_major_formatter(FuncFormatter(percent))
        return figure


def _draw_lines(axes: Axes, rows: pd.DataFrame, colours: dict[str, str], page: Page) -> None:
    for slot, colour in colours.items():
        own = rows[rows["slot"] == slot]
        if own.empty:
            continue
        # As far as every seed has it: a run that diverged ends before the others.
        by_seed = own.pivot(index="epoch", columns="seed", values="value").dropna()
        values = by_seed.to_numpy(np.float64)
        axes.plot(by_seed.index, values.mean(axis=1), color=colour, linewidth=page.line, label=slot)
        if values.shape[1] > 1:
            low, high = values.min(axis=1), values.max(axis=1)
            axes.fill_between(by_seed.index, low, high, color=colour, alpha=BAND, linewidth=0)


def _grid(rows: pd.DataFrame, slots: Sequence[str]) -> tuple[Floats, Floats]:
    """(epochs, values [slots, epochs]): the mean over the seeds, as far as all have it; NaN for a layer without."""
    by_seed = rows.pivot(index="epoch", columns=["slot", "seed"], values="value").dropna()
    table = by_seed.T.groupby(level="slot", observed=True).mean().reindex(list(slots))
    return table.columns.to_numpy(np.float64), table.to_numpy(np.float64)


def _draw_map(
    axes: Axes, panel: LayerPanel, slots: Sequence[str], scale: Normalize, page: Page, most: int
) -> AxesImage:
    epochs, values = _grid(panel.rows, slots)
    wanted = np.linspace(epochs[0], epochs[-1], min(most, len(epochs)))
    chosen = np.searchsorted(epochs, wanted + 1e-9, side="right") - 1
    half = (epochs[-1] - epochs[0]) / max(len(wanted) - 1, 1) / 2 or 0.5
    image = axes.imshow(
        np.ma.masked_invalid(values[:, chosen]),
        aspect="auto",
        interpolation="nearest",
        cmap=sequential_map(),
        norm=scale,
        extent=(epochs[0] - half, epochs[-1] + half, len(slots) - 0.5, -0.5),
    )
    page.dress(axes, grid=False)
    axes.set_title(panel.title)
    axes.set_yticks(range(len(slots)), list(slots))
    axes.set_xlabel(EPOCH_LABEL)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True, min_n_ticks=2, steps=[1, 2, 5, 10]))
    return image
