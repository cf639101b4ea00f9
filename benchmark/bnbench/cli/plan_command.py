"""`bnbench plan`: what a sweep would do, and how long that may take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from bnbench.cli.console import print_plan, size_in_words, sweep_of
from bnbench.cli.options import grid_of, grid_options, plugin_option, results_option
from bnbench.cli.output import say
from bnbench.cli.run_options import planning_options, run_options_of


@click.command("plan")
@grid_options
@results_option
@planning_options
@click.option("--json", "as_json", is_flag=True, help="Machine-readable, a record for each run.")
@plugin_option
def command(results: Path, as_json: bool, **options: Any) -> None:  # noqa: ANN401 -- the fields of Grid and RunOptions
    """Say what `bnbench run` with the same options would do; nothing is written.

    A line for each run: to run (a damaged one again), resumable (from which epoch), running now, finished, diverged,
    failed; and the time that is left, from speeds that `bnbench estimate` measured on this device.

    \b
    Example:
      bnbench plan cifar10_3c3d --variant all --seeds 3
    """
    from bnbench.execution.executors import local_executor
    from bnbench.execution.selection import select

    how = run_options_of(options)
    selection = select(grid_of(options))
    print_plan(sweep_of(selection.specs, results, how, local_executor(how)).plan(), as_json=as_json)
    for line in size_in_words(selection.problems):
        say(line, err=True)
