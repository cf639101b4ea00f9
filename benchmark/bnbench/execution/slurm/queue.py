"""What was submitted to a cluster, and what has become of it: a small record in the results folder, and `squeue`.

The record says which job was given which runs, so that whoever sees the folder can tell later, from any machine. It
never decides what is finished: that the runs' own folders say.
"""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from bnbench.disk import parse_json, read_regular
from bnbench.storage.files import atomic_file, reported, sync_folder

CLUSTER_FOLDER = ".cluster"
"""Inside the results folder: the records, and the logs of the jobs."""

_FOR_EVER = frozenset(
    {
        "AccountNotAllowed",
        "BadConstraints",
        "DependencyNeverSatisfied",
        "InvalidAccount",
        "InvalidQOS",
        "JobHeldAdmin",
        "JobHeldUser",
        "PartitionNodeLimit",
        "PartitionTimeLimit",
        "QOSNotAllowed",
        "ReservationDeleted",
        "job requeued in held state",
        "launch failed requeued held",
    }
)
"""Reasons for which a job stays where it is until somebody does something, as squeue spells them."""

_PATIENCE_S = 30.0
_LIMIT = 64 << 20
"""Bytes of a record: enough for half a million runs, which is more than one submission takes."""


def _tuples(value: object) -> object:
    return {key: tuple(runs) for key, runs in value.items()} if isinstance(value, dict) else value


class Submission(BaseModel):
    """One call of sbatch: which element of the array was given which runs."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    record: Literal[1] = 1
    """The version of this record."""
    engine: Literal["slurm"] = "slurm"
    name: str
    """The jobs' name, drawn for this submission: another cluster's job of the same number is not taken for it."""
    elements: Annotated[dict[str, tuple[str, ...]], BeforeValidator(_tuples), Field(min_length=1)]
    """Job id ("12_0", or "12" where there is only one) to run ids."""


@dataclass(frozen=True)
class Element:
    """One job of a submission, and what has become of it."""

    job_id: str
    run_ids: tuple[str, ...]
    state: str | None
    """As Slurm calls it (PENDING, RUNNING, COMPLETING …); None once it has left the queue, for whatever reason."""
    reason: str = "None"
    """Why it is pending, as Slurm calls it; "None" where there is no reason."""
    submission: str = ""
    """The name of what it was submitted with."""

    @property
    def starts_by_itself(self) -> bool:
        """Whether Slurm may start it without anybody's help; one that is held, or asks for too much, it never will."""
        return self.state != "PENDING" or self.reason.replace("_", " ") not in _FOR_EVER


def in_queue(elements: Iterable[Element]) -> dict[str, Element]:
    """Each run that a waiting or running job has been given."""
    return {run_id: element for element in elements if element.state is not None for run_id in element.run_ids}


WITHOUT_LOG = "Slurm could not start them there, or their nodes do not see this folder"
"""Why jobs leave no log."""


@dataclass(frozen=True)
class Lost:
    """Runs whose jobs have left the queue, that have not ended, and that no later job was given."""

    without_log: dict[str, Element]
    """Those whose last job never wrote a line, by run id: it never started, or could not write here."""
    cut_off: dict[str, Element]
    """The others, with their last job."""
    times: dict[str, int]
    """How often each was given to a job."""


def lost_runs(store: Path, elements: Sequence[Element], ended: Collection[str]) -> Lost:
    """What became of the runs that were given to jobs and that nobody is to train any more.

    Args:
        store: the results folder.
        elements: every job that was submitted for it, in the order of submission within each array.
        ended: the ids of its runs that have ended.
    """
    queued = in_queue(elements)
    last: dict[str, Element] = {}
    times: Counter[str] = Counter()
    for element in sorted(elements, key=_order):
        for run_id in element.run_ids:
            if run_id not in ended and run_id not in queued:
                last[run_id] = element
                times[run_id] += 1
    logs = {element: log_of(store, element) for element in set(last.values())}
    return Lost(
        {run_id: element for run_id, element in last.items() if logs[element] is None},
        {run_id: element for run_id, element in last.items() if logs[element] is not None},
        dict(times),
    )


def log_of(store: Path, element: Element) -> Path | None:
    """The log of a job; None where it has not written any."""
    path = store / CLUSTER_FOLDER / element.submission / f"{element.job_id}_0_log.out"
    return path if path.exists() else None


def _order(element: Element) -> tuple[int, ...]:
    """Slurm counts its jobs: a later one has the larger number."""
    return tuple(int(part) for part in element.job_id.split("_") if part.isdigit())


def write_submission(store: Path, submission: Submission) -> Path:
    """Put a submission on record.

    Raises:
        StorageError: it cannot be written.
    """
    folder = store / CLUSTER_FOLDER
    path = folder / f"{submission.name}.json"
    with reported(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as file:
            file.write((submission.model_dump_json(indent=1) + "\n").encode())
        sync_folder(folder)
    return path


def read_submissions(store: Path) -> tuple[list[Submission], list[str]]:
    """Every submission on record, and a sentence for each record that cannot be read.

    Raises:
        StorageError: the folder cannot be listed.
    """
    folder = store / CLUSTER_FOLDER
    found: list[Submission] = []
    warnings: list[str] = []
    with reported(folder, "read"):
        paths = sorted(folder.glob("*.json")) if folder.is_dir() else []
    for path in paths:
        try:
            found.append(Submission.model_validate(parse_json(read_regular(path, _LIMIT))))
        except (OSError, ValueError, ValidationError):
            warnings.append(f"{path} is no record of a submission; its jobs are not shown")
    return found, warnings


def look_at_queue(submissions: Iterable[Submission]) -> list[Element] | None:
    """Ask Slurm what has become of every job on record; None where this machine cannot ask, or gets no answer."""
    known = list(submissions)
    if not known:
        return []
    lines = _squeue([submission.name for submission in known])
    if lines is None:
        return None
    states: dict[tuple[str, str], tuple[str | None, str]] = {}
    for line in lines:
        name, job_id, state, reason = line.split("|", 3)
        states[name, job_id] = (state, reason)
    return [
        Element(job_id, run_ids, *states.get((submission.name, job_id), (None, "None")), submission.name)
        for submission in known
        for job_id, run_ids in submission.elements.items()
    ]


def _squeue(names: list[str]) -> list[str] | None:
    if shutil.which("squeue") is None:
        return None
    command = ["squeue", "--noheader", "--array", f"--name={','.join(names)}", "--format=%j|%i|%T|%r"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return [line for line in done.stdout.splitlines() if line.count("|") >= 3]
