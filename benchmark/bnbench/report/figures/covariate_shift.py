"""Internal covariate shift over training, by slot: what the update of earlier slots does to a slot's gradient."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from bnbench.analysis.comparison import Comparison
from bnbench.analysis.frames import Results
from bnbench.report.figures.kind import FigureKind, Labels, PanelLabel, Request, labelled
from bnbench.report.figures.probed import EACH_SEED, GAPS, NOTHING, STEP_LABEL, not_measured, probe_rows, scale_of
from bnbench.report.figures.variant_lines import draw_variant_lines

PROBE = "covariate_shift"
SHIFT_LABEL = "‖G − G′‖ / ‖G‖"
ABOUT = (
    "Internal covariate shift (Santurkar et al. 2018, definition 2.1): G is a layer's gradient before an update, G′ "
    "the same with all layers before it already updated. A panel for each layer; nothing comes before the first."
)


def data(results: Results, found: Sequence[Comparison], _request: Request) -> pd.DataFrame:
    """The relative shift of every run: a panel for each slot, in the network's order."""
    (compared,) = found
    rows = probe_rows(results, compared, PROBE, ["step", "slot", "relative_shift"])
    if rows.empty:
        return NOTHING
    order = {slot: place for place, slot in enumerate(compared.slots)}
    rows = rows.sort_values("slot", key=lambda slots: slots.map(order), kind="stable")
    frame = rows.rename(columns={"step": "x", "relative_shift": "y", "slot": "panel"})
    label = PanelLabel(SHIFT_LABEL, scale_of(frame["y"]))
    caption = f"{ABOUT} {EACH_SEED} {GAPS}{not_measured(results, compared, PROBE, PROBE)}"
    panels = dict.fromkeys(map(str, frame["panel"].unique()), label)
    columns = ["x", "y", "series", "panel", "seed", "diverged_at_step"]
    return labelled(
        frame[columns].reset_index(drop=True), Labels(STEP_LABEL, SHIFT_LABEL, caption=caption, panels=panels)
    )


COVARIATE_SHIFT = FigureKind(
    "covariate_shift",
    "Internal covariate shift",
    "relative shift of each layer's gradient over training",
    data,
    draw_variant_lines,
    web="lines",
    lacks="runs with the probe `covariate_shift`",
    tables=("covariate_shift", "probe_notes"),
    makes="bnbench run digits_mlp --variant all --set probes.covariate_shift=true --seeds 3",
)
