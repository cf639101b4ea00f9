"""`bnbench rank`: order the variants of the recorded runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bnbench.cli.options import SIZES, plugin_option, results_option
from bnbench.cli.output import Format, chosen, format_options, print_json, print_tables, print_warnings

if TYPE_CHECKING:
    from bnbench.analysis.frames import IdentityFilters


@click.command("rank")
@click.argument("problems", nargs=-1, metavar="[PROBLEM]...")
@click.option("--size", type=click.Choice(SIZES), help="Only runs of this size.")
@click.option("--placement", "placements", multiple=True, help="Only this placement, as recorded. Repeatable.")
@click.option("--details", is_flag=True, help="Add tests and effect sizes of the differences.")
@format_options
@results_option
@plugin_option
def command(
    problems: tuple[str, ...],
    size: str | None,
    placements: tuple[str, ...],
    details: bool,
    style: Format | None,
    as_json: bool,
    results: Path,
) -> None:
    """Rank the variants, separately for each setting, placement and learning rate.

    By a problem's name all runs of every setting are meant in which it occurs; by a problem's file those of its
    settings, whatever they are called.

    \b
    Examples:
      bnbench rank
      bnbench rank digits_3c3d --size tiny --json
      bnbench rank digits_3c3d --format latex        # for a paper
      bnbench rank ./mine.toml                       # with the targets of that file
    """
    from bnbench.analysis.asked import asked_settings, asked_targets
    from bnbench.analysis.frames import open_results
    from bnbench.analysis.ranking import rank
    from bnbench.analysis.ranking_tables import ranking_json, ranking_tables

    wanted = chosen(style, as_json=as_json)
    opened = open_results(results)
    filters: IdentityFilters = {}
    if problems:
        filters["setting_id"] = asked_settings(opened.records, problems)
    if size:
        filters["size"] = size
    if placements:
        filters["placement"] = list(placements)
    ranking = rank(opened, targets=asked_targets(opened.records, problems), **filters)
    print_warnings(opened)
    if wanted == "json":
        print_json(ranking_json(ranking))
        return
    print_tables(ranking_tables(ranking, details=details), wanted)
