"""The cluster jobs of a results folder: what has become of them, and how that is shown."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bnbench.cli.output import print_tables

if TYPE_CHECKING:
    from bnbench.execution.cluster_queue import Element


def look_at_jobs(results: Path) -> list[Element] | None:
    """What has become of every job that was submitted for a results folder; None where Slurm cannot be asked."""
    from bnbench.execution.cluster_queue import look_at_queue, read_submissions

    submissions, warnings = read_submissions(results)
    for warning in warnings:
        click.echo(f"Warning: {warning}", err=True)
    return look_at_queue(submissions)


def print_jobs(elements: Sequence[Element] | None, ended: Collection[str]) -> None:
    """The jobs of a results folder that matter: those in the queue, and those that left runs behind.

    Args:
        elements: every job that was submitted for it; None where Slurm cannot be asked.
        ended: the ids of its runs that have ended.
    """
    from bnbench.analysis.table import Column, Kind, Table
    from bnbench.execution.cluster_queue import in_queue

    if elements is None:
        click.echo("Jobs were submitted for this folder; here is no squeue that could say what has become of them.")
        return
    waiting = [element for element in elements if element.state is not None]
    # A run that a later job was given, or that has ended, is nobody's concern any more.
    covered = {*ended, *in_queue(elements)}
    lost = {run_id for element in elements if element.state is None for run_id in element.run_ids} - covered
    if waiting:
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
    if lost:
        click.echo(
            f"{len(lost)} runs were given to jobs that are no longer in the queue, and have not ended; "
            "the command that submitted them does so again."
        )
