"""The picture that `bnbench run` leaves behind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bnbench.analysis.comparison import comparisons
from bnbench.analysis.frames import Results
from bnbench.report.export import save_drawing
from bnbench.report.figures.curves import CURVES
from bnbench.report.figures.drawing import draw_portion
from bnbench.report.figures.kind import Portion
from bnbench.report.page import TEXT

PICTURE = "training_curves"
MOST_GROUPS = 5
"""More rows of axes than this do not fit on a page; `bnbench plot` draws the others."""


def draw_training_curves(results: Results, run_ids: Sequence[str]) -> Path | None:
    """Draw the training curves of these runs into the results folder.

    Returns:
        The picture; None where there is nothing to draw.

    Raises:
        UserError: the results folder cannot be written.
    """
    groups = comparisons(results.select(run_id=run_ids), results.records)[:MOST_GROUPS]
    drawing = draw_portion(results, CURVES, Portion(groups), TEXT, name=PICTURE) if groups else None
    if drawing is None:
        return None
    (path,) = save_drawing(drawing, results.path, ["png"])
    return path
