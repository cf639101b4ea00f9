"""Writing the page of a results folder, for the commands that do."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bnbench.cli.output import say, warnings_after

if TYPE_CHECKING:
    from bnbench.analysis.frames import Results


def write_page(results: Results, path: Path, option: str) -> None:
    """Write the page of everything that a results folder holds, and say where it lies.

    Args:
        results: the folder.
        path: of the file.
        option: by which the user names another one.

    Raises:
        UserError: the file cannot be written.
    """
    from bnbench.errors import UserError
    from bnbench.report.webpage.build import report_page
    from bnbench.storage.files import atomic_file

    runs = sum(record.readable for record in results.records)
    hidden = not sys.stderr.isatty()
    with (
        warnings_after(results),
        click.progressbar(length=runs, label="reading runs", file=sys.stderr, hidden=hidden) as bar,
    ):
        page = report_page(results, lambda: bar.update(1)).encode()
    try:
        with atomic_file(path) as file:
            file.write(page)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"{path} cannot be written: {reason}", hint=f"Name another file with {option}.") from error
    say(f"{path} ({len(page) / 1e6:.1f} MB)")
