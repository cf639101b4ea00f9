"""How the tables of the analyses look in a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text


def columns() -> Table:
    """An empty table, columns to be added: a rule under the head and nothing else."""
    return Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")


def framed(title: str, body: Table, notes: Sequence[str]) -> Table:
    """Title, table and notes below each other: notes may be wider than the table, and a blank line ends it.

    A note that starts with "!" is a warning.
    """
    frame = Table.grid()
    frame.add_row(Text(title, style="bold"))
    frame.add_row("")
    frame.add_row(body)
    for note in notes:
        frame.add_row(Text(note, style="yellow" if note.startswith("!") else "dim"))
    frame.add_row("")
    return frame
