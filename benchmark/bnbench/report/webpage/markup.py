"""HTML from values: everything that comes from outside is escaped here, and nowhere else is HTML put together of it."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NewType

Html = NewType("Html", str)
"""Text that is HTML already. Everything else is text, and is escaped before it becomes any."""

NOTHING = Html('<span class="nothing" aria-label="no value">–</span>')

LONG = 40
"""Rows from which on a table scrolls in its own box."""

MOST_NOTES = 6


def text(value: object) -> Html:
    """A value as HTML text, safe in quoted attributes too."""
    return Html(html.escape(str(value), quote=True))


def join(parts: Iterable[Html], between: str = "") -> Html:
    """Pieces of HTML after each other."""
    return Html(between.join(parts))


def tag(name: str, *content: Html, **attributes: str | None) -> Html:
    """An element; the values of attributes are escaped.

    Args:
        name: of the element.
        *content: what stands in it.
        **attributes: a trailing underscore is dropped and the others become hyphens (`class_`, `data_value`); None
            leaves one out.
    """
    return Html(f"<{name}{_written(attributes)}>{''.join(content)}</{name}>")


def void(name: str, **attributes: str | None) -> Html:
    """An element that holds nothing, like `input`."""
    return Html(f"<{name}{_written(attributes)}>")


def symbol(name: str) -> Html:
    """A variant's symbol with its subscript set as one: "BN_γ,β"."""
    stem, underscore, index = name.partition("_")
    if not underscore or not stem or not index:
        return text(name)
    return Html(f"{text(stem)}<sub>{text(index)}</sub>")


@dataclass(frozen=True)
class Cell:
    """One cell: how it looks, and what it is in the CSV file."""

    shown: Html
    value: str
    """Unrounded, and empty where there is nothing."""
    number: bool = False
    """Numbers stand to the right."""


@dataclass(frozen=True)
class Column:
    """One column: its heading, and its name in the CSV file."""

    heading: Html
    name: str
    number: bool = False
    hint: str | None = None
    """What the column means, where the heading is too short to say it."""


@dataclass(frozen=True)
class Table:
    """A table of the page, which can be taken along as a CSV file."""

    name: str
    """Of the CSV file, without its suffix."""
    caption: Html
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[Html, ...] = ()
    command: str | None = None
    """What prints the same in a terminal."""


def words(value: object) -> Cell:
    """A cell of plain text."""
    return Cell(text(value), str(value))


def code(value: object) -> Cell:
    """A cell of text that is to be read letter by letter: identifiers, versions, hashes."""
    return Cell(tag("code", text(value)), str(value))


def empty(reason: str | None = None) -> Cell:
    """A cell without a value, and why."""
    return Cell(NOTHING if reason is None else tag("span", text(reason), class_="nothing"), reason or "", number=True)


def number(value: float | None, digits: int = 3, *, signed: bool = False) -> Cell:
    """A cell of a number: rounded to look at, exact in the CSV file."""
    if value is None:
        return empty()
    if not math.isfinite(value):
        return Cell(text(str(value)), str(value), number=True)
    return Cell(text(decimal(value, digits, signed=signed)), repr(value), number=True)


def decimal(value: float, digits: int = 3, *, signed: bool = False) -> str:
    """A number with a real minus sign, and none in front of a zero."""
    written = f"{value:{'+' if signed else ''}.{digits}f}"
    return written.lstrip("+-") if float(written) == 0 else written.replace("-", "−")


def count(value: int) -> Cell:
    """A cell of a whole number."""
    return Cell(text(f"{value:,}".replace(",", " ")), str(value), number=True)


def table(contents: Table) -> Html:
    """A table that scrolls inside its own box, with its caption, notes and a button for the CSV file."""
    head = join(
        tag(
            "th",
            each.heading,
            scope="col",
            class_="number" if each.number else None,
            data_name=each.name,
            title=each.hint,
        )
        for each in contents.columns
    )
    body = join(tag("tr", *(_cell(each, first=index == 0) for index, each in enumerate(row))) for row in contents.rows)
    grid = tag(
        "table",
        tag("caption", tag("span", contents.caption), id=f"{contents.name}-caption"),
        tag("thead", tag("tr", head)),
        tag("tbody", body),
    )
    # A box that scrolls has to be reachable with the keyboard, and to say what it is.
    box = tag(
        "div",
        grid,
        class_="scroll long" if len(contents.rows) > LONG else "scroll",
        tabindex="0",
        role="region",
        aria_label=f"Table {contents.name}",
    )
    button = tag("button", text("Download CSV"), type="button", class_="quiet", data_csv=f"{contents.name}.csv")
    tools = [button] if contents.command is None else [button, command(contents.command)]
    return tag(
        "div", box, notes(contents.notes), _hints(contents.columns), tag("div", *tools, class_="tools"), class_="table"
    )


def _hints(columns: Sequence[Column]) -> Html:
    """What the columns mean, for those who cannot point at a heading."""
    hinted = [column for column in columns if column.hint is not None]
    if not hinted:
        return Html("")
    terms = join(join([tag("dt", each.heading), tag("dd", text(each.hint))]) for each in hinted)
    return tag("details", tag("summary", text("What the columns mean")), tag("dl", terms), class_="hints")


def notes(lines: Sequence[Html]) -> Html:
    """Small print below a table or a figure; much of it is folded away."""
    shown = [tag("p", line, class_="note") for line in lines]
    if len(shown) <= MOST_NOTES:
        return join(shown)
    summary = tag("summary", text(f"{len(shown) - MOST_NOTES} more notes"))
    return join([*shown[:MOST_NOTES], tag("details", summary, *shown[MOST_NOTES:], class_="hints")])


def command(line: str) -> Html:
    """A command to be typed, with a button that copies it."""
    return tag(
        "span",
        tag("code", text(line)),
        tag(
            "button", text("Copy"), type="button", class_="quiet", data_copy=line, aria_label=f"Copy the command {line}"
        ),
        class_="command",
    )


def _written(attributes: Mapping[str, str | None]) -> str:
    given = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items() if value is not None}
    return "".join(f' {key}="{text(value)}"' for key, value in given.items())


def _cell(each: Cell, *, first: bool) -> Html:
    name, scope = ("th", "row") if first else ("td", None)
    return tag(name, each.shown, scope=scope, class_="number" if each.number else None, data_value=each.value)
