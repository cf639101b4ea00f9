"""A table on the page: in a box that scrolls, with a button that saves it and the command that prints it."""

from __future__ import annotations

from dataclasses import dataclass

from bnbench.analysis.table import Table

LONG = 40
"""Rows from which on a table scrolls in its own box."""


@dataclass(frozen=True)
class Boxed:
    """A table with its notes and tools."""

    table: Table
    """Its name is that of the CSV file, and no other table of the page may have it."""
    command: str | None = None
    """What prints the same in a terminal."""

    @property
    def long(self) -> bool:
        """Whether it scrolls in its own box."""
        return len(self.table.rows) > LONG
