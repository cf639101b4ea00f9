"""The options that say how runs are carried out, and the objects that they mean."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from bnbench.cli.options import Command, with_options
from bnbench.cli.path_type import GivenPath
from bnbench.errors import UserError

if TYPE_CHECKING:
    from bnbench.execution.executors import Executor
    from bnbench.execution.options import RunOptions, Shard

_LONGEST = 366 * 86400.0
_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


def _parse_duration(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """Seconds, or a number with a unit: 90, 90s, 30m, 2h, 1.5d."""
    if value is None:
        return None
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*(s|m|min|h|d)?", value.strip())
    seconds = 0.0 if match is None else float(match[1]) * _UNITS[match[2] or ""]
    if not 0 < seconds <= _LONGEST:
        raise click.BadParameter(
            f"'{value}' is no duration: a positive number of seconds, or one with s, m, h or d, up to 366d"
        )
    return seconds


def _parse_shard(ctx: click.Context, param: click.Parameter, value: str | None) -> Shard | None:
    from bnbench.execution.options import Shard

    if value is None:
        return None
    match = re.fullmatch(r"([0-9]{1,18})/([0-9]{1,18})", value.strip())
    if match is None:
        raise click.BadParameter(f"'{value}' is no shard: I/N with I from 1 to N, as 2/4 for the second of four")
    return Shard(int(match[1]), int(match[2]))


def _parse_gpus(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...]:
    if value is None:
        return ()
    gpus = tuple(part.strip() for part in value.split(","))
    if not all(re.fullmatch(r"[0-9]{1,4}|(GPU|MIG)-[0-9A-Za-z/-]+", gpu) for gpu in gpus) or len(set(gpus)) < len(gpus):
        raise click.BadParameter(f"'{value}' is no list of GPUs: numbers from 0, each once, as 0,1")
    return gpus


def planning_options(command: Command) -> Command:
    """What decides what a sweep would do; the command makes `RunOptions` with `run_options_of`."""
    return with_options(command, _PLANNING_OPTIONS)


def training_options(command: Command) -> Command:
    """The options of every command that trains; it makes an executor too, with `executor_of`."""
    return planning_options(with_options(command, _CLUSTER_OPTIONS + _TRAINING_OPTIONS))


_PLANNING_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N."),
    click.option(
        "--threads",
        type=click.IntRange(min=1),
        default=1,
        show_default=True,
        help="CPU threads of a run; decides its bits.",
    ),
    click.option(
        "--workers",
        type=click.IntRange(min=1),
        help="Runs side by side; default: as many as cores, 1 on a GPU.",
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
_CLUSTER_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option(
        "--executor",
        type=click.Choice(["local", "slurm"]),
        default="local",
        show_default=True,
        help="slurm: submit jobs and return at once.",
    ),
    click.option(
        "--slurm",
        multiple=True,
        metavar="KEY=VALUE",
        help="What a job asks for: partition, time, memory, gpus … or sbatch.NAME. Repeatable.",
    ),
    click.option("--cluster", type=GivenPath(), metavar="FILE", help="A TOML file with the same keys."),
)
_TRAINING_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option(
        "--plugin-changed",
        type=click.Choice(["stop", "keep"]),
        default="stop",
        show_default=True,
        help="Where a run was made with another state of a plug-in: train nothing, or keep it and go on.",
    ),
    click.option(
        "--run-timeout",
        callback=_parse_duration,
        metavar="TIME",
        help="A run that takes longer is ended and recorded as failed: 90m, 2h.",
    ),
    click.option(
        "--checkpoint-every",
        "checkpoint_seconds",
        callback=_parse_duration,
        metavar="TIME",
        default="60s",
        show_default=True,
        help="What a kill costs a run at most.",
    ),
    click.option(
        "--probe-memory",
        type=click.FloatRange(min=0, min_open=True),
        metavar="GB",
        default=4.0,
        show_default=True,
        help="What a probe may need beside training; `show` says what it does.",
    ),
)


def run_options_of(options: dict[str, Any]) -> RunOptions:
    """How runs are carried out from a command's keywords, which that is taken out of.

    Raises:
        UserError: options that contradict each other.
    """
    from bnbench.execution.options import RunOptions

    names = ("device", "threads", "workers", "gpus", "runs_per_gpu", "fresh", "shard")
    own = ("run_timeout", "checkpoint_seconds", "probe_memory", "plugin_changed")
    of_training = [name for name in own if name in options]
    return RunOptions(
        **{name: options.pop(name) for name in (*names, *of_training)}, retry_failed=options.pop("retry") == "failed"
    )


def executor_of(options: dict[str, Any], how: RunOptions) -> Executor:
    """Who trains, from a command's keywords, which that is taken out of.

    Raises:
        UserError: settings of jobs are wrong, or given for runs that are trained here; or an option that is for such
            runs is given for jobs.
    """
    executor, slurm, cluster = (options.pop(name) for name in ("executor", "slurm", "cluster"))
    if executor == "local":
        from bnbench.execution.executors import local_executor

        if slurm or cluster is not None:
            raise UserError("--slurm and --cluster say what cluster jobs ask for", hint="Add --executor slurm.")
        return local_executor(how)
    from bnbench.execution.slurm.executor import Slurm
    from bnbench.execution.slurm.settings import read_settings

    if how.workers is not None or how.gpus or how.runs_per_gpu != 1:
        raise UserError(
            "--workers, --gpus and --runs-per-gpu are for runs that are trained here",
            hint="What goes side by side in a job: --slurm cpus=4, or --slurm gpus=2 --slurm runs-per-gpu=2.",
        )
    return Slurm(read_settings(cluster, slurm))
