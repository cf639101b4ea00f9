"""Options that send a sweep to a cluster instead of training here, and what they do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, assert_never

import click

from bnbench.cli.jobs import look_at_jobs
from bnbench.cli.path_type import GivenPath

if TYPE_CHECKING:
    from bnbench.cli.sweep_options import SweepOptions
    from bnbench.cli.sweep_plan import SweepPlan
    from bnbench.execution.cluster_settings import JobSettings
    from bnbench.plan import RunSpec

Command = TypeVar("Command", bound=Callable[..., Any])
Executor = Literal["local", "slurm"]


def cluster_options(command: Command) -> Command:
    """`--executor`, `--slurm`, `--cluster`; the command takes `executor`, `slurm` and `cluster`."""
    for option in reversed(_CLUSTER_OPTIONS):
        command = option(command)
    return command


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


def job_settings(
    executor: Executor, slurm: Sequence[str], cluster: Path | None, sweep: SweepOptions
) -> JobSettings | None:
    """The settings of the jobs, None where runs are trained here.

    Raises:
        UserError: something in them is wrong, they are given for runs that are trained here, or an option that is for
            such runs is given for jobs.
    """
    from bnbench.errors import UserError
    from bnbench.execution.cluster_settings import read_settings

    match executor:
        case "local":
            if slurm or cluster is not None:
                raise UserError("--slurm and --cluster say what cluster jobs ask for", hint="Add --executor slurm.")
            return None
        case "slurm":
            if sweep.workers is not None or sweep.gpus or sweep.runs_per_gpu != 1:
                raise UserError(
                    "--workers, --gpus and --runs-per-gpu are for runs that are trained here",
                    hint="What goes side by side in a job: --slurm cpus=4, or --slurm gpus=2 --slurm runs-per-gpu=2.",
                )
            return read_settings(cluster, slurm)
        case other:
            assert_never(other)


def submit_plan(plan: SweepPlan, results: Path, sweep: SweepOptions, settings: JobSettings) -> None:
    """Submit what a plan says and no job of this folder has been given yet, and say where to look.

    Raises:
        UserError: jobs cannot be submitted from here, or are refused.
    """
    from bnbench.cli.sweep import clear_the_way
    from bnbench.execution.cluster import device_of_jobs, require_slurm, split, submit_sweep
    from bnbench.execution.cluster_queue import CLUSTER_FOLDER

    require_slurm()
    device = device_of_jobs(sweep.device, settings)
    left = _not_on_their_way(plan, results)
    if not left:
        return
    chunks = split(left, settings, sweep.threads)

    from bnbench.execution.single import Resources
    from bnbench.storage.store import ResultStore

    clear_the_way(plan, ResultStore.open(results, create=True), sweep)
    submission = submit_sweep(
        left,
        results,
        Resources(device, sweep.threads),
        settings,
        run_timeout=sweep.run_timeout,
        checkpoint_seconds=sweep.checkpoint_every,
    )
    job_ids = list(submission.elements)
    told = job_ids[0] if len(job_ids) == 1 else f"{job_ids[0]} … {job_ids[-1]}"
    click.echo(
        f"Submitted {len(left)} runs in {len(chunks)} jobs ({told}), "
        f"{settings.side_by_side(sweep.threads)} side by side in each, on {device}.\n"
        f"They need this command no more. What becomes of them: bnbench status --results {results}\n"
        f"To cancel them: scancel --name={submission.name}\n"
        f"Their logs: {results / CLUSTER_FOLDER / submission.name}",
        err=True,
    )


def _not_on_their_way(plan: SweepPlan, results: Path) -> list[RunSpec]:
    """The runs of a plan that are neither being trained nor given to a job that is still in the queue."""
    from bnbench.execution.cluster_queue import in_queue

    queued = in_queue(look_at_jobs(results) or [])
    waiting = [spec for spec in plan.todo if spec.run_id in queued]
    if waiting:
        jobs = sorted({queued[spec.run_id].job_id for spec in waiting})
        click.echo(f"{len(waiting)} runs are in the queue already (jobs {', '.join(jobs)}).", err=True)
    training = {
        run.spec.run_id
        for run in plan.runs
        if run.standing is not None and run.standing.state == "running" and run.spec.run_id not in queued
    }
    if training:
        click.echo(f"{len(training)} runs are being trained by processes outside the queue.", err=True)
    return [spec for spec in plan.todo if spec.run_id not in training | set(queued)]
