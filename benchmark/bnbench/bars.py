"""Bars on a terminal of any width: what matters most stays readable, what matters least goes first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

BAR_WIDTH = 30
"""Columns of a bar where there is room."""
LEAST_BAR = 10
_TIME_WIDTH = len("23 h 59 min")
_NAME_WIDTH = 8
_GAP = 1


@dataclass(frozen=True)
class Row:
    """One bar. Each text is given in several lengths, the longest first; all rows show the same one of them."""

    names: tuple[str, ...]
    share: float
    """How much is done, from 0 to 1."""
    counts: tuple[str, ...]
    left: tuple[str, ...]
    """The time that is left."""
    details: tuple[str, ...]
    """What is left out first."""


@dataclass(frozen=True)
class _Layout:
    """Which of its lengths each text has."""

    name: int = 0
    count: int = 0
    left: int = 0
    detail: int | None = 0
    percent: bool = True
    bar: int = LEAST_BAR
    """Columns that the bar has at least; 0 for no bar."""
    cut: bool = False
    """Whether names may be cut."""


_LAYOUTS = (
    _Layout(bar=20),
    _Layout(bar=20, detail=1),
    _Layout(detail=1),
    _Layout(detail=None),
    _Layout(detail=None, name=1),
    _Layout(detail=None, name=1, count=1),
    _Layout(detail=None, left=1, name=1, count=1),
    _Layout(detail=None, left=1, name=1, count=1, cut=True),
    _Layout(detail=None, left=1, name=1, count=1, cut=True, percent=False),
    _Layout(detail=None, left=1, name=1, count=1, cut=True, percent=False, bar=0),
)
"""What is given up, in this order, until the rest fits."""


def drawn(rows: Sequence[Row], width: int) -> Table:
    """The rows as a table that is no wider than a terminal.

    Args:
        rows: what is drawn, from top to bottom.
        width: columns of the terminal.
    """
    layout = next((each for each in _LAYOUTS if _least(rows, each) <= width), _LAYOUTS[-1])
    texts = [_texts(row, layout) for row in rows]
    room = max(0, width - _least(rows, layout))
    longest = max((len(name) for name, *_ in texts), default=0)
    name_width = min(longest, _least_name(texts, layout) + room)
    bar_width = min(BAR_WIDTH, layout.bar + room - (name_width - _least_name(texts, layout)))
    table = Table.grid(padding=(0, _GAP, 0, 0))
    table.add_column(no_wrap=True, width=name_width, overflow="ellipsis")
    if layout.bar:
        table.add_column(no_wrap=True, width=bar_width)
    for _ in range(2 + layout.percent):
        table.add_column(no_wrap=True, justify="right")
    if layout.detail is not None:
        table.add_column(no_wrap=True)
    for row, (name, count, left, detail) in zip(rows, texts, strict=True):
        bar = (ProgressBar(1.0, row.share, width=bar_width),) if layout.bar else ()
        percent = (Text(f"{int(100 * row.share)}%", style="progress.percentage"),) if layout.percent else ()
        time = Text(left.rjust(_time_width(layout)), style="progress.remaining")
        details = (Text(detail),) if layout.detail is not None else ()
        table.add_row(Text(name), *bar, *percent, Text(count), time, *details)
    return table


def _least(rows: Sequence[Row], layout: _Layout) -> int:
    """The columns that a layout takes at least."""
    texts = [_texts(row, layout) for row in rows]
    longest = [max((len(text[column]) for text in texts), default=0) for column in (1, 3)]
    columns = [_least_name(texts, layout), longest[0], _time_width(layout)]
    columns += [longest[1]] * (layout.detail is not None)
    columns += [layout.bar] * (layout.bar > 0) + [len("100%")] * layout.percent
    return sum(columns) + _GAP * (len(columns) - 1)


def _least_name(texts: Sequence[tuple[str, ...]], layout: _Layout) -> int:
    longest = max((len(text[0]) for text in texts), default=0)
    return min(longest, _NAME_WIDTH) if layout.cut else longest


def _time_width(layout: _Layout) -> int:
    return _TIME_WIDTH + (0 if layout.left else len(" left"))


def _texts(row: Row, layout: _Layout) -> tuple[str, str, str, str]:
    detail = "" if layout.detail is None else _of(row.details, layout.detail)
    return _of(row.names, layout.name), _of(row.counts, layout.count), _of(row.left, layout.left), detail


def _of(texts: tuple[str, ...], length: int) -> str:
    """A text in a length, or in the shortest that it has."""
    return texts[min(length, len(texts) - 1)]
