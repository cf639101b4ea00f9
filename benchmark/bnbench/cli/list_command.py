"""`bnbench list`: the test problems and the placements they are registered with."""

from __future__ import annotations

import json

import click

from bnbench.cli.options import size_option


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
    Console().print(table)
    click.echo("\n`bnbench show NAME` describes one; a problem of your own is named by its .toml file.", err=True)
