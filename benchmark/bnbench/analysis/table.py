"""A table as a value: columns declared once, rows of values, notes; `bnbench.report.render` turns it into anything.

A row holds values, not text: a number stands in it unrounded, and how it is rounded is its column's business. So the
terminal, a paper, a page and a file for another program show the same table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from enum import StrEnum

from bnbench.analysis.interval import Interval

Value = str | int | float | Interval | None

NOTHING = "–"
"""What is shown where there is no value and no word that says why."""


class Tone(StrEnum):
    """What a cell is to catch the eye for."""

    BEST = "best"
    GOOD = "good"
    BAD = "bad"
    OPEN = "open"
    WARNING = "warning"
    QUIET = "quiet"


class Kind(StrEnum):
    """What the values of a column are."""

    TEXT = "text"
    PROSE = "prose"
    """Text of any length, which may take several lines."""
    IDENTIFIER = "identifier"
    """Text that is copied letter by letter, and never cut or broken."""
    SYMBOL = "symbol"
    """A variant: its name is the value, its symbol ("BN_γ,β") is what is shown."""
    NUMBER = "number"
    INTERVAL = "interval"


@dataclass(frozen=True)
class Remark:
    """What is said beside a value: a sign where room is short, explained below the table, or the words themselves."""

    sign: str
    words: str


@dataclass(frozen=True)
class Cell:
    """A value with something to say about it; where there is nothing, the bare value is a cell too."""

    value: Value
    shown: str | None = None
    """In place of the value as its column would show it; without a value, why there is none."""
    remark: str | Remark | None = None
    tone: Tone | None = None
    links: tuple[tuple[str, str], ...] = ()
    """(name of a section, what is shown) on a page; elsewhere a cell shows its value."""
    details: str | None = None
    """The whole of what the value is the summary of, unfolded on a page."""


@dataclass(frozen=True)
class Column:
    """One column: how it is called, what is in it, and how that is shown."""

    name: str
    """In files and in links from outside: letters, digits, underscores. It stays."""
    heading: str
    """A long word may have soft hyphens where it may be parted."""
    kind: Kind = Kind.TEXT
    show: Callable[[float], str] = str
    """A number as text; an interval shows both its ends so."""
    hint: str | None = None
    """What the column means, where the heading is too short to say it."""
    priority: int = 0
    """0: always shown. Where room is short, columns with the largest priority are left out first."""
    detail: bool = False
    """Only where there is room to scroll, on a page, and in files."""
    once: bool = False
    """A value that is the row's above is not said again, as long as everything before it is the same too."""
    of_variant: bool = False
    """The heading is the symbol of a variant."""
    ends: tuple[str, str] = ("low", "high")
    """Of an interval: the names of its two ends in files."""
    around: str | None = None
    """Of an interval: the column with the number that it is about, for those who draw it."""

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of the column in a file: one, or for an interval those of its two ends."""
        return self.ends if self.kind is Kind.INTERVAL else (self.name,)

    @property
    def to_the_right(self) -> bool:
        """Numbers stand to the right."""
        return self.kind is Kind.NUMBER

    @property
    def foldable(self) -> bool:
        """Whether its text may take several lines."""
        return self.kind is Kind.PROSE


@dataclass(frozen=True)
class Table:
    """Rows of values under columns, with a title and what a reader must know.

    Raises:
        ValueError: a row has not as many cells as there are columns.
    """

    name: str
    """What kind of table it is, as one word; of a file that is made of it, the stem."""
    columns: tuple[Column, ...]
    rows: tuple[tuple[Value | Cell, ...], ...]
    title: str | None = None
    caution: str | None = None
    """What must be read before the title: that the numbers count for nothing."""
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    """Notes that change what the numbers mean."""
    about: tuple[tuple[str, Value], ...] = ()
    """(name, value): what all rows have in common; in a file that several tables are joined in, columns."""
    headless: bool = False
    """The rows explain themselves: no line of headings."""

    def __post_init__(self) -> None:
        if any(len(row) != len(self.columns) for row in self.rows):
            raise ValueError(f"table '{self.name}' has {len(self.columns)} columns, and a row has not as many cells")

    @property
    def fields(self) -> tuple[str, ...]:
        """The columns of a file that is made of the table."""
        return tuple(name for column in self.columns for name in column.fields)

    def as_text(self) -> list[list[str]]:
        """The rows as text by field, numbers to their last digit; where there is none, the word that says why."""
        return [
            [text for column, each in zip(self.columns, row, strict=True) for text in _exact(column, cell(each))]
            for row in self.rows
        ]

    def records(self) -> list[dict[str, Value]]:
        """The rows as plain values by field; what is not finite is None, and so is what is not there."""
        return [
            {
                name: value
                for column, each in zip(self.columns, row, strict=True)
                for name, value in zip(column.fields, _plain(column, cell(each).value), strict=True)
            }
            for row in self.rows
        ]

    def without(self, names: Collection[str]) -> Table:
        """The table without some of its columns."""
        kept = [place for place, column in enumerate(self.columns) if column.name not in names]
        return replace(
            self,
            columns=tuple(self.columns[place] for place in kept),
            rows=tuple(tuple(row[place] for place in kept) for row in self.rows),
        )

    def beside(self, column: Column, cells: Collection[Value | Cell]) -> Table:
        """The table with one more column on its right.

        Args:
            column: what it is.
            cells: as many as there are rows.
        """
        rows = tuple((*row, each) for row, each in zip(self.rows, cells, strict=True))
        return replace(self, columns=(*self.columns, column), rows=rows)

    def legend(self) -> str | None:
        """The signs that stand beside values, explained; None where there is none."""
        remarks = (cell(each).remark for row in self.rows for each in row)
        found = dict.fromkeys(each for each in remarks if isinstance(each, Remark))
        return "  ".join(f"{each.sign} {each.words}" for each in found) or None


def cell(each: Value | Cell) -> Cell:
    """A bare value as a cell."""
    return each if isinstance(each, Cell) else Cell(each)


def shown(column: Column, each: Value | Cell) -> str:
    """The value of a cell as its column shows it, without what is said beside it."""
    own = cell(each)
    if own.shown is not None:
        return own.shown
    match own.value:
        case None:
            return "" if column.kind in {Kind.TEXT, Kind.PROSE, Kind.IDENTIFIER} else NOTHING
        case Interval(low, high):
            return f"[{column.show(low)}, {column.show(high)}]"
        case str():
            return own.value
        case float() if math.isnan(own.value):
            return NOTHING
        case _:
            return column.show(own.value)


def _exact(column: Column, each: Cell) -> tuple[str, ...]:
    if each.value is None:
        word = each.shown or ""
        return (word, "") if column.kind is Kind.INTERVAL else (word,)
    if isinstance(each.value, Interval):
        return (repr(float(each.value.low)), repr(float(each.value.high)))
    return (repr(float(each.value)) if isinstance(each.value, float) else str(each.value),)


def _plain(column: Column, value: Value) -> tuple[Value, ...]:
    if column.kind is Kind.INTERVAL:
        ends = (value.low, value.high) if isinstance(value, Interval) else (None, None)
        return tuple(each if each is not None and math.isfinite(each) else None for each in ends)
    return (None if isinstance(value, float) and not math.isfinite(value) else value,)


# --- how numbers are shown ----------------------------------------------------------------------------------------


def fixed(digits: int) -> Callable[[float], str]:
    """So many decimals."""
    return lambda value: f"{value:.{digits}f}"


def signed(digits: int) -> Callable[[float], str]:
    """So many decimals, with the sign in front: of a difference."""
    return lambda value: f"{value:+.{digits}f}"


def spread(digits: int) -> Callable[[float], str]:
    """A deviation, to stand beside its mean."""
    return lambda value: f"±{value:.{digits}f}"


def short(value: float) -> str:
    """Five characters: three decimals, fewer for a large value; a small one keeps a digit that counts."""
    if value != 0 and abs(value) < 0.0005:
        return f"{value:.0e}".replace("e-0", "e-")
    for digits, limit in ((3, 10), (2, 100), (1, 1000)):
        if abs(value) < limit:
            return f"{value:.{digits}f}"
    return f"{value:.2g}"


def general(value: float) -> str:
    """As few digits as are needed, at most six."""
    return "∞" if math.isinf(value) else f"{value:g}"


def rate(value: float) -> str:
    """A learning rate."""
    return f"{value:.4g}"


def whole(value: float) -> str:
    """A whole number, its thousands apart."""
    return f"{value:,.0f}"


def share(value: float) -> str:
    """A share in percent."""
    return f"{value:.0%}"


def p_value(value: float) -> str:
    """The p of a test."""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
