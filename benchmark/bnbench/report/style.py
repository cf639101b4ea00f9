"""How things look in every figure: colours, dashes, markers, colour maps, and the words on the axes.

The one place for all of them: a variant has the same colour, dash and marker everywhere, in the figures and in the
report. What the colours say, dash and marker say too, so a figure can be read in grey.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from matplotlib import colormaps
from matplotlib.colors import Colormap, to_hex

from bnbench.analysis.variant_labels import catalogue_order, symbol_of
from bnbench.components.variants import VARIANTS
from bnbench.errors import UserError

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

# Every other variant: its colours say what normalises, its dash and marker which variant it is. All colours can be seen
# on white and on the page's dark paper (a contrast of 3 and more).
_FAMILIES: Mapping[str, tuple[str, str, str]] = MappingProxyType(
    {
        "batch": ("#275FE0", "#23818A", "#8F6ADF"),
        "none": ("#636363", "#7B7B7B", "#909090"),
        "layer": ("#B82E8A", "#CF3F7C", "#D968B4"),
        "group": ("#5C7021", "#3F8450", "#7F9B2D"),
        "instance": ("#905D2A", "#B0553A", "#C6813B"),
    }
)
"""The normaliser of a variant's row to the colours of such variants."""
_FURTHER_FAMILIES = (
    ("#C52A44", "#D94D64", "#E06C7F"),
    ("#9A3FB0", "#A968C9", "#B678D0"),
    ("#1F737B", "#2A9FA9", "#258B94"),
    ("#8A6A00", "#A67F00", "#B8860B"),
    ("#5B7A9D", "#6688AD", "#7193B8"),
)
"""Of normalisers that are not named above: of a part of BatchNorm the one that follows, else by a hash of the name."""
_PARTS: Mapping[str, int] = MappingProxyType(
    {
        "batch_detached": 2,
        "batch_init_stats": 0,
        "batch_mean_only": 1,
        "batch_var_only": 3,
        "batch_noisy": 4,
        "batch_ghost": 4,
        "batch_running": 0,
        "batch_population": 3,
        "batch_l1": 1,
        "batch_linf": 2,
    }
)
"""So that those that a study compares differ."""
_UNKNOWN = ("#275FE0", "#C52A44", "#5C7021", "#9A3FB0", "#905D2A", "#23818A", "#7B7B7B")
"""Of variants whose row is not known: nothing groups them."""
_DASHES: tuple[Dash, ...] = (
    (0, (3, 1)), (0, (3, 1, 1, 1)), (0, (2, 2)), (0, (7, 1.5)), (0, (1, 2.2)), (0, (5, 1, 1, 1, 1, 1)), (0, (5, 3)),
    "solid",
)  # fmt: skip
_MARKERS = ("P", "X", "*", "p", "<", ">", "d", "h", "8")
"""One more than there are dashes: 72 pairs before one comes again."""

GRID = "#E5E5E5"
"""Grid lines, and nothing else."""
FOOT = "#404040"
"""What stands at the foot of a figure."""
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
SPARSITY_LABEL = "zeroed activations"
DIFFERENCE_LABEL = "difference [% points]"
EPOCH_LABEL = "epoch"
LOSS_LABEL = "training loss [nats]"
ACCURACY_LABEL = "training accuracy [%]"


def percent(value: float, _position: float | None = None) -> str:
    """A share as a tick label in percent, for matplotlib's FuncFormatter."""
    return f"{100 * value:.4g}".replace("-", "\N{MINUS SIGN}")


def looks_of(variants: Iterable[str]) -> dict[str, Look]:
    """A look for each variant, in the order of the catalogue.

    The five of the founding study have theirs. Any other gets one by its place in the catalogue, so that it looks the
    same whoever is beside it; what the catalogue does not know comes after that, by name. The first 72 differ in dash
    or marker, and of those of one normaliser the first 24 in colour or dash.
    """
    wanted = sorted(set(variants), key=catalogue_order)
    places = {name: place for place, name in enumerate(name for name in VARIANTS.names() if name not in LOOKS)}
    unknown = [name for name in wanted if name not in LOOKS and name not in places]
    places |= {name: len(places) + place for place, name in enumerate(unknown)}
    return {name: LOOKS[name] if name in LOOKS else _look_at(places[name], _normaliser_of(name)) for name in wanted}


def _look_at(place: int, normaliser: str | None) -> Look:
    if normaliser is None:
        colours: tuple[str, ...] = _UNKNOWN
    elif normaliser in _FAMILIES:
        colours = _FAMILIES[normaliser]
    else:
        place_of_family = _PARTS.get(normaliser, zlib.crc32(normaliser.encode()) % len(_FURTHER_FAMILIES))
        colours = _FURTHER_FAMILIES[place_of_family]
    return Look(colours[place % len(colours)], _DASHES[place % len(_DASHES)], _MARKERS[place % len(_MARKERS)])


def _normaliser_of(variant: str) -> str | None:
    """What a variant's row normalises by; None where no package offers it any more."""
    try:
        return str(VARIANTS.get(variant.partition("#")[0]).normaliser)
    except UserError:
        return None


def variant_label(variant: str) -> str:
    """A variant's symbol for matplotlib, its subscript set as one: in "BN_γ,β out" γ,β stand below the line."""
    symbol = symbol_of(variant).replace("$", r"\$")
    symbol, hash_sign, number = symbol.partition("#")  # which mathtext cannot set
    base, _, low = symbol.partition("_")
    subscript, space, rest = low.partition(" ")
    set_low = subscript and variant.partition("#")[0] in VARIANTS
    return (rf"{base}$_{{{subscript}}}${space}{rest}" if set_low else symbol) + hash_sign + number


def typeset(text: str) -> str:
    """A plain text for matplotlib: what stands behind an underscore at its end is set below the line."""
    return re.sub(r"_(\w+)$", r"$_{\1}$", text)


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
