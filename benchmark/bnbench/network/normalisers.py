"""The torch modules of this package's normalisers, and the affine part that follows others.

A module maps (N, C, H, W) or (N, C) to the same shape. Its builder gets a `Site` and the options as they come to there.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from bnbench.components.normalisers import NORMALISERS
from bnbench.components.site import Site
from bnbench.components.variants import AffineRule, Variant
from bnbench.errors import UserError
from bnbench.network.batch_parts import BatchStatistics, Noise
from bnbench.network.components import built
from bnbench.network.standardise import EPSILON, Rule, over_groups, standardised
from bnbench.options import Options
from bnbench.slot_plan import options_at


class ChannelAffine(nn.Module):
    """γ · x̂ + β per channel, behind a normaliser or behind none (the affine part alone; Peerthum 2023)."""

    def __init__(self, channels: int, standardise: nn.Module | None = None) -> None:
        """The affine part of so many channels, and what maps x to x̂; None: x̂ = x."""
        super().__init__()
        self.standardise = standardise
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, *noise: Noise | None) -> Tensor:
        """(N, C, …) to the same shape; random numbers go to the normaliser."""
        if self.standardise is not None:
            x = cast(Tensor, self.standardise(x, *noise))
        shape = (1, -1) + (1,) * (x.dim() - 2)
        return x * self.weight.view(shape) + self.bias.view(shape)


class GroupNorm(nn.Module):
    """Group Normalization of (N, C, H, W) or (N, C); of one group Layer, of C groups Instance Normalization."""

    def __init__(self, groups: int, channels: int) -> None:
        """So many groups of neighbouring channels."""
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self._groups = groups
        self._rule = Rule(over_groups(groups))

    def forward(self, x: Tensor) -> Tensor:
        """To the same shape; the way that is the faster one on this device."""
        if self._groups > 1 and x.dim() == 4 and x.device.type == "cpu":
            return standardised(x, self.weight, self.bias, self._rule)
        return functional.group_norm(x, self._groups, self.weight, self.bias, EPSILON)


def build_normaliser(variant: Variant, site: Site) -> nn.Module:
    """What stands behind a slot: a module with γ and β as its parameters `weight` and `bias`, of shape (C,), at start.

    Args:
        variant: the row.
        site: the slot.

    Raises:
        UserError: the normaliser is unknown, cannot be built, or cannot be at this slot.
    """
    row = NORMALISERS.get(variant.normaliser)
    options = options_at(variant, [site])[0][site.slot]
    module = built(row, site, options)
    if row.batch_dependent and not isinstance(module, BatchStatistics):
        raise UserError(
            f"normaliser '{row.name}' depends on the batch, and its module has no method average_anew",
            hint="It is asked for population statistics by that: bnbench.network.normalisers.BatchStatistics.",
        )
    match row.affine:
        case "fused":
            _check_fused(row.name, module, site.channels)
        case "after":
            module = ChannelAffine(site.channels, None if isinstance(module, nn.Identity) else module)
        case other:
            raise AssertionError(f"normaliser '{row.name}' has its affine part {other}")
    _start(cast(nn.Parameter, module.weight), variant.gamma)
    _start(cast(nn.Parameter, module.bias), variant.beta)
    return module


def identity(site: Site, options: Options) -> nn.Module:
    """No normalisation."""
    return nn.Identity()


def layer(site: Site, options: Options) -> nn.Module:
    """One group of all channels."""
    return GroupNorm(1, site.channels)


def instance(site: Site, options: Options) -> nn.Module:
    """A group for each channel."""
    return GroupNorm(site.channels, site.channels)


def group(site: Site, options: Options) -> nn.Module:
    """Groups of neighbouring channels."""
    return GroupNorm(int(options["groups"]), site.channels)


def _start(parameter: nn.Parameter, rule: AffineRule) -> None:
    nn.init.constant_(parameter, rule.initial)
    parameter.requires_grad_(rule.is_learned)


def _check_fused(name: str, module: nn.Module, channels: int) -> None:
    for parameter in ("weight", "bias"):
        found = getattr(module, parameter, None)
        if not isinstance(found, nn.Parameter) or found.shape != (channels,):
            raise UserError(
                f"normaliser '{name}' applies γ and β itself, and its module's {parameter} is no parameter of shape "
                f"({channels},)",
                hint='Give it weight and bias, or say affine="after" in its row.',
            )
