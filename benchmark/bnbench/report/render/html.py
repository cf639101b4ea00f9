"""A table as HTML: an element of the report's page, or a small page of its own.

What is `Markup` here, and what the report's page embeds, is the only text that a template takes for HTML. It may:
it comes out of templates that escape every value, or of format strings that do.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined, pass_eval_context
from jinja2.environment import TemplateModule
from jinja2.filters import do_xmlattr
from jinja2.nodes import EvalContext
from markupsafe import Markup, escape

from bnbench.analysis.interval import Interval
from bnbench.analysis.table import Cell, Column, Kind, Remark, Table, Tone, Value, cell, shown
from bnbench.printable import LINES, printable
from bnbench.words import counted

MOST_NOTES = 6
"""Small print of more lines is folded away."""

_CLASSES = {
    Tone.GOOD: "verdict holds",
    Tone.BAD: "verdict refuted",
    Tone.OPEN: "verdict undecided",
    Tone.WARNING: "warning",
    Tone.QUIET: "nothing",
}
_INLINE = re.compile(r"([A-Za-z]+_[γβ](?:,[γβ])*|`[^`]+`)")
"""What is more than plain text in a sentence: a variant's symbol, a placement in backticks."""
_MINUS = re.compile(r"(?<![\w-])-(?=\d)")


def render(table: Table) -> Markup:
    """The table and its notes, as a piece of a page."""
    return grid(table) + small_print(table) + hints(table.columns)


def document(tables: Sequence[Table]) -> str:
    """Tables below each other as a page that needs nothing else."""
    title = next((table.title for table in tables if table.title is not None), "bnbench")
    return _environment().get_template("document.html.j2").render(title=title, tables=map(render, tables))


def grid(table: Table) -> Markup:
    """The table alone; every cell has its exact value as an attribute."""
    title = table.title or table.name
    return _written(
        "grid",
        name=table.name,
        caption=title if table.caution is None else f"{table.caution}: {title}",
        columns=table.columns,
        rows=_rows(table),
    )


def small_print(table: Table) -> Markup:
    """The notes of a table, what changes its numbers' meaning first."""
    return _written("notes", [*((each, True) for each in table.warnings), *((each, False) for each in table.notes)])


def plain_notes(lines: Sequence[str]) -> Markup:
    """Small print that belongs to no table."""
    return _written("notes", [(each, False) for each in lines])


def hints(columns: Sequence[Column]) -> Markup:
    """What the columns mean, for those who cannot point at a heading."""
    return _written("hints", [column for column in columns if column.hint is not None])


def symbol(name: str) -> Markup:
    """A variant's symbol with its subscript, up to a space, set as one: "BN_γ,β out"."""
    name = printable(name)
    stem, underscore, low = name.partition("_")
    index, space, rest = low.partition(" ")
    if not underscore or not stem or not index:
        return escape(name)
    return Markup("{}<sub>{}</sub>{}{}").format(stem, index, space, rest)


def inline(sentence: str) -> Markup:
    """A sentence as HTML: symbols with their subscripts, what stands in backticks as code, a minus as a minus."""
    found = Markup("")
    for piece in _INLINE.split(printable(sentence, keep=LINES)):
        if not _INLINE.fullmatch(piece):
            found += _MINUS.sub("−", piece)
        else:
            found += Markup("<code>{}</code>").format(piece.strip("`")) if piece.startswith("`") else symbol(piece)
    return found


def environment(*packages: str) -> Environment:
    """What renders the templates of these packages.

    Every value is cleaned and escaped, and a name that is not given is an error.
    """
    made = Environment(
        loader=ChoiceLoader([PackageLoader(package) for package in packages]),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_cleaned,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"symbol": symbol, "inline": inline, "counted": counted, "xmlattr": _attributes}
    return made


def _cleaned(value: object) -> object:
    """A value as a template writes it; what is HTML already was cleaned when it was made."""
    return printable(value, keep=LINES) if isinstance(value, str) and not isinstance(value, Markup) else value


@pass_eval_context
def _attributes(context: EvalContext, attributes: Mapping[str, object]) -> str:
    # What is not shown is exact: of an element's data files are made, and a link must be what it leads to.
    exact = {name for name in attributes if name.startswith("data-") or name == "href"}
    given = {name: value if name in exact else _cleaned(value) for name, value in attributes.items()}
    return do_xmlattr(context, given)


@cache
def _environment() -> Environment:
    return environment(__package__)


@cache
def _macros() -> TemplateModule:
    return _environment().get_template("table.html.j2").make_module({"most_notes": MOST_NOTES})


