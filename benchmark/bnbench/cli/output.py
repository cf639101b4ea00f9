"""What a command prints: tables in the form that was asked for, JSON, and text for terminals that know few signs."""

from __future__ import annotations

import codecs
import json
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, Literal, TypeVar

import click

from bnbench.report.render.spelling import ERRORS

if TYPE_CHECKING:
    from bnbench.analysis.frames import Results
    from bnbench.analysis.table import Table

Command = TypeVar("Command", bound=Callable[..., Any])
Format = Literal["text", "json", "csv", "latex", "html"]

_ASCII = "bnbench_ascii"


def spell_out_what_cannot_be_shown() -> None:
    """Let standard output and standard error take any text: a sign that their encoding has not becomes its name.

    Everything that is printed goes through one of the two, and so does what other libraries print.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # click writes UTF-8 to a stream whose encoding is called ASCII, whatever shows it.
            ascii_only = codecs.lookup(stream.encoding).name == "ascii"
            stream.reconfigure(errors=ERRORS, **({"encoding": _ASCII} if ascii_only else {}))


def _ascii_by_another_name(name: str) -> codecs.CodecInfo | None:
    if name != _ASCII:
        return None
    own = codecs.lookup("ascii")
    return codecs.CodecInfo(
        name=_ASCII,
        encode=own.encode,
        decode=own.decode,
        streamreader=own.streamreader,
        streamwriter=own.streamwriter,
        incrementalencoder=own.incrementalencoder,
        incrementaldecoder=own.incrementaldecoder,
    )


codecs.register(_ascii_by_another_name)


# --- tables -------------------------------------------------------------------------------------------------------


def format_options(command: Command) -> Command:
    """`--format`, and `--json` for short; a command takes them as `style` and `as_json` and hands them to `chosen`."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Machine-readable; short for --format json."),
        click.option(
            "--format",
            "style",
            type=click.Choice(["text", "json", "csv", "latex", "html"]),
            help="What to print: text (default), json, csv, latex (booktabs, for a paper) or html.",
        ),
    ):
        command = option(command)
    return command


def chosen(style: Format | None, *, as_json: bool) -> Format:
    """The form that was asked for.

    Raises:
        UserError: two were.
    """
    from bnbench.errors import UserError

    if as_json and style not in {None, "json"}:
        raise UserError(f"--json and --format {style} are two forms of the same table", hint="Give one of them.")
    return "json" if as_json else style or "text"


def print_tables(tables: Sequence[Table], style: Format = "text") -> None:
    """Print tables below each other.

    Args:
        tables: what to print. CSV has room for one kind: the first table's.
        style: in which form; JSON, if there are several tables, as a list.
    """
    if style == "text":
        _print_text(tables)
    elif style == "json":
        from bnbench.report.render import json as json_form

        documents = [json_form.values(table) for table in tables]
        print_json(documents[0] if len(documents) == 1 else documents)
    elif style == "csv":
        from bnbench.report.render import csv as csv_form

        click.echo(csv_form.joined([table for table in tables if table.name == tables[0].name]), nl=False)
    elif style == "latex":
        from bnbench.report.render import latex

        click.echo("\n".join([latex.PACKAGES, *map(latex.render, tables)]), nl=False)
    else:
        from bnbench.report.render import html

        click.echo(html.document(tables), nl=False)


def print_json(document: object) -> None:
    """Print plain values as JSON; where the stream knows few signs, the others are escaped and so not lost."""
    from bnbench.report.render.cleaning import clean_json

    every_sign = codecs.lookup(sys.stdout.encoding).name.startswith("utf")
    click.echo(clean_json(json.dumps(document, indent=1, ensure_ascii=not every_sign, allow_nan=False)))


def _print_text(tables: Sequence[Table]) -> None:
    from rich.console import Console

    from bnbench.report.render import terminal

    console = Console(highlight=False)
    width = _columns(sys.stdout)
    for place, table in enumerate(tables):
        if place and table.title is None:  # a title parts them, and one without is not to be taken for more rows
            console.print()
        for line in terminal.lines(table, width, sys.stdout.encoding):
            console.print(line, soft_wrap=True)


def _columns(stream: IO[str]) -> int | None:
    """The columns of a terminal; None where there is none, and a line may have any length."""
    if not stream.isatty():
        return None
    return shutil.get_terminal_size().columns


# --- warnings -----------------------------------------------------------------------------------------------------


def print_warnings(results: Results, after: int = 0) -> None:
    """Say what is wrong with single runs of a results folder.

    Args:
        results: the opened folder.
        after: so many warnings have been said already.
    """
    for warning in results.warnings[after:]:
        click.echo(f"Warning: {warning}", err=True)


@contextmanager
def warnings_after(results: Results) -> Iterator[None]:
    """Say at the end of the block, however it ends, what came up inside it while runs were read."""
    before = len(results.warnings)
    try:
        yield
    finally:
        print_warnings(results, before)
