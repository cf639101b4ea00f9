"""What several kinds of figures draw alike: lines, markers and the legend of the variants."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bnbench.report.page import Page
from bnbench.report.style import Look, variant_label

MARKERS = 4
"""About so many markers along a curve."""
BAND = 0.16
"""Opacity of a band over seeds."""

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
    columns = 3 if page.width < 4 and len(looks) > 4 else min(len(looks), 6)
    labels = [variant_label(name) if names is None else names[name] for name in looks]
    figure.legend(handles, labels, loc="outside upper center", ncols=columns)


def mark_every(points: int, index: int) -> tuple[int, int]:
    """Which points carry a marker: a few, and others than those of the curves drawn before, so that none hides."""
    step = max(1, -(-points // MARKERS))
    return (index * step // 5 % step, step)


def line_style(look: Look, page: Page, *, thin: bool = False) -> dict[str, Any]:
    """A variant's look as matplotlib wants it, markers apart."""
    return {"color": look.colour, "linestyle": look.dash, "linewidth": page.line * (0.55 if thin else 1.0)}
