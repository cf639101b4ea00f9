"""From (layer table, input shape, mask, variant) to a torch network; the variant is fixed at construction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, assert_never, cast, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from bnbench.architecture import (
    Conv,
    Dense,
    Dropout,
    Flatten,
    GlobalMean,
    Layer,
    MaxPool,
    Shape,
    slot_names,
    slots,
    trace,
)
from bnbench.errors import UserError
from bnbench.measurement import Parameter
from bnbench.network.layers import Role, SamePool, Slot
from bnbench.placement import parse_placement
from bnbench.variant import AffineRule, Variant


class Draws(Protocol):
    """Where the random numbers of one training pass come from: each is keyed by the run's seed, the step and a name.

    No module keeps a generator, so a pass can be repeated, on any device, by whoever has the seed and the step.
    """

    def dropout(self, name: str, rate: float, like: Tensor) -> Tensor:
        """A mask for a dropout layer.

        Args:
            name: the layer's.
            rate: probability of dropping an activation.
            like: activations, (N, C, H, W) or (N, C).

        Returns:
            Of the shape of `like`: 0 where dropped, 1 / (1 - rate) where kept.
        """


@dataclass(frozen=True)
class AffineVector:
    """A per-channel parameter whose trajectory is recorded: γ or β of a normaliser, or a layer's bias."""

    slot: str
    parameter: Parameter
    tensor: Tensor


class Network(nn.Module):
    """A network built from its layer table.

    `train()` and `eval()` choose between batch and running statistics, as everywhere in PyTorch; dropout happens
    exactly when masks are handed in, so it can be left out of a pass in train mode.
    """

    def __init__(self, layers: tuple[Layer, ...], input_shape: Shape, mask: str, variant: Variant) -> None:
        """Build the modules; weights are not initialised yet (see `initialise`).

        Args:
            layers: the architecture's table.
            input_shape: (channels, height, width) of one image.
            mask: one digit per slot, "1" where the variant's normaliser goes.
            variant: the row of the variant table.

        Raises:
            UserError: the mask has another length than the network has slots, or a layer is of an unknown kind or does
                not fit what comes before it.
        """
        super().__init__()
        self._layers = layers
        names = slot_names(layers)
        if len(mask) != len(names):
            raise UserError(f"mask {mask} has {len(mask)} digits, the network has {len(names)} slots")
        carries = dict(zip(names, (digit == "1" for digit in mask), strict=True))
        self.slots = nn.ModuleDict()
        self.pools = nn.ModuleDict()
        for index, traced in enumerate(trace(layers, input_shape)):
            match traced.layer:
                case Conv() | Dense() as layer:
                    self.slots[layer.name] = Slot(layer, traced.input_shape, variant if carries[layer.name] else None)
                case MaxPool() as layer:
                    self.pools[str(index)] = SamePool(layer, traced.input_shape)
                case Dropout() | Flatten() | GlobalMean():
                    pass
                case other:
                    assert_never(other)
        self._restrict_learning(variant)

    def forward(self, images: Tensor, draws: Draws | None = None) -> Tensor:
        """Images (N, C, H, W) to logits (N, classes).

        Args:
            images: standardised, channels_last for speed.
            draws: where random numbers come from; None leaves out what is random, such as dropout.
        """
        x = images
        for index, layer in enumerate(self._layers):
            match layer:
                case Conv() | Dense():
                    x = self.slots[layer.name](x)
                    if layer.activation and not self._pool_follows(index):
                        x = functional.relu(x)
                case MaxPool():
                    x = self.pools[str(index)](x)
                    if self._activation_precedes(index):
                        # max and ReLU commute, and after the pool there is a quarter of the work.
                        x = functional.relu(x)
                case Dropout():
                    if draws is not None:
                        x = x * draws.dropout(layer.name, layer.rate, x)
                case Flatten():
                    x = x.flatten(1)
                case GlobalMean():
                    x = x.mean(dim=(2, 3))
                case other:
                    assert_never(other)
        return x

    def affine_vectors(self) -> list[AffineVector]:
        """Every γ and β, frozen ones too, and every bias, ordered by parameter and slot name."""
        vectors = []
        for name, module in self.slots.items():
            roles = cast(Slot, module).roles()
            for parameter in get_args(Parameter):
                vectors += [AffineVector(name, parameter, each) for each in roles.get(parameter, ())]
        return sorted(vectors, key=lambda vector: (vector.parameter, vector.slot))

    def initialise(self, generator: Callable[[str], torch.Generator]) -> None:
        """Draw the weights and zero the biases (thesis, section 3.1).

        Args:
            generator: slot name to the CPU generator of that slot's weights; the network must be on the CPU.
        """
        for layer in slots(self._layers):
            roles = cast(Slot, self.slots[layer.name]).roles()
            for weight in roles["weight"]:
                match layer.initialiser:
                    case "xavier_normal":
                        nn.init.xavier_normal_(weight, generator=generator(layer.name))
                    case "xavier_uniform":
                        nn.init.xavier_uniform_(weight, generator=generator(layer.name))
                    case other:
                        assert_never(other)
            for bias in roles.get("bias", ()):
                nn.init.zeros_(bias)

    def _pool_follows(self, index: int) -> bool:
        return index + 1 < len(self._layers) and isinstance(self._layers[index + 1], MaxPool)

    def _activation_precedes(self, index: int) -> bool:
        before = self._layers[index - 1] if index > 0 else None
        return isinstance(before, Conv | Dense) and before.activation

    def _restrict_learning(self, variant: Variant) -> None:
        """Freeze what the variant learns in some slots only, or not at all."""
        names = list(self.slots)
        rules: tuple[tuple[Role, AffineRule], ...] = (("gamma", variant.gamma), ("beta", variant.beta))
        for role, rule in rules:
            if rule.learned_in is None:
                continue
            learned = parse_placement(rule.learned_in, names)
            for name, digit in zip(names, learned, strict=True):
                if digit == "0":
                    self._freeze(name, role)
        if not variant.train_weights:
            for name in names:
                self._freeze(name, "weight", "bias")

    def _freeze(self, slot: str, *roles: Role) -> None:
        parameters = cast(Slot, self.slots[slot]).roles()
        for role in roles:
            for parameter in parameters.get(role, ()):
                parameter.requires_grad_(False)
