"""Kinds of figures of the registry, on the page: this package's own that are drawn there, and other packages'."""

from __future__ import annotations

from collections.abc import Iterator

from bnbench.analysis.frames import Results
from bnbench.report.figures.drawing import page_frames
from bnbench.report.figures.kind import PanelLabel
from bnbench.report.webpage.figures import Panel, TidyFigure
from bnbench.report.webpage.sections import Section


def registered_figures(results: Results, each: Section) -> Iterator[TidyFigure]:
    """What the kinds show of a comparison.

    Raises:
        UserError: a kind's frame is not tidy, or a table is damaged.
    """
    for kind, frame, labels in page_frames(results, each.group):
        yield TidyFigure(
            kind=kind.name,
            title=each.title,
            caption=f"{labels.title or kind.title}. {labels.caption}",
            web=kind.web,
            x_label=labels.x,
            y_label=labels.y,
            rows=frame,
            panels=tuple(_panel(name, label) for name, label in labels.panels.items()),
        )


def _panel(name: str, label: PanelLabel) -> Panel:
    return Panel(name, label.y, limits=(0.0, 1.02) if label.scale == "share" else None, is_log=label.scale == "log")
