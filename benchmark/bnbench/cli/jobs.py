"""The jobs of a cluster in words: those in the queue, and those that left runs behind."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bnbench.cli.output import print_tables, say
from bnbench.words import counted

if TYPE_CHECKING:
    from bnbench.execution.slurm.queue import Element

_FEW = 3
"""So many jobs are named."""


def print_jobs(store: Path, elements: Sequence[Element] | None, ended: Collection[str]) -> None:
    """The jobs of a results folder that matter: those in the queue, and those that left runs behind.

    Args:
        store: the results folder.
        elements: every job that was submitted for it; None where Slurm cannot be asked.
        ended: the ids of its runs that have ended.
    """
    if elements is None:
        say("Jobs were submitted for this folder; here is no squeue that could say what has become of them.")
        return
    _print_queue([element for element in elements if element.state is not None], ended)
    _print_lost(store, elements, ended)


def _print_queue(waiting: Sequence[Element], ended: Collection[str]) -> None:
    from bnbench.analysis.table import Column, Kind, Table

    if not waiting:
        return
    rows = []
    for element in waiting:
        why = f" ({element.reason})" if element.reason not in {"None", ""} else ""
        done = sum(run_id in ended for run_id in element.run_ids)
        rows.append((element.job_id, f"{element.state}{why}", len(element.run_ids), done))
    columns = (
        Column("job", "job", Kind.IDENTIFIER),
        Column("state", "state"),
        Column("runs", "runs", Kind.NUMBER),
        Column("ended", "ended", Kind.NUMBER),
    )
    print_tables([Table("jobs", columns, tuple(rows))])
    stuck = [element for element in waiting if not element.starts_by_itself]
    if stuck:
        say(
            f"{counted(len(stuck), 'job')} will not start without your help ({_named(stuck)}): "
            f"`scontrol show job {stuck[0].job_id}` says more; `scontrol release` lets go of one that is held, "
            f"`scancel --name={stuck[0].submission}` gives them up."
        )


def _print_lost(store: Path, elements: Sequence[Element], ended: Collection[str]) -> None:
    """The runs that nobody is to train any more. To submit again is advised only where that may help."""
    from bnbench.execution.slurm.queue import WITHOUT_LOG, log_of, lost_runs

    lost = lost_runs(store, elements, ended)
    if lost.without_log:
        jobs = list(dict.fromkeys(lost.without_log.values()))
        were = "was" if len(lost.without_log) == 1 else "were"
        say(
            f"{counted(len(lost.without_log), 'run')} {were} given to jobs that left the queue without a log "
            f"({_named(jobs)}). If nobody cancelled them, {WITHOUT_LOG}, and submitting them again will end the same "
            f"way: `scontrol show job {jobs[0].job_id}` may say why, and so does the log of slurmd; "
            f"`srun ls {shlex.quote(str(store.absolute()))}` whether a node sees the folder."
        )
    if not lost.cut_off:
        return
    told = f"{len(lost.cut_off)} runs were given to jobs that are no longer in the queue, and have not ended; "
    repeated = [run_id for run_id in lost.cut_off if lost.times[run_id] > 1]
    if not repeated:
        say(f"{told}the command that submitted them does so again.")
        return
    log = log_of(store, lost.cut_off[repeated[0]])
    most = max(lost.times[run_id] for run_id in repeated)
    say(
        f"{told}{len(repeated)} of them were submitted up to {most} times already. Before that is done again, see what "
        f"their jobs said last: {shlex.quote(str(log))}"
    )


def _named(elements: Iterable[Element]) -> str:
    ids = [element.job_id for element in elements]
    return ", ".join(ids[:_FEW]) + (f" and {len(ids) - _FEW} more" if len(ids) > _FEW else "")
