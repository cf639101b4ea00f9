"""What each layer hands over, over training: moments of the pre-activations, and channels that are never positive."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from bnbench.analysis.comparison import Comparison
from bnbench.analysis.frames import Results
from bnbench.analysis.variant_labels import symbol_of
from bnbench.report.drawn_slots import drawn_slots, left_out
from bnbench.report.figures.activity import OVER_SEEDS, draw_lines
from bnbench.report.figures.kind import FigureKind, Labels, PanelLabel, Request, Scale, labelled
from bnbench.report.figures.layers import LayerPanel, LayerRow, tidy_layers
from bnbench.report.figures.probed import NOTHING, not_measured, probe_rows, scale_of, settled, variants_in_pages
from bnbench.report.style import EPOCH_LABEL

PROBE = "activations"
ABOUT = (
    "Pre-activations of each layer on the first 512 images of train_eval, per channel over images and positions, then "
    "averaged over the channels: mean, standard deviation, kurtosis (3 for a normal distribution); and the share of "
    "channels that are positive nowhere. Before the first step and after every epoch."
)
_QUANTITIES: dict[str, tuple[str, Scale | None]] = {
    "mean": ("mean", "linear"),
    "standard_deviation": ("standard deviation", None),
    "kurtosis": ("kurtosis", None),
    "never_positive": ("never-positive channels", "part"),
}
"""The column: what it is called, and its scale where that does not depend on the values."""


def data(results: Results, found: Sequence[Comparison], _request: Request) -> pd.DataFrame:
    """The quantities of each layer, a row of panels for each, a panel for each variant."""
    (compared,) = found
    rows = probe_rows(results, compared, PROBE, ["epoch", "slot", "statistics", *_QUANTITIES])
    if rows.empty:
        return NOTHING
    rows = pd.concat([settled(own) for _, own in rows.groupby("series", sort=False)])
    slots = drawn_slots(compared.places, set(rows["slot"]))
    variants = list(dict.fromkeys(rows["series"]))
    layers: list[LayerRow] = []
    panels: dict[str, PanelLabel] = {}
    for column, (label, given) in _QUANTITIES.items():
        scale = given or scale_of(rows.loc[rows["slot"].isin(slots), column])
        own = rows.rename(columns={column: "value"})
        row = [
            LayerPanel(f"{label}, {symbol_of(name)}", own.loc[own["series"] == name, _COLUMNS], name)
            for name in variants
        ]
        layers.append(LayerRow(label, tuple(row), scale))
        panels |= {panel.title: PanelLabel(label, scale) for panel in row}
    normalised = " and ".join(sorted(rows["statistics"].unique()))
    caption = (
        f"{ABOUT} Normalised with {normalised} statistics. {OVER_SEEDS} Seeds that diverged are left "
        f"out where others did not.{left_out(slots, set(rows['slot']))}{not_measured(results, compared, PROBE, PROBE)}"
    )
    labels = Labels(EPOCH_LABEL, "moments of the pre-activations", caption=caption, panels=panels)
    return labelled(tidy_layers(layers, slots), labels)


_COLUMNS = ["epoch", "value", "slot", "seed"]

ACTIVATIONS = FigureKind(
    "activations",
    "Moments of the pre-activations",
    "mean, deviation and kurtosis of each layer, and never-positive channels",
    data,
    draw_lines,
    web="lines",
    lacks="runs with the probe `activations`",
    tables=("activations", "probe_notes"),
    portions=variants_in_pages(
        lambda page: 4 if page.wide else 2 if page.width < 4 else 3, lambda each: PROBE in each.tables
    ),
    makes="bnbench run digits_mlp --variant all --set probes.activations=true --seeds 3",
)
