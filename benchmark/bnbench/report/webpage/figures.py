"""A figure of the page is a tidy frame: one value a row, drawn by its type, and by nothing that knows what it is about.

So a kind of figure that somebody else brings is on the page as soon as it gives such a frame:

    TidyFigure(kind="norms", title="Norm of the gradient", caption="…", web="lines", x_label="epoch", y_label="norm",
               rows=frame)

Columns that must be there: `x`, `y` (the value), `series` (what shares a colour and an entry in the legend; a variant
has the look that it has everywhere), `panel` (what stands in a pair of axes of its own; one panel may have no name).

    lines   y over x, a line for each series
    bars    y at each x, a bar for each series
    heat    y as a colour at each x, a row for each series

Columns that may be: `low` and `high` (a band around y, or a bar's error); `seed` (the page draws the mean of the seeds
and a band from the lowest to the highest, or each); `variant` (shown only while the reader has it switched on; a
series that is a variant needs none); `split` and `statistics` (shown only while the reader looks at these, spelled as
in the table `curves`); `diverged_at_step` (of a run: its line is in no mean and ends with a cross).
"""

from __future__ import annotations

import numbers
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import pandas as pd

from bnbench.errors import UserError, unknown
from bnbench.report.figures.kind import BAND, COLUMNS
from bnbench.report.webpage.embedding import rounded

OF_A_LINE = ("seed", "variant", "split", "statistics", "diverged_at_step")
"""What a frame may have, the same along a line."""
_MOST_ACROSS = 4
_NAME = re.compile(r"[^A-Za-z0-9_-]+")


class Web(StrEnum):
    """How a frame is drawn on the page."""

    LINES = "lines"
    BARS = "bars"
    HEAT = "heat"


_CHARTS = {Web.LINES: "Line chart", Web.BARS: "Bar chart", Web.HEAT: "Heat map"}


@dataclass(frozen=True)
class Panel:
    """A pair of axes, where more is to be said of it than its name."""

    name: str
    y_label: str
    limits: tuple[float, float] | None = None
    """Of the y axis while all of x is shown; found from the values if None."""
    can_be_log: bool = False
    """Whether the reader may look at it on a logarithmic scale."""
    is_log: bool = False
    """Whether it is on one in any case."""


