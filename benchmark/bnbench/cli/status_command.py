"""`bnbench status`: what a results folder holds."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bnbench.cli.options import results_option

if TYPE_CHECKING:
    from bnbench.storage.document import Status


@click.command("status")
@results_option
@click.option("--runs", "each_run", is_flag=True, help="A line for each run instead of a count for each setting.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable, a record for each run.")
def command(results: Path, each_run: bool, as_json: bool) -> None:
    """Say what a results folder holds: finished, diverged, failed and unfinished runs.

    \b
    Example:
      bnbench status --results results/runs
    """
    from bnbench.analysis.frames import open_results
    from bnbench.storage.store import ResultStore

    opened = open_results(results)
    for warning in opened.warnings:
        click.echo(f"Warning: {warning}", err=True)
    unfinished = ResultStore(results).unfinished()
    if as_json:
        ended = [
            {**asdict(record.identity), "status": record.status, "diverged_at_step": record.diverged_at_step}
            for record in opened.records
        ]
        started = [{"run_id": run_id, "status": "unfinished"} for run_id in unfinished]
        click.echo(json.dumps([*ended, *started], indent=1))
        return

    from rich.console import Console
    from rich.table import Table

    if each_run:
        table = Table("run", "status", box=None, pad_edge=False)
        for record in opened.records:
            at = "" if record.diverged_at_step is None else f" at step {record.diverged_at_step}"
            table.add_row(record.identity.run_id, f"{record.status}{at}")
        for run_id in unfinished:
            table.add_row(run_id, "unfinished")
    else:
        table = Table("problem", "size", "setting", "finished", "diverged", "failed", box=None, pad_edge=False)
        counts = Counter(
            ((run.identity.problem, run.identity.size, run.identity.setting_id.rpartition("-")[2]), run.status)
            for run in opened.records
        )
        for group in sorted({group for group, _ in counts}):
            statuses: tuple[Status, ...] = ("finished", "diverged", "failed")
            table.add_row(*group, *(str(counts[group, status]) for status in statuses))
    Console().print(table)
    if unfinished and not each_run:
        click.echo(
            f"{len(unfinished)} unfinished: running now, or cut off; the command that started them does the rest."
        )
