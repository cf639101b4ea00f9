"""`bnbench activity`: how γ and β moved, and what the ReLUs zeroed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from bnbench.cli.options import SIZES, plugin_option, results_option
from bnbench.cli.output import (
    Format,
    chosen,
    format_options,
    print_document,
    print_json,
    print_tables,
    print_warnings,
    say,
    warnings_after,
)

if TYPE_CHECKING:
    import pandas as pd

    from bnbench.analysis.activity import ActivityFilters
    from bnbench.analysis.frames import IdentityFilters, Results


@click.command("activity")
@click.argument("problems", nargs=-1, metavar="[PROBLEM]...")
@click.option("--size", type=click.Choice(SIZES), help="Only runs of this size.")
@click.option("--placement", "placements", multiple=True, help="Only this placement, as recorded. Repeatable.")
@click.option("--variant", "variants", multiple=True, help="Only this variant. Repeatable.")
@click.option(
    "--parameter",
    "parameters",
    multiple=True,
    type=click.Choice(["gamma", "beta", "bias", "scale"]),
    help="Only this parameter; default: gamma and beta. Repeatable.",
)
@click.option("--slot", "slots", multiple=True, help="Only this slot, e.g. conv1. Repeatable.")
@click.option("--over-training", is_flag=True, help="The way there instead of its end.")
@click.option("--runs", "each_run", is_flag=True, help="With --json or --csv: each run instead of means over seeds.")
@format_options
@click.option("--csv", "as_csv", is_flag=True, help="Short for --format csv.")
@results_option
@plugin_option
def command(
    problems: tuple[str, ...],
    size: str | None,
    placements: tuple[str, ...],
    variants: tuple[str, ...],
    parameters: tuple[str, ...],
    slots: tuple[str, ...],
    over_training: bool,
    each_run: bool,
    style: Format | None,
    as_json: bool,
    as_csv: bool,
    results: Path,
) -> None:
    """Say how far γ went from 1 and β from 0, how they got there, and what the ReLUs zero.

    Values are means over the seeds of one setting, placement and learning rate. With --over-training, JSON and CSV give
    each run at up to 200 snapshots.

    \b
    Examples:
      bnbench activity
      bnbench activity cifar100_allcnnc --placement every --parameter gamma
      bnbench activity digits_3c3d --size tiny --csv
    """
    from bnbench.analysis.frames import open_results
    from bnbench.errors import UserError

    if as_csv and (as_json or style not in {None, "csv"}):
        raise UserError("--csv and what else was asked for are two forms of the same rows", hint="Give one of them.")
    wanted = "csv" if as_csv else chosen(style, as_json=as_json)
    opened = open_results(results)
    runs = _runs(opened, problems, size, variants)
    filters = cast("ActivityFilters", {**runs, "parameter": list(parameters) or ["gamma", "beta"]})
    if placements:
        filters["placement"] = _recorded(opened, "placement", placements)
    if slots:
        filters["slot"] = list(slots)
    print_warnings(opened)
    with warnings_after(opened):
        if wanted in {"json", "csv"}:
            _print_rows(opened, runs, filters, wanted, over_training=over_training, each_run=each_run)
        else:
            _print_tables(opened, runs, filters, wanted, over_training=over_training)


def _print_rows(
    opened: Results,
    runs: IdentityFilters,
    filters: ActivityFilters,
    style: Format,
    *,
    over_training: bool,
    each_run: bool,
) -> None:
    """The numbers as JSON or CSV."""
    from bnbench.analysis.activity import activity_over_training, activity_summary, average_over_seeds
    from bnbench.analysis.activity_tables import definitions, plain_records

    if over_training:
        frame = activity_over_training(opened, **filters)
    else:
        frame = activity_summary(opened, **filters)
        frame = frame if each_run else average_over_seeds(frame)
    if style == "csv":
        print_document(_flat(frame).to_csv(index=False))
        return
    document: dict[str, object] = {"definitions": definitions(), "rows": plain_records(frame)}
    if not over_training:
        document["zeroed_by_relu"] = plain_records(_sparsity(opened, runs, _placements(filters), averaged=not each_run))
    print_json(document)


def _runs(opened: Results, problems: tuple[str, ...], size: str | None, variants: tuple[str, ...]) -> IdentityFilters:
    """The runs that were asked for, of any placement."""
    from bnbench.analysis.asked import asked_settings

    filters: IdentityFilters = {}
    if problems:
        filters["setting_id"] = asked_settings(opened.records, problems)
    if variants:
        filters["variant"] = _recorded(opened, "variant", variants)
    if size:
        filters["size"] = size
    return filters


def _recorded(opened: Results, column: str, wanted: tuple[str, ...]) -> list[str]:
    """The wanted values of an identity column, all of which occur.

    Raises:
        UserError: a name is not among the recorded ones.
    """
    from bnbench.errors import unknown

    recorded = sorted({getattr(record.identity, column) for record in opened.records})
    for name in wanted:
        if name not in recorded:
            raise unknown(f"recorded {column}", name, recorded)
    return list(wanted)


def _print_tables(
    opened: Results, runs: IdentityFilters, filters: ActivityFilters, style: Format, *, over_training: bool
) -> None:
    from bnbench.analysis.activity import activity_summary, average_over_seeds, magnitude_column, magnitudes_at
    from bnbench.analysis.activity_tables import SHOWN_AT, activity_tables, way_there_tables

    if over_training:
        columns = [magnitude_column(share) for share in SHOWN_AT]
        tables = way_there_tables(average_over_seeds(magnitudes_at(opened, SHOWN_AT, **filters), columns))
    else:
        sparsity = _sparsity(opened, runs, _placements(filters), averaged=True)
        slots = filters.get("slot")
        if slots is not None and len(sparsity):
            sparsity = sparsity[sparsity["slot"].isin([slots] if isinstance(slots, str) else slots)]
        tables = activity_tables(average_over_seeds(activity_summary(opened, **filters)), sparsity)
    print_tables(tables, style)
    if not tables:
        say("No learned γ or β among these runs.", err=True)


def _sparsity(opened: Results, runs: IdentityFilters, placements: tuple[str, ...], *, averaged: bool) -> pd.DataFrame:
    """What the ReLUs zero, in the runs without any BatchNorm too, which belong to every placement."""
    from bnbench.analysis.activity import average_over_seeds, sparsity_summary
    from bnbench.components.placements import NOWHERE

    filters: IdentityFilters = {**runs}
    if placements:
        filters["placement"] = [*placements, NOWHERE]
    summary = sparsity_summary(opened, **filters)
    return average_over_seeds(summary, ["initial", "final"]) if averaged else summary


def _placements(filters: ActivityFilters) -> tuple[str, ...]:
    found = filters.get("placement", ())
    return (found,) if isinstance(found, str) else tuple(found)


def _flat(frame: pd.DataFrame) -> pd.DataFrame:
    """Tuples as text, since a cell of a CSV file holds one value."""
    changed = {
        name: frame[name].map(lambda cell: " ".join(map(str, cell)))
        for name in ("problems", "seeds")
        if name in frame.columns
    }
    return frame.assign(**changed)
