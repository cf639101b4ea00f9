"""`bnbench status`: what a results folder holds."""

from __future__ import annotations

import json
from pathlib import Path

import click

from bnbench.cli.options import results_option


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
    from bnbench.storage.store import ResultStore

    store = ResultStore.open(results, create=False)
    contents = store.look()
    for warning in contents.warnings:
        click.echo(f"Warning: {warning}", err=True)
    records = [
        {
            "run_id": document.run_id,
            "setting_id": document.setting_id,
            "status": document.status,
            "problem": document.spec["problem"],
            "size": document.spec["size"],
            "variant": document.spec["variant"]["name"],
            "placement": document.spec["placement"],
            "learning_rate": document.spec["training"]["learning_rate"],
            "seed": document.spec["seed"],
            "diverged_at_step": document.diverged_at_step,
            "error": document.error,
        }
        for document in contents.documents
    ]
    if as_json:
        unfinished = [{"run_id": run_id, "status": "unfinished"} for run_id in contents.unfinished]
        click.echo(json.dumps([*records, *unfinished], indent=1))
        return
