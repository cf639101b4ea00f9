"""Other normalisers and other weights, each with the ablations that the founding study made of BatchNorm."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bnbench.variant.founding import fixed, learned
from bnbench.variant.row import Variant

ABLATIONS = {
    "": ("", "γ and β fixed"),
    "_beta": ("_β", "β learned, γ fixed"),
    "_gamma": ("_γ", "γ learned, β fixed"),
    "_gamma_beta": ("_γ,β", "γ and β learned"),
}
"""Suffix of the name: of the symbol, and what it says."""


def ablations(
    name: str,
    symbol: str,
    summary: str,
    *,
    only: Iterable[str] = ABLATIONS,
    **fields: Any,  # noqa: ANN401 -- the fields of the row
) -> tuple[Variant, ...]:
    """A family's rows: with γ and β fixed, with β learned, with γ learned, with both.

    Args:
        name: of the row without anything learned; the others' begin with it.
        symbol: likewise.
        summary: what all of them do.
        only: the suffixes of `ABLATIONS` that are wanted.
        **fields: the other fields of the rows: `normaliser`, `options`, `weights`, ….
    """
    return tuple(
        Variant(
            f"{name}{suffix}",
            f"{symbol}{ABLATIONS[suffix][0]}",
            f"{summary}: {ABLATIONS[suffix][1]}",
            gamma=learned(1.0) if "gamma" in suffix else fixed(1.0),
            beta=learned(0.0) if "beta" in suffix else fixed(0.0),
            **fields,
        )
        for suffix in only
    )


ROWS = (
    *ablations("ln", "LN", "layer normalisation", normaliser="layer"),
    *ablations("in", "IN", "instance normalisation", normaliser="instance"),
    *ablations("gn", "GN", "group normalisation", normaliser="group"),
)
