"""A table as HTML: an element of the report's page, or a small page of its own."""

from __future__ import annotations

import re
from collections.abc import Sequence

from bnbench.analysis.interval import Interval
from bnbench.analysis.table import Cell, Column, Kind, Remark, Table, Tone, Value, cell, shown
from bnbench.report.webpage.markup import Html, join, notes, symbol, tag, text, void

_NOTHING = Html('<span class="nothing" aria-label="no value">–</span>')
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
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color-scheme: light dark; margin: 2rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin-top: 2rem; }
caption { text-align: left; font-weight: 600; padding: .4rem .75rem; }
th, td { padding: .3rem .75rem; text-align: left; vertical-align: top; }
thead th { border-bottom: 1px solid; } tbody th { font-weight: 400; }
.number { text-align: right; } .note { font-size: .85rem; margin: .25rem .75rem; } .warning { color: #8a3b00; }
.forest .zero, .forest .interval { stroke: currentColor; } .forest .zero { stroke-dasharray: 2 2; }
.unseen { position: absolute; clip-path: inset(50%); }
"""


def render(table: Table) -> str:
    """The table and its notes, as a piece of a page."""
    return join([grid(table), small_print(table), hints(table.columns)])


def document(tables: Sequence[Table]) -> str:
    """Tables below each other as a page that needs nothing else."""
    title = next((table.title for table in tables if table.title is not None), "bnbench")
    head = [void("meta", charset="utf-8"), tag("title", text(title)), tag("style", Html(_STYLE))]
    return f"<!doctype html>\n{tag('html', *head, *(Html(render(table)) for table in tables), lang='en')}\n"


def grid(table: Table) -> Html:
    """The table alone; every cell has its exact value as an attribute."""
    title = table.title or table.name
    caption = title if table.caution is None else f"{table.caution}: {title}"
    places = {column.name: place for place, column in enumerate(table.columns)}
    scales = {
        column.name: _Scale.over(table, place, places.get(column.around or ""))
        for place, column in enumerate(table.columns)
        if column.kind is Kind.INTERVAL
    }
    head = tag("thead", tag("tr", *(each for column in table.columns for each in _heading(column))))
    body = []
    for row, exact in zip(table.rows, table.as_text(), strict=True):
        values = iter(exact)
        cells: list[Html] = []
        for place, (column, each) in enumerate(zip(table.columns, row, strict=True)):
            own = [next(values) for _ in column.fields]
            if column.kind is Kind.INTERVAL:
                middle = places.get(column.around or "")
                about = None if middle is None else cell(row[middle]).value
                cells += _interval(column, each, own, scales[column.name], about)
            else:
                name, scope = ("th", "row") if place == 0 else ("td", None)
                right = "number" if column.to_the_right else None
                cells.append(tag(name, content(column, each), scope=scope, class_=right, data_value=own[0]))
        body.append(tag("tr", *cells))
    parts = [tag("caption", tag("span", inline(caption)), id=f"{table.name}-caption"), head, tag("tbody", *body)]
    return tag("table", *parts)


def content(column: Column, each: Value | Cell) -> Html:
    """What stands in a cell."""
    own = cell(each)
    said = shown(column, own)
    if own.links:
        told = join([tag("a", inline(words), href=f"#{name}") for name, words in own.links], ", ")
        rest = inline(own.shown) if own.shown else Html("")
        told = join([told, rest], " ") if rest else told
    elif own.value is None and own.shown is None:
        told = _NOTHING
    elif column.kind is Kind.SYMBOL:
        told = tag("span", symbol(said), class_="variant", data_variant=str(own.value))
    elif column.kind is Kind.IDENTIFIER:
        told = tag("code", text(said)) if said else Html("")
    else:
        told = inline(said)
    if own.tone is Tone.BEST:
        told = tag("b", told)
    elif own.tone is not None:
        told = tag("span", told, class_=_CLASSES[own.tone])
    if own.remark is not None:
        remark = own.remark.words if isinstance(own.remark, Remark) else own.remark
        told = join([told, tag("small", inline(remark))], " ")
    if own.details is not None:
        told = tag("details", tag("summary", told), tag("pre", text(own.details)))
    return tag("div", told, class_="prose") if column.foldable else told


def inline(sentence: str) -> Html:
    """A sentence as HTML: symbols with their subscripts, what stands in backticks as code, a minus as a minus."""
    found = []
    for piece in _INLINE.split(sentence):
        if not _INLINE.fullmatch(piece):
            found.append(text(_MINUS.sub("−", piece)))
        else:
            found.append(tag("code", text(piece.strip("`"))) if piece.startswith("`") else symbol(piece))
    return join(found)


def small_print(table: Table) -> Html:
    """The notes of a table, what changes its numbers' meaning first."""
    warnings = [tag("span", inline(warning), class_="warning") for warning in table.warnings]
    return notes([*warnings, *map(inline, table.notes)])


def hints(columns: Sequence[Column]) -> Html:
    """What the columns mean, for those who cannot point at a heading."""
    hinted = [column for column in columns if column.hint is not None]
    if not hinted:
        return Html("")
    terms = join(join([tag("dt", _title(each)), tag("dd", inline(each.hint or ""))]) for each in hinted)
    return tag("details", tag("summary", text("What the columns mean")), tag("dl", terms), class_="hints")


def _title(column: Column) -> Html:
    return symbol(column.heading) if column.of_variant else inline(column.heading)


def _heading(column: Column) -> list[Html]:
    right = "number" if column.to_the_right else None
    names = column.fields
    first = tag("th", _title(column), scope="col", class_=right, data_name=names[0], title=column.hint)
    if len(names) == 1:
        return [first]
    return [first, tag("th", tag("span", text("interval"), class_="unseen"), scope="col", data_name=names[1])]


# --- intervals, drawn ---------------------------------------------------------------------------------------------


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

    def draw(self, interval: Value, about: Value) -> Html:
        """The number as a dot, the interval as a line, 0 as a rule; said in words in the cells beside it."""
        middle = str(self.HEIGHT // 2)
        marks = [tag("line", x1=self.at(0), x2=self.at(0), y1="0", y2=str(self.HEIGHT), class_="zero")]
        if isinstance(interval, Interval):
            low, high = self.at(interval.low), self.at(interval.high)
            marks.append(tag("line", x1=low, x2=high, y1=middle, y2=middle, class_="interval"))
        if isinstance(about, int | float):
            marks.append(tag("circle", cx=self.at(about), cy=middle, r="3.5"))
        return tag("svg", *marks, class_="forest", width=str(self.WIDTH), height=str(self.HEIGHT), aria_hidden="true")


def _interval(column: Column, each: Value | Cell, exact: Sequence[str], scale: _Scale, about: Value) -> list[Html]:
    own = cell(each)
    told = content(column, own)
    told = tag("span", told, class_="range") if isinstance(own.value, Interval) else told
    drawn = scale.draw(own.value, about) if own.value is not None or about is not None else Html("")
    return [tag("td", told, data_value=exact[0]), tag("td", drawn, data_value=exact[1])]
