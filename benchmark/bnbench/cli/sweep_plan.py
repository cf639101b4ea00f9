"""What a sweep would do: how its runs stand, which are to be trained, and how long that may take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, assert_never

import click

from bnbench.cli.output import print_json, print_tables
from bnbench.words import counted

if TYPE_CHECKING:
    from bnbench.cli.sweep_options import SweepOptions
    from bnbench.execution.pool import Slot
    from bnbench.plan import RunSpec
    from bnbench.storage.standing import RunState, Standing


@dataclass(frozen=True)
class PlannedRun:
    """One run of a sweep: how it stands, whether it is to be trained, and how long that may take."""

    spec: RunSpec
    standing: Standing | None
    """None where the data are not at hand, so that the run has no id yet."""
    to_train: bool
    seconds: float | None
    """What is left of it, on this device alone; None where the speed was not measured."""
    whole_seconds: float | None = None
    """The same from its first step."""


@dataclass(frozen=True)
class SweepPlan:
    """What a sweep would do."""

    runs: tuple[PlannedRun, ...]
    side_by_side: int
    machine: str
    """What speeds are measured for: the model of the processor or GPU."""
    device: str
    """As runs record it: "cpu", or the model of the GPU."""

    @property
    def todo(self) -> list[RunSpec]:
        """The runs to train, and those that other processes are training."""
        return [run.spec for run in self.runs if run.to_train]

    @property
    def seconds(self) -> float | None:
        """When the last run would end; None where a speed is missing."""
        from bnbench.storage.speeds import schedule_seconds

        left = [run.seconds for run in self.runs if run.to_train]
        known = [seconds for seconds in left if seconds is not None]
        return schedule_seconds(known, self.side_by_side) if len(known) == len(left) else None


def make_plan(specs: Sequence[RunSpec], results: Path, sweep: SweepOptions) -> SweepPlan:
    """How the runs of a sweep stand, and what it would do. Writes nothing.

    Raises:
        UserError: the results cannot be read, or the device does not exist.
    """
    from bnbench.data.store import data_home
    from bnbench.execution.estimate import machine_name
    from bnbench.execution.single import describe_device
    from bnbench.storage.speeds import SPEEDS, read_speeds, remaining_seconds
    from bnbench.storage.standing import Standing, survey
    from bnbench.storage.store import ResultStore

    slots, device = slots_of(sweep)
    machine = machine_name(device, sweep.threads)
    store = ResultStore(results)
    named = [spec for spec in specs if spec.data.fingerprint is not None]
    unnamed = [spec for spec in specs if spec.data.fingerprint is None]
    if sweep.shard is not None:
        named, unnamed = sweep.shard.of(named), []
    standings = survey({spec.run_id: store.run_folder(spec.run_id) for spec in named})
    speeds = read_speeds(data_home() / SPEEDS, machine)
    runs = []
    for spec in named:
        standing = standings[spec.run_id]
        if sweep.fresh and standing.state in {"resumable", "damaged"}:
            standing = Standing("damaged" if standing.state == "damaged" else "new")
        wanted = standing.state in {"new", "damaged", "resumable", "running"} or (
            standing.state == "failed" and sweep.retry_failed
        )
        speed = speeds.of(spec) if wanted else None
        left = None if speed is None else remaining_seconds(spec, standing, speed)
        whole = None if speed is None else remaining_seconds(spec, Standing("new"), speed)
        runs.append(PlannedRun(spec, standing, wanted, left, whole))
    runs += [PlannedRun(spec, None, True, None) for spec in unnamed]
    return SweepPlan(tuple(runs), len(slots), machine, describe_device(device))


def print_plan(plan: SweepPlan, as_json: bool) -> None:
    """A line for each run on stdout, the sum on stderr; or everything as JSON."""
    from bnbench.analysis.table import Cell, Column, Kind, Table
    from bnbench.cli.progress import title

    if as_json:
        print_json([_record(run) for run in plan.runs])
        return
    columns = (
        Column("state", "state"),
        Column("run", "run"),
        Column("seconds", "time left", Kind.NUMBER, show=duration, priority=1),
        Column("run_id", "id", Kind.IDENTIFIER, priority=2),
    )
    rows = [
        (_state(run), title(run.spec), Cell(run.seconds, duration(run.seconds) if run.to_train else ""), _run_id(run))
        for run in plan.runs
    ]
    print_tables([Table("plan", columns, tuple(rows), headless=True)])
    click.echo(summary(plan), err=True)


def summary(plan: SweepPlan) -> str:
    """How many runs are to be trained, how long that may take, and what stands in the way."""
    states: list[RunState] = [run.standing.state for run in plan.runs if run.standing is not None]
    training = [run for run in plan.runs if run.to_train]
    text = f"{len(training)} of {counted(len(plan.runs), 'run')} to train"
    others = [f"{states.count(state)} {state}" for state in ("damaged", "resumable", "running") if state in states]
    text += f" ({', '.join(others)})" if others else ""
    seconds = plan.seconds
    if training and seconds is not None:
        text += f", about {duration(seconds)} on {plan.machine}, {plan.side_by_side} side by side"
        text += " (measured with one run alone)" if plan.side_by_side > 1 else ""
    text += "."
    if training and seconds is None:
        text += " How long that takes is not known: `bnbench estimate …` measures it."
    failed = states.count("failed")
    if failed and not any(run.to_train and run.standing and run.standing.state == "failed" for run in plan.runs):
        text += f"\n{failed} failed before and stay as they are; --retry failed tries them again."
    missing = sum(run.standing is None for run in plan.runs)
    if missing:
        text += f"\n{missing} have no id yet: their data are not on this machine (`bnbench data list`)."
    return text


def duration(seconds: float | None) -> str:
    """A time in the two units that matter: "45 s", "12 min", "3 h 20 min", "2 d 4 h"; "?" where unknown."""
    if seconds is None:
        return "?"
    minutes = round(seconds / 60)
    if seconds < 120:
        return f"{seconds:.0f} s"
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    hours = round(minutes / 60)
    return f"{hours // 24} d {hours % 24} h"


def slots_of(sweep: SweepOptions) -> tuple[tuple[Slot, ...], Any]:
    """Where runs go, and the torch device that they get there.

    Raises:
        UserError: no such device here.
    """
    from bnbench.execution.pool import cpu_slots, default_workers, gpu_slots
    from bnbench.training.numerics import choose_device

    device = choose_device("cuda" if sweep.gpus else sweep.device)
    if sweep.gpus:
        return gpu_slots(sweep.gpus, sweep.runs_per_gpu), device
    on_one_gpu = sweep.runs_per_gpu if device.type == "cuda" else 1
    return cpu_slots(sweep.workers or on_one_gpu * default_workers(str(device), sweep.threads)), device


def _state(run: PlannedRun) -> str:
    """In words: what would become of the run."""
    if run.standing is None:
        return "to run (no data)"
    at = f" epoch {run.standing.epoch}/{run.spec.training.epochs}"
    match run.standing.state:
        case "new":
            told = "to run"
        case "damaged":
            told = "to run (damaged)"
        case "failed":
            told = "to run (failed before)" if run.to_train else "failed"
        case "diverged":
            told = f"diverged at step {run.standing.diverged_at_step}"
        case "resumable" | "running":
            told = run.standing.state + at
        case "finished":
            told = "finished"
        case other:
            assert_never(other)
    return told


def _run_id(run: PlannedRun) -> str:
    return "-" if run.standing is None else run.spec.run_id


def _record(run: PlannedRun) -> dict[str, object]:
    spec = run.spec
    found = {} if run.standing is None else asdict(run.standing)
    return {
        "run_id": None if run.standing is None else spec.run_id,
        "problem": spec.problem,
        "size": spec.size,
        "variant": spec.variant.name,
        "placement": spec.placement,
        "learning_rate": spec.training.learning_rate,
        "seed": spec.seed,
        "to_train": run.to_train,
        "seconds": run.seconds,
        **{"state": None, **found, "epochs": spec.training.epochs},
    }
