"""Where the words of a figure stand: what of them is cut off."""

from __future__ import annotations

from bnbench.report.export import Drawing
from bnbench.report.fitting import outside


def cut_off(drawing: Drawing) -> list[str]:
    """The texts of a drawing, as it is saved, of which a part is off the canvas."""
    with drawing.page.style():
        drawing.figure.draw_without_rendering()
        return [text.get_text() for text in outside(drawing.figure)]
