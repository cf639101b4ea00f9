"""`bnbench run`: train what is missing, record it, rank it, draw it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bnbench.cli.console import (
    end_on_failures,
    ended_by_a_stop,
    print_plan,
    print_warnings,
    say_that_it_begins,
    size_in_words,
    sweep_of,
)
from bnbench.cli.options import grid_of, grid_options, plugin_option, results_option
from bnbench.cli.output import say
from bnbench.cli.page import write_page
from bnbench.cli.path_type import GivenPath
from bnbench.cli.run_options import executor_of, run_options_of, training_options

if TYPE_CHECKING:
    from bnbench.execution.selection import Selection
    from bnbench.execution.sweep import Sweep
    from bnbench.problem import Target


@click.command("run")
@grid_options
@results_option
@training_options
@click.option(
    "--report",
    type=GivenPath(dir_okay=False),
    metavar="FILE",
    help="At the end write the page of `bnbench report` of the whole results folder.",
)
@click.option("--dry-run", is_flag=True, help="Say what would run, and stop; as `bnbench plan`.")
@plugin_option
def command(
    results: Path,
    report: Path | None,
    dry_run: bool,
    **options: Any,  # noqa: ANN401 -- the fields of Grid, and how runs are carried out, as click hands them over
) -> None:
    """Train problems under variants of BatchNorm.

    Runs that are finished are skipped, those that were interrupted go on from their last checkpoint, and those that
    another process is training are left to it. Runs that failed stay as they are, unless --retry failed.

    \b
    Examples:
      bnbench run digits_3c3d --variant all
      bnbench run cifar100_allcnnc --placement every --size tiny
      bnbench run ./mine.toml --variant bn_gamma --seeds 3 --set training.l2=0
      bnbench run cifar10_3c3d --gpus 0,1 --runs-per-gpu 2 --run-timeout 3h
      bnbench run cifar10_3c3d --seeds 10 --executor slurm --slurm partition=gpu --slurm gpus=1 --slurm time=12:00:00
    """
    from bnbench.execution.selection import select

    how = run_options_of(options)
    executor = executor_of(options, how)
    selection = select(grid_of(options))
    sweep = sweep_of(selection.specs, results, how, executor)
    if dry_run:
        print_warnings(sweep.plan())
        print_plan(sweep.plan())
        for line in size_in_words(selection.problems):
            say(line, err=True)
        return
    say_that_it_begins()
    with ended_by_a_stop(sweep):
        outcomes = sweep.run()
    if sweep.plan().todo and executor.sends_away:
        return  # nothing can be said yet
    _report(selection, sweep, report)
    end_on_failures(sweep.plan(), outcomes)


def _report(selection: Selection, sweep: Sweep, page: Path | None) -> None:
    """The ranking of what was asked for, a picture of the curves, and where everything lies."""
    from bnbench.analysis.frames import Results
    from bnbench.analysis.ranking import rank
    from bnbench.analysis.ranking_tables import ranking_tables
    from bnbench.cli.output import print_tables
    from bnbench.cli.picture import draw_training_curves

    results = Results(sweep.store, sweep.contents)
    asked = [spec.run_id for spec in selection.specs]
    if not results.select(run_id=asked):
        return
    targets: dict[tuple[str, str], tuple[Target, ...]] = {
        (problem.name, problem.size): problem.targets for problem in selection.problems
    }
    print_tables(ranking_tables(rank(results, targets=lambda name, size: targets.get((name, size), ()), run_id=asked)))
    picture = draw_training_curves(results, asked)
    say(f"curves and γ/β trajectories  {results.path}{os.sep}<run>{os.sep}*.parquet", err=True)
    if picture is not None:
        say(f"picture of the curves        {picture}", err=True)
    if page is not None:
        write_page(results, page, "--report")