@dataclass(frozen=True, eq=False)
class TidyFigure:
    """A figure as data.

    Raises:
        UserError: the frame has no such columns, or there is no such way to draw it.
    """

    kind: str
    """What kind of figure it is, as one word."""
    title: str
    caption: str
    """Sentences: what the lines, bars or colours are."""
    web: str
    """One of `Web`."""
    x_label: str
    y_label: str
    """Of every panel that `panels` does not name; of a heat map, what its colours are."""
    rows: pd.DataFrame
    panels: Sequence[Panel] = ()
    """In order; those that only the frame names come after them."""
    x_end: float | None = None
    """Where training ends on the x axis; with it, the reader may look at the beginning of training alone."""
    names: Mapping[str, str] = field(default_factory=dict)
    """What `x` and `series` are called in a CSV file."""
    description: str | None = None
    """What is to be seen, in words, for those who cannot see it; made of the labels if None."""

    def __post_init__(self) -> None:
        if self.web not in list(Web):
            raise unknown(f"way to draw the figure '{self.kind}' on the page", self.web, list(Web))
        lacks = [name for name in COLUMNS if name not in self.rows]
        if len(set(BAND) & set(self.rows)) == 1:
            lacks += [name for name in BAND if name not in self.rows]
        if lacks:
            raise UserError(
                f"the frame of the figure '{self.kind}' has no column {', '.join(lacks)}",
                hint=f"The page draws tidy frames: columns {', '.join(COLUMNS)}, and {' and '.join(BAND)} if any.",
            )

    @property
    def all_panels(self) -> tuple[Panel, ...]:
        """Every pair of axes, in order."""
        named = {panel.name: panel for panel in self.panels}
        found = [str(name) for name in self.rows["panel"].unique()]
        return (*self.panels, *(Panel(name, self.y_label) for name in found if name not in named))

    @property
    def measured_on(self) -> tuple[str, ...]:
        """Split and statistics that the reader may choose among, "train_eval running", in order of appearance."""
        if not {"split", "statistics"} <= set(self.rows):
            return ()
        pairs = self.rows[["split", "statistics"]].drop_duplicates()
        return tuple(f"{split} {statistics}" for split, statistics in pairs.itertuples(index=False))

    def alternative(self) -> str:
        """The figure in words."""
        if self.description is not None:
            return self.description
        series = ", ".join(str(name) for name in self.rows["series"].unique())
        panels = ", ".join(panel.name for panel in self.all_panels if panel.name)
        where = f" Panels: {panels}." if panels else ""
        return f"{_CHARTS[Web(self.web)]} of {self.y_label} over {self.x_label}: {self.title}. Of {series}.{where}"

    def block(self, file: str) -> dict[str, object]:
        """The figure as plain JSON values: what the page's script draws.

        Args:
            file: the name of the CSV file that the reader can save it as.
        """
        panels = self.all_panels
        return {
            "web": str(self.web),
            "file": file,
            "x_label": self.x_label,
            "x_end": self.x_end,
            "names": {"x": self.x_label, "series": "series", **self.names},
            "panels": [
                {
                    "name": each.name,
                    "y_label": each.y_label,
                    "limits": each.limits,
                    "log": "always" if each.is_log else each.can_be_log,
                }
                for each in panels
            ],
            "lines": self._lines({panel.name: place for place, panel in enumerate(panels)}),
        }

    def _lines(self, places: Mapping[str, int]) -> list[dict[str, object]]:
        """The rows by what is the same along a line; along it, in order of x where lines are drawn."""
        same = ["panel", "series", *(name for name in OF_A_LINE if name in self.rows)]
        points = ["x", "y", *(name for name in BAND if name in self.rows)]
        rows = self.rows.sort_values("x", kind="stable") if self.web == Web.LINES else self.rows
        found: list[dict[str, object]] = []
        # In the frame's own order, whatever the order along the lines is.
        order = self.rows[same].drop_duplicates()
        groups = {_key(key): own for key, own in rows.groupby(same, observed=True, sort=False, dropna=False)}
        for key in order.itertuples(index=False):
            own = groups[_key(key)]
            line = {name: _plain(value) for name, value in zip(same, key, strict=True)}
            line["panel"] = places[str(line["panel"])]
            line |= {name: _listed(own[name]) for name in points}
            found.append(line)
        return found


@dataclass(frozen=True)
class FigureView:
    """What a template needs to know of a figure."""

    name: str
    """In links; its data block is `data-` and this."""
    comparison: str
    figure: TidyFigure
    block: dict[str, object]
    command: str | None = None
    """The command that draws the same into a file."""
    measured_on: str | None = None
    """What is shown at first of what the reader may choose."""

    @property
    def wide(self) -> int:
        """Its height on a wide screen, in pixels."""
        count = len(self.figure.all_panels)
        across = min(max(count, 2), _MOST_ACROSS)
        return -(-count // across) * (330 if across == 2 else 250) + 90

    @property
    def narrow(self) -> int:
        """Its height where all panels stand below each other, in pixels."""
        return 270 * len(self.figure.all_panels) + 130


def element_name(comparison: str, kind: str, taken: Sequence[str]) -> str:
    """A name in links for a figure of a comparison that no other has: "c1-curves", "c1-curves-2"."""
    stem = f"{comparison}-{_NAME.sub('-', kind)}"
    return next(
        name for number in range(1, len(taken) + 2) if (name := f"{stem}-{number}" if number > 1 else stem) not in taken
    )


def _key(values: Iterable[object]) -> tuple[str, ...]:
    """Of a line; as text, since what is missing equals nothing."""
    return tuple(repr(_plain(value)) for value in values)


def _listed(values: pd.Series) -> list[object]:
    """The values along a line as JSON knows them."""
    if pd.api.types.is_float_dtype(values.dtype):
        return [rounded(value) for value in values.to_numpy(np.float64, na_value=np.nan).tolist()]
    return [_plain(value) for value in values.tolist()]


def _plain(value: object) -> object:
    """A value as JSON knows it; None where it is missing or not finite."""
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return rounded(float(value))
    return None if value is None or value is pd.NA else str(value)
