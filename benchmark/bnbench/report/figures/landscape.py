"""The loss landscape along the gradient over training, as Santurkar et al. (2018, figure 4) draw it.

Two kinds of one probe: the ranges of loss and gradient along the gradient, a panel for each variant; and the quantities
that claims are decided on, the variants in one pair of axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bnbench.analysis.comparison import Comparison
from bnbench.analysis.frames import Results
from bnbench.analysis.probes import landscape
from bnbench.analysis.variant_labels import symbol_of
from bnbench.report.figures.kind import FigureKind, Labels, PanelLabel, Request, labelled, labels_on
from bnbench.report.figures.parts import line_style
from bnbench.report.figures.probed import (
    EACH_SEED,
    GAPS,
    NOTHING,
    STEP_LABEL,
    not_measured,
    over_seeds,
    probe_rows,
    scale_of,
    settled,
    variants_in_pages,
)
from bnbench.report.figures.variant_lines import draw_variant_lines, scale_axis, set_y_label
from bnbench.report.page import Page
from bnbench.report.style import looks_of, variant_label

PROBE = "landscape"
MAKES = "bnbench run digits_mlp --variant all --set probes.landscape=true --seeds 3"
ABOUT = (
    "At steps of ½ to 4 learning rates along the gradient of the coming batch (Santurkar et al. 2018): the range of "
    "the loss L(θ − a·g₀), with a line where it was before the step; and the range of the gradient's change "
    "‖g(θ − a·g₀) − g₀‖, small where the gradient is predictive, with a line at the largest. Lines and ends are means "
    "over the seeds that did not diverge."
)
ABOUT_SMOOTHNESS = (
    "Along the gradient of the coming batch, over steps a of ½ to 4 learning rates (Santurkar et al. 2018): loss "
    "variation, the difference between the highest and the lowest loss; gradient change, the largest distance of the "
    "gradient from g₀ over ‖g₀‖ (small: predictive); effective β-smoothness, the largest distance over the length "
    "a·‖g₀‖ of the step (behind a normaliser it depends on the length of the weights)."
)
_RANGES = {
    "loss": ("loss [nats]", "loss", "least_loss", "most_loss"),
    "gradient distance": (
        "‖g − g₀‖",
        "largest_gradient_distance",
        "least_gradient_distance",
        "largest_gradient_distance",
    ),
}
"""A row of panels: its label, the line, and the ends of the range."""
_QUANTITIES = {
    "loss variation": ("loss variation [nats]", "loss_variation"),
    "gradient change": ("relative gradient change", "relative_gradient_distance"),
    "smoothness": ("effective β-smoothness", "smoothness"),
}
_BAND = 0.3
"""Opacity of a range, which has nothing behind it."""


def landscape_steps(results: Results, compared: Comparison) -> pd.DataFrame:
    """What the probe's rows of each step come to.

    Returns:
        `run_id`, `series`, `seed`, `diverged_at_step`, `step`; `loss` (before the step), `least_loss` and `most_loss`
        along it (NaN where one is not finite); the fields of `Landscape`. Empty without the probe.
    """
    columns = ["step", "step_size", "loss", "gradient_norm", "gradient_distance"]
    rows = probe_rows(results, compared, PROBE, columns)
    found = []
    who = ["run_id", "series", "seed", "step"]
    for key, own in rows.groupby(who, sort=False):
        size, loss, norm, distance = (own[name].to_numpy(np.float64) for name in columns[1:])
        if (size == 0).sum() != 1 or not (size > 0).any():
            continue  # a row is missing: the probe notes why
        found.append(
            {
                **dict(zip(who, key, strict=True)),
                "diverged_at_step": own["diverged_at_step"].iloc[0],
                "loss": float(loss[size == 0][0]),
                "least_loss": float(np.min(loss)) if np.isfinite(loss).all() else np.nan,
                "most_loss": float(np.max(loss)) if np.isfinite(loss).all() else np.nan,
                **asdict(landscape(size, loss, norm, distance)),
            }
        )
    return pd.DataFrame(found).astype({"diverged_at_step": "Int64"}) if found else pd.DataFrame()


def ranges(results: Results, found: Sequence[Comparison], _request: Request) -> pd.DataFrame:
    """The ranges of loss and gradient along the gradient: two panels for each variant."""
    (compared,) = found
    steps = landscape_steps(results, compared)
    if steps.empty:
        return NOTHING
    pieces, panels = [], {}
    for quantity, (label, line, least, most) in _RANGES.items():
        scale = scale_of(pd.concat([steps[least], steps[most]]))
        for variant in steps["series"].unique():
            rows = settled(steps[steps["series"] == variant])
            at, low, *_ = over_seeds(rows, least)
            high = over_seeds(rows, most)[1]
            middle = over_seeds(rows, line)[1]
            panel = f"{quantity}, {symbol_of(variant)}"
            panels[panel] = PanelLabel(label, scale)
            columns = {"x": at, "y": middle, "low": low, "high": high, "series": variant, "panel": panel}
            pieces.append(pd.DataFrame({**columns, "quantity": quantity}))
    frame = pd.concat(pieces, ignore_index=True).astype({"x": np.int64})
    caption = f"{ABOUT} {GAPS}{not_measured(results, compared, PROBE, PROBE)}"
    return labelled(frame, Labels(STEP_LABEL, "loss and ‖g − g₀‖", caption=caption, panels=panels))


def draw_ranges(frame: pd.DataFrame, page: Page) -> Figure:
    """A column for each variant, as many as the page holds, loss above gradient distance; one scale a quantity."""
    labels = labels_on(frame)
    named = {} if labels is None else labels.panels
    with page.style():
        looks = looks_of(map(str, frame["series"].unique()))
        across = min(len(looks), _across(page))
        blocks = -(-len(looks) // across)
        height = page.width * 0.75 / max(across, 2) * 2 * blocks + 3 * page.font / 72
        figure = page.figure(page.tallest if page.wide else height)
        grid = figure.subplots(2 * blocks, across, squeeze=False, sharex=True)
        for row, quantity in enumerate(_RANGES):
            own = frame[frame["quantity"] == quantity]
            first: Axes | None = None
            for place, (name, look) in enumerate(looks.items()):
                axes: Axes = grid[place // across * 2 + row, place % across]
                page.dress(axes)
                rows = own[own["series"] == name]
                axes.fill_between(rows["x"], rows["low"], rows["high"], color=look.colour, alpha=_BAND, linewidth=0)
                for end in ("low", "high"):
                    axes.plot(rows["x"], rows[end], color=look.colour, linewidth=page.line * 0.5)
                axes.plot(rows["x"], rows["y"], **line_style(look, page), label=name)
                if first is None:
                    first = axes
                else:
                    axes.sharey(first)
                label = named.get(str(rows["panel"].iloc[0])) if len(rows) else None
                if place % across == 0 and label is not None:
                    set_y_label(axes, label)
                else:
                    axes.tick_params(labelleft=False)
                if row == 0:
                    axes.set_title(variant_label(name))
                axes.xaxis.set_major_locator(MaxNLocator(nbins=3, integer=True, min_n_ticks=2, steps=[1, 2, 5, 10]))
                axes.tick_params(labelbottom=row == 1)
                if row == 1:
                    axes.set_xlabel(STEP_LABEL)
            if first is not None and len(own):
                scale = named.get(str(own["panel"].iloc[0]), PanelLabel("")).scale
                scale_axis(first, scale, pd.concat([own["low"], own["high"]]))
        for place in range(len(looks), across * blocks):
            for row in range(2):
                grid[place // across * 2 + row, place % across].set_visible(False)
        return figure


def _across(page: Page) -> int:
    return 2 if page.width < 4 else 5 if page.wide else 4


def quantities(results: Results, found: Sequence[Comparison], _request: Request) -> pd.DataFrame:
    """Loss variation, gradient change and effective smoothness of every run: a panel for each."""
    (compared,) = found
    steps = landscape_steps(results, compared)
    if steps.empty:
        return NOTHING
    who = steps[["step", "series", "seed", "diverged_at_step"]].rename(columns={"step": "x"})
    pieces = [who.assign(y=steps[column], panel=panel) for panel, (_, column) in _QUANTITIES.items()]
    panels = {panel: PanelLabel(label, scale_of(steps[column])) for panel, (label, column) in _QUANTITIES.items()}
    caption = f"{ABOUT_SMOOTHNESS} {EACH_SEED} {GAPS}{not_measured(results, compared, PROBE, PROBE)}"
    labels = Labels(STEP_LABEL, "loss variation, gradient change and smoothness", caption=caption, panels=panels)
    return labelled(pd.concat(pieces, ignore_index=True), labels)


LANDSCAPE = FigureKind(
    "landscape",
    "Loss landscape along the gradient",
    "ranges of loss and gradient along the gradient, over training",
    ranges,
    draw_ranges,
    web="lines",
    lacks="runs with the probe `landscape`",
    tables=("landscape", "probe_notes"),
    portions=variants_in_pages(
        lambda page: 5 if page.wide else 6 if page.width < 4 else 8, lambda each: "landscape" in each.tables
    ),
    makes=MAKES,
)
SMOOTHNESS = FigureKind(
    "smoothness",
    "Smoothness of the landscape",
    "loss variation, gradient change and effective β-smoothness over training",
    quantities,
    draw_variant_lines,
    web="lines",
    lacks="runs with the probe `landscape`",
    tables=("landscape", "probe_notes"),
    makes=MAKES,
)
