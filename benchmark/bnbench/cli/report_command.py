"""`bnbench report`: one HTML file of everything that a results folder holds."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from bnbench.cli.options import plugin_option, results_option
from bnbench.cli.output import print_warnings, say, warnings_after
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
    from bnbench.errors import UserError
    from bnbench.report.webpage.build import report_page
    from bnbench.storage.files import atomic_file

    opened = open_results(results)
    print_warnings(opened)
    runs = sum(record.readable for record in opened.records)
    hidden = not sys.stderr.isatty()
    with (
        warnings_after(opened),
        click.progressbar(length=runs, label="reading runs", file=sys.stderr, hidden=hidden) as bar,
    ):
        page = report_page(opened, lambda: bar.update(1)).encode()
    path = results / FILE if output is None else output
    try:
        with atomic_file(path) as file:
            file.write(page)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"{path} cannot be written: {reason}", hint="Name another file with --output.") from error
    say(f"{path} ({len(page) / 1e6:.1f} MB)")
