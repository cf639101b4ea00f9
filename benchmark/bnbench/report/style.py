"""How things look in every figure: colours, dashes, markers, colour maps, and the words on the axes.

The one place for all of them: a variant has the same colour, dash and marker everywhere, in the figures and in the
report. What the colours say, dash and marker say too, so a figure can be read in grey.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from matplotlib import colormaps
from matplotlib.colors import Colormap, to_hex

from bnbench.analysis.comparison import catalogue_order, symbol_of
from bnbench.variant import VARIANTS

Dash = Literal["solid"] | tuple[float, tuple[float, ...]]
"""matplotlib's line styles: a name, or (offset, lengths of strokes and gaps in line widths)."""


@dataclass(frozen=True)
class Look:
    """Colour, dash pattern and marker of a variant's curve."""

    colour: str
    dash: Dash
    marker: str
    """One of matplotlib's marker codes."""


LOOKS: Mapping[str, Look] = MappingProxyType(
    {
        # Okabe & Ito's colour-blind-safe palette (2008). The dashes and markers tell the curves apart where the
        # colours print as one grey.
        "vanilla": Look("#000000", "solid", "o"),
        "bn": Look("#56B4E9", (0, (1, 1.2)), "s"),
        "bn_beta": Look("#E69F00", (0, (5, 1.5)), "^"),
        "bn_gamma": Look("#009E73", (0, (5, 1.2, 1, 1.2)), "v"),
        "bn_gamma_beta": Look("#D55E00", "solid", "D"),
    }
)
_OTHERS = (
    Look("#0072B2", (0, (3, 1)), "P"),
    Look("#CC79A7", (0, (3, 1, 1, 1)), "X"),
    Look("#7F7F7F", (0, (2, 2)), "*"),
)

GRID = "#E5E5E5"
"""Grid lines, and nothing else."""
CONTOUR = "#404040"
"""Lines of equal value on a diverging scale: dashed below the neutral value, solid above."""
NO_VALUE = "#9A9A9A"
"""Where there is no finite value to draw."""

GAMMA, BETA, BIAS = "gamma", "beta", "bias"
GREEK: Mapping[str, str] = MappingProxyType({GAMMA: "γ", BETA: "β", BIAS: "bias"})
PARAMETER_LABELS: Mapping[str, str] = MappingProxyType(
    {GAMMA: "scale γ [dimensionless]", BETA: "shift β [dimensionless]", BIAS: "bias [dimensionless]"}
)
ACTIVITY_LABELS: Mapping[str, str] = MappingProxyType(
    {
        GAMMA: "mean |γ − 1|\n[dimensionless]",
        BETA: "mean |β|\n[dimensionless]",
        BIAS: "mean |bias|\n[dimensionless]",
    }
)
SPARSITY_LABEL = "zeroed activations [%]"
DIFFERENCE_LABEL = "difference [% points]"
EPOCH_LABEL = "epoch"
LOSS_LABEL = "training loss [nats]"
ACCURACY_LABEL = "training accuracy [%]"


def percent(value: float, _position: float | None = None) -> str:
    """A share as a tick label in percent, for matplotlib's FuncFormatter."""
    return f"{100 * value:.4g}".replace("-", "\N{MINUS SIGN}")


def looks_of(variants: Iterable[str]) -> dict[str, Look]:
    """A look for each variant, in the order of the catalogue; those outside the study get the remaining colours."""
    wanted = sorted(set(variants), key=catalogue_order)
    others = [name for name in wanted if name not in LOOKS]
    extra = {name: _OTHERS[index % len(_OTHERS)] for index, name in enumerate(others)}
    return {name: LOOKS.get(name) or extra[name] for name in wanted}


def variant_label(variant: str) -> str:
    """A variant's symbol for matplotlib, the subscript set as one: "BN_γ,β" becomes BN with γ,β below the line."""
    symbol = symbol_of(variant).replace("$", r"\$")
    base, _, subscript = symbol.partition("_")
    return rf"{base}$_{{{subscript}}}$" if subscript and variant.partition("#")[0] in VARIANTS else symbol


def diverging_map() -> Colormap:
    """For γ and β around their neutral value: blue below, red above, white between (ColorBrewer's RdBu)."""
    return colormaps["RdBu_r"].with_extremes(bad=NO_VALUE)


def sequential_map() -> Colormap:
    """For amounts that start at 0: its lightness rises evenly, so grey keeps the order (viridis)."""
    return colormaps["viridis"].with_extremes(bad=NO_VALUE)


def slot_colours(slots: Sequence[str]) -> dict[str, str]:
    """A colour per slot, dark for the first to light for the last, so that grey keeps the order of depth."""
    scale = colormaps["viridis"]
    last = max(len(slots) - 1, 1)
    # Not to the very end: yellow on white cannot be seen.
    return {slot: to_hex(scale(0.88 * index / last)) for index, slot in enumerate(slots)}
