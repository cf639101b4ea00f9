"""`bnbench estimate`: how fast this machine is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from bnbench.cli.options import Grid, grid_options, results_option, select
from bnbench.cli.output import print_json
from bnbench.cli.sweep_options import gather_sweep, sweep_options
from bnbench.cli.sweep_plan import duration, make_plan, summary


@click.command("estimate")
@grid_options
@results_option
@sweep_options
@click.option("--json", "as_json", is_flag=True, help="Machine-readable, a record for each kind of run.")
def command(results: Path, as_json: bool, **options: Any) -> None:  # noqa: ANN401 -- the fields of Grid and SweepOptions
    """Measure a few steps and an evaluation of each problem under each variant, and say how long the runs would take.

    The speeds are kept in `speeds.json` in the folder of this machine's imported data (`bnbench env` names it), by
    device, and are what `bnbench plan` reckons with. They are measured with one run alone: measure on a quiet machine;
    runs side by side are somewhat slower each.

    \b
    Example:
      bnbench estimate cifar10_3c3d --variant all
    """
    from bnbench.data.store import data_home, missing
    from bnbench.execution.estimate import machine_name, measure_speed
    from bnbench.execution.streams import outlive_readers
    from bnbench.storage.speeds import SPEEDS, Speed, add_speed
    from bnbench.training.numerics import check_precision, choose_device

    sweep = gather_sweep(options)
    specs = select(Grid(**options)).specs
    device = choose_device("cuda" if sweep.gpus else sweep.device)
    for spec in specs:
        check_precision(spec.precision, device)
        if spec.data.fingerprint is None:
            raise missing(spec.data.name)
    outlive_readers()
    path, machine = data_home() / SPEEDS, machine_name(device, sweep.threads)
    measured: dict[tuple[str, str, str, str], Speed] = {}
    for spec in specs:
        kind = (spec.problem, spec.size, spec.variant.name, spec.placement)
        if kind in measured:
            continue
        measured[kind] = measure_speed(spec, device, sweep.threads)
        add_speed(path, machine, spec, measured[kind])
        if not as_json:
            speed = measured[kind]
            epoch = speed.step_s * speed.steps_per_epoch + speed.eval_s
            click.echo(
                f"{spec.problem:<20} {spec.size:<5} {spec.variant.name:<14} {spec.placement:<12}"
                f" {1000 * speed.step_s:8.2f} ms a step {speed.eval_s:8.2f} s an evaluation"
                f" {duration(epoch):>10} an epoch of {speed.steps_per_epoch} steps"
            )
    if as_json:
        names = ("problem", "size", "variant", "placement")
        records = [
            {**dict(zip(names, kind, strict=True)), "machine": machine, **speed.model_dump()}
            for kind, speed in measured.items()
        ]
        print_json(records)
    click.echo(f"measured on {machine}, kept in {path}", err=True)
    click.echo(summary(make_plan(specs, results, sweep)), err=True)
