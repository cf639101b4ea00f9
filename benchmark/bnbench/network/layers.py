"""The torch modules a network is made of: slots, 'same' padding, pooling."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import assert_never, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from bnbench.components.architectures import Conv, Dense, MaxPool, Shape, same_padding, trace
from bnbench.components.normalisers import NORMALISERS
from bnbench.components.site import Site
from bnbench.components.variants import Variant
from bnbench.network.batch_parts import Noise
from bnbench.network.draws import Draws
from bnbench.network.normalisers import build_normaliser
from bnbench.network.reparametrisations import Reparametrised, build_reparametrisation
from bnbench.network.roles import Role
from bnbench.slot_plan import has_affine_part, has_bias, site_of


class Carrier(nn.Module):
    """What may carry a variant's normaliser, under the name `normaliser`."""

    def __init__(self, name: str, *, activation: bool) -> None:
        """A slot of that name, which carries nothing yet."""
        super().__init__()
        self.name = name
        self.activation = activation
        """Whether a ReLU follows, which the network applies, so that it may come after a pooling."""
        self.normaliser: nn.Module | None = None
        self._draws_noise = False

    def carry(self, variant: Variant, site: Site) -> None:
        """Build what the variant puts behind the slot, if anything."""
        if has_affine_part(variant):
            self.normaliser = build_normaliser(variant, site)
            self._draws_noise = NORMALISERS.get(variant.normaliser).stochastic

    def normalised(self, x: Tensor, draws: Draws | None) -> Tensor:
        """What the slot makes of x with its normaliser; x itself where it carries none."""
        if self.normaliser is None:
            return x
        if self._draws_noise:
            return cast(Tensor, self.normaliser(x, self._noise(draws, x)))
        return cast(Tensor, self.normaliser(x))

    def _noise(self, draws: Draws | None, like: Tensor) -> Noise | None:
        """Where the normaliser's random numbers come from: in training only."""
        if draws is None or not self.training:
            return None
        return lambda name, shape: draws.noise(f"{self.name}/{name}", shape, like)

    def roles(self) -> Mapping[Role, tuple[nn.Parameter, ...]]:
        """The slot's parameters, frozen ones too, by what they are for; a role that has none is not there."""
        if self.normaliser is None:
            return {}
        return {
            "gamma": (cast(nn.Parameter, self.normaliser.weight),),
            "beta": (cast(nn.Parameter, self.normaliser.bias),),
        }


