"""`bnbench rank`: order the variants of the recorded runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bnbench.cli.options import SIZES, results_option
from bnbench.cli.output import Format, chosen, format_options, print_json, print_tables, print_warnings

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bnbench.analysis.frames import IdentityFilters
    from bnbench.analysis.measures import TargetLookup
    from bnbench.problem import Target


@click.command("rank")
@click.argument("problems", nargs=-1, metavar="[PROBLEM]...")
@click.option("--size", type=click.Choice(SIZES), help="Only runs of this size.")
@click.option("--placement", "placements", multiple=True, help="Only this placement, as recorded. Repeatable.")
@click.option("--details", is_flag=True, help="Add tests and effect sizes of the differences.")
@format_options
@results_option
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

    \b
    Examples:
      bnbench rank
      bnbench rank digits_3c3d --size tiny --json
      bnbench rank digits_3c3d --format latex        # for a paper
      bnbench rank ./mine.toml                       # with the targets of that file
    """
    from bnbench.analysis.frames import open_results
    from bnbench.analysis.ranking import rank
    from bnbench.analysis.ranking_tables import ranking_json, ranking_tables
    from bnbench.errors import unknown

    wanted = chosen(style, as_json=as_json)
    own_targets = _targets_of(name for name in problems if name.endswith(".toml"))
    opened = open_results(results)
    filters: IdentityFilters = {}
    recorded = sorted({record.identity.problem for record in opened.records})
    names = [Path(name).stem if name.endswith(".toml") else name for name in problems]
    for name in names:
        if name not in recorded:
            raise unknown("recorded problem", name, recorded)
    if names:
        filters["problem"] = names
    if size:
        filters["size"] = size
    if placements:
        filters["placement"] = list(placements)
    ranking = rank(opened, targets=own_targets, **filters)
    print_warnings(opened)
    if wanted == "json":
        print_json(ranking_json(ranking))
        return
    print_tables(ranking_tables(ranking, details=details), wanted)


def _targets_of(paths: Iterable[str]) -> TargetLookup:
    """The targets of the problems whose files were named, and of those that ship.

    Raises:
        UserError: a file cannot be read, or is not a problem's.
    """
    from bnbench.analysis.settings import problem_targets
    from bnbench.problem import read_problem

    files = {file.name: file for file in map(read_problem, map(Path, paths))}

    def targets(name: str, size: str) -> tuple[Target, ...]:
        if name not in files:
            return problem_targets(name, size)
        # A run may be of a size whose table the file had once.
        found = next((each for each in files[name].sizes if each == size), None)
        return () if found is None else files[name].problem(found).targets

    return targets
