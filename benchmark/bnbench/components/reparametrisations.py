"""The table of reparametrisations: what a slot's weights are made of (torch-free)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from bnbench.components.site import Fit, Reference, Site, Unfit, keep
from bnbench.options import Described, Option, Options
from bnbench.registry import Registry
from bnbench.row import Count, Name, Row, Text

PLAIN = "plain"
"""Weights that are themselves what is learned."""


def all_weights(site: Site, options: Options) -> int:
    """As many numbers as there are weights."""
    return site.channels * site.fan_in


@dataclass(frozen=True)
class Reparametrisation(Row):
    """A way to make weights of what is learned, that variants can name. It is used in the slots that carry the variant.

    Raises:
        UserError: a field has another type, or a value that cannot be.
    """

    kind: ClassVar[str] = "reparametrisation"

    name: Name
    title: Text
    formula: Text
    source: Text
    """Who described it, or why it is here."""
    build: Reference
    """(weights, options) to a `bnbench.network.reparametrisations.Reparametrised` for a slot's freshly made tensor."""
    options: Described = ()
    takes_affine: bool = False
    """Whether γ and β are the weights' own scale and the slot's bias: then no affine part follows, and γ starts at
    what the reparametrisation says."""
    needs_normaliser: bool = False
    """Whether it is of no use without a normaliser behind it."""
    keeps_weights: bool = False
    """Whether the weights stay as they were drawn, and the reparametrisation learns numbers of its own whatever
    `Variant.train_weights` says."""
    learned: Callable[[Site, Options], int] = all_weights
    """How many numbers are learned at a slot, beside those that stand for γ and β."""
    fit: Fit = keep
    """What the options come to at a slot; raises `Unfit` where the reparametrisation cannot be there."""
    revision: Count = 1
    """Raised by its author whenever the same name comes to mean other numbers."""


REPARAMETRISATIONS: Registry[Reparametrisation] = Registry(
    "reparametrisation", Reparametrisation, "bnbench.reparametrisations"
)


def _standardised(site: Site, options: Options) -> Options:
    if site.fan_in < 2:
        raise Unfit("one weight a channel, which has no deviation")
    return options


def _entries(site: Site, options: Options) -> Options:
    if site.fan_in < int(options["count"]):
        raise Unfit(f"{site.fan_in} weights a channel, fewer than {options['count']}")
    return options


def _drawn_entries(site: Site, options: Options) -> int:
    return site.channels * int(options["count"])


_MODULES = "bnbench.network.reparametrisations"

for _row in (
    Reparametrisation(PLAIN, "plain weights", "W = V", "the networks of Tsingunidis 2023", f"{_MODULES}:plain"),
    Reparametrisation(
        "weight_norm",
        "Weight Normalization",
        "W = g · V / ‖V‖ for each output channel; g has γ's part, the bias β's",
        "Salimans & Kingma 2016",
        f"{_MODULES}:weight_norm",
        options=(
            Option(
                "start",
                "drawn",
                "drawn: g = ‖V‖, so that W begins as V; batch: every channel begins with mean 0 and variance 1 over "
                "the first training batch",
                choices=("drawn", "batch"),
            ),
        ),
        takes_affine=True,
    ),
    Reparametrisation(
        "weight_standardisation",
        "Weight Standardization",
        "W = (V − μ) / (σ + ε); μ and the unbiased σ of an output channel's weights",
        "Qiao et al. 2019",
        f"{_MODULES}:weight_standardisation",
        needs_normaliser=True,
        fit=_standardised,
    ),
    Reparametrisation(
        "scaled_weight_standardisation",
        "scaled Weight Standardization",
        "W = g · (V − μ) / ((σ + ε) · √fan-in); g has γ's part, the bias β's",
        "Brock, De & Smith 2021",
        f"{_MODULES}:scaled_weight_standardisation",
        takes_affine=True,
        fit=_standardised,
    ),
    Reparametrisation(
        "random_entries",
        "random entries",
        "W = V, but for a few entries of each output channel, drawn at random, which alone are learned",
        "the control of Frankle, Schwab & Morcos 2021",
        f"{_MODULES}:random_entries",
        options=(Option("count", 2, "learned entries of each output channel", minimum=1),),
        keeps_weights=True,
        learned=_drawn_entries,
        fit=_entries,
    ),
):
    REPARAMETRISATIONS.register(_row.name, _row)
