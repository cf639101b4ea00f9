"""`bnbench status`: what a results folder holds, and what is still to come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bnbench.cli.jobs import print_jobs
from bnbench.cli.options import plugin_option, results_option
from bnbench.cli.output import Format, chosen, format_options, print_json, print_tables, say, warn
from bnbench.words import counted, duration

if TYPE_CHECKING:
    from bnbench.analysis.frames import Results
    from bnbench.analysis.table import Table, Value
    from bnbench.execution.slurm.queue import Element
    from bnbench.storage.document import RunDocument
    from bnbench.storage.states import RunState, StateName
    from bnbench.storage.store import ResultStore
    from bnbench.storage.sweeps import SweepRecord


@dataclass(frozen=True)
class _Folder:
    """A results folder, as it is at this moment."""

    store: ResultStore
    results: Results
    finished: Sequence[RunDocument]
    """The results among the runs."""
    ended: frozenset[str]
    states: Mapping[str, RunState]
    """Of the runs that were begun and have not ended, and of the damaged ones, by run id."""
    sweeps: Mapping[Path, SweepRecord]
    """Those with something left to do, by the file of their record."""
    jobs: Sequence[Element] | None
    """All that were submitted; None where Slurm cannot be asked."""

    @property
    def queued(self) -> dict[str, Element]:
        """The runs that have not ended and that a waiting or running job was given."""
        from bnbench.execution.slurm.queue import in_queue

        return {run_id: job for run_id, job in in_queue(self.jobs or ()).items() if run_id not in self.ended}

    def is_under_way(self, sweep: SweepRecord) -> bool | None:
        """Whether somebody works on a sweep, or jobs are to; None where that cannot be told from here."""
        from bnbench.storage.sweeps import is_under_way

        given = self.queued.keys() & {run.run_id for run in sweep.runs}
        return True if given else is_under_way(sweep, self.states)

    @property
    def damaged(self) -> list[str]:
        """The runs that have ended and cannot be used, and that nobody is training again."""
        return [run_id for run_id, state in self.states.items() if state.name == "damaged"]

    @property
    def to_come(self) -> dict[str, str]:
        """The runs that are in a sweep or a job and were not begun: "waiting", or "not begun" if nobody will."""
        found: dict[str, str] = dict.fromkeys(self.queued, "waiting")
        for sweep in self.sweeps.values():
            word = "not begun" if self.is_under_way(sweep) is False else "waiting"
            for run in sweep.left(self.ended):
                if found.get(run.run_id) != "waiting":
                    found[run.run_id] = word
        return {run_id: word for run_id, word in found.items() if run_id not in self.states}


@click.command("status")
@results_option
@click.option("--runs", "each_run", is_flag=True, help="A line for each run instead of a count for each setting.")
@format_options
@plugin_option
def command(results: Path, each_run: bool, style: Format | None, as_json: bool) -> None:
    """Say what a results folder holds: finished, diverged, failed, damaged, running, resumable and waiting runs.

    It only looks, so it may be asked while a sweep runs, from any machine that sees the folder. A run counts as running
    while its process shows signs of life. Of a sweep it says how much is left, and how long that may take, from what
    its runs took so far (or, before the first has ended, from what `bnbench estimate` measured). Cluster jobs that were
    submitted for the folder are listed too, where Slurm can be asked. JSON has a record for each run.

    \b
    Example:
      bnbench status --runs --results results/runs
    """
    wanted = chosen(style, as_json=as_json)
    folder = _look(results)
    if wanted == "json":
        print_json(_records(folder))
        return
    if each_run or folder.results.folders or wanted != "text":
        print_tables([_runs_table(folder) if each_run else _counts_table(folder)], wanted)
    if wanted != "text":
        return
    for path, sweep in folder.sweeps.items():
        say(_told(path, sweep, folder))
    if not each_run:
        _print_others(folder)
    if folder.jobs is None or folder.jobs:
        print_jobs(results, folder.jobs, folder.ended)


def _look(path: Path) -> _Folder:
    from bnbench.analysis.frames import Results
    from bnbench.execution.slurm.queue import look_at_queue, read_submissions
    from bnbench.storage.states import begun_runs, survey
    from bnbench.storage.store import ResultStore
    from bnbench.storage.sweeps import read_sweeps

    sweeps, damaged = read_sweeps(path)
    # The results last: a run that ends while the others are looked at has ended.
    states = survey({run_id: path / run_id for run_id in begun_runs(path)})
    # Before the first run begins there is nothing but what is to come, and that is worth saying.
    submissions, unreadable = read_submissions(path)
    store = ResultStore(path)
    contents = store.look()
    if not sweeps and not submissions:
        store.require_runs(contents)
    results = Results(store, contents)
    for warning in (*results.warnings, *damaged, *unreadable):
        warn(warning)
    ended = contents.ended
    states |= survey({run_id: path / run_id for run_id in results.damaged if run_id not in states})
    return _Folder(
        store,
        results,
        contents.finished,
        ended,
        {run_id: state for run_id, state in states.items() if run_id not in ended},
        {record: sweep for record, sweep in sweeps.items() if sweep.left(ended)},
        look_at_queue(submissions),
    )


def _records(folder: _Folder) -> list[dict[str, object]]:
    """A record for each run; those that a job was given and that have not ended name it."""
    open_runs = _open_runs(folder)
    records: list[dict[str, object]] = [
        {**asdict(record.identity), "status": record.status, "diverged_at_step": record.diverged_at_step}
        for record in folder.results.folders
        if record.identity.run_id not in open_runs
    ]
    queued = folder.queued
    identities = {record.identity.run_id: asdict(record.identity) for record in folder.results.folders}
    for run_id, state in open_runs.items():
        found = {"name": state} if isinstance(state, str) else asdict(state)
        job = {"job": queued[run_id].job_id, "job_state": queued[run_id].state} if run_id in queued else {}
        known = identities.get(run_id, {"run_id": run_id})
        records.append({**known, "status": found.pop("name"), **found, **job})
    return records


def _open_runs(folder: _Folder) -> dict[str, RunState | str]:
    """The states of the runs that have not ended, or a word for those that were not begun."""
    return {**folder.states, **folder.to_come}


def _runs_table(folder: _Folder) -> Table:
    from bnbench.analysis.table import Column, Kind, Table

    rows: list[tuple[str, str]] = []
    open_runs = _open_runs(folder)
    for record in folder.results.folders:
        if record.identity.run_id in open_runs:
            continue
        at = "" if record.diverged_at_step is None else f" at step {record.diverged_at_step}"
        why = "" if record.error is None else f": {record.error.strip().splitlines()[-1]}"
        rows.append((record.identity.run_id, f"{record.status}{at}{why}"))
    queued = folder.queued
    for run_id, state in open_runs.items():
        job = f", job {queued[run_id].job_id} {queued[run_id].state}" if run_id in queued else ""
        rows.append((run_id, (state if isinstance(state, str) else _in_words(state)) + job))
    columns = (Column("run_id", "run", Kind.IDENTIFIER), Column("status", "status", Kind.PROSE))
    return Table("runs", columns, tuple(rows))


def _counts_table(folder: _Folder) -> Table:
    from bnbench.analysis.table import Cell, Column, Kind, Table

    counts: Counter[tuple[tuple[str, str, str], StateName]] = Counter(
        ((run.identity.problem, run.identity.size, run.identity.setting_id), run.status)
        for run in folder.results.folders
        if run.identity.run_id in folder.ended or run.identity.run_id in folder.damaged
    )
    statuses: tuple[StateName, ...] = ("finished", "diverged", "failed", *(("damaged",) if folder.damaged else ()))
    rows: list[tuple[Value | Cell, ...]] = [
        (problem, size, Cell(setting, setting.rpartition("-")[2]), *(counts[group, status] for status in statuses))
        for group in sorted({group for group, _ in counts})
        for problem, size, setting in [group]
    ]
    columns = (
        Column("problem", "problem", Kind.IDENTIFIER),
        Column("size", "size"),
        Column("setting_id", "setting", Kind.IDENTIFIER, priority=1),
        *(Column(status, status, Kind.NUMBER) for status in statuses),
    )
    return Table("counts", columns, tuple(rows))


def _told(path: Path, sweep: SweepRecord, folder: _Folder) -> str:
    """How far a sweep is, and how long the rest takes; or how to go on, if nobody works on it."""
    from bnbench.execution.estimate import recorded_times, sweep_seconds
    from bnbench.storage.states import count

    left = sweep.left(folder.ended)
    begun = {run.run_id: folder.states[run.run_id] for run in left if run.run_id in folder.states}
    under_way = folder.is_under_way(sweep)
    states = [f"{number} {_WORDS.get(state, state)}" for state, number in count(begun.values()).items()]
    if len(left) > len(begun):
        states.append(f"{len(left) - len(begun)} {'not begun' if under_way is False else 'waiting'}")
    done = f"{len(sweep.runs) - len(left)} of {counted(len(sweep.runs), 'run')} ended"
    told = f"\n$ {sweep.command}\n{', '.join([done, *states])}"
    if under_way is False:
        return f"{told}. It runs no more; typed again where it was typed, it does the rest. To forget it: rm {path}"
    if under_way is None:
        return f"{told}. No sign of it from here; if it runs no more, typed again it does the rest."
    if folder.queued.keys() & {run.run_id for run in left}:
        return f"{told}. Cluster jobs do the rest."
    own = {run.run_id for run in sweep.runs}
    recorded = recorded_times(folder.store, [document for document in folder.finished if document.run_id in own])
    seconds = sweep_seconds(left, sweep.side_by_side, folder.states, recorded)
    return told + ("" if seconds is None else f"; about {duration(seconds)} left, {sweep.side_by_side} side by side")


def _print_others(folder: _Folder) -> None:
    """The runs that are damaged or were begun, and that no sweep on record is to train."""
    from bnbench.storage.states import count

    swept = {run.run_id for sweep in folder.sweeps.values() for run in sweep.runs}
    damaged = [run_id for run_id in folder.damaged if run_id not in swept]
    if damaged:
        say(
            f"Damaged: {counted(len(damaged), 'run')}; the command that trained them, typed again, trains them once "
            "more. --runs names them."
        )
    others = [state for run_id, state in folder.states.items() if run_id not in swept and state.name != "damaged"]
    if others:
        told = ", ".join(f"{number} {_WORDS.get(state, state)}" for state, number in count(others).items())
        say(f"Not ended: {told}; the command that started them does the rest. --runs names them.")


_WORDS = {"new": "cut off before the first checkpoint"}


def _in_words(state: RunState) -> str:
    at = f", epoch {state.epoch}/{state.epochs}" if state.epochs else ""
    return _WORDS.get(state.name, state.name) + at
