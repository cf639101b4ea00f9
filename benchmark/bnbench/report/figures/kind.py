"""What a kind of figure is: how its numbers are found, and how they are drawn.

    kind = FigureKind("norms", "Norm of the gradient", "norm of the gradient over training", data, draw, web="lines")

    def data(results, compared, request): ...     # a tidy frame
    def draw(frame, page): ...                    # a matplotlib figure

A third-party package adds a kind by an entry point of the group `bnbench.figures`; it is drawn by `bnbench plot --kind`
and, as its frame says, on the page of `bnbench report`.

A *tidy frame* has one value a row:

    x, y       where it stands; y is the value
    series     what shares a colour and an entry in the legend; a variant is called what it is called everywhere
    panel      what stands in a pair of axes of its own; one panel may have an empty name
    low, high  the ends of a band or bar around y; both or neither

and whatever else its drawing needs (`seed` tells lines of one series apart). `labelled` says what the axes are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import pandas as pd
from matplotlib.figure import Figure

from bnbench.analysis.comparison import Comparison, by_setting
from bnbench.analysis.frames import Results
from bnbench.errors import UserError
from bnbench.report.page import TEXT, Page
from bnbench.storage.schema import TableName

Web = Literal["lines", "heat", "bars", "none"]
"""How the page draws a tidy frame: y over x, a line for each series; y as a colour at each x, a row for each series; y
at each x, a bar for each series; or not at all."""

Scale = Literal["linear", "log", "share", "part"]
"""Of a y axis: linear, logarithmic, a share from 0 to 100 %, or a share as far up as it goes."""

COLUMNS = ("x", "y", "series", "panel")
BAND = ("low", "high")
_LABELS = "labels"


@dataclass(frozen=True)
class Request:
    """How a figure is wanted: what it may depend on beside the runs."""

    page: Page = TEXT
    seed: int | None = None
    """Of runs that are drawn alone; the first that there is if None."""


@dataclass(frozen=True)
class PanelLabel:
    """What is to be said of the axes of one panel."""

    y: str
    """What `y` is there, with its unit; of a share without one."""
    scale: Scale = "linear"


@dataclass(frozen=True)
class Labels:
    """What stands beside the numbers of a tidy frame."""

    x: str
    """What `x` is, with its unit; so for `y`."""
    y: str
    caption: str
    """What is drawn, in sentences. Which runs, is said behind it."""
    title: str | None = None
    """Of the figure; made from the kind's and what the comparisons have in common if None."""
    runs: str | None = None
    """Which runs are drawn, in sentences; all of the comparisons if None."""
    panels: Mapping[str, PanelLabel] = field(default_factory=dict)
    """Panels, by name, whose y axis is another than `y`."""


@dataclass(frozen=True)
class Portion:
    """What goes into one drawing."""

    compared: Sequence[Comparison]
    number: int | None = None
    """Of the drawing, where what belongs together does not fit on a page."""
    whole: Sequence[Comparison] = ()
    """What belongs together, which the command is to draw; the portion itself if empty."""


Data = Callable[[Results, Sequence[Comparison], Request], pd.DataFrame]
Draw = Callable[[pd.DataFrame, Page], Figure]
Portions = Callable[[Sequence[Comparison], Page], list[Portion]]


def one_by_one(found: Sequence[Comparison], _page: Page) -> list[Portion]:
    """A drawing for each comparison."""
    return [Portion([each]) for each in found]


def together(found: Sequence[Comparison], _page: Page) -> list[Portion]:
    """One drawing of all comparisons."""
    return [Portion(found)]


def by_setting_in_pages(high: int, wide: int) -> Portions:
    """The comparisons of each setting together, as many as fit: on a high page, or on a wide one."""

    def portions(found: Sequence[Comparison], page: Page) -> list[Portion]:
        most = wide if page.wide else high
        return [portion for own in by_setting(found) for portion in in_pages(own, most)]

    return portions


def in_pages(found: Sequence[Comparison], most: int) -> list[Portion]:
    """Comparisons in portions that fit on a page, numbered from 1 where there are several."""
    starts = range(0, len(found), most)
    several = len(starts) > 1
    return [
        Portion(found[start : start + most], number if several else None, found)
        for number, start in enumerate(starts, start=1)
    ]


@dataclass(frozen=True)
class FigureKind:
    """One kind of figure."""

    name: str
    """As `--kind` takes it; also that of the entry point."""
    title: str
    """What a figure of the kind shows, in a few words: what its comparisons are is said behind it."""
    summary: str
    """In a line, for those who choose."""
    data: Data
    """(results, comparisons of one drawing, request) to a tidy frame; an empty one where the runs do not allow it."""
    draw: Draw
    """(tidy frame, page) to a figure."""
    web: Web = "none"
    """How the page draws the frame of a comparison; what it shows in another form anyway is not drawn twice."""
    lacks: str = "any run"
    """What the runs must have been, where nothing could be drawn."""
    tables: tuple[TableName, ...] = ("curves",)
    """What is read of the runs: one of which such a table is damaged is left out."""
    portions: Portions = one_by_one
    """Which comparisons stand in one drawing."""
    joint: str = ", "
    """What stands between the title and what the comparisons are."""
    seeded: bool = False
    """Whether single runs are drawn, so that a seed makes a difference."""
    makes: str = "bnbench run digits_3c3d --variant all --seeds 3"
    """The command that makes runs from which it can be drawn."""


def labelled(frame: pd.DataFrame, labels: Labels) -> pd.DataFrame:
    """A tidy frame with what stands beside its numbers."""
    frame.attrs[_LABELS] = labels
    return frame


def labels_on(frame: pd.DataFrame) -> Labels | None:
    """What stands beside a frame's numbers; None of one that nobody labelled."""
    found = frame.attrs.get(_LABELS)
    return found if isinstance(found, Labels) else None


def labels_of(frame: pd.DataFrame, kind: FigureKind) -> Labels:
    """What stands beside the numbers of a kind's frame.

    Raises:
        UserError: the frame is not tidy: it lacks columns or labels.
    """
    band = [name for name in BAND if name in frame.columns]
    lacking = [name for name in (*COLUMNS, *(BAND if band else ())) if name not in frame.columns]
    labels = labels_on(frame)
    if lacking or labels is None:
        what = f"no column {', '.join(lacking)}" if lacking else "no labels"
        raise UserError(
            f"the frame of the figure '{kind.name}' has {what}",
            hint=f"A tidy frame has the columns {', '.join(COLUMNS)}, {' and '.join(BAND)} if any, and labels.",
        )
    return labels
