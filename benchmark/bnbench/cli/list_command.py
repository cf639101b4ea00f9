"""`bnbench list`: the test problems, or what runs can be made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from bnbench.cli.options import Command, plugin_option, size_option
from bnbench.cli.output import Format, chosen, format_options, print_json, print_tables, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bnbench.analysis.table import Table
    from bnbench.problem import Problem, Size


_TABLES = (
    ("variants", "normaliser, γ and β, weights."),
    ("normalisers", "what variants name: formula, source, options."),
    ("reparametrisations", "what the weights of a variant are made of."),
    ("architectures", "networks that problems name."),
    ("datasets", "images that problems name."),
    ("optimisers", "what training.optimiser names."),
    ("rate_schedules", "what training.schedule names."),
    ("probes", "what else a run can measure."),
)


def _table_options(command: Command) -> Command:
    """A flag for each table; the command takes the one that was given as `what`."""
    for name, text in reversed(_TABLES):
        flag = f"--{name.replace('_', '-')}"
        command = click.option(flag, "what", flag_value=name, help=f"Instead: {text}")(command)
    return command


@click.command("list")
@click.argument("patterns", nargs=-1, metavar="[PATTERN]...")
@size_option
@_table_options
@format_options
@plugin_option
def command(patterns: tuple[str, ...], size: Size, what: str | None, style: Format | None, as_json: bool) -> None:
    """List the test problems, a row for each placement; a PATTERN is a name or `digits_*`.

    With one of the options that name a table: what there is in that, a row of your own among it.

    \b
    Examples:
      bnbench list 'cifar100_*'
      bnbench list --normalisers
      bnbench list --variants 'gn_*' --plugin mine.py
    """
    wanted = chosen(style, as_json=as_json)
    if what is not None:
        from bnbench.cli.component_tables import component_table

        print_tables([component_table(what, patterns)], wanted)
        return
    from bnbench.problem import find_problems

    # Who names none wants those that there are at this size; who names one is told that it has none.
    files = [file for file in find_problems(patterns) if patterns or size in file.sizes]
    problems = [file.problem(size) for file in files]
    if wanted == "json":
        print_json([problem.model_dump(mode="json") for problem in problems])
        return
    tables = [_problems(problems)]
    print_tables(tables if patterns else [*tables, _studies()], wanted)
    if wanted == "text":
        say("\n`bnbench show NAME` describes one; a problem of your own is named by its .toml file.", err=True)


def _problems(problems: Sequence[Problem]) -> Table:
    """The problems, a row for each placement."""
    from bnbench.analysis.table import Cell, Column, Kind, Table, general, rate

    columns = (
        Column("problem", "problem", Kind.IDENTIFIER, once=True),
        Column("placement", "placement"),
        Column("width", "width", Kind.NUMBER, show=lambda value: f"×{value:g}", once=True, priority=5),
        Column("batch", "batch", Kind.NUMBER, once=True, priority=3),
        Column("learning_rate", "rate", Kind.NUMBER, show=rate, once=True, priority=1),
        Column("epochs", "epochs", Kind.NUMBER, once=True, priority=2),
        Column("l2", "ℓ2", Kind.NUMBER, show=general, once=True, priority=4),
    )
    rows = [
        (
            problem.name,
            Cell(placement, remark="(default)" if placement == problem.placements[0] else None),
            problem.width,
            problem.training.batch_size,
            problem.training.learning_rate,
            problem.training.epochs,
            problem.training.l2,
        )
        for problem in problems
        for placement in problem.placements
    ]
    return Table("problems", columns, tuple(rows))


def _studies() -> Table:
    """The studies that ship, and what each consists of."""
    from bnbench.analysis.table import Column, Kind, Table
    from bnbench.study import find_study, study_files

    columns = (
        Column("study", "study", Kind.IDENTIFIER),
        Column("summary", "", Kind.PROSE),
        Column("experiments", "experiments", Kind.NUMBER, priority=2),
        Column("claims", "claims", Kind.NUMBER, priority=1),
    )
    studies = [(name, find_study(name)) for name in study_files()]
    rows = [(name, study.summary, len(study.experiments), len(study.claims)) for name, study in studies]
    return Table("studies", columns, tuple(rows))
