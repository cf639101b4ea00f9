"""`bnbench report`: one HTML file of everything that a results folder holds."""

from __future__ import annotations

from pathlib import Path

import click

from bnbench.cli.options import plugin_option, results_option
from bnbench.cli.output import print_warnings
from bnbench.cli.page import write_page
from bnbench.cli.path_type import GivenPath

FILE = "report.html"


@click.command("report")
@click.option(
    "--output",
    type=GivenPath(dir_okay=False),
    help=f"The file to write; default: {FILE} in the results folder.",
)
@results_option
@plugin_option
def command(output: Path | None, results: Path) -> None:
    """Write one self-contained HTML file: ranking, curves, γ and β, provenance. It needs no network.

    \b
    Examples:
      bnbench report
      bnbench report --results results/runs/demo --output demo.html
    """
    from bnbench.analysis.frames import open_results

    opened = open_results(results)
    print_warnings(opened)
    write_page(opened, results / FILE if output is None else output, "--output")
