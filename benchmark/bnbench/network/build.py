"""From (layer table, input shape, mask, variant) to a torch network; the variant is fixed at construction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import assert_never, cast

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
from bnbench.network.layers import SamePool, Slot
from bnbench.placement import parse_placement
from bnbench.variant import Variant

DropoutMask = Callable[[str, float, Tensor], Tensor]
"""(dropout layer's name, rate, activations) to a mask of their shape: 0 where dropped, 1 / (1 - rate) where kept."""


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

    def forward(self, images: Tensor, dropout: DropoutMask | None = None) -> Tensor:
        """Images (N, C, H, W) to logits (N, classes).

        Args:
            images: standardised, channels_last for speed.
            dropout: where the masks come from; None leaves dropout out.
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
                    if dropout is not None:
                        x = x * dropout(layer.name, layer.rate, x)
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
            slot = cast(Slot, module)
            if slot.normaliser is not None:
                vectors.append(AffineVector(name, "gamma", cast(Tensor, slot.normaliser.weight)))
                vectors.append(AffineVector(name, "beta", cast(Tensor, slot.normaliser.bias)))
            if slot.linear.bias is not None:
                vectors.append(AffineVector(name, "bias", slot.linear.bias))
        return sorted(vectors, key=lambda vector: (vector.parameter, vector.slot))

    def initialise(self, generator: Callable[[str], torch.Generator]) -> None:
        """Draw the weights and zero the biases (thesis, section 3.1).

        Args:
            generator: slot name to the CPU generator of that slot's weights; the network must be on the CPU.
        """
        for layer in slots(self._layers):
            linear = cast(Slot, self.slots[layer.name]).linear
            match layer.initialiser:
                case "xavier_normal":
                    nn.init.xavier_normal_(linear.weight, generator=generator(layer.name))
                case "xavier_uniform":
                    nn.init.xavier_uniform_(linear.weight, generator=generator(layer.name))
                case "truncated_normal":
                    nn.init.trunc_normal_(
                        linear.weight,
                        std=layer.std,
                        a=-2 * layer.std,
                        b=2 * layer.std,
                        generator=generator(layer.name),
                    )
                case other:
                    assert_never(other)
            if linear.bias is not None:
                nn.init.zeros_(linear.bias)

    def _pool_follows(self, index: int) -> bool:
        return index + 1 < len(self._layers) and isinstance(self._layers[index + 1], MaxPool)

    def _activation_precedes(self, index: int) -> bool:
        before = self._layers[index - 1] if index > 0 else None
        return isinstance(before, Conv | Dense) and before.activation

    def _restrict_learning(self, variant: Variant) -> None:
        """Freeze what the variant learns in some slots only, or not at all."""
        names = list(self.slots)
        for rule, attribute in ((variant.gamma, "weight"), (variant.beta, "bias")):
            if rule.learned_in is None:
                continue
            learned = parse_placement(rule.learned_in, names)
            for name, digit in zip(names, learned, strict=True):
                normaliser = cast(Slot, self.slots[name]).normaliser
                if digit == "0" and normaliser is not None:
                    cast(nn.Parameter, getattr(normaliser, attribute)).requires_grad_(False)
        if not variant.train_weights:
            for module in self.slots.values():
                cast(Slot, module).linear.requires_grad_(False)
