"""γ and β over training as contour plots, a panel per BatchNorm layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import CenteredNorm
from matplotlib.figure import Figure, SubFigure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator
from scipy.ndimage import uniform_filter

from bnbench.analysis.comparison import Comparison, VariantRow, seed_order
from bnbench.analysis.frames import Results, Trajectory
from bnbench.analysis.records import RunRecord
from bnbench.analysis.trajectory import NEUTRAL, start_of
from bnbench.errors import UserError
from bnbench.report.decimation import even_steps
from bnbench.report.drawn_slots import drawn_slots, left_out
from bnbench.report.figures.kind import Data, Draw, FigureKind, Labels, Request, labelled
from bnbench.report.page import TEXT, Page
from bnbench.report.style import BETA, CONTOUR, GAMMA, GREEK, PARAMETER_LABELS, diverging_map, variant_label
from bnbench.report.titles import comparison_title, described_runs

SIDE_BY_SIDE = 3
"""Models with at most so many BatchNorm layers stand two in a row."""
MODEL_HEIGHT = 0.27
"""Of one row of panels, in page widths."""
NARROW = 4.0
"""Inches; on a page that is no wider, panels go on in a second line."""
MOST_COLUMNS = 4
MOST_COLUMNS_WIDE = 9
"""On any other page; more panels stand in several lines of equal length."""
NARROW_HEIGHT = 0.46
SMOOTHING = 0.08
"""Share of the channels, and of the snapshots, that a contour line is smoothed over."""
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
    Each model has one diverging scale, shared by its layers and centred at the value that the parameter started from
    (as a rule the one at which it does nothing, 1 for γ and 0 for β). Contour lines part the scale into quarters,
    dashed below the centre, solid above, so that the sign survives in grey. What is not finite is grey.

    Args:
        models: at least one, each with at least one layer.
        parameter: "gamma" or "beta".
        page: the size.
    """
    with page.style():
        plan = _arrange(page, len(models), max(len(model.slots) for model in models))
        figure = page.figure(plan.height)
        parts = figure.subfigures(plan.down, plan.across, squeeze=False)
        for index, model in enumerate(models):
            _draw_model(parts[index // plan.across][index % plan.across], model, parameter, page, plan)
        return figure


def resolution(page: Page, models: int, layers: int) -> int:
    """How many steps up a panel of a page's figure can show."""
    plan = _arrange(page, models, layers)
    return max(2, int(min(plan.height, page.tallest) / (plan.down * plan.lines) * page.dots_per_inch))


@dataclass(frozen=True)
class _Arrangement:
    """Where models and their panels stand."""

    across: int
    """Models side by side."""
    down: int
    columns: int
    """Panels of a model side by side."""
    lines: int
    height: float
    """Of the figure, in inches."""


def _arrange(page: Page, models: int, layers: int) -> _Arrangement:
    narrow = page.width < NARROW
    across = 2 if layers <= SIDE_BY_SIDE and models > 1 and not narrow else 1
    lines = -(-layers // (MOST_COLUMNS if narrow else MOST_COLUMNS_WIDE))
    columns = min(layers, MOST_COLUMNS) if narrow else -(-layers // lines)
    down = -(-models // across)
    row = page.width * (NARROW_HEIGHT if narrow else MODEL_HEIGHT)
    return _Arrangement(
        across, down, columns, lines, page.tallest if page.wide else row * down * (1 + 0.75 * (lines - 1))
    )


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


def contour_levels(scale: CenteredNorm) -> npt.NDArray[np.float64]:
    """Where contour lines run: at each quarter of a scale, but for its centre."""
    return float(scale.vcenter) + np.array([-0.75, -0.5, -0.25, 0.25, 0.5, 0.75]) * float(scale.halfrange)


def _stroke(level: float, scale: CenteredNorm) -> str:
    return "dashed" if level < scale.vcenter else "solid"


def _draw_model(part: SubFigure, model: ModelTrajectories, parameter: str, page: Page, plan: _Arrangement) -> None:
    """The panels of a model with its colour bar; as many columns as the figure's widest model has."""
    scale = centred_scale(model, start_of(model.slots.values(), parameter))
    grid = part.subplots(plan.lines, plan.columns, squeeze=False, sharey=True)
    panels: list[Axes] = list(grid.flat)
    part.suptitle(model.title, x=0.01, ha="left", fontsize=page.font)
    last_step = max(int(trajectory.steps[-1]) for trajectory in model.slots.values())
    unit = 1000 if last_step >= 10_000 else 1
    image = None
    for axes, (slot, trajectory) in zip(panels, model.slots.items(), strict=False):
        image = _draw_slot(axes, slot, trajectory, scale, unit, page)
    for axes in panels[len(model.slots) :]:
        axes.set_visible(False)
    for index, axes in enumerate(panels):
        if index % plan.columns:
            axes.tick_params(labelleft=False)
        else:
            axes.set_ylabel(f"step [{'10³ ' if unit > 1 else ''}updates]")
    last_line = list(range(len(model.slots)))[(len(model.slots) - 1) // plan.columns * plan.columns :]
    panels[last_line[(len(last_line) - 1) // 2]].set_xlabel("channel, sorted by final value")
    assert image is not None
    bar = part.colorbar(image, ax=panels[: len(model.slots)], aspect=14 * plan.lines, pad=0.015, fraction=0.04)
    bar.set_label(PARAMETER_LABELS[parameter])
    bar.ax.tick_params(labelsize=page.small, width=page.line / 2)
    bar.locator = MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10])
    bar.outline.set_linewidth(page.line / 2)
    for level in contour_levels(scale):
        bar.ax.axhline(level, color=CONTOUR, linewidth=page.line * 0.35, linestyle=_stroke(level, scale))


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
    _draw_contours(axes, values, scale, image.get_extent(), page)
    page.dress(axes, grid=False)
    axes.set_title(slot)
    axes.set_xticks([1, channels] if channels > 1 else [1])
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True, steps=[1, 2, 5, 10]))
    return image


def _draw_contours(
    axes: Axes,
    values: npt.NDArray[np.float32],
    scale: CenteredNorm,
    extent: tuple[float, float, float, float],
    page: Page,
) -> None:
    """Lines at each quarter of the scale, dashed below the centre and solid above: the sign, where there is no colour.

    Of values smoothed over a few channels and snapshots, or every channel that is out of line would be circled.
    """
    finite = np.where(np.isfinite(values), values, scale.vcenter).astype(np.float64)
    size = [max(1, round(SMOOTHING * length)) for length in finite.shape]
    smooth = uniform_filter(finite, size, mode="nearest")
    levels = contour_levels(scale)
    inside = (levels > smooth.min()) & (levels < smooth.max())
    if min(smooth.shape) < 2 or not inside.any():
        return
    left, right, bottom, top = extent
    across = np.linspace(left, right, 2 * smooth.shape[1] + 1)[1::2]
    up = np.linspace(bottom, top, 2 * smooth.shape[0] + 1)[1::2]
    axes.contour(
        across, up, smooth, levels=levels[inside], colors=CONTOUR, linewidths=page.line * 0.35,
        linestyles=[_stroke(level, scale) for level in levels[inside]],
    )  # fmt: skip


# --- from runs ------------------------------------------------------------------------------------------------------


def about_contours(parameter: str, models: Sequence[ModelTrajectories]) -> str:
    """What a contour figure of these models shows, for its caption."""
    sign, neutral = GREEK[parameter], NEUTRAL[parameter]
    usual = all(start_of(model.slots.values(), parameter) == neutral for model in models)
    centre = f"{neutral:g}, where {sign} does nothing" if usual else f"the value that {sign} started from"
    return (
        f"The {'scale' if parameter == 'gamma' else 'shift'} {sign} of every BatchNorm over training: a panel per "
        f"layer, training step up, channels across, sorted by their final value. One colour scale per model, shared "
        f"by its layers and centred at {centre}. Contour lines (smoothed) at its "
        f"quarters: dashed below the centre, solid above."
    )


def contour_models(
    results: Results,
    wanted: Sequence[tuple[Comparison, Sequence[tuple[str, VariantRow]]]],
    parameter: str,
    page: Page,
    seed: int | None,
) -> tuple[list[ModelTrajectories], str]:
    """The models of a contour figure, read one trajectory at a time and no finer than the page can show.

    Args:
        results: an opened results folder.
        wanted: comparisons with the models that are drawn of each, (letter, row).
        parameter: "gamma" or "beta".
        page: the size of the figure.
        seed: whose runs; the first that all variants of a group have if None.

    Returns:
        The models, and what the caption says of them.

    Raises:
        UserError: no run has that seed, or a table is damaged.
    """
    chosen: list[tuple[str, Comparison, VariantRow, RunRecord]] = []
    sentences: list[str] = []
    for group, models in wanted:
        if not models:
            continue
        drawn = _seed_for(group, [row for _, row in models], seed)
        chosen += [
            (letter, group, row, record)
            for letter, row in models
            for record in row.records
            if record.identity.seed == drawn
        ]
        sentences.append(f"{comparison_title(group)}: drawn is seed {drawn}; {described_runs(group)}.")
        some = models[0][1].records[0]
        sentences[-1] += left_out(_drawn(some), some.normalised_slots)
    if not chosen:
        return [], ""
    most = resolution(page, len(chosen), max(len(_drawn(record)) for *_, record in chosen))
    read: list[ModelTrajectories] = []
    for letter, group, row, record in chosen:
        title = f"({letter}) {variant_label(row.variant)}"
        if len(wanted) > 1:
            title += f", placement {group.placement}"
        if record.diverged_at_step is not None:
            title += f" (diverged at step {record.diverged_at_step})"
        slots = {
            slot: even_steps(results.trajectory(record.identity.run_id, slot, parameter), most)
            for slot in _drawn(record)
        }
        start = start_of(slots.values(), parameter)
        if start != NEUTRAL[parameter]:
            title += f", from {GREEK[parameter]} = {start:g}"
        read.append(ModelTrajectories(title, slots))
    return read, " ".join(sentences)


def _drawn(record: RunRecord) -> list[str]:
    return drawn_slots(record.places, record.normalised_slots)


def _seed_for(group: Comparison, rows: Sequence[VariantRow], asked: int | None) -> int:
    """The seed whose runs are drawn."""
    have = [set(row.seeds) for row in rows]
    anywhere = set.union(*have)
    if asked is not None:
        if asked not in anywhere:
            known = ", ".join(map(str, seed_order(anywhere, group.problem, group.size)))
            raise UserError(f"no run with seed {asked}: {comparison_title(group)}", hint=f"Recorded seeds: {known}.")
        return asked
    return seed_order(set.intersection(*have) or anywhere, group.problem, group.size)[0]


def data_of(parameter: str) -> Data:
    """γ or β of every variant that learns it, of one seed.

    `x` is the channel, `series` the step and `y` the value, a panel for each layer of each variant; beside them the
    `model` and the `slot` that the panel is.
    """

    def data(results: Results, found: Sequence[Comparison], request: Request) -> pd.DataFrame:
        (compared,) = found
        # The full BatchNorm first, as in the study: whoever learns both parameters comes before who learns one.
        learning = [row for row in compared.rows if row.learns(parameter)]
        learning.sort(key=lambda row: -sum(map(row.learns, (GAMMA, BETA))))
        wanted = [(compared, list(zip(ascii_uppercase, learning, strict=False)))]
        models, said = contour_models(results, wanted, parameter, request.page, request.seed)
        if not models:
            return pd.DataFrame(columns=["x", "y", "series", "panel"])
        pieces = [_tidy(model.title, slot, trajectory) for model in models for slot, trajectory in model.slots.items()]
        labels = Labels("channel", PARAMETER_LABELS[parameter], caption=about_contours(parameter, models), runs=said)
        return labelled(pd.concat(pieces, ignore_index=True), labels)

    return data


def draw_of(parameter: str) -> Draw:
    """A row of panels for each model."""

    def draw(frame: pd.DataFrame, page: Page) -> Figure:
        models = []
        for title, own in frame.groupby("model", sort=False):
            slots = {str(slot): _trajectory(rows) for slot, rows in own.groupby("slot", sort=False)}
            models.append(ModelTrajectories(str(title), slots))
        return affine_contours(models, parameter, page)

    return draw


def _tidy(model: str, slot: str, trajectory: Trajectory) -> pd.DataFrame:
    snapshots, channels = trajectory.values.shape
    return pd.DataFrame(
        {
            "x": np.tile(np.arange(1, channels + 1, dtype=np.int32), snapshots),
            "y": trajectory.values.ravel(),
            "series": np.repeat(trajectory.steps, channels),
        }
    ).assign(panel=f"{model}, {slot}", model=model, slot=slot)


def _trajectory(rows: pd.DataFrame) -> Trajectory:
    steps = rows["series"].drop_duplicates().to_numpy(np.int64)
    return Trajectory(steps, rows["y"].to_numpy(np.float32).reshape(len(steps), -1))


def _kind(parameter: str) -> FigureKind:
    return FigureKind(
        parameter,
        f"{GREEK[parameter]} over training",
        f"{GREEK[parameter]} over training, a panel per BatchNorm layer",
        data_of(parameter),
        draw_of(parameter),
        lacks="a variant that learns it",
        tables=("affine",),
        seeded=True,
    )


GAMMA_CONTOURS, BETA_CONTOURS = map(_kind, (GAMMA, BETA))
