"""The share of activations that the ReLU after each layer zeroes, over training."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from bnbench.analysis.comparison import Comparison
from bnbench.analysis.frames import Results
from bnbench.components.placements import relu_sites
from bnbench.report.drawn_slots import drawn_slots, left_out
from bnbench.report.figures.activity import OVER_SEEDS, draw_lines
from bnbench.report.figures.kind import FigureKind, Labels, Request, labelled
from bnbench.report.figures.layers import LayerPanel, LayerRow, tidy_layers
from bnbench.report.style import EPOCH_LABEL, SPARSITY_LABEL, variant_label

ABOUT = (
    "Share of a layer's activations that the ReLU after it zeroes, on a fixed batch of train_eval in eval mode, before "
    "the first step and after every epoch."
)


def data(results: Results, found: Sequence[Comparison], request: Request) -> pd.DataFrame:
    """The share of each layer, a panel for each variant; empty without the probe."""
    (compared,) = found
    columns = ["run_id", "seed", "slot", "epoch", "zeroed"]
    frame = results.sparsity(columns=columns, run_id=compared.run_ids).rename(columns={"zeroed": "value"})
    if frame.empty:
        return pd.DataFrame(columns=["x", "y", "series", "panel"])
    recorded = set(map(str, frame["slot"].unique()))
    of_run = frame["run_id"].map(compared.labels)
    panels = [
        LayerPanel(variant_label(name), frame[of_run == name]) for name in compared.variants if (of_run == name).any()
    ]
    across = 2 if request.page.width < 4 else 3
    rows = [
        LayerRow(SPARSITY_LABEL, tuple(panels[start : start + across]), "share")
        for start in range(0, len(panels), across)
    ]
    slots = drawn_slots(relu_sites(compared.places), recorded)
    caption = f"{ABOUT} {OVER_SEEDS}{left_out(slots, recorded)}"
    return labelled(tidy_layers(rows, slots), Labels(EPOCH_LABEL, f"{SPARSITY_LABEL} [%]", caption=caption))


SPARSITY = FigureKind(
    "sparsity",
    "Sparsity of the activations",
    "share of activations that each ReLU zeroes",
    data,
    draw_lines,
    lacks="runs with the probe `sparsity`",
    tables=("sparsity",),
    makes="bnbench run digits_3c3d --variant all --set probes.sparsity=true --seeds 3",
)
