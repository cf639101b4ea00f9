"""What several kinds of figures draw alike: lines, markers and the legend of the variants."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bnbench.analysis.variant_labels import symbol_of
from bnbench.report.page import Page
from bnbench.report.style import Look, variant_label

MARKERS = 4
"""About so many markers along a curve."""
BAND = 0.16
"""Opacity of a band over seeds."""

_SCORE = 6
"""Characters of a number beside a symbol."""

Floats = npt.NDArray[np.float64]


def variant_legend(
    figure: Figure, looks: Mapping[str, Look], page: Page, names: Mapping[str, str] | None = None
) -> None:
    """The legend above the axes, in as many rows as the page asks for.

    Args:
        figure: where.
        looks: variants with colour, dash and marker.
        page: the size.
        names: what stands beside each; their symbols if None.
    """
    handles = [
        Line2D(
            [], [], color=look.colour, linestyle=look.dash, marker=look.marker, markeredgecolor="white",
            markeredgewidth=page.line / 4,
        )
        for look in looks.values()
    ]  # fmt: skip
    labels = [variant_label(name) if names is None else names[name] for name in looks]
    columns = legend_columns(looks, page, beside=0 if names is None else _SCORE)
    figure.legend(handles, labels, loc="outside upper center", ncols=columns)


def legend_columns(variants: Collection[str], page: Page, *, beside: int = 0) -> int:
    """Entries of a legend side by side: as many as the page has room for, and no more than can be read.

    Args:
        variants: whose legend.
        page: the size.
        beside: characters that stand beside the symbols.
    """
    longest = max((len(symbol_of(name)) for name in variants), default=0) + beside
    # In widths of a letter's height: the piece of line, the gap behind it, the letters, the gap before the next.
    entry = page.small * (2.6 + 0.8 + 0.62 * longest + 1.4)
    most = 3 if page.width < 4 and len(variants) > 4 else 6
    return max(1, min(len(variants), most, int(page.width * 72 / entry)))


def legend_room(variants: Collection[str], page: Page) -> float:
    """What a legend of many rows adds to a figure's height, in inches; two are in every height."""
    rows = -(-len(variants) // legend_columns(variants, page))
    return max(0, rows - 2) * 1.45 * page.small / 72


def mark_every(points: int, index: int) -> tuple[int, int]:
    """Which points carry a marker: a few, and others than those of the curves drawn before, so that none hides."""
    step = max(1, -(-points // MARKERS))
    return (index * step // 5 % step, step)


def line_style(look: Look, page: Page, *, thin: bool = False) -> dict[str, Any]:
    """A variant's look as matplotlib wants it, markers apart."""
    return {"color": look.colour, "linestyle": look.dash, "linewidth": page.line * (0.55 if thin else 1.0)}
