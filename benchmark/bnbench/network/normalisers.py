"""The torch modules of this package's normalisers, and the affine part that follows others.

A module maps (N, C, H, W) or (N, C) to the same shape. Its builder gets a `Site` and the options as they come to there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn

from bnbench.component import Site
from bnbench.errors import UserError
from bnbench.network.components import built
from bnbench.normaliser import NORMALISERS
from bnbench.options import Options
from bnbench.slot_plan import options_at
from bnbench.variant import AffineRule, Variant

EPSILON = 1e-5
"""ε of PyTorch's BatchNorm, which the founding study uses; of every normaliser here."""
RUNNING_MOMENTUM = 0.1
"""Weight of the newest batch in the running statistics."""

Noise = Callable[[str, tuple[int, ...]], Tensor]
"""A name and a shape to random numbers, uniform in [0, 1): those of one slot at one step."""


@runtime_checkable
class BatchStatistics(Protocol):
    """What a module does that keeps averages over training batches, to be evaluated with."""

    def average_anew(self) -> None:
        """Forget them; from now on they are the plain averages over the batches that come in training mode."""


class BatchNorm1d(nn.BatchNorm1d):
    """That of torch, of which population statistics can be asked for."""

    def average_anew(self) -> None:
        """See `BatchStatistics`."""
        self.reset_running_stats()
        self.momentum = None  # torch's way of asking for a cumulative average


class BatchNorm2d(nn.BatchNorm2d):
    """That of torch, of which population statistics can be asked for."""

    def average_anew(self) -> None:
        """See `BatchStatistics`."""
        self.reset_running_stats()
        self.momentum = None


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


def batch(site: Site, options: Options) -> nn.Module:
    """BatchNorm as torch has it."""
    return (BatchNorm2d if site.is_map else BatchNorm1d)(site.channels, EPSILON, RUNNING_MOMENTUM)


def layer(site: Site, options: Options) -> nn.Module:
    """One group of all channels."""
    return nn.GroupNorm(1, site.channels, EPSILON)


def instance(site: Site, options: Options) -> nn.Module:
    """A group for each channel."""
    return nn.GroupNorm(site.channels, site.channels, EPSILON)


def group(site: Site, options: Options) -> nn.Module:
    """Groups of neighbouring channels."""
    return nn.GroupNorm(int(options["groups"]), site.channels, EPSILON)


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
