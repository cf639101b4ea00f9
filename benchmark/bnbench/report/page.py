"""The sizes a figure can have: a paper's column, a paper's text, a slide."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, cast

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.text import Text

from bnbench.report.fitting import HEADING, fit, headed
from bnbench.report.style import FOOT, GRID

FIGURE_KEYS: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so it is the same everywhere, and it has γ and β
    "mathtext.fontset": "dejavusans",
    "pdf.fonttype": 42,  # text stays text: it can be searched for, and journals take it
    "svg.fonttype": "path",
    "svg.hashsalt": "bnbench",
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "lines.dash_capstyle": "butt",
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "legend.columnspacing": 1.4,
}
"""matplotlib settings that every figure is drawn and saved with, on top of matplotlib's own defaults."""


_ON_A_SCREEN = 140
"""Dots per inch of a figure that a notebook shows."""


class ShownFigure(Figure):
    """A figure that a notebook shows as it would be saved."""

    page: Page

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        with self.page.style():
            self.savefig(buffer, format="png", dpi=_ON_A_SCREEN)
        return buffer.getvalue()


@dataclass(frozen=True)
class Page:
    """A size, with the type and the lines that suit it. Lengths in inches, type and lines in points."""

    name: str
    width: float
    tallest: float
    font: float
    """Labels and titles."""
    small: float
    """Tick labels and legends."""
    line: float
    marker: float
    dots_per_inch: int
    """Of a PNG."""
    wide: bool
    """Whether the page is wider than high: groups then stand side by side instead of below each other."""

    @contextmanager
    def style(self) -> Iterator[None]:
        """Draw inside the block with matplotlib's defaults and this page's sizes, whatever the user's own settings."""
        with mpl.rc_context():
            mpl.rcdefaults()
            own = cast("Any", mpl.rcParams)  # typed with a literal for every key there is
            own.update(FIGURE_KEYS)
            own.update(
                {
                    "font.size": self.font,
                    "axes.titlesize": self.font,
                    "axes.labelsize": self.font,
                    "xtick.labelsize": self.small,
                    "ytick.labelsize": self.small,
                    "legend.fontsize": self.small,
                    "lines.linewidth": self.line,
                    "lines.markersize": self.marker,
                    "axes.linewidth": self.line / 2,
                    "axes.titlepad": self.font / 2,
                    "axes.labelpad": self.font / 4,
                }
            )
            yield

    def finish(self, figure: Figure, remark: str | None = None) -> Figure:
        """The last touch to a drawing: whatever would leave the canvas is broken into lines.

        Args:
            figure: drawn on this page.
            remark: what must stand in the picture; it stands at its foot where nothing else says it.
        """
        with self.style():
            if remark is not None and not any(remark in " ".join(each.get_text().split()) for each in _texts(figure)):
                figure.supxlabel(remark, fontsize=self.small, x=0.01, ha="left", color=FOOT)
            fit(figure)
        return figure

    def figure(self, height: float) -> Figure:
        """An empty figure as wide as the page and as high as asked for, but no higher than the page."""
        pad = self.font / 72 / 2
        layout = ConstrainedLayoutEngine(w_pad=pad / 2, h_pad=pad / 2, hspace=0.05, wspace=0.03)
        figure = ShownFigure(figsize=(self.width, min(height, self.tallest)), layout=layout)
        figure.page = self
        return figure

    def heading(self, axes: Axes, text: str) -> None:
        """A heading above the left corner of axes, free to run on over the axes beside it.

        matplotlib's layout makes room for the middle of a title, so a long one at the left would push its axes
        aside: the room is kept by an empty title, and the text stands outside the layout.
        """
        headed(axes, text)
        note = axes.annotate(
            text, (0, 1), xycoords="axes fraction", xytext=(0, self.font / 2), textcoords="offset points",
            va="bottom", ha="left", annotation_clip=False,
        )  # fmt: skip
        note.set_in_layout(False)
        note.set_gid(HEADING)

    def dress(self, axes: Axes, *, grid: bool = True) -> None:
        """Ticks and frame in this page's sizes. Ticks are made late, so their sizes are set on the axis itself."""
        axes.tick_params(labelsize=self.small, width=self.line / 2, length=self.font * 0.35, pad=self.font * 0.3)
        axes.spines[["top", "right"]].set_visible(False)
        if grid:
            axes.grid(visible=True, color=GRID, linewidth=self.line / 2)


def _texts(figure: Figure) -> list[Text]:
    return figure.findobj(Text)


COLUMN = Page("column", 3.35, 9.0, 7.0, 6.0, 1.0, 2.6, 300, wide=False)
TEXT = Page("text", 6.9, 9.2, 8.5, 7.5, 1.3, 3.6, 220, wide=False)
SLIDE = Page("slide", 12.8, 7.2, 16.0, 13.0, 2.4, 6.5, 150, wide=True)

PAGES = MappingProxyType({page.name: page for page in (COLUMN, TEXT, SLIDE)})
