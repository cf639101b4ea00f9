"""γ, β and what the ReLUs zero, in a comparison's section: heat maps, activity over training, and two tables."""

from __future__ import annotations

import math

import pandas as pd

from bnbench.analysis.activity import average_over_seeds
from bnbench.analysis.ranked_group import catalogue_order
from bnbench.report.style import GREEK, symbol_of
from bnbench.report.webpage import markup
from bnbench.report.webpage.comparisons import Commands, Comparison
from bnbench.report.webpage.markup import Cell, Column, Html, Table, join, number, symbol, tag, text, words
from bnbench.report.webpage.trajectories import COLUMNS, ROWS, Affine, AffineFigure

_ACTIVITY_COLUMNS = (
    Column(text("variant"), "variant"),
    Column(text("parameter"), "parameter"),
    Column(text("layer"), "slot"),
    Column(text("activity"), "magnitude", number=True, hint="Mean |γ − 1| or mean |β| over the channels, at the end"),
    Column(text("±"), "magnitude_deviation", number=True, hint="Standard deviation over the seeds"),
    Column(text("after a tenth"), "early_magnitude", number=True, hint="Activity after a tenth of the steps"),
    Column(text("lowest"), "minimum", number=True, hint="Smallest channel at the end"),
    Column(text("median"), "median", number=True),
    Column(text("highest"), "maximum", number=True, hint="Largest channel at the end"),
    Column(text("above neutral"), "share_above", number=True, hint="Share of channels with γ > 1 or β > 0"),
    Column(text("crossings"), "crossings", number=True, hint="How often a channel crosses 1 (γ) or 0 (β), mean"),
    Column(text("monotonic"), "monotonic_share", number=True, hint="Share of channels whose trajectory is monotonic"),
)


def affine_section(each: Comparison, affine: Affine, commands: Commands) -> Html:
    """Heat maps and activity of one comparison; nothing where nothing is learned."""
    if not affine.figures:
        return Html("")
    heading = tag("h4", text("γ and β over training"), id=f"{each.name}-affine")
    maps = [_map_figure(each, affine, place, figure, commands) for place, figure in enumerate(affine.figures, start=1)]
    return join([heading, _seed_choice(affine), *maps, _activity_figure(each, affine, commands),
                 markup.table(activity_table(each, affine.summary, commands))])  # fmt: skip


def activity_table(each: Comparison, summary: pd.DataFrame, commands: Commands) -> Table:
    """What γ and β of every layer did, means over the seeds.

    Args:
        each: the comparison.
        summary: as `average_over_seeds` gives it.
        commands: for the line below the table.
    """
    names = [column.name for column in _ACTIVITY_COLUMNS[3:]]
    rows = []
    for row in summary.to_dict("records"):
        variant, parameter = str(row["variant"]), str(row["parameter"])
        who = (
            Cell(symbol(symbol_of(variant)), variant),
            Cell(text(GREEK[parameter]), parameter),
            words(row["slot"]),
        )
        rows.append((*who, *(_measure(row[name]) for name in names)))
    return Table(
        name=f"activity-{each.file_name}",
        caption=text("Activity of γ and β, by layer"),
        columns=_ACTIVITY_COLUMNS,
        rows=tuple(rows),
        notes=(
            text(
                "Activity: mean over the channels of the distance from doing nothing, |γ − 1| or |β|, at the last "
                "snapshot. Means over the seeds; no number where a seed diverged."
            ),
        ),
        command=commands.activity(each.group),
    )


def sparsity_table(each: Comparison, summary: pd.DataFrame, commands: Commands) -> Table | None:
    """The share of activations that each ReLU zeroes at the end; None where the probe was not on.

    Args:
        each: the comparison.
        summary: as `sparsity_summary` gives it.
        commands: for the line below the table.
    """
    own = summary[summary["run_id"].isin([run.run.run_id for row in each.group.rows for run in row.runs])]
    if own.empty:
        return None
    means = average_over_seeds(own, ["initial", "final"])
    slots = list(dict.fromkeys(means.sort_values("position")["slot"]))
    values = {(row["variant"], row["slot"]): row["final"] for row in means.to_dict("records")}
    variants = sorted(dict.fromkeys(means["variant"]), key=catalogue_order)
    return Table(
        name=f"sparsity-{each.file_name}",
        caption=text("Share of activations that each ReLU zeroes"),
        columns=(Column(text("variant"), "variant"), *(Column(text(slot), str(slot), number=True) for slot in slots)),
        rows=tuple(
            (
                Cell(symbol(symbol_of(str(variant))), str(variant)),
                *(_measure(values.get((variant, slot), math.nan)) for slot in slots),
            )
            for variant in variants
        ),
        notes=(text("On train_eval, mean over the last tenth of the epochs and over the seeds."),),
        command=commands.activity(each.group),
    )


def _measure(value: float) -> Cell:
    return number(None if math.isnan(value) else float(value))


def _seed_choice(affine: Affine) -> Html:
    if len(affine.seeds) < 2:
        return Html("")
    options = (tag("option", text(seed), value=str(seed)) for seed in affine.seeds)
    return tag(
        "p", tag("label", text("seed of the heat maps"), tag("select", *options, data_option="seed")), class_="choice"
    )


def _map_figure(each: Comparison, affine: Affine, place: int, figure: AffineFigure, commands: Commands) -> Html:
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


def _activity_figure(each: Comparison, affine: Affine, commands: Commands) -> Html:
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
