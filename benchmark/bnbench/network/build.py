"""From (layer table, input shape, mask, variant) to a torch network; the variant is fixed at construction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol, assert_never, cast, get_args, runtime_checkable

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
from bnbench.network.draws import Draws
from bnbench.network.layers import SamePool, Slot
from bnbench.network.roles import Role
from bnbench.placement import masked_slots, parse_placement
from bnbench.slot_plan import trained_slots
from bnbench.variant import AffineRule, Variant


@runtime_checkable
class Settling(Protocol):
    """What starts from the first training batch."""

    @property
    def settling(self) -> bool:
        """Whether it does."""

    def settle(self, x: Tensor) -> None:
        """Start from what reaches it of the batch."""


@dataclass(frozen=True)
class AffineVector:
    """A per-channel parameter whose trajectory is recorded: γ or β, a layer's bias, or the scale of its weights."""

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
        self._drawn = self._start_elsewhere(variant)

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
                    x = self.slots[layer.name](x, draws)
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
        """Every γ and β, frozen ones too, every bias and scale, ordered by parameter and slot name."""
        vectors = []
        for name, module in self.slots.items():
            roles = cast(Slot, module).roles()
            for parameter in get_args(Parameter):
                vectors += [AffineVector(name, parameter, each) for each in roles.get(parameter, ())]
        return sorted(vectors, key=lambda vector: (vector.parameter, vector.slot))

    def initialise(
        self, generator: Callable[[str], torch.Generator], streams: Callable[..., torch.Generator] | None = None
    ) -> None:
        """Draw the weights and zero the biases (thesis, section 3.1), then draw what the variant draws.

        Args:
            generator: slot name to the CPU generator of that slot's weights; the network must be on the CPU.
            streams: stream and keys to a CPU generator, for what else is drawn: ("affine", slot, "gamma" or "beta"),
                ("control", slot).

        Raises:
            ValueError: the variant draws more than weights, and `streams` is not given.
        """
        for layer in slots(self._layers):
            slot = cast(Slot, self.slots[layer.name])
            match layer.initialiser:
                case "xavier_normal":
                    nn.init.xavier_normal_(slot.drawn_weights, generator=generator(layer.name))
                case "xavier_uniform":
                    nn.init.xavier_uniform_(slot.drawn_weights, generator=generator(layer.name))
                case other:
                    assert_never(other)
            for bias in slot.roles().get("bias", ()):
                nn.init.zeros_(bias)
            slot.begin(None if streams is None else partial(streams, "control", layer.name))
        for name, role, rule in self._drawn:
            if streams is None:
                raise ValueError("the variant draws γ or β, and no generator is given for it")
            for parameter in cast(Slot, self.slots[name]).roles().get(role, ()):
                nn.init.uniform_(
                    parameter, rule.initial, cast(float, rule.initial_until), generator=streams("affine", name, role)
                )

    @property
    def settling(self) -> bool:
        """Whether anything starts from the first training batch."""
        return bool(self._settling_modules())

    def settle(self, images: Tensor) -> None:
        """Let start from a batch what does, slot after slot: each sees what those before it make of the batch.

        Args:
            images: (N, C, H, W), without augmentation.
        """
        hooks = [module.register_forward_pre_hook(_settle) for module in self._settling_modules()]
        try:
            with torch.no_grad():
                self(images)
        finally:
            for hook in hooks:
                hook.remove()

    def _settling_modules(self) -> list[nn.Module]:
        return [module for module in self.slots.modules() if isinstance(module, Settling) and module.settling]

    def _pool_follows(self, index: int) -> bool:
        return index + 1 < len(self._layers) and isinstance(self._layers[index + 1], MaxPool)

    def _activation_precedes(self, index: int) -> bool:
        before = self._layers[index - 1] if index > 0 else None
        return isinstance(before, Conv | Dense) and before.activation

    def _restrict_learning(self, variant: Variant) -> None:
        """Freeze what the variant learns in some slots only, or not at all."""
        names = list(self.slots)
        for role, rule in _rules(variant):
            if rule.learned_in is None:
                continue
            learned = parse_placement(rule.learned_in, names)
            for name, digit in zip(names, learned, strict=True):
                if digit == "0":
                    self._freeze(name, role, *(("scale",) if role == "gamma" else ()))
        trained = trained_slots(variant, names)
        for name in names:
            if name not in trained:
                self._freeze(name, "weight", "direction", "bias")

    def _start_elsewhere(self, variant: Variant) -> list[tuple[str, Role, AffineRule]]:
        """Start γ and β from another value in some slots. Returns the slots and roles whose start is drawn."""
        names = list(self.slots)
        drawn: list[tuple[str, Role, AffineRule]] = []
        for role, rule in _rules(variant):
            expression, value = rule.initial_in or (None, rule.initial)
            other = set() if expression is None else set(masked_slots(parse_placement(expression, names), names))
            for name in names:
                if name in other:
                    for parameter in cast(Slot, self.slots[name]).roles().get(role, ()):
                        nn.init.constant_(parameter, value)
                elif rule.initial_until is not None:
                    drawn.append((name, role, rule))
        return drawn

    def _freeze(self, slot: str, *roles: Role) -> None:
        parameters = cast(Slot, self.slots[slot]).roles()
        for role in roles:
            for parameter in parameters.get(role, ()):
                parameter.requires_grad_(False)


def _settle(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    cast(Settling, module).settle(inputs[0])


def _rules(variant: Variant) -> tuple[tuple[Role, AffineRule], ...]:
    return ("gamma", variant.gamma), ("beta", variant.beta)
