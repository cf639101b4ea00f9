"""Submitting a sweep: an array of jobs, each with a chunk of the runs, through submitit."""

from __future__ import annotations

import math
import secrets
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bnbench.errors import UserError
from bnbench.execution.options import RunOptions
from bnbench.execution.slurm.queue import CLUSTER_FOLDER, Submission, write_submission
from bnbench.execution.slurm.settings import JobSettings
from bnbench.plan import RunSpec

if TYPE_CHECKING:
    from bnbench.execution.slurm.job import Chunk

LONGEST_ARRAY = 1000
"""Elements of an array: Slurm refuses more unless it was configured to take them (MaxArraySize 1001)."""


def split(specs: Sequence[RunSpec], settings: JobSettings, threads: int) -> list[tuple[RunSpec, ...]]:
    """The chunks of a sweep, one a job, in order: neighbours are variants of one seed, and end about together.

    Args:
        specs: what to run.
        settings: of the jobs.
        threads: CPU threads of a run.

    Raises:
        UserError: the array would be longer than Slurm takes, or a job has no room for one run.
    """
    least = math.ceil(len(specs) / LONGEST_ARRAY)
    size = settings.runs_per_job or max(least, settings.side_by_side(threads))
    if size < least:
        raise UserError(
            f"{len(specs)} runs, {size} a job, make an array of more than {LONGEST_ARRAY} jobs",
            hint=f"Give a job more of them: --slurm runs-per-job={least}.",
        )
    return [tuple(specs[start : start + size]) for start in range(0, len(specs), size)]


def device_of_jobs(device: str, settings: JobSettings) -> str:
    """What the runs of a job are trained on; "auto" means what the job asked for, whatever else its node has.

    Raises:
        UserError: a GPU is named, and none is asked for.
    """
    asked = settings.gpus > 0 or bool({"gres", "gpus-per-task", "gpus-per-socket"} & set(settings.sbatch))
    if device == "auto":
        return "cuda" if asked else "cpu"
    if device.startswith("cuda") and not asked:
        raise UserError(f"--device {device}, and the jobs ask for no GPU", hint="Ask for some: --slurm gpus=1.")
    if device.startswith("cuda:"):
        raise UserError(f"--device {device}: the GPUs of a job are chosen by Slurm", hint="Use --device cuda.")
    return device


def submit_sweep(specs: Sequence[RunSpec], store: Path, options: RunOptions, settings: JobSettings) -> Submission:
    """Submit a sweep and put it on record. Nothing here waits for a job.

    Args:
        specs: what to run.
        store: the results folder, which every node must see under the same name.
        options: how the runs are carried out; what goes side by side is the settings' business.
        settings: of the jobs.

    Raises:
        UserError: submitit or Slurm is not installed here, or Slurm refuses the jobs; its words are in the message.
    """
    require_slurm()
    require_plain_path(store)
    from bnbench.execution.slurm.job import Chunk  # noqa: PLC0415 -- it imports torch; a mistake is told before that

    # A job may start a second time: what was to be forgotten or begun anew was, before it was submitted.
    of_a_job = RunOptions(
        device=device_of_jobs(options.device, settings),
        threads=options.threads,
        workers=settings.side_by_side(options.threads),
        runs_per_gpu=settings.runs_per_gpu,
        run_timeout=options.run_timeout,
        checkpoint_seconds=options.checkpoint_seconds,
        probe_memory=options.probe_memory,
        plugin_changed=options.plugin_changed,
        plugins=options.plugins,
    )
    chunks = [Chunk(chunk, store.absolute(), of_a_job) for chunk in split(specs, settings, options.threads)]
    name = f"bnbench-{secrets.token_hex(4)}"
    job_ids = _submit(chunks, store.absolute() / CLUSTER_FOLDER / name, parameters(settings, name, options.threads))
    elements = {
        job_id: tuple(spec.run_id for spec in chunk.specs) for job_id, chunk in zip(job_ids, chunks, strict=True)
    }
    submission = Submission(name=name, elements=elements)
    write_submission(store, submission)
    return submission


def require_slurm() -> None:
    """Make sure that jobs can be submitted from here.

    Raises:
        UserError: submitit or sbatch is not installed.
    """
    try:
        import submitit  # noqa: F401, PLC0415 -- an extra, that most installations do without
    except ImportError as error:
        raise UserError(
            "--executor slurm needs submitit, which is not installed",
            hint="Install the extra: pip install 'bnbench[cluster]'.",
        ) from error
    if shutil.which("sbatch") is None or shutil.which("srun") is None:
        raise UserError(
            "--executor slurm needs sbatch and srun, and they are not on this machine's PATH",
            hint="Run the command on a machine that jobs can be submitted from.",
        )


INTERPRETED = {"%": "%", "\\": "a backslash", "\n": "a line break"}
"""What the name of a log may not hold, and how it is called: sbatch and srun put job numbers in the place of %j, %20u
and the like, and drop backslashes; submitit does so with %j, %t, %A and %a; a script's option ends with its line."""


def require_plain_path(store: Path) -> None:
    """Refuse a results folder under whose name jobs would not find their logs. Slurm drops such jobs without a word.

    Raises:
        UserError: its absolute path holds what sbatch, srun or submitit interpret.
    """
    found = [name for character, name in INTERPRETED.items() if character in str(store.absolute())]
    if found:
        raise UserError(
            f"the path of the results folder holds {' and '.join(found)}, which Slurm does not take literally: "
            f"{str(store.absolute())!r}",
            hint="Rename the folder, or name it by a symbolic link without that.",
        )


def parameters(settings: JobSettings, name: str, threads: int) -> dict[str, Any]:
    """The settings as submitit takes them.

    Args:
        settings: of the jobs.
        name: of the jobs.
        threads: CPU threads of a run.
    """
    given = {
        "job_name": name,
        "partition": settings.partition,
        "account": settings.account,
        "qos": settings.qos,
        "constraint": settings.constraint,
        "mem": settings.memory,
        "cpus_per_task": settings.cpus_of_job(threads),
        "gpus_per_node": settings.gpus or None,
        # An integer, and nothing else: submitit reckons with it when a signal comes.
        "time": settings.time,
        "signal_delay_s": settings.warning_seconds,
        "array_parallelism": settings.jobs_at_once,
        "setup": list(settings.setup) or None,
    }
    fixed: dict[str, Any] = {
        "wckey": None,
        # From Slurm 22.05 on a step does not inherit this from its job, and would be bound to a single core.
        "srun_args": [f"--cpus-per-task={settings.cpus_of_job(threads)}"],
        "additional_parameters": {"requeue": True, **settings.sbatch},
    }
    return {key: value for key, value in given.items() if value is not None} | fixed


def _submit(chunks: Sequence[Chunk], folder: Path, own: dict[str, Any]) -> list[str]:
    import submitit  # noqa: PLC0415 -- see require_slurm

    try:
        # -P: the job begins in the folder of the one who submitted it, whose modules are none of its business.
        executor = submitit.SlurmExecutor(folder=folder, python=f"{shlex.quote(sys.executable)} -P")
        executor.update_parameters(**own)
        return [job.job_id for job in executor.submit_array(list(chunks))]
    except (RuntimeError, OSError) as error:
        # Jobs that there are none of need no scripts.
        shutil.rmtree(folder, ignore_errors=True)
        raise UserError(f"Slurm refused the jobs: {_last_words(error)}", hint="Nothing was submitted.") from error


def _last_words(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return next((line for line in lines if line.startswith("sbatch:")), lines[-1] if lines else type(error).__name__)
