"""What a cluster job does: its chunk of the runs, through the local pool, on the devices that the job was given.

A job may be started twice, killed at any moment, requeued, and find its runs finished or under way elsewhere. None of
this is its business: the runs' folders, their locks and checkpoints decide, as on any machine.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bnbench.errors import UserError
from bnbench.execution.executors import LocalPool
from bnbench.execution.listening import Message, Notice, Outcome, Silent
from bnbench.execution.options import RunOptions
from bnbench.execution.places import Place, cpu_places, gpu_places
from bnbench.execution.run import in_one_line, recorded_outcome
from bnbench.execution.signals import STOP_SIGNALS, StopRequest, stop_on
from bnbench.execution.streams import outlive_readers
from bnbench.execution.sweep import Sweep, SweepInterrupted
from bnbench.plan import RunSpec
from bnbench.plugins import load_again
from bnbench.storage.checkpoints import newest_header
from bnbench.training.events import EpochEvaluated

QUIET_SECONDS = 60.0
"""A run says in the job's log at most this often how far it is."""

_PATIENCE_S = 60.0


@dataclass(frozen=True)
class Chunk:
    """The runs of one job, to be called inside it. The submitter pickles it, so it holds plain values only."""

    specs: tuple[RunSpec, ...]
    store: Path
    """The results folder; absolute, and every node sees it under this name."""
    options: RunOptions
    """Of the job; `workers` are the runs side by side where it has no GPUs."""

    def __call__(self) -> None:
        """Train what has not ended, and go back into the queue if the time was too short for all of it.

        The exit code is for people and mails: what became of a run, its folder says.

        Raises:
            SystemExit: with 1 where a run failed; with 128 plus the signal's number where the job was asked to stop.
        """
        outlive_readers()
        try:
            load_again(self.options.plugins)
        except UserError as error:
            say(in_one_line(error))
            raise SystemExit(1) from error
        began = progress(self.specs, self.store)
        with stop_on(STOP_SIGNALS) as request:
            outcomes = self._outcomes(request)
            say(summary(self.specs, outcomes))
            if request():
                self._stopped(request, began)
        if any(outcome.status == "failed" for outcome in outcomes):
            raise SystemExit(1)

    def _outcomes(self, request: StopRequest) -> Sequence[Outcome]:
        options = self.options
        try:
            places = job_places(options.device, options.workers or 1, options.runs_per_gpu)
            pool = LocalPool(places)
            sweep = Sweep(self.specs, self.store, options, pool, JobLog(), stop=request, own_runs_only=True)
            return self._with_those_before(sweep.run())
        except SweepInterrupted as stopped:
            return self._with_those_before(stopped.outcomes)
        except UserError as error:
            say(in_one_line(error))
            raise SystemExit(1) from error
        except (EOFError, OSError):
            # A job's signal reaches all of its processes, the one that runs are forked from too: where it dies of it
            # in the middle of a start, nothing has been begun.
            if not request():
                raise
            return []

    def _with_those_before(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """These, and those of the runs that had ended when the job began."""
        told = {outcome.run_id for outcome in outcomes}
        others = [recorded_outcome(spec, self.store) for spec in self.specs if spec.run_id not in told]
        return [*(outcome for outcome in others if outcome is not None), *outcomes]

    def _stopped(self, request: StopRequest, began: dict[str, int]) -> None:
        now = progress(self.specs, self.store)
        said = "no signal" if request.signal is None else request.signal.name
        say(f"asked to stop by {said}; {list(now.values()).count(ENDED)} of {len(self.specs)} runs have ended")
        if all(step == ENDED for step in now.values()):
            return
        if is_preempted():
            # Slurm puts a preempted job back when it has to kill it, and forgets one that ends by itself in time.
            requeue()
        elif request.signal == signal.SIGTERM:
            say("not requeued: Slurm is ending it, because it was cancelled or is past its limit")
        elif now == began:
            say("not requeued: no run came any further since the job began; give it more time (--slurm time)")
        else:
            requeue()
        raise SystemExit(request.exit_code)


ENDED = -1
"""The progress of a run that has ended."""


def progress(specs: Sequence[RunSpec], store: Path) -> dict[str, int]:
    """How far runs are: the step of the newest checkpoint, 0 without one, ENDED for those that have ended."""
    steps: dict[str, int] = {}
    for spec in specs:
        header = newest_header(store / spec.run_id)
        ended = recorded_outcome(spec, store) is not None
        steps[spec.run_id] = ENDED if ended else 0 if header is None else header.step
    return steps


def job_places(device: str, workers: int, runs_per_gpu: int) -> tuple[Place, ...]:
    """Where the runs of a job go: on the GPUs that Slurm gave it, and otherwise on its CPUs.

    Args:
        device: what the runs are to be trained on, e.g. "cpu", "cuda".
        workers: runs side by side without GPUs.
        runs_per_gpu: runs side by side on each GPU.
    """
    visible = [gpu for gpu in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if gpu.strip()]
    if device == "cpu" or not visible:
        return cpu_places(workers)
    return gpu_places([str(index) for index in range(len(visible))], runs_per_gpu)


def is_preempted() -> bool:
    """Whether this job has to make room for another one, and is still in time to say that it wants to come back."""
    told = _scontrol("--oneliner", "show", "job", os.environ["SLURM_JOB_ID"])
    facts = dict(word.partition("=")[::2] for word in (told or "").split())
    return facts.get("JobState") == "RUNNING" and facts.get("PreemptTime", "None") not in {"None", "N/A"}


def requeue() -> None:
    """Put this job back into the queue. Slurm ends it at once, so this may not return."""
    say("requeued: it goes on from the checkpoints")
    if _scontrol("requeue", os.environ["SLURM_JOB_ID"]) is None:
        say("it could not be requeued; the command that submitted it does so again")


def _scontrol(*arguments: str) -> str | None:
    """What scontrol says; None where it fails."""
    try:
        done = subprocess.run(["scontrol", *arguments], check=True, timeout=_PATIENCE_S, capture_output=True, text=True)
    except (OSError, subprocess.SubprocessError) as error:
        told = error.stderr if isinstance(error, subprocess.CalledProcessError) else str(error)
        say(f"scontrol {arguments[0]}: {told.strip()}")
        return None
    return done.stdout


def summary(specs: Sequence[RunSpec], outcomes: Sequence[Outcome]) -> str:
    """How many runs ended how, in words."""
    counts = Counter(outcome.status for outcome in outcomes)
    left = len(specs) - len(outcomes)
    told = [f"{count} {status}" for status, count in counts.items()] + ([f"{left} not begun"] if left else [])
    return f"{len(specs)} runs: {', '.join(told)}"


class JobLog(Silent):
    """Follows the runs of a job: a listener that writes lines to the job's log."""

    def __init__(self) -> None:
        """Nothing has been said yet."""
        self._told: dict[str, float] = {}

    def notice(self, notice: Notice) -> None:
        """Something about the runs as a whole."""
        say(notice.text)

    def started(self, spec: RunSpec) -> None:
        """A run's process was started."""
        say(f"{spec.run_id}: started")
        self._told[spec.run_id] = time.monotonic()

    def event(self, spec: RunSpec, event: Message) -> None:
        """A run has come further, or has something to say."""
        if isinstance(event, Notice):
            say(f"{spec.run_id}: {event.text}")
        elif isinstance(event, EpochEvaluated) and time.monotonic() - self._told[spec.run_id] >= QUIET_SECONDS:
            self._told[spec.run_id] = time.monotonic()
            say(f"{spec.run_id}: epoch {event.epoch} of {spec.training.epochs}")

    def deferred(self, spec: RunSpec) -> None:
        """Another process is training this run; it is looked at again later."""
        say(f"{spec.run_id}: another process is training it")

    def ended(self, spec: RunSpec, outcome: Outcome) -> None:
        """A run is over, and recorded; or it was paused."""
        reason = "" if outcome.error is None else f": {outcome.error.strip().splitlines()[-1]}"
        say(f"{spec.run_id}: {outcome.status}{reason}")


def say(line: str) -> None:
    """Write a line to the job's log."""
    sys.stdout.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}\n")
    sys.stdout.flush()
