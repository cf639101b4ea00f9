"""`bnbench list`: the test problems and the placements they are registered with."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from bnbench.cli.options import size_option

if TYPE_CHECKING:
    from rich.table import Table


@click.command("list")
@click.argument("patterns", nargs=-1, metavar="[PATTERN]...")
@size_option
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def command(patterns: tuple[str, ...], size: str, as_json: bool) -> None:
    """List the test problems, a row for each placement; a PATTERN is a name or `digits_*`.

    \b
    Example:
      bnbench list 'cifar100_*'
    """
    from bnbench.problem import find_problems

    problems = [file.problem("tiny" if size == "tiny" else "full") for file in find_problems(patterns)]
    if as_json:
        click.echo(json.dumps([problem.model_dump(mode="json") for problem in problems], indent=1))
        return

    from rich.console import Console
    from rich.table import Table

    table = Table("problem", "placement", "width", "batch", "rate", "epochs", "ℓ2", box=None, pad_edge=False)
    for column in table.columns:
        column.no_wrap = True
    for column in table.columns[2:]:
        column.justify = "right"
    for problem in problems:
        training = problem.training
        settings = (
            f"×{problem.width:g}",
            str(training.batch_size),
            f"{training.learning_rate:.4g}",
            str(training.epochs),
            f"{training.l2:g}",
        )
        default, *others = problem.placements
        table.add_row(problem.name, f"{default} (default)", *settings)
        for placement in others:
            table.add_row("", placement)
    console = Console()
    console.print(table)
    if not patterns:
        console.print()
        console.print(_studies())
    click.echo("\n`bnbench show NAME` describes one; a problem of your own is named by its .toml file.", err=True)


def _studies() -> Table:
    """The studies that ship, and what each consists of."""
    from rich.table import Table

    from bnbench.study import find_study, study_files

    table = Table("study", "", "experiments", "claims", box=None, pad_edge=False)
    for name in study_files():
        study = find_study(name)
        table.add_row(name, study.summary, str(len(study.experiments)), str(len(study.claims)))
    return table
