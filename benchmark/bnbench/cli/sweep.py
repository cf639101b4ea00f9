"""Sweeps: the options that say how runs are carried out, the plan they make, and the carrying out."""

from __future__ import annotations

import re
import shlex
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from bnbench.cli.typed import typed_command

if TYPE_CHECKING:
    from bnbench.execution.pool import Slot
    from bnbench.execution.single import Outcome
    from bnbench.plan import RunSpec
    from bnbench.storage.standing import RunState, Standing
    from bnbench.storage.store import ResultStore

Command = TypeVar("Command", bound=Callable[..., Any])

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True)
class Shard:
    """One of several equal parts of a sweep, for machines that know nothing of each other."""

    index: int
    """From 1."""
    count: int

    def of(self, specs: Sequence[RunSpec]) -> list[RunSpec]:
        """The runs of this part, in their order: every `count`-th by run id, so the same command parts alike."""
        own = set(sorted(spec.run_id for spec in specs)[self.index - 1 :: self.count])
        return [spec for spec in specs if spec.run_id in own]


@dataclass(frozen=True)
class SweepOptions:
    """How runs are carried out; none of it decides their numbers, but for `threads`, which is recorded."""

    device: str = "auto"
    threads: int = 1
    workers: int | None = None
    """Runs side by side; None leaves it to the device."""
    gpus: tuple[str, ...] = ()
    runs_per_gpu: int = 1
    run_timeout: float | None = None
    checkpoint_every: float = 60.0
    retry_failed: bool = False
    fresh: bool = False
    shard: Shard | None = None
    continues: bool = True
    """Whether the same command, typed again, goes on with what is left."""

    @property
    def what_goes_on(self) -> str:
        """How the rest is done if it is stopped, as the end of a sentence; nothing where nothing goes on with it."""
        if not self.continues:
            return ""
        return f"; the same command {'without --fresh ' if self.fresh else ''}does the rest"


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


def parse_duration(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """Seconds, or a number with a unit: 90, 90s, 30m, 2h, 1.5d. A callback of an option.

    Raises:
        click.BadParameter: it is neither.
    """
    if value is None:
        return None
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*(s|m|min|h|d)?", value.strip())
    if match is None or float(match[1]) <= 0:
        raise click.BadParameter(f"'{value}' is no duration: a positive number of seconds, or one with s, m, h or d")
    return float(match[1]) * _UNITS[match[2] or ""]


def _parse_shard(ctx: click.Context, param: click.Parameter, value: str | None) -> Shard | None:
    if value is None:
        return None
    match = re.fullmatch(r"([0-9]+)/([0-9]+)", value.strip())
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise click.BadParameter(f"'{value}' is no shard: I/N with I from 1 to N, as 2/4 for the second of four")
    return Shard(int(match[1]), int(match[2]))


def _parse_gpus(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...]:
    if value is None:
        return ()
    gpus = tuple(part.strip() for part in value.split(","))
    if not all(re.fullmatch(r"[0-9]+|(GPU|MIG)-[0-9A-Za-z/-]+", gpu) for gpu in gpus) or len(set(gpus)) < len(gpus):
        raise click.BadParameter(f"'{value}' is no list of GPUs: numbers from 0, each once, as 0,1")
    return gpus


def sweep_options(command: Command) -> Command:
    """The options of a sweep; the command takes them as keywords and makes `SweepOptions` with `gather_sweep`."""
    for option in reversed(_SWEEP_OPTIONS):
        command = option(command)
    return command


_SWEEP_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N."),
    click.option(
        "--threads",
        type=click.IntRange(min=1),
        default=1,
        show_default=True,
        help="CPU threads of a run; decides its bits.",
    ),
    click.option(
        "--workers", type=click.IntRange(min=1), help="Runs side by side; default: as many as cores, 1 on a GPU."
    ),
    click.option(
        "--gpus", callback=_parse_gpus, metavar="LIST", help="Spread the runs over these GPUs: 0,1. Each sees one."
    ),
    click.option(
        "--runs-per-gpu", type=click.IntRange(min=1), default=1, show_default=True, help="Runs that share a GPU."
    ),
    click.option("--retry", type=click.Choice(["failed"]), help="failed: try runs that failed before once more."),
    click.option("--fresh", is_flag=True, help="Begin unfinished runs with their first step; results stay."),
    click.option(
        "--shard",
        callback=_parse_shard,
        metavar="I/N",
        help="Only every N-th run, as 2/4: a fixed part of the same command.",
    ),
)


