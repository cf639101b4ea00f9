"""The executor that hands runs over to the jobs of a cluster.

The jobs do not need whoever submitted them. What they do is in `job`, what is remembered of them in `queue`.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bnbench.execution.listening import Listener, Notice, Outcome, RunListener
from bnbench.execution.options import RunOptions
from bnbench.execution.places import Room, room_here
from bnbench.execution.planning import SweepPlan
from bnbench.execution.slurm.queue import (
    CLUSTER_FOLDER,
    WITHOUT_LOG,
    in_queue,
    look_at_queue,
    lost_runs,
    read_submissions,
)
from bnbench.execution.slurm.settings import JobSettings
from bnbench.execution.slurm.submit import device_of_jobs, require_plain_path, require_slurm, split, submit_sweep
from bnbench.plan import RunSpec


@dataclass(frozen=True)
class Slurm:
    """Hands runs over to the jobs of a cluster, and waits for none of them."""

    settings: JobSettings

    sends_away = True
    in_this_process = False

    def room(self, options: RunOptions) -> Room:
        """As the protocol; of this machine's CPUs, which may be all that it has."""
        return room_here(replace(options, device="cpu"))

    def warm_up(self) -> None:
        """Nothing is trained here."""

    def choose(
        self, plan: SweepPlan, room: Room, store: Path, options: RunOptions, listener: Listener
    ) -> list[RunSpec]:
        """The runs of a plan that are neither being trained nor given to a job that is still in the queue.

        Raises:
            UserError: jobs cannot be submitted from here, or what they ask for does not fit the runs.
        """
        require_slurm()
        require_plain_path(store)
        device_of_jobs(options.device, self.settings)
        submissions, warnings = read_submissions(store)
        for warning in warnings:
            listener.notice(Notice(warning, warning=True))
        jobs = look_at_queue(submissions) or []
        queued = in_queue(jobs)
        waiting = [spec for spec in plan.todo if spec.run_id in queued]
        if waiting:
            ids = sorted({queued[spec.run_id].job_id for spec in waiting})
            listener.notice(Notice(f"{len(waiting)} runs are in the queue already (jobs {', '.join(ids)})."))
        elsewhere = {
            run.spec.run_id
            for run in plan.runs
            if run.state is not None and run.state.name == "running" and run.spec.run_id not in queued
        }
        if elsewhere:
            listener.notice(Notice(f"{len(elsewhere)} runs are being trained by processes outside the queue."))
        left = [spec for spec in plan.todo if spec.run_id not in elsewhere | set(queued)]
        split(left, self.settings, options.threads)
        without_log = lost_runs(store, jobs, plan.ended).without_log.keys() & {spec.run_id for spec in left}
        if without_log:
            told = f"{len(without_log)} of these were submitted before, and their jobs left the queue without a log."
            listener.notice(Notice(f"{told} If nobody cancelled them, {WITHOUT_LOG}.", warning=True))
        return left

    def run_all(
        self,
        specs: Sequence[RunSpec],
        store: Path,
        options: RunOptions,
        listener: RunListener,
        stop: Callable[[], bool],
    ) -> list[Outcome]:
        """Submit the runs, and say where to look.

        Raises:
            UserError: jobs cannot be submitted from here, or are refused.
        """
        submission = submit_sweep(specs, store, options, self.settings)
        job_ids = list(submission.elements)
        told = job_ids[0] if len(job_ids) == 1 else f"{job_ids[0]} … {job_ids[-1]}"
        path = shlex.quote(str(store))
        text = (
            f"Submitted {len(specs)} runs in {len(job_ids)} jobs ({told}), "
            f"{self.settings.side_by_side(options.threads)} side by side in each, "
            f"on {device_of_jobs(options.device, self.settings)}.\n"
            f"They need this command no more. What becomes of them: bnbench status --results {path}\n"
            f"To cancel them: scancel --name={submission.name}\n"
            f"Their logs: {shlex.quote(str(store / CLUSTER_FOLDER / submission.name))}"
        )
        listener.notice(Notice(text))
        return [Outcome(spec.run_id, "submitted") for spec in specs]
