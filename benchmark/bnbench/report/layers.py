"""Figures of what happens in the layers: activity of γ and β, and sparsity, over training."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from bnbench.analysis.comparison import Comparison
from bnbench.analysis.frames import Results
from bnbench.analysis.records import RunRecord
from bnbench.analysis.trajectory import NEUTRAL, snapshot_measures
from bnbench.placement import masked_slots
from bnbench.report.activity import LayerPanel, LayerRow, layer_heat_map, layer_lines
from bnbench.report.captions import described, file_name, kind_command
from bnbench.report.decimation import every_so_many
from bnbench.report.export import Drawing
from bnbench.report.page import TEXT, Page
from bnbench.report.style import ACTIVITY_LABELS, BETA, GAMMA, GREEK, SPARSITY_LABEL, variant_label
from bnbench.report.titles import comparison_title

ABOUT_ACTIVITY = (
    "Activity of γ and β in every BatchNorm over training: how far a parameter is from the value at which it does "
    "nothing (1 for γ, 0 for β), the mean over the layer's channels."
)
ABOUT_SPARSITY = (
    "Share of a layer's activations that the ReLU after it zeroes, on a fixed batch of train_eval in eval mode, before "
    "the first step and after every epoch."
)
OVER_SEEDS = "Lines: mean over the seeds; bands: from the lowest to the highest seed."
AS_COLOURS = "Mean over the seeds, one colour scale per quantity, from 0."


def draw_activity(results: Results, group: Comparison, page: Page = TEXT, *, heat_map: bool = False) -> Drawing | None:
    """Activity per layer over training, γ above β, a panel per variant that learns it; None where none does.

    Args:
        results: an opened results folder.
        group: the runs.
        page: the size of the figure.
        heat_map: layer × epoch as colours instead of lines.

    Raises:
        UserError: a table is damaged.
    """
    per_epoch = _steps_per_epoch(results, group)
    if per_epoch is None:
        return None
    most = int(page.width * page.dots_per_inch)
    rows: list[LayerRow] = []
    for parameter in (GAMMA, BETA):
        panels = []
        for row in group.rows:
            if not row.learns(parameter):
                continue
            pieces = [
                run_activity(results, record, parameter, most=most, steps_per_epoch=per_epoch) for record in row.records
            ]
            panels.append(LayerPanel(f"{variant_label(row.variant)}, {GREEK[parameter]}", pd.concat(pieces)))
        if panels:
            rows.append(LayerRow(ACTIVITY_LABELS[parameter], tuple(panels)))
    if not rows:
        return None
    slots = masked_slots(group.mask, group.slots)
    title = f"Activity of γ and β, {comparison_title(group)}"
    if heat_map:
        return _drawing(
            group, "heatmap", title, f"{ABOUT_ACTIVITY} {AS_COLOURS}", page, layer_heat_map(rows, slots, page)
        )
    return _drawing(group, "activity", title, f"{ABOUT_ACTIVITY} {OVER_SEEDS}", page, layer_lines(rows, slots, page))


def draw_sparsity(results: Results, group: Comparison, page: Page = TEXT) -> Drawing | None:
    """Share of zeroed activations per layer over training, a panel per variant; None without the probe.

    Args:
        results: an opened results folder.
        group: the runs.
        page: the size of the figure.

    Raises:
        UserError: a table is damaged.
    """
    columns = ["run_id", "seed", "slot", "epoch", "zeroed"]
    frame = results.sparsity(columns=columns, run_id=group.run_ids).rename(columns={"zeroed": "value"})
    if frame.empty:
        return None
    recorded = set(frame["slot"].unique())
    slots = [slot for slot in group.slots if slot in recorded]
    of_run = frame["run_id"].map(group.labels)
    panels = [
        LayerPanel(variant_label(name), frame[of_run == name]) for name in group.variants if (of_run == name).any()
    ]
    across = 2 if page.width < 4 else 3
    rows = [
        LayerRow(SPARSITY_LABEL, tuple(panels[start : start + across]), shares=True)
        for start in range(0, len(panels), across)
    ]
    title = f"Sparsity of the activations, {comparison_title(group)}"
    return _drawing(group, "sparsity", title, f"{ABOUT_SPARSITY} {OVER_SEEDS}", page, layer_lines(rows, slots, page))


def run_activity(
    results: Results, record: RunRecord, parameter: str, *, most: int, steps_per_epoch: float
) -> pd.DataFrame:
    """Mean distance from the neutral value over the channels of every BatchNorm of a run.

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
    for slot in record.normalised_slots:
        trajectory = results.trajectory(record.identity.run_id, slot, parameter)
        kept = every_so_many(len(trajectory.steps), most)
        magnitude = snapshot_measures(trajectory.values[kept], NEUTRAL[parameter]).magnitude
        steps = trajectory.steps[kept]
        columns = {"step": steps, "epoch": steps / steps_per_epoch, "value": magnitude}
        pieces.append(pd.DataFrame({"seed": record.identity.seed, "slot": slot, **columns}))
    return pd.concat(pieces, ignore_index=True)


def _steps_per_epoch(results: Results, group: Comparison) -> float | None:
    """Updates an epoch; None where every run diverged before its first epoch ended."""
    rows = results.curves(columns=["epoch", "step"], run_id=group.run_ids)
    later = rows[rows["epoch"] > 0]
    return None if later.empty else float(later["step"].iloc[0]) / float(later["epoch"].iloc[0])


def _drawing(group: Comparison, kind: str, title: str, about: str, page: Page, figure: Figure) -> Drawing:
    return Drawing(
        name=file_name(kind, [group]),
        title=title,
        caption=f"{title}. {about} {described([group], [''])}",
        command=kind_command(kind, [group], page),
        page=page,
        figure=figure,
    )
