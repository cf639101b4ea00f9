"""`bnbench estimate`: how fast this machine is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bnbench.cli.console import say_that_it_begins, summary, sweep_of
from bnbench.cli.options import grid_of, grid_options, plugin_option, results_option
from bnbench.cli.output import print_json, say, warn
from bnbench.cli.run_options import planning_options, run_options_of
from bnbench.words import duration

if TYPE_CHECKING:
    from bnbench.execution.speed import Measurement
    from bnbench.plan import RunSpec


@click.command("estimate")
@grid_options
@results_option
@planning_options
@click.option("--json", "as_json", is_flag=True, help="Machine-readable, a record for each kind of run.")
@plugin_option
def command(results: Path, as_json: bool, **options: Any) -> None:  # noqa: ANN401 -- the fields of Grid and RunOptions
    """Measure a few steps and an evaluation of each problem under each variant, and say how long the runs would take.

    The speeds are kept in `speeds.json` in the folder of this machine's imported data (`bnbench env` names it), by
    device, and are what `bnbench plan` reckons with. They are measured with one run alone; runs side by side are
    somewhat slower each. What other work takes of the CPU meanwhile is noticed, said, and reckoned out: a quiet machine
    gives better numbers. A kind of run takes some ten to thirty seconds, however large its network is.

    \b
    Example:
      bnbench estimate cifar10_3c3d --variant all
    """
    from bnbench.data.store import data_home
    from bnbench.execution.executors import local_executor
    from bnbench.execution.selection import select
    from bnbench.execution.streams import outlive_readers
    from bnbench.storage.speeds import SPEEDS, place_of_speeds

    how = run_options_of(options)
    specs = select(grid_of(options)).specs
    say_that_it_begins()
    outlive_readers()
    from bnbench.execution.speed import measure_speeds  # torch: a mistake is told before it is loaded

    records: list[dict[str, object]] = []
    cpu_s = wall_s = 0.0
    beside_others = False
    for spec, found in measure_speeds(specs, how, _begins):
        kind = {"problem": spec.problem, "size": spec.size, "variant": spec.variant.name, "placement": spec.placement}
        measured = {"steps": found.steps, "cpu_s": found.cpu_s, "wall_s": found.wall_s}
        records.append({**kind, **found.speed.model_dump(), **measured})
        cpu_s, wall_s = cpu_s + found.cpu_s, wall_s + found.wall_s
        beside_others = beside_others or found.speed.cpu_share < 1
        if not as_json:
            say(_line(spec, found))
    plan = sweep_of(specs, results, how, local_executor(how)).plan()
    if as_json:
        print_json([{**record, "machine": plan.machine} for record in records])
    place = place_of_speeds(data_home() / SPEEDS)
    say(f"measured on {plan.machine}{f', kept in {place}' if place else ''}", err=True)
    if beside_others:
        say(
            f"measured beside other work: {_clock(cpu_s)} of CPU in {_clock(wall_s)}; "
            "the forecast is for a machine of its own",
            err=True,
        )
    if place is None:
        warn(
            f"the speeds could not be kept: {data_home()} cannot be written, so `bnbench plan` will not know them; let "
            "BNBENCH_DATA name a folder that can be"
        )
    say(summary(plan), err=True)


def _begins(spec: RunSpec, number: int, total: int) -> None:
    say(f"measuring {number} of {total}: {spec.problem} {spec.variant.name} {spec.placement} …", err=True)


def _line(spec: RunSpec, found: Measurement) -> str:
    speed = found.speed
    epoch = speed.step_s * speed.steps_per_epoch + speed.eval_s
    beside = f", beside other work ({speed.cpu_share:.0%} of the CPU)" if speed.cpu_share < 1 else ""
    return (
        f"{spec.problem:<20} {spec.size:<5} {spec.variant.name:<14} {spec.placement:<12}"
        f" {1000 * speed.step_s:8.2f} ms a step {speed.eval_s:8.2f} s an evaluation"
        f" {duration(epoch):>10} an epoch of {speed.steps_per_epoch} steps ({found.steps} measured{beside})"
    )


def _clock(seconds: float) -> str:
    """Minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}"
