"""A table as comma-separated values: numbers to their last digit, under the names of the columns."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from bnbench.analysis.table import Table


def render(table: Table) -> str:
    """The table; where there is no number, its cell says why, if that is known."""
    return joined([table])


def joined(tables: Sequence[Table]) -> str:
    """Tables of one kind below each other, with what each is about in columns of its own.

    A column that a table has not is empty in its rows.
    """
    about = list(dict.fromkeys(name for table in tables for name, _ in table.about))
    fields = list(dict.fromkeys(field for table in tables for field in table.fields))
    written = io.StringIO()
    _write(written, [*about, *fields])
    for table in tables:
        common = dict(table.about)
        for row in table.as_text():
            cells = dict(zip(table.fields, row, strict=True))
            _write(written, [*(_text(common.get(name)) for name in about), *(cells.get(name, "") for name in fields)])
    return written.getvalue()


def _write(written: io.StringIO, row: Sequence[str]) -> None:
    # Of the ends of a line, csv quotes only the one it writes itself; readers take a carriage return for one too.
    if any("\r" in each for each in row):
        csv.writer(written, lineterminator="\n", quoting=csv.QUOTE_ALL).writerow(row)
    else:
        csv.writer(written, lineterminator="\n").writerow(row)


def _text(value: object) -> str:
    return "" if value is None else str(value)
