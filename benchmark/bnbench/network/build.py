"""From (layer table, input shape, mask, variant) to a torch network; the variant is fixed at construction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol, assert_never, cast, get_args, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional

from bnbench.components.architectures import (
    Conv,
    Dense,
    Dropout,
    Flatten,
    GlobalMean,
    Layer,
    MaxPool,
    Norm,
    Residual,
    Shape,
    Subsample,
    slot_names,
    slot_places,
    slots,
    trace,
)
from bnbench.components.placements import masked_slots, parse_placement
from bnbench.components.variants import AffineRule, Variant
from bnbench.errors import UserError
from bnbench.measurement import Parameter
from bnbench.network.batch_parts import Refreshing
from bnbench.network.draws import Draws
from bnbench.network.layers import SamePool, Slot
from bnbench.network.residual import BlockSum, NormSlot, subsample
from bnbench.network.roles import Role
from bnbench.slot_plan import trained_slots


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
        self.sums = nn.ModuleDict()
        for traced in trace(layers, input_shape):
            match traced.layer:
                case Conv() | Dense() as layer:
                    self.slots[layer.name] = Slot(layer, traced.input_shape, variant if carries[layer.name] else None)
                case Norm() as layer:
                    own = variant if carries[layer.name] else None
                    self.slots[layer.name] = NormSlot(layer, traced.input_shape, own)
                case MaxPool() as layer:
                    self.pools[_pool_key(traced.block, traced.index)] = SamePool(layer, traced.input_shape)
                case Residual() as layer:
                    self.sums[layer.name] = BlockSum()
                case Dropout() | Flatten() | GlobalMean() | Subsample():
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
        return self._through(self._layers, images, draws)

    def _through(self, layers: tuple[Layer, ...], x: Tensor, draws: Draws | None, block: str | None = None) -> Tensor:
        """A table's layers one after the other; `block` names that which it is the body of."""
        for index, layer in enumerate(layers):
            match layer:
                case Conv() | Dense() | Norm():
                    x = self.slots[layer.name](x, draws)
                    if layer.activation and not _pool_follows(layers, index):
                        x = functional.relu(x)
                case MaxPool():
                    x = self.pools[_pool_key(block, index)](x)
                    if _activation_precedes(layers, index):
                        # max and ReLU commute, and after the pool there is a quarter of the work.
                        x = functional.relu(x)
                case Dropout():
                    if draws is not None:
                        x = x * draws.dropout(layer.name, layer.rate, x)
                case Flatten():
                    x = x.flatten(1)
                case GlobalMean():
                    x = x.mean(dim=(2, 3))
                case Residual():
                    shortcut = self._shortcut(layer, x, draws)
                    x = self.sums[layer.name](self._through(layer.body, x, draws, layer.name), shortcut)
                    if layer.activation:
                        x = functional.relu(x)
                case other:
                    assert_never(other)
        return x

    def _shortcut(self, block: Residual, x: Tensor, draws: Draws | None) -> Tensor:
        match block.shortcut:
            case Conv() as layer:
                return cast(Tensor, self.slots[layer.name](x, draws))
            case Subsample() as layer:
                return subsample(x, layer.stride, layer.channels)
            case ():
                return x
            case other:
                assert_never(other)

    def relu_sites(self) -> dict[str, nn.Module]:
        """Where a ReLU is, in the network's order: slot or block, and the module whose output the ReLU gets."""
        sites: dict[str, nn.Module] = {}
        for layer in self._layers:
            sites |= {slot.name: self.slots[slot.name] for slot in slots((layer,)) if slot.activation}
            if isinstance(layer, Residual) and layer.activation:
                sites[layer.name] = self.sums[layer.name]
        return sites

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
            if isinstance(layer, Norm):
                continue
            slot = cast(Slot, self.slots[layer.name])
            _draw(slot.drawn_weights, layer, generator(layer.name))
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

    @property
    def refreshing(self) -> tuple[int, int] | None:
        """After how many updates constants are renewed, and from how many batches; None where there are none."""
        found = [(module.refresh_every, module.refresh_batches) for module in self._refreshing_modules()]
        return found[0] if found else None

    def keep_averages(self) -> None:
        """Take what was averaged over batches for constants, in the modules that have such."""
        for module in self._refreshing_modules():
            module.keep()

    def _refreshing_modules(self) -> list[Refreshing]:
        return [module for module in self.slots.modules() if isinstance(module, Refreshing)]

    def _settling_modules(self) -> list[nn.Module]:
        return [module for module in self.slots.modules() if isinstance(module, Settling) and module.settling]

    def _restrict_learning(self, variant: Variant) -> None:
        """Freeze what the variant learns in some slots only, or not at all."""
        names = list(self.slots)
        for role, rule in _rules(variant):
            if rule.learned_in is None:
                continue
            learned = parse_placement(rule.learned_in, slot_places(self._layers))
            for name, digit in zip(names, learned, strict=True):
                if digit == "0":
                    self._freeze(name, role, *(("scale",) if role == "gamma" else ()))
        trained = trained_slots(variant, slot_places(self._layers))
        for name in names:
            if name not in trained:
                self._freeze(name, "weight", "direction", "bias")

    def _start_elsewhere(self, variant: Variant) -> list[tuple[str, Role, AffineRule]]:
        """Start γ and β from another value in some slots. Returns the slots and roles whose start is drawn."""
        names, places = list(self.slots), slot_places(self._layers)
        drawn: list[tuple[str, Role, AffineRule]] = []
        for role, rule in _rules(variant):
            expression, value = rule.initial_in or (None, rule.initial)
            other = set() if expression is None else set(masked_slots(parse_placement(expression, places), names))
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


def _draw(weights: nn.Parameter, layer: Conv | Dense, generator: torch.Generator) -> None:
    """Let a layer's weights start as its row says."""
    match layer.initialiser:
        case "xavier_normal":
            nn.init.xavier_normal_(weights, generator=generator)
        case "xavier_uniform":
            nn.init.xavier_uniform_(weights, generator=generator)
        case "kaiming_normal":
            nn.init.kaiming_normal_(weights, nonlinearity="relu", generator=generator)
        case "truncated_normal":
            nn.init.trunc_normal_(weights, std=layer.std, a=-2 * layer.std, b=2 * layer.std, generator=generator)
        case other:
            assert_never(other)


def _pool_follows(layers: tuple[Layer, ...], index: int) -> bool:
    return index + 1 < len(layers) and isinstance(layers[index + 1], MaxPool)


def _activation_precedes(layers: tuple[Layer, ...], index: int) -> bool:
    before = layers[index - 1] if index > 0 else None
    return isinstance(before, Conv | Dense | Norm) and before.activation


def _pool_key(block: str | None, index: int) -> str:
    return str(index) if block is None else f"{block}_{index}"


def _settle(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    cast(Settling, module).settle(inputs[0])


def _rules(variant: Variant) -> tuple[tuple[Role, AffineRule], ...]:
    return ("gamma", variant.gamma), ("beta", variant.beta)
