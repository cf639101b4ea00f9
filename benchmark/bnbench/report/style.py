"""How the variants look in every figure: the same colour and dash everywhere, readable in grey too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from bnbench.variant import STUDIED

Dash = Literal["solid"] | tuple[float, tuple[float, ...]]
"""matplotlib's line styles: a name, or (offset, lengths of strokes and gaps in line widths)."""


@dataclass(frozen=True)
class Look:
    """Colour and dash pattern of a variant's curve."""

    colour: str
    dash: Dash


LOOKS: Mapping[str, Look] = MappingProxyType(
    {
        # Okabe & Ito's colour-blind-safe palette (2008), from dark to light in the order of the study's variants;
        # the dashes tell the curves apart where the colours print as one grey.
        "vanilla": Look("#000000", "solid"),
        "bn": Look("#56B4E9", (0, (1, 1.2))),
        "bn_beta": Look("#E69F00", (0, (5, 1.5))),
        "bn_gamma": Look("#009E73", (0, (5, 1.2, 1, 1.2))),
        "bn_gamma_beta": Look("#D55E00", "solid"),
    }
)
_OTHERS = (Look("#0072B2", (0, (3, 1))), Look("#CC79A7", (0, (3, 1, 1, 1))), Look("#7F7F7F", (0, (2, 2))))


def looks_of(variants: list[str]) -> dict[str, Look]:
    """A look for each variant; those outside the study get the remaining colours in alphabetical order.

    The variants come back in the study's order, then the others.
    """
    studied = [name for name in STUDIED if name in variants]
    others = sorted(set(variants) - set(STUDIED))
    extra = {name: _OTHERS[index % len(_OTHERS)] for index, name in enumerate(others)}
    return {name: LOOKS[name] for name in studied} | extra
