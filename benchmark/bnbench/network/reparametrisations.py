"""The modules that make a slot's weights of what is learned.

The tensor that the initialiser draws stays where it is, in the slot's layer; a module here computes the weights of it,
and of parameters of its own, whenever the slot is passed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from bnbench.components.reparametrisations import PLAIN, REPARAMETRISATIONS
from bnbench.components.site import Site
from bnbench.components.variants import Variant
from bnbench.errors import UserError
from bnbench.network.components import built
from bnbench.network.roles import Role
from bnbench.network.standardise import EPSILON
from bnbench.options import Options
from bnbench.slot_plan import options_at


class Reparametrised(nn.Module):
    """What a slot asks of such a module; by itself it changes nothing."""

    drawn: ClassVar[Role] = "weight"
    """What the tensor is for that the initialiser draws."""
    starts_from_batch: bool = False
    """Whether `start_from` has anything to do."""

    def forward(self, drawn: Tensor) -> Tensor:
        """The weights, of the shape of the drawn tensor."""
        return drawn

    def own_roles(self) -> Mapping[Role, tuple[nn.Parameter, ...]]:
        """Its own parameters."""
        return {}

    def begin(self, drawn: Tensor, generator: Callable[[], torch.Generator] | None) -> None:
        """Start its own parameters from the tensor that was just drawn.

        Args:
            drawn: on the CPU.
            generator: makes a generator of the slot's own, for who draws something.
        """

    def start_from(self, outputs: Callable[[Tensor], Tensor], drawn: Tensor, bias: Tensor | None) -> None:
        """Start from the first training batch.

        Args:
            outputs: weights to the layer's outputs for that batch, without a bias.
            drawn: the drawn tensor.
            bias: of the layer.
        """


def build_reparametrisation(variant: Variant, site: Site) -> Reparametrised | None:
    """What makes a slot's weights; None where they are plain.

    Raises:
        UserError: it is unknown, cannot be built, or cannot be at this slot.
    """
    if variant.weights == PLAIN:
        return None
    row = REPARAMETRISATIONS.get(variant.weights)
    module = built(row, site, options_at(variant, [site])[1][site.slot])
    if not isinstance(module, Reparametrised):
        raise UserError(f"reparametrisation '{row.name}': {row.build} makes no Reparametrised")
    for scale in module.own_roles().get("scale", ()):
        scale.requires_grad_(variant.gamma.is_learned)
    return module


class WeightNorm(Reparametrised):
    """W = g · V / ‖V‖ for each output channel (Salimans & Kingma 2016)."""

    drawn = "direction"

    def __init__(self, channels: int, start: str) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels))
        self.starts_from_batch = start == "batch"

    def forward(self, drawn: Tensor) -> Tensor:
        """See the class."""
        return drawn * _rows(self.scale / _lengths(drawn), drawn)

    def own_roles(self) -> Mapping[Role, tuple[nn.Parameter, ...]]:
        """The lengths g."""
        return {"scale": (self.scale,)}

    @torch.no_grad()
    def begin(self, drawn: Tensor, generator: Callable[[], torch.Generator] | None) -> None:
        """The weights begin as they were drawn, bit for bit."""
        self.scale.copy_(_lengths(drawn))

    @torch.no_grad()
    def start_from(self, outputs: Callable[[Tensor], Tensor], drawn: Tensor, bias: Tensor | None) -> None:
        """Outputs of mean 0 and variance 1 over the batch: g = 1 / σ and b = −μ / σ of what V / ‖V‖ makes of it."""
        found = outputs(drawn * _rows(1 / _lengths(drawn), drawn))
        mean, variance = torch.batch_norm_update_stats(found, None, None, 1.0)
        self.scale.copy_((variance + EPSILON).rsqrt())
        if bias is not None:
            bias.copy_(-mean * self.scale)


class WeightStandardisation(Reparametrised):
    """Ŵ = (V − μ) / (σ + ε), mean and unbiased deviation of each output channel's weights (Qiao et al. 2019)."""

    def forward(self, drawn: Tensor) -> Tensor:
        """See the class."""
        dimensions = tuple(range(1, drawn.dim()))
        centred = drawn - drawn.mean(dimensions, keepdim=True)
        fan_in = drawn[0].numel()
        deviation = (centred.square().sum(dimensions, keepdim=True) / (fan_in - 1)).sqrt()
        return centred / (deviation + EPSILON)


class ScaledWeightStandardisation(WeightStandardisation):
    """g · Ŵ / √(fan-in) (Brock, De & Smith 2021)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels))

    def forward(self, drawn: Tensor) -> Tensor:
        """See the class."""
        return super().forward(drawn) * _rows(self.scale / drawn[0].numel() ** 0.5, drawn)

    def own_roles(self) -> Mapping[Role, tuple[nn.Parameter, ...]]:
        """The gains g."""
        return {"scale": (self.scale,)}


class RandomEntries(Reparametrised):
    """The drawn weights, but for a few of each output channel, which are learned."""

    drawn = "base"
    positions: Tensor
    """(channels, k): places of the learned weights in the flattened weights of their channel."""

    def __init__(self, channels: int, count: int) -> None:
        super().__init__()
        self.entries = nn.Parameter(torch.zeros(channels, count))
        self.register_buffer("positions", torch.arange(count).expand(channels, -1).clone())

    def forward(self, drawn: Tensor) -> Tensor:
        """See the class."""
        return drawn.flatten(1).scatter(1, self.positions, self.entries).view(drawn.shape)

    def own_roles(self) -> Mapping[Role, tuple[nn.Parameter, ...]]:
        """The learned weights."""
        return {"entries": (self.entries,)}

    @torch.no_grad()
    def begin(self, drawn: Tensor, generator: Callable[[], torch.Generator] | None) -> None:
        """Draw which weights are learned; they begin as they were drawn.

        Raises:
            ValueError: no generator is given.
        """
        if generator is None:
            raise ValueError("random entries are drawn, and no generator is given for them")
        flat = drawn.flatten(1)
        order = torch.rand(flat.shape, generator=generator(), dtype=torch.float64).argsort(dim=1, stable=True)
        self.positions.copy_(order[:, : self.entries.shape[1]])
        self.entries.copy_(flat.gather(1, self.positions))


def plain(site: Site, options: Options) -> nn.Module:
    """Weights as they are."""
    return Reparametrised()


def weight_norm(site: Site, options: Options) -> nn.Module:
    """Length and direction."""
    return WeightNorm(site.channels, str(options["start"]))


def weight_standardisation(site: Site, options: Options) -> nn.Module:
    """Standardised weights."""
    return WeightStandardisation()


def scaled_weight_standardisation(site: Site, options: Options) -> nn.Module:
    """Standardised weights with a gain."""
    return ScaledWeightStandardisation(site.channels)


def random_entries(site: Site, options: Options) -> nn.Module:
    """A few learned weights."""
    return RandomEntries(site.channels, int(options["count"]))


def _lengths(weights: Tensor) -> Tensor:
    """The length of each output channel's weights: (C,)."""
    lengths: Tensor = torch.linalg.vector_norm(weights.flatten(1), dim=1)
    return lengths


def _rows(values: Tensor, like: Tensor) -> Tensor:
    return values.view(-1, *(1,) * (like.dim() - 1))
