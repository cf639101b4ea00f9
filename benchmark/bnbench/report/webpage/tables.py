"""A table on the page: in a box that scrolls, with a button that saves it and the command that prints it."""

from __future__ import annotations

from bnbench.analysis.table import Table
from bnbench.report.render import html
from bnbench.report.webpage.markup import Html, command, tag, text

LONG = 40
"""Rows from which on a table scrolls in its own box."""


def boxed(table: Table, line: str | None = None) -> Html:
    """A table with its notes and tools.

    Args:
        table: what to show; its name is that of the CSV file, and no other table of the page may have it.
        line: the command that prints the same in a terminal.
    """
    # A box that scrolls has to be reachable with the keyboard, and to say what it is.
    box = tag(
        "div",
        html.grid(table),
        class_="scroll long" if len(table.rows) > LONG else "scroll",
        tabindex="0",
        role="region",
        aria_label=f"Table {table.name}",
    )
    button = tag("button", text("Download CSV"), type="button", class_="quiet", data_csv=f"{table.name}.csv")
    tools = tag("div", *([button] if line is None else [button, command(line)]), class_="tools")
    return tag("div", box, html.small_print(table), html.hints(table.columns), tools, class_="table")
