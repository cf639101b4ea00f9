"""`bnbench plan`: what a sweep would do, and how long that may take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from bnbench.cli.options import Grid, grid_options, results_option, select
from bnbench.cli.sweep_options import gather_sweep, sweep_options
from bnbench.cli.sweep_plan import make_plan, print_plan


@click.command("plan")
@grid_options
@results_option
@sweep_options
@click.option("--json", "as_json", is_flag=True, help="Machine-readable, a record for each run.")
def command(results: Path, as_json: bool, **options: Any) -> None:  # noqa: ANN401 -- the fields of Grid and SweepOptions
    """Say what `bnbench run` with the same options would do; nothing is written.

    A line for each run: to run (a damaged one again), resumable (from which epoch), running now, finished, diverged,
    failed; and the time that is left, from speeds that `bnbench estimate` measured on this device.

    \b
    Example:
      bnbench plan cifar10_3c3d --variant all --seeds 3
    """
    sweep = gather_sweep(options)
    print_plan(make_plan(select(Grid(**options)).specs, results, sweep), as_json)
