"""`bnbench status`: what a results folder holds."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bnbench.cli.cluster_options import print_jobs
from bnbench.cli.options import results_option

if TYPE_CHECKING:
    from bnbench.storage.document import Status
    from bnbench.storage.standing import Standing


@click.command("status")
@results_option
@click.option("--runs", "each_run", is_flag=True, help="A line for each run instead of a count for each setting.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable, a record for each run.")
def command(results: Path, each_run: bool, as_json: bool) -> None:
    """Say what a results folder holds: finished, diverged, failed, running and resumable runs.

    It only looks, so it may be asked while a sweep runs, from any machine that sees the folder. A run counts as running
    while its process shows signs of life. Cluster jobs that were submitted for the folder are listed too, where Slurm
    can be asked.

    \b
    Example:
      bnbench status --runs --results results/runs
    """
    from bnbench.analysis.frames import Results, open_results
    from bnbench.execution.cluster_queue import read_submissions
    from bnbench.storage.standing import begun_runs, count, survey
    from bnbench.storage.store import ResultStore

    # Before the first job begins there is nothing but the jobs, and that is worth saying.
    submitted = bool(read_submissions(results)[0])
    opened = Results(ResultStore(results)) if submitted else open_results(results)
    for warning in opened.warnings:
        click.echo(f"Warning: {warning}", err=True)
    ended = {record.identity.run_id for record in opened.records}
    begun = [run_id for run_id in begun_runs(results) if run_id not in ended]
    standings = survey({run_id: results / run_id for run_id in begun})
    if as_json:
        records = [
            {**asdict(record.identity), "status": record.status, "diverged_at_step": record.diverged_at_step}
            for record in opened.records
        ]
        started = []
        for run_id, standing in standings.items():
            found = asdict(standing)
            started.append({"run_id": run_id, "status": found.pop("state"), **found})
        click.echo(json.dumps([*records, *started], indent=1))
        return

    from rich.console import Console
    from rich.table import Table

    if each_run:
        table = Table("run", "status", box=None, pad_edge=False)
        for record in opened.records:
            at = "" if record.diverged_at_step is None else f" at step {record.diverged_at_step}"
            why = "" if record.error is None else f": {record.error.strip().splitlines()[-1]}"
            table.add_row(record.identity.run_id, f"{record.status}{at}{why}")
        for run_id, standing in standings.items():
            table.add_row(run_id, _in_words(standing))
    else:
        table = Table("problem", "size", "setting", "finished", "diverged", "failed", box=None, pad_edge=False)
        counts = Counter(
            ((run.identity.problem, run.identity.size, run.identity.setting_id.rpartition("-")[2]), run.status)
            for run in opened.records
        )
        for group in sorted({group for group, _ in counts}):
            statuses: tuple[Status, ...] = ("finished", "diverged", "failed")
            table.add_row(*group, *(str(counts[group, status]) for status in statuses))
    if opened.records or each_run:
        Console().print(table)
    if standings and not each_run:
        told = ", ".join(f"{number} {_WORDS.get(state, state)}" for state, number in count(standings.values()).items())
        click.echo(f"Not ended: {told}; the command that started them does the rest. --runs names them.")
    if submitted:
        print_jobs(results, ended)


_WORDS = {"new": "cut off before the first checkpoint"}


def _in_words(standing: Standing) -> str:
    at = f", epoch {standing.epoch}/{standing.epochs}" if standing.epochs else ""
    return _WORDS.get(standing.state, standing.state) + at
