"""γ, β and what the ReLUs zero, in a comparison's section: heat maps, activity over training, and two tables."""

from __future__ import annotations

import math
from dataclasses import replace

import pandas as pd

from bnbench.analysis.activity import average_over_seeds
from bnbench.analysis.activity_tables import activity_table, sparsity_table
from bnbench.analysis.comparison import symbol_of
from bnbench.analysis.table import Table
from bnbench.report.style import GREEK
from bnbench.report.webpage import markup
from bnbench.report.webpage.markup import Html, join, symbol, tag, text
from bnbench.report.webpage.sections import Commands, Section
from bnbench.report.webpage.tables import boxed
from bnbench.report.webpage.trajectories import COLUMNS, ROWS, Affine, AffineFigure


def affine_section(each: Section, affine: Affine, commands: Commands) -> Html:
    """Heat maps and activity of one comparison; nothing where nothing is learned."""
    if not affine.figures:
        return Html("")
    heading = tag("h4", text("γ and β over training"), id=f"{each.name}-affine")
    maps = [_map_figure(each, affine, place, figure, commands) for place, figure in enumerate(affine.figures, start=1)]
    table = replace(
        activity_table(affine.summary), name=f"activity-{each.file_name}", title="Activity of γ and β, by layer"
    )
    drawn = [_seed_choice(affine), *maps, _activity_figure(each, affine, commands)]
    return join([heading, *drawn, boxed(table, commands.activity(each.group))])


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


def _seed_choice(affine: Affine) -> Html:
    if len(affine.seeds) < 2:
        return Html("")
    options = (tag("option", text(seed), value=str(seed)) for seed in affine.seeds)
    return tag(
        "p", tag("label", text("seed of the heat maps"), tag("select", *options, data_option="seed")), class_="choice"
    )


def _map_figure(each: Section, affine: Affine, place: int, figure: AffineFigure, commands: Commands) -> Html:
    greek = GREEK[figure.parameter]
    caption = [
        text(f"{greek} of "),
        symbol(figure.symbol),
        text(f", {each.title}, seed "),
        tag("span", text(affine.seeds[0]), class_="seed"),
        text(
            f". Training step up, channels across, sorted by their final value; one scale for all layers, centred "
            f"where {greek} does nothing. At most {ROWS} snapshots and {COLUMNS} channels of each layer are shown."
        ),
    ]
    layers = max(len(one.panels) for one in figure.maps.values())
    return tag(
        "figure",
        tag("div", class_="plot-area maps", role="group", aria_label=figure.description),
        tag("figcaption", *caption),
        tag(
            "div",
            markup.command(commands.plot(each, figure.parameter, "--seed", affine.seeds[0])),
            class_="tools",
        ),
        id=f"{each.name}-map-{place}",
        data_figure="maps",
        data_comparison=each.name,
        data_name=figure.name,
        data_variant=figure.variant,
        data_parameter=figure.parameter,
        data_seed=str(affine.seeds[0]),
        data_layers=str(layers),
    )


def _activity_figure(each: Section, affine: Affine, commands: Commands) -> Html:
    caption = (
        f"Activity over training, {each.title}: mean over the channels of |β| or |γ − 1|, a line for each BatchNorm "
        "layer, from the first (dark) to the last (light); mean over the seeds that did not diverge."
    )
    ends = []
    for row in affine.summary.to_dict("records"):
        if not math.isnan(row["magnitude"]):
            who = f"{GREEK[str(row['parameter'])]} of {symbol_of(str(row['variant']))} in {row['slot']}"
            ends.append(f"{who} {row['magnitude']:.3f}")
    label = (
        f"Line charts of the activity of γ and β over training, a line for each layer. At the end: {', '.join(ends)}."
    )
    return tag(
        "figure",
        tag("div", class_="plot-area activity", role="group", aria_label=label),
        tag("figcaption", text(caption)),
        tag("div", markup.command(commands.plot(each, "activity")), class_="tools"),
        id=f"{each.name}-activity",
        data_figure="activity",
        data_comparison=each.name,
    )
