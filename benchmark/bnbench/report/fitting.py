"""Text that would leave the canvas is broken into lines: nothing in a figure is ever cut.

matplotlib makes room for ticks, and for the height of a label of the x axis, but not for its width: a long one under a
narrow pair of axes runs over the edge.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

HEADING = "heading"
"""The gid of a heading that stands outside matplotlib's layout, with a blank title that keeps its room."""

_ATTEMPTS = 4
_TOLERANCE = 0.5
"""Pixels: what rounding makes of a text that ends at the edge."""
_UNIT = re.compile(r"\[[^]]*\]")
_NO_BREAK = "\u00a0"
_FEWEST = 6
"""Characters of a line."""


def fit(figure: Figure) -> None:
    """Break every text of a figure that leaves the canvas between words, until none does or none can be broken.

    So is a label of a y axis that is longer than its axis, and would stand across what is above it.

    Args:
        figure: drawn, with matplotlib's settings as it is going to be saved with.
    """
    for _ in range(_ATTEMPTS):
        figure.draw_without_rendering()
        broken = [_break(text, _room(text, figure)) for text in outside(figure)]
        broken += [_break(axes.yaxis.label, share) for axes in _all_axes(figure) if (share := _beside(axes)) < 1]
        if not any(broken):
            return


def outside(figure: Figure) -> list[Text]:
    """The texts of a figure, as it was last laid out, that leave its canvas."""
    unseen = {label for axes in _all_axes(figure) for label in _unseen_ticks(axes)}
    return [
        text
        for text in figure.findobj(Text)
        if text not in unseen and _is_seen(text) and _leaves(text.get_window_extent(), figure.bbox)
    ]


def headed(axes: Axes, text: str) -> None:
    """Keep room above axes for a heading of so many lines."""
    axes.set_title("\n".join(" " for _ in text.split("\n")))


def _all_axes(figure: Figure) -> list[Axes]:
    """Of subfigures too, colour bars among them."""
    return figure.findobj(Axes)


def _unseen_ticks(axes: Axes) -> Iterator[Text]:
    """The labels of ticks that an axis has prepared beyond its ends, and does not draw."""
    for axis in (axes.xaxis, axes.yaxis):
        low, high = sorted(axis.get_view_interval())
        air = 1e-9 * (high - low)
        for tick in axis.get_major_ticks():
            if not axes.get_visible() or not low - air <= tick.get_loc() <= high + air:
                yield tick.label1
                yield tick.label2


def _is_seen(text: Text) -> bool:
    if not text.get_visible() or not text.get_text().strip():
        return False
    axes = text.axes
    return axes is None or bool(axes.get_visible())


def _leaves(extent: Bbox, canvas: Bbox) -> bool:
    return bool(
        extent.x0 < canvas.x0 - _TOLERANCE
        or extent.x1 > canvas.x1 + _TOLERANCE
        or extent.y0 < canvas.y0 - _TOLERANCE
        or extent.y1 > canvas.y1 + _TOLERANCE
    )


def _room(text: Text, figure: Figure) -> float:
    """How much of a text's length has room on the canvas, as a share of it."""
    extent, canvas = text.get_window_extent(), figure.bbox
    across = text.get_rotation() in {0.0, 180.0}
    low, high = (extent.x0, extent.x1) if across else (extent.y0, extent.y1)
    first, last = (canvas.x0, canvas.x1) if across else (canvas.y0, canvas.y1)
    anchor = text.get_horizontalalignment()
    if anchor == "left":
        room = last - low
    elif anchor == "right":
        room = high - first
    else:
        middle = (low + high) / 2
        room = 2 * min(middle - first, last - middle)
    return float(max(0.0, room) / max(high - low, 1.0))


def _beside(axes: Axes) -> float:
    """How much of the label of the y axis has room beside the axis, as a share of it."""
    label = axes.yaxis.label
    if not _is_seen(label):
        return 1.0
    return float(axes.get_window_extent().height / max(label.get_window_extent().height, 1.0))


def _break(text: Text, share: float) -> bool:
    """Break a text into lines that are no longer than a share of its longest one; whether that changed it."""
    said = text.get_text()
    longest = max(map(len, said.split("\n")))
    width = max(_FEWEST, int(longest * share))
    # A unit stays in one line.
    whole = _UNIT.sub(lambda unit: unit.group().replace(" ", _NO_BREAK), " ".join(said.split()))
    lines = textwrap.wrap(whole, width, break_long_words=False, break_on_hyphens=False)
    broken = "\n".join(lines).replace(_NO_BREAK, " ")
    if broken == said:
        return False
    text.set_text(broken)
    if text.get_gid() == HEADING and text.axes is not None:
        headed(text.axes, broken)
    return True