class Slot(Carrier):
    """A convolution or dense layer and, where the placement says so, what normalises its output.

    The ReLU is not part of it: the network applies it, so that it may come after the pooling.
    """

    def __init__(self, layer: Conv | Dense, input_shape: Shape, variant: Variant | None) -> None:
        """A slot of the layer table.

        Args:
            layer: the row of the table.
            input_shape: (channels, height, width) or (features,).
            variant: what to put behind the layer; None for nothing.
        """
        super().__init__(layer.name, activation=layer.activation)
        bias = variant is None or has_bias(variant, carries=True)
        self._padding: tuple[int, int, int, int] | None = None
        self.linear: nn.Conv2d | nn.Linear
        match layer:
            case Conv():
                symmetric, self._padding = _padding(layer, input_shape)
                self.linear = nn.Conv2d(
                    input_shape[0], layer.channels, layer.kernel, layer.stride, symmetric, bias=bias
                )
            case Dense():
                self.linear = nn.Linear(input_shape[0], layer.features, bias=bias)
            case other:
                assert_never(other)
        self.reparametrisation: Reparametrised | None = None
        if variant is None:
            return
        site = site_of(trace((layer,), input_shape)[0])
        self.reparametrisation = build_reparametrisation(variant, site)
        if self.reparametrisation is not None and self.reparametrisation.drawn == "base":
            self.linear.weight.requires_grad_(False)
        self.carry(variant, site)

    def forward(self, x: Tensor, draws: Draws | None = None) -> Tensor:
        """(N, ...) to the pre-activations, normalised where the slot carries a normaliser."""
        x = self._padded(x)
        if self.reparametrisation is None:
            x = cast(Tensor, self.linear(x))
        else:
            x = self._apply_weights(x, self.reparametrisation(self.linear.weight), self.linear.bias)
        return self.normalised(x, draws)

    @property
    def settling(self) -> bool:
        """Whether the slot starts from the first training batch."""
        return self.reparametrisation is not None and self.reparametrisation.starts_from_batch

    def settle(self, x: Tensor) -> None:
        """Start from the first training batch, (N, ...)."""
        assert self.reparametrisation is not None  # `settling` says so
        padded = self._padded(x)
        self.reparametrisation.start_from(
            lambda weights: self._apply_weights(padded, weights, None), self.linear.weight, self.linear.bias
        )

    def begin(self, generator: Callable[[], torch.Generator] | None) -> None:
        """Start what the weights are made of, now that `drawn_weights` are drawn."""
        if self.reparametrisation is not None:
            self.reparametrisation.begin(self.linear.weight, generator)

    @property
    def drawn_weights(self) -> nn.Parameter:
        """What an initialiser draws: the weights, or what they are computed of."""
        return cast(nn.Parameter, self.linear.weight)

    def _padded(self, x: Tensor) -> Tensor:
        return x if self._padding is None else functional.pad(x, self._padding)

    def _apply_weights(self, x: Tensor, weights: Tensor, bias: Tensor | None) -> Tensor:
        match self.linear:
            case nn.Conv2d(stride=stride, padding=padding):
                return functional.conv2d(x, weights, bias, stride, padding)
            case nn.Linear():
                return functional.linear(x, weights, bias)
            case other:
                assert_never(other)

    def roles(self) -> Mapping[Role, tuple[nn.Parameter, ...]]:
        """As of any carrier, and those of the layer."""
        drawn: Role = "weight" if self.reparametrisation is None else self.reparametrisation.drawn
        found: dict[Role, tuple[nn.Parameter, ...]] = {drawn: (self.drawn_weights,)}
        if self.linear.bias is not None:
            found["bias"] = (cast(nn.Parameter, self.linear.bias),)
        found.update(super().roles())
        if self.reparametrisation is not None:
            found.update(self.reparametrisation.own_roles())
        return found


def _padding(layer: Conv, input_shape: Shape) -> tuple[tuple[int, int], tuple[int, int, int, int] | None]:
    """What a convolution pads itself, (rows, columns), and what must be added before it where sides differ."""
    match layer.padding:
        case "valid":
            return (0, 0), None
        case "same":
            _, height, width = input_shape
            rows = same_padding(height, layer.kernel, layer.stride)
            columns = same_padding(width, layer.kernel, layer.stride)
            if rows[0] == rows[1] and columns[0] == columns[1]:
                return (rows[0], columns[0]), None
            return (0, 0), (*columns, *rows)
        case int():
            return (layer.padding, layer.padding), None
        case other:
            assert_never(other)


class SamePool(nn.Module):
    """Max pooling with TensorFlow's 'same' padding, for inputs of one fixed size.

    Padding never wins (it counts as -∞), which after a ReLU is the same as padding with zeros. Where only the end of
    an axis is padded, `ceil_mode` lets the last window reach over the edge and nothing has to be copied.
    """

    def __init__(self, layer: MaxPool, input_shape: Shape) -> None:
        super().__init__()
        _, height, width = input_shape
        rows = same_padding(height, layer.kernel, layer.stride)
        columns = same_padding(width, layer.kernel, layer.stride)
        self._explicit: tuple[int, int, int, int] | None = None
        padding, ceil_mode = (0, 0), False
        if rows[0] == rows[1] and columns[0] == columns[1]:
            padding = (rows[0], columns[0])
        elif all(_window_hangs_over(*axis, layer.stride) for axis in (rows, columns)):
            ceil_mode = True
        else:
            self._explicit = (*columns, *rows)
        self.pool = nn.MaxPool2d(layer.kernel, layer.stride, padding, ceil_mode=ceil_mode)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, ⌈H / stride⌉, ⌈W / stride⌉)."""
        if self._explicit is not None:
            x = functional.pad(x, self._explicit, value=float("-inf"))
        return cast(Tensor, self.pool(x))


def _window_hangs_over(before: int, after: int, stride: int) -> bool:
    # ceil_mode adds at most one window, which must start inside the input: true for padding below the stride.
    return before == 0 and after < stride
