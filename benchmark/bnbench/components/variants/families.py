"""Other normalisers and other weights, each with the ablations that the founding study made of BatchNorm."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from bnbench.components.variants.founding import fixed, learned
from bnbench.components.variants.row import Variant
from bnbench.options import Options, OptionValue

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


WHOLE = ("_gamma_beta",)


def renamed(rows: Iterable[Variant]) -> tuple[Variant, ...]:
    """Rows of which γ and β are both learned, under the family's own name: there is no other row it could be for."""
    return tuple(
        replace(row, name=row.name.removesuffix("_gamma_beta"), symbol=row.symbol.removesuffix("_γ,β")) for row in rows
    )


def standardised(name: str, symbol: str, normaliser: str) -> tuple[Variant, ...]:
    """Weight standardisation in front of a normaliser."""
    summary = f"weight standardisation in front of {normaliser} normalisation"
    return ablations(
        name, symbol, summary, only=("", "_gamma_beta"), normaliser=normaliser, weights="weight_standardisation"
    )


def part(
    what: str,
    symbol: str,
    summary: str,
    *,
    only: Iterable[str] = WHOLE,
    called: str | None = None,
    options: Mapping[str, OptionValue] | None = None,
) -> tuple[Variant, ...]:
    """A part of BatchNorm. The row with γ and β learned, to be compared with all of it, has the part's own name."""
    return renamed(
        ablations(
            called or f"bn_{what}",
            symbol,
            f"BatchNorm {summary}",
            only=only,
            normaliser=f"batch_{what}",
            options=Options(options),
        )
    )


ROWS = (
    *ablations("ln", "LN", "layer normalisation", normaliser="layer"),
    *ablations("in", "IN", "instance normalisation", normaliser="instance"),
    *ablations("gn", "GN", "group normalisation", normaliser="group"),
    *ablations("wn", "WN", "weight normalisation, g as γ and the bias as β", normaliser="none", weights="weight_norm"),
    *renamed(
        ablations(
            "wn_init",
            "WN₀",
            "weight normalisation that starts from the first training batch",
            only=WHOLE,
            normaliser="none",
            weights="weight_norm",
            weights_options={"start": "batch"},
        )
    ),
    *standardised("ws_bn", "WS+BN", "batch"),
    *standardised("ws_ln", "WS+LN", "layer"),
    *standardised("ws_gn", "WS+GN", "group"),
    *renamed(
        ablations(
            "ws_scaled",
            "WS",
            "scaled weight standardisation without a normaliser, its gain as γ and the bias as β",
            only=WHOLE,
            normaliser="none",
            weights="scaled_weight_standardisation",
        )
    ),
    *part("detached", "BN′", "without the gradient of its statistics"),
    *part("init_stats", "BN₀", "with the statistics of the first training batch for ever"),
    *part("mean_only", "BNμ", "that subtracts the mean and divides by nothing", only=("_beta", "_gamma_beta")),
    *part("var_only", "BNσ", "that divides by the deviation and subtracts nothing", only=("_beta", "_gamma_beta")),
    *part("ghost", "GBN16", "of chunks of 16 images", called="bn_ghost16", options={"chunk": 16}),
    *part("ghost", "GBN32", "of chunks of 32 images", called="bn_ghost32", options={"chunk": 32}),
    *part("running", "BNr", "with running statistics in training, too"),
    *part("population", "BNp", "with population statistics in training, too"),
    *part("l1", "BNℓ₁", "that divides by the mean absolute deviation"),
    *part("linf", "BNℓ∞", "that divides by the largest deviation"),
    *part("noisy", "BNn", "with noise behind it that is another at every step"),
)
