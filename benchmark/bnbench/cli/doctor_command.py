"""`bnbench doctor`: does a row that you have made keep what every run relies on?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from bnbench.cli.options import plugin_option
from bnbench.cli.output import Format, chosen, format_options, print_tables, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bnbench.analysis.table import Table
    from bnbench.execution.doctor.examine import Check


@click.command("doctor")
@click.argument("name", metavar="NAME")
@click.option("--problem", default="digits_3c3d", show_default=True, help="What is trained with it, at its tiny size.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="A setting that it needs. Repeatable.")
@format_options
@plugin_option
def command(name: str, problem: str, overrides: tuple[str, ...], style: Format | None, as_json: bool) -> None:
    """Check a normaliser, reparametrisation, variant, network, data set, optimiser, rate schedule or probe.

    NAME is that of the row. It is trained for a few steps in several ways: are shapes kept and numbers finite, is the
    same training the same once more, do gradients flow, does what is frozen stay, and is an interrupted run, one in a
    worker process and one in a cluster job the same byte for byte? The exit code is 1 if a check fails.

    \b
    Example:
      bnbench doctor my_norm --plugin mine.py
    """
    from bnbench.execution.selection import Settings

    wanted = chosen(style, as_json=as_json)
    changes = Settings(overrides=overrides).changes
    tables_with_it = _tables_with(name)
    say("Loading torch and training a little …", err=True)
    from bnbench.execution.doctor.examine import examine

    found = {what: examine(what, name, problem, changes) for what in tables_with_it}
    print_tables([_table(what, name, checks) for what, checks in found.items()], wanted)
    failed = sum(not check.passed for checks in found.values() for check in checks)
    if failed:
        raise SystemExit(1)


def _tables_with(name: str) -> list[str]:
    """The tables that have a row of that name.

    Raises:
        UserError: there is none.
    """
    from bnbench.errors import unknown
    from bnbench.execution.components import REGISTRIES

    found = [what for what, registry in REGISTRIES.items() if name in registry]
    if not found:
        others = [each for registry in REGISTRIES.values() for each in registry if registry.is_third_party(each)]
        known = others or [each for registry in REGISTRIES.values() for each in registry]
        raise unknown("row", name, list(dict.fromkeys(known)), hint="Rows of a file of your own: --plugin FILE.py.")
    return found


def _table(what: str, name: str, checks: Sequence[Check]) -> Table:
    from bnbench.analysis.table import Cell, Column, Kind, Table, Tone
    from bnbench.execution.components import REGISTRIES

    def result(check: Check) -> Cell:
        if not check.made:
            return Cell("not made", "–", tone=Tone.QUIET)
        return Cell("passed", "✓", tone=Tone.GOOD) if check.passed else Cell("failed", "✗", tone=Tone.BAD)

    columns = (
        Column("result", ""),
        Column("check", "check"),
        Column("reason", "why", Kind.PROSE),
    )
    rows = [(result(check), check.title, Cell(check.reason, None if check.reason else "")) for check in checks]
    return Table("checks", columns, tuple(rows), title=f"{REGISTRIES[what].kind} '{name}'")