def _written(macro: str, *given: object, **named: object) -> Markup:
    written: Markup = getattr(_macros(), macro)(*given, **named)
    return written


# --- what the template needs to know of a cell ---------------------------------------------------------------------


@dataclass(frozen=True)
class _Shown:
    """A cell as the template writes it."""

    name: str
    """Of the element: the first cell of a row is its heading."""
    attributes: Mapping[str, str | None]
    links: tuple[tuple[str, str], ...] = ()
    said: str | None = None
    """None: nothing at all; beside links, what follows them."""
    missing: bool = False
    style: str = "inline"
    """How `said` is set: "symbol", "code", "inline"."""
    variant: Value = None
    best: bool = False
    toned: str | None = None
    range: bool = False
    remark: str | None = None
    details: str | None = None
    prose: bool = False
    drawn: _Drawn | None = None


@dataclass(frozen=True)
class _Drawn:
    """An interval in pixels: the number as a dot, the interval as a line, 0 as a rule."""

    width: int
    height: int
    zero: str
    ends: tuple[str, str] | None
    middle: str | None


def _rows(table: Table) -> list[list[_Shown]]:
    places = {column.name: place for place, column in enumerate(table.columns)}
    scales = {
        column.name: _Scale.over(table, place, places.get(column.around or ""))
        for place, column in enumerate(table.columns)
        if column.kind is Kind.INTERVAL
    }
    rows = []
    for row, exact in zip(table.rows, table.as_text(), strict=True):
        values = iter(exact)
        cells: list[_Shown] = []
        for place, (column, each) in enumerate(zip(table.columns, row, strict=True)):
            own = [next(values) for _ in column.fields]
            name, scope = ("th", "row") if place == 0 and column.kind is not Kind.INTERVAL else ("td", None)
            right = "number" if column.to_the_right else None
            cells.append(_as_shown(column, cell(each), name, {"scope": scope, "class": right, "data-value": own[0]}))
            if column.kind is Kind.INTERVAL:
                middle = places.get(column.around or "")
                about = None if middle is None else cell(row[middle]).value
                drawn = scales[column.name].draw(cell(each).value, about)
                cells.append(_Shown("td", {"scope": None, "class": None, "data-value": own[1]}, drawn=drawn))
        rows.append(cells)
    return rows


def _as_shown(column: Column, own: Cell, name: str, attributes: Mapping[str, str | None]) -> _Shown:
    missing = not own.links and own.value is None and own.shown is None
    said = own.shown if own.links else shown(column, own)
    return _Shown(
        name,
        attributes,
        links=own.links,
        said=None if missing else said or None,
        missing=missing,
        style="inline" if own.links else {Kind.SYMBOL: "symbol", Kind.IDENTIFIER: "code"}.get(column.kind, "inline"),
        variant=own.value if column.kind is Kind.SYMBOL and not own.links else None,
        best=own.tone is Tone.BEST,
        toned=None if own.tone is None else _CLASSES.get(own.tone),
        range=isinstance(own.value, Interval),
        remark=own.remark.words if isinstance(own.remark, Remark) else own.remark,
        details=own.details,
        prose=column.foldable,
    )


class _Scale:
    """One scale for the intervals of a column, with 0 always on it."""

    WIDTH = 120
    HEIGHT = 18
    MARGIN = 6

    def __init__(self, low: float, high: float) -> None:
        self._low, self._high = low, high

    @classmethod
    def over(cls, table: Table, place: int, middle: int | None) -> _Scale:
        values = [0.0]
        for row in table.rows:
            interval = cell(row[place]).value
            values += [interval.low, interval.high] if isinstance(interval, Interval) else []
            about = None if middle is None else cell(row[middle]).value
            values += [about] if isinstance(about, int | float) else []
        return cls(min(values), max(values))

    def at(self, value: float) -> str:
        """Where a value is, in pixels from the left."""
        span = (self._high - self._low) or 1.0
        return f"{self.MARGIN + (value - self._low) / span * (self.WIDTH - 2 * self.MARGIN):.1f}"

    def draw(self, interval: Value, about: Value) -> _Drawn | None:
        """Said in words in the cells beside it; None where there is nothing to draw."""
        if interval is None and about is None:
            return None
        return _Drawn(
            self.WIDTH,
            self.HEIGHT,
            zero=self.at(0),
            ends=(self.at(interval.low), self.at(interval.high)) if isinstance(interval, Interval) else None,
            middle=self.at(about) if isinstance(about, int | float) else None,
        )
