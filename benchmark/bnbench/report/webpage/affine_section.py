"""γ, β and what the ReLUs zero, in a comparison's section: activity over training, and two tables."""

from __future__ import annotations

import math
from dataclasses import replace

import pandas as pd

from bnbench.analysis.activity import average_over_seeds
from bnbench.analysis.activity_tables import activity_table, sparsity_table
from bnbench.analysis.table import Table
from bnbench.analysis.variant_labels import symbol_of
from bnbench.report.style import BETA, GAMMA, GREEK
from bnbench.report.webpage.figures import Panel, TidyFigure
from bnbench.report.webpage.sections import Section
from bnbench.report.webpage.trajectories import Affine

_ACTIVITY = {GAMMA: "mean |γ − 1|", BETA: "mean |β|"}


def affine_table(each: Section, affine: Affine) -> Table:
    """The activity of γ and β by layer, of a comparison in which something is learned."""
    return replace(
        activity_table(affine.summary), name=f"activity-{each.file_name}", title="Activity of γ and β, by layer"
    )


def activity_figure(each: Section, affine: Affine) -> TidyFigure:
    """Activity over training, of a comparison in which something is learned."""
    ends = []
    for row in affine.summary.to_dict("records"):
        if not math.isnan(row["magnitude"]):
            who = f"{GREEK[str(row['parameter'])]} of {symbol_of(str(row['variant']))} in {row['slot']}"
            ends.append(f"{who} {row['magnitude']:.3f}")
    return TidyFigure(
        kind="activity",
        title=each.title,
        caption="Activity over training: mean over the channels of |β| or |γ − 1|, a line for each BatchNorm layer, "
        f"from the first (dark) to the last (light); mean over the seeds that did not diverge.{affine.left_out}",
        web="lines",
        x_label="training step",
        y_label="",
        rows=affine.activity_rows(),
        panels=tuple(Panel(figure.panel, _ACTIVITY[figure.parameter]) for figure in affine.figures),
        names={"x": "step", "series": "slot"},
        description="Line charts of the activity of γ and β over training, a line for each layer. At the end: "
        f"{', '.join(ends)}.",
    )


def zeroed_table(each: Section, summary: pd.DataFrame) -> Table | None:
    """The share of activations that each ReLU zeroes; None where the probe was not on.

    Args:
        each: the comparison.
        summary: as `sparsity_summary` gives it.
    """
    own = summary[summary["run_id"].isin(each.group.run_ids)]
    if own.empty:
        return None
    table = sparsity_table(average_over_seeds(own, ["initial", "final"]))
    title = "Share of activations that each ReLU zeroes: before training → over the last tenth of the epochs"
    return replace(table, name=f"sparsity-{each.file_name}", title=title)
