"""Options that send a sweep to a cluster instead of training here, and what they do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

if TYPE_CHECKING:
    from bnbench.execution.cluster_queue import Element
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
    click.option("--cluster", type=click.Path(path_type=Path), metavar="FILE", help="A TOML file with the same keys."),
)


def job_settings(executor: Executor, slurm: Sequence[str], cluster: Path | None) -> JobSettings | None:
    """The settings of the jobs, None where runs are trained here.

    Raises:
        UserError: something in them is wrong, or they are given for runs that are trained here.
    """
    from bnbench.errors import UserError
    from bnbench.execution.cluster_settings import read_settings

    if executor == "slurm":
        return read_settings(cluster, slurm)
    if slurm or cluster is not None:
        raise UserError("--slurm and --cluster say what cluster jobs ask for", hint="Add --executor slurm.")
    return None


def submit_runs(
    todo: Sequence[RunSpec],
    store: Path,
    settings: JobSettings,
    *,
    device: str,
    threads: int,
    run_timeout: float | None = None,
    checkpoint_seconds: float | None = None,
) -> None:
    """Submit what no job of this folder has been given yet, and say where to look.

    Raises:
        UserError: jobs cannot be submitted from here, or are refused.
    """
    from bnbench.execution.cluster import device_of_jobs, require_slurm, split, submit_sweep
    from bnbench.execution.cluster_queue import CLUSTER_FOLDER

    require_slurm()
    jobs_device = device_of_jobs(device, settings)
    queued = queued_runs(store)
    left = [spec for spec in todo if spec.run_id not in queued]
    if len(left) < len(todo):
        jobs = sorted({queued[spec.run_id].job_id for spec in todo if spec.run_id in queued})
        click.echo(f"{len(todo) - len(left)} runs are in the queue already (jobs {', '.join(jobs)}).", err=True)
    if not left:
        return
    chunks = split(left, settings, threads)

    from bnbench.execution.single import Resources
    from bnbench.storage.store import ResultStore

    ResultStore.open(store, create=True)
    submission = submit_sweep(
        left,
        store,
        Resources(jobs_device, threads),
        settings,
        run_timeout=run_timeout,
        checkpoint_seconds=checkpoint_seconds,
    )
    job_ids = list(submission.elements)
    told = job_ids[0] if len(job_ids) == 1 else f"{job_ids[0]} … {job_ids[-1]}"
    click.echo(
        f"Submitted {len(left)} runs in {len(chunks)} jobs ({told}), "
        f"{settings.side_by_side(threads)} side by side in each, on {jobs_device}.\n"
        f"They need this command no more. What has become of them: bnbench status --results {store}\n"
        f"To cancel them: scancel --name={submission.name}\n"
        f"Their logs: {store / CLUSTER_FOLDER / submission.name}",
        err=True,
    )


def queued_runs(store: Path) -> dict[str, Element]:
    """The runs of a folder that waiting or running jobs have been given; none where Slurm cannot be asked."""
    from bnbench.execution.cluster_queue import in_queue, look_at_queue, read_submissions

    submissions, warnings = read_submissions(store)
    for warning in warnings:
        click.echo(f"Warning: {warning}", err=True)
    return in_queue(look_at_queue(submissions) or [])