def gather_sweep(options: dict[str, Any]) -> SweepOptions:
    """The options of a sweep from a command's keywords, which they are taken out of.

    Raises:
        UserError: options that contradict each other.
    """
    from bnbench.errors import UserError

    names = ("device", "threads", "workers", "gpus", "runs_per_gpu", "fresh", "shard")
    sweep = SweepOptions(**{name: options.pop(name) for name in names}, retry_failed=options.pop("retry") == "failed")
    if sweep.gpus and sweep.workers is not None:
        raise UserError("--workers and --gpus contradict each other", hint="Runs on a GPU: --runs-per-gpu.")
    if sweep.gpus and sweep.device not in {"auto", "cuda"}:
        raise UserError(f"--gpus and --device {sweep.device} contradict each other", hint="Leave out --device.")
    return sweep


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

    slots, device = _slots(sweep)
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
        if sweep.fresh and standing.state == "resumable":
            standing = Standing("new")
        wanted = standing.state in {"new", "resumable", "running"} or (
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
    import json

    if as_json:
        click.echo(json.dumps([_record(run) for run in plan.runs], indent=1))
        return
    from bnbench.cli.progress import title

    rows = [(_state(run), title(run.spec), duration(run.seconds), _run_id(run)) for run in plan.runs]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
    for state, name, time_left, run_id in rows:
        click.echo(f"{state:<{widths[0]}}  {name:<{widths[1]}}  {time_left:>{widths[2]}}  {run_id}")
    click.echo(summary(plan), err=True)


def summary(plan: SweepPlan) -> str:
    """How many runs are to be trained, how long that may take, and what stands in the way."""
    states: list[RunState] = [run.standing.state for run in plan.runs if run.standing is not None]
    training = [run for run in plan.runs if run.to_train]
    text = f"{len(training)} of {runs_in_words(len(plan.runs))} to train"
    others = [f"{states.count(state)} {state}" for state in ("resumable", "running") if state in states]
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


def runs_in_words(number: int) -> str:
    """So many runs: 1 run, 5 runs."""
    return f"{number} run{'' if number == 1 else 's'}"


def run_sweep(plan: SweepPlan, results: Path, sweep: SweepOptions) -> list[Outcome]:
    """Train what a plan says, with progress on stderr. A request to stop ends the command.

    Raises:
        UserError: the results folder cannot be written, or a precision does not exist on the device.
        SystemExit: it was asked to stop, by Ctrl-C or a signal.
    """
    from bnbench.cli.progress import sweep_progress
    from bnbench.execution.fork_server import prepare
    from bnbench.execution.pool import run_all
    from bnbench.execution.signals import STOP_SIGNALS, stop_on
    from bnbench.execution.single import Resources
    from bnbench.storage.store import ResultStore
    from bnbench.training.numerics import check_precision

    prepare()
    slots, device = _slots(sweep)
    todo = plan.todo
    if not sweep.gpus:
        for spec in todo:
            check_precision(spec.precision, device)
    # Only now: a mistake leaves no folder behind.
    store = ResultStore.open(results, create=True)
    clear_the_way(plan, store, sweep)
    slots = slots[: len(todo)]
    if sweep.continues:
        _put_on_record(plan, store, len(slots))
    ended = sum(run.standing is not None and run.standing.state in {"finished", "diverged"} for run in plan.runs)
    skipped = f" ({ended} of {len(plan.runs)} are finished already)" if ended else ""
    where = f"GPUs {','.join(sweep.gpus)}" if sweep.gpus else str(device)
    click.echo(
        f"{runs_in_words(len(todo))} to train{skipped}, {len(slots)} side by side on {where}, "
        f"{sweep.threads} CPU thread{'' if sweep.threads == 1 else 's'} each",
        err=True,
    )
    progress = sweep_progress(todo)
    resources = Resources("cuda" if sweep.gpus else str(device), sweep.threads)
    outcomes: list[Outcome] = []
    # A second Ctrl-C raises: what runs is killed then, and goes on from its last checkpoint another time.
    with stop_on((signal.SIGINT, *STOP_SIGNALS)) as stop, progress, suppress(KeyboardInterrupt):
        outcomes = run_all(
            todo,
            store.path,
            resources,
            slots,
            progress,
            stop=stop,
            run_timeout=sweep.run_timeout,
            checkpoint_seconds=sweep.checkpoint_every,
        )
    _tidy_records(store)
    if stop():
        finished = len(store.finished().keys() & {spec.run_id for spec in todo})
        click.echo(
            f"Interrupted: {finished} of {len(todo)} runs are finished and kept{sweep.what_goes_on}.",
            err=True,
        )
        raise SystemExit(stop.exit_code)
    return outcomes


def _put_on_record(plan: SweepPlan, store: ResultStore, side_by_side: int) -> None:
    """Let `bnbench status` know what is to come. A sweep does without, if the record cannot be written."""
    from bnbench.errors import UserError
    from bnbench.storage.processes import this_process
    from bnbench.storage.sweeps import SweepRecord, SweepRun, tidy_sweeps, write_sweep

    runs = tuple(
        SweepRun(run_id=run.spec.run_id, setting_id=run.spec.setting_id, seconds=run.whole_seconds)
        for run in plan.runs
        if run.to_train
    )
    # Typed with --fresh again, it would throw away what there is by then.
    command = shlex.join(word for word in shlex.split(typed_command()) if word != "--fresh")
    record = SweepRecord(command=command, process=this_process(), side_by_side=side_by_side, runs=runs)
    try:
        tidy_sweeps(store.path, _ended(store), superseding={run.run_id for run in runs})
        write_sweep(store.path, record)
    except UserError as error:
        click.echo(f"Warning: `bnbench status` will not know what is to come: {error}", err=True)


def _tidy_records(store: ResultStore) -> None:
    from bnbench.errors import UserError
    from bnbench.storage.sweeps import tidy_sweeps

    # What cannot be removed says nothing wrong: its runs have ended.
    with suppress(UserError):
        tidy_sweeps(store.path, _ended(store))


def _ended(store: ResultStore) -> set[str]:
    contents = store.look()
    failed = (document for document in contents.documents if not document.is_result)
    return {document.run_id for document in (*contents.finished, *failed)}


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


def _slots(sweep: SweepOptions) -> tuple[tuple[Slot, ...], Any]:
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


def clear_the_way(plan: SweepPlan, store: ResultStore, sweep: SweepOptions) -> None:
    """Forget failures that are to be tried again, throw away progress that is not wanted, tidy up after kills."""
    from bnbench.storage.repeating import forget_failure, start_afresh, tidy_result

    for run in plan.runs:
        if run.standing is None:
            continue
        folder = store.run_folder(run.spec.run_id)
        if run.standing.state == "failed" and sweep.retry_failed:
            forget_failure(folder)
        if run.to_train and sweep.fresh:
            start_afresh(folder)
        if run.standing.state in {"finished", "diverged"}:
            tidy_result(folder)


def _state(run: PlannedRun) -> str:
    """In words: what would become of the run."""
    if run.standing is None:
        return "to run (no data)"
    at = f" epoch {run.standing.epoch}/{run.spec.training.epochs}"
    match run.standing.state:
        case "new":
            return "to run"
        case "failed":
            return "to run (failed before)" if run.to_train else "failed"
        case "diverged":
            return f"diverged at step {run.standing.diverged_at_step}"
        case "resumable" | "running":
            return run.standing.state + at
        case _:
            return run.standing.state


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
