"""Activity of γ and β in each layer over training: how far a parameter is from the value at which it does nothing."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from bnbench.analysis.comparison import Comparison
from bnbench.analysis.frames import Results
from bnbench.analysis.records import RunRecord
from bnbench.analysis.trajectory import NEUTRAL, snapshot_measures
from bnbench.components.placements import masked_slots
from bnbench.report.decimation import every_so_many
from bnbench.report.drawn_slots import drawn_slots, left_out
from bnbench.report.figures.kind import Data, FigureKind, Labels, Request, labelled
from bnbench.report.figures.layers import LayerPanel, LayerRow, layer_heat_map, layer_lines, layer_rows, tidy_layers
from bnbench.report.page import Page
from bnbench.report.style import ACTIVITY_LABELS, BETA, EPOCH_LABEL, GAMMA, GREEK, variant_label

ABOUT = (
    "Activity of γ and β in every BatchNorm over training: how far a parameter is from the value at which it does "
    "nothing (1 for γ, 0 for β), the mean over the layer's channels."
)
OVER_SEEDS = "Lines: mean over the seeds; bands: from the lowest to the highest seed."
AS_COLOURS = "Mean over the seeds, one colour scale per quantity, from 0."
_NOTHING = pd.DataFrame(columns=["x", "y", "series", "panel"])


def run_activity(
    results: Results, record: RunRecord, parameter: str, *, most: int, steps_per_epoch: float
) -> pd.DataFrame:
    """Mean distance from the neutral value over the channels of each BatchNorm of a run that is drawn.

    One trajectory is read at a time, and of each no more snapshots are kept than a figure can show.

    Args:
        results: an opened results folder.
        record: the run.
        parameter: "gamma" or "beta".
        most: snapshots to keep.
        steps_per_epoch: updates an epoch.

    Returns:
        seed, slot, step, epoch (a fraction inside an epoch), value.

    Raises:
        UserError: a table is damaged.
    """
    pieces = []
    for slot in drawn_slots(record.places, record.normalised_slots):
        trajectory = results.trajectory(record.identity.run_id, slot, parameter)
        kept = every_so_many(len(trajectory.steps), most)
        magnitude = snapshot_measures(trajectory.values[kept], NEUTRAL[parameter]).magnitude
        steps = trajectory.steps[kept]
        columns = {"step": steps, "epoch": steps / steps_per_epoch, "value": magnitude}
        pieces.append(pd.DataFrame({"seed": record.identity.seed, "slot": slot, **columns}))
    return pd.concat(pieces, ignore_index=True)


def data_with(how: str) -> Data:
    """The activity of each layer, γ above β, a panel for each variant that learns it.

    Args:
        how: what the caption says of the drawing.
    """

    def data(results: Results, found: Sequence[Comparison], request: Request) -> pd.DataFrame:
        (compared,) = found
        per_epoch = updates_per_epoch(results, compared)
        if per_epoch is None:
            return _NOTHING
        most = int(request.page.width * request.page.dots_per_inch)
        rows: list[LayerRow] = []
        for parameter in (GAMMA, BETA):
            panels = []
            for row in compared.rows:
                if row.learns(parameter):
                    pieces = [
                        run_activity(results, record, parameter, most=most, steps_per_epoch=per_epoch)
                        for record in row.records
                    ]
                    panels.append(LayerPanel(f"{variant_label(row.variant)}, {GREEK[parameter]}", pd.concat(pieces)))
            if panels:
                rows.append(LayerRow(ACTIVITY_LABELS[parameter], tuple(panels)))
        if not rows:
            return _NOTHING
        carrying = masked_slots(compared.mask, compared.slots)
        drawn = drawn_slots(compared.places, carrying)
        caption = f"{ABOUT} {how}{left_out(drawn, carrying)}"
        return labelled(tidy_layers(rows, drawn), Labels(EPOCH_LABEL, "mean |γ − 1| or mean |β|", caption=caption))

    return data


def draw_lines(frame: pd.DataFrame, page: Page) -> Figure:
    """A line for each layer."""
    return layer_lines(*layer_rows(frame), page)


def draw_heat_map(frame: pd.DataFrame, page: Page) -> Figure:
    """A row of colours for each layer."""
    return layer_heat_map(*layer_rows(frame), page)


def updates_per_epoch(results: Results, compared: Comparison) -> float | None:
    """Updates an epoch; None where every run diverged before its first epoch ended."""
    rows = results.curves(columns=["epoch", "step"], run_id=compared.run_ids)
    later = rows[rows["epoch"] > 0]
    return None if later.empty else float(later["step"].iloc[0]) / float(later["epoch"].iloc[0])


ACTIVITY = FigureKind(
    "activity",
    "Activity of γ and β",
    "mean activity of γ and β per layer over training",
    data_with(OVER_SEEDS),
    draw_lines,
    lacks="a variant that learns γ or β",
    tables=("curves", "affine"),
)
HEAT_MAP = FigureKind(
    "heatmap",
    "Activity of γ and β",
    "the same as a heat map, layer × epoch",
    data_with(AS_COLOURS),
    draw_heat_map,
    lacks="a variant that learns γ or β",
    tables=("curves", "affine"),
)
