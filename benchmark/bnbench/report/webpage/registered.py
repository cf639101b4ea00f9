"""Kinds of figures that other packages bring, on the page."""

from __future__ import annotations

from collections.abc import Iterator

from bnbench.analysis.frames import Results
from bnbench.report.figures.drawing import page_frames
from bnbench.report.webpage.figures import TidyFigure
from bnbench.report.webpage.sections import Section


def figures_of_others(results: Results, each: Section) -> Iterator[TidyFigure]:
    """What the kinds of other packages show of a comparison.

    Raises:
        UserError: a kind's frame is not tidy.
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
        )
