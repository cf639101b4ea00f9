"""Colours on a light and on a dark page: a variant keeps the colour it has in every figure, wherever it can be seen."""

from __future__ import annotations

from dataclasses import dataclass

from bnbench.report.style import Look

DARK_PAPER = "#10151b"
DARK_INK = "#e8ecf1"
VISIBLE = 3.0
"""The least contrast of what is drawn with what is behind it (WCAG 2.2, 1.4.11)."""


@dataclass(frozen=True)
class Stroke:
    """How a variant's line is drawn on the page."""

    light: str
    dark: str
    dash: tuple[float, ...]
    """Lengths of strokes and gaps in line widths; empty for a solid line."""

    @property
    def swatch(self) -> str | None:
        """The dash of a line three pixels wide, as SVG takes it; None for a solid one."""
        return " ".join(f"{length * 3:g}" for length in self.dash) or None


def stroke(look: Look) -> Stroke:
    """A variant's line on both pages: on the dark one, what would be lost in it is drawn in the colour of its text."""
    dark = look.colour if contrast(look.colour, DARK_PAPER) >= VISIBLE else DARK_INK
    return Stroke(look.colour, dark, () if isinstance(look.dash, str) else tuple(look.dash[1]))


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours, 1 to 21 (WCAG 2.2).

    Args:
        one: "#rrggbb".
        other: "#rrggbb".
    """
    high, low = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
