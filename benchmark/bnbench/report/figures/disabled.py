"""Features that γ switches off: the share of channels whose |γ| is near 0, over training, by layer or stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from bnbench.analysis.comparison import Comparison
from bnbench.analysis.frames import Results
from bnbench.analysis.probes import DISABLED_BELOW, disabled_share
from bnbench.analysis.records import RunRecord
from bnbench.analysis.variant_labels import symbol_of
from bnbench.components.placements import SlotPlace
from bnbench.report.decimation import every_so_many
from bnbench.report.drawn_slots import MOST_SLOTS
from bnbench.report.figures.activity import OVER_SEEDS, draw_lines, updates_per_epoch
from bnbench.report.figures.kind import FigureKind, Labels, PanelLabel, Request, labelled
from bnbench.report.figures.layers import LayerPanel, LayerRow, tidy_layers
from bnbench.report.figures.probed import NOTHING, in_order, variants_in_pages
from bnbench.report.style import EPOCH_LABEL, GAMMA

DISABLED_LABEL = "disabled channels"
ABOUT = (
    f"Share of the channels whose |γ| is below {DISABLED_BELOW:g}, so that the feature is as good as switched off "
    "(Frankle, Schwab & Morcos 2021)."
)
BY_STAGE = "Of a network with so many layers, those of each stage together."


def groups_of(places: Sequence[SlotPlace], carrying: Sequence[str]) -> dict[str, list[str]]:
    """The layers that are drawn as one line, by its name: each for itself, or where they are many those of a stage.

    Args:
        places: the network's slots, in order.
        carrying: the names of those that have a γ.
    """
    own = [place for place in places if place.name in carrying]
    if len(own) <= MOST_SLOTS or not any(place.stage is not None for place in own):
        return {place.name: [place.name] for place in own}
    found: dict[str, list[str]] = {}
    for place in own:
        found.setdefault(place.name if place.stage is None else f"stage {place.stage}", []).append(place.name)
    return found


def run_disabled(
    results: Results, record: RunRecord, groups: Mapping[str, Sequence[str]], *, most: int, per_epoch: float
) -> list[pd.DataFrame]:
    """The share of disabled channels of each group of layers of a run, over training.

    Args:
        results: an opened results folder.
        record: the run.
        groups: name to layers, which have the same snapshots.
        most: snapshots to keep.
        per_epoch: updates an epoch.

    Returns:
        For each group of which γ was recorded: seed, slot (the group's name), epoch (a fraction inside an epoch),
        value.

    Raises:
        UserError: a table is damaged.
    """
    recorded = {slot for slot, name in results.trajectory_names(record.identity.run_id) if name == GAMMA}
    pieces = []
    for name, slots in groups.items():
        there = [results.trajectory(record.identity.run_id, slot, GAMMA) for slot in slots if slot in recorded]
        if not there:
            continue
        kept = every_so_many(len(there[0].steps), most)
        channels = np.concatenate([each.values[kept] for each in there], axis=1)
        value = [disabled_share(snapshot) for snapshot in channels]
        epochs = there[0].steps[kept] / per_epoch
        pieces.append(pd.DataFrame({"seed": record.identity.seed, "slot": name, "epoch": epochs, "value": value}))
    return pieces


def data(results: Results, found: Sequence[Comparison], request: Request) -> pd.DataFrame:
    """The share of each layer or stage, a panel for each variant that learns γ; empty where no channel is disabled."""
    (compared,) = found
    per_epoch = updates_per_epoch(results, compared)
    rows = [row for row in in_order(compared) if row.learns(GAMMA)]
    if per_epoch is None or not rows:
        return NOTHING
    carrying = list(dict.fromkeys(slot for row in rows for each in row.records for slot in each.normalised_slots))
    groups = groups_of(compared.places, carrying)
    most = int(request.page.width * request.page.dots_per_inch)
    panels = []
    for row in rows:
        read = [
            piece
            for each in row.records
            for piece in run_disabled(results, each, groups, most=most, per_epoch=per_epoch)
        ]
        if read:
            panels.append(LayerPanel(symbol_of(row.variant), pd.concat(read, ignore_index=True), row.variant))
    if not any((panel.rows["value"] > 0).any() for panel in panels):
        return NOTHING
    across = 2 if request.page.width < 4 else 3
    starts = range(0, len(panels), across)
    layers = [LayerRow(DISABLED_LABEL, tuple(panels[start : start + across]), "part") for start in starts]
    stages = f" {BY_STAGE}" if len(groups) < len(carrying) else ""
    labels = Labels(
        EPOCH_LABEL,
        DISABLED_LABEL,
        caption=f"{ABOUT}{stages} {OVER_SEEDS}",
        panels={panel.title: PanelLabel(DISABLED_LABEL, "part") for panel in panels},
    )
    return labelled(tidy_layers(layers, list(groups)), labels)


DISABLED = FigureKind(
    "disabled",
    "Disabled features",
    "share of channels whose |γ| is near 0, per layer or stage over training",
    data,
    draw_lines,
    web="lines",
    lacks=f"a learned γ that comes below {DISABLED_BELOW:g}",
    tables=("curves", "affine"),
    portions=variants_in_pages(lambda _page: 12, lambda each: each.learns(GAMMA)),
    makes="bnbench run digits_3c3d --variant bn_only --seeds 3",
)
