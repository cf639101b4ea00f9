"""What networks with shortcuts are made of, beside slots: stand-alone normalisers, subsampling, the sum of a block."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from torch import Tensor, nn
from torch.nn import functional

from bnbench.architecture import Conv, Dense, Norm, Shape
from bnbench.network.layers import Role, normaliser_behind
from bnbench.variant import Variant


class NormSlot(nn.Module):
    """A slot without weights: what the variant puts there, or nothing. The network applies the ReLU."""

    def __init__(self, layer: Norm, input_shape: Shape, variant: Variant | None) -> None:
        """A slot of the layer table.

        Args:
            layer: the row of the table.
            input_shape: (channels, height, width) or (features,).
            variant: what to put there; None for nothing.
        """
        super().__init__()
        self.name = layer.name
        self.activation = layer.activation
        self.linear = None
        # As behind a layer that makes what this slot gets.
        made_by = Conv(layer.name, input_shape[0], 1) if len(input_shape) == 3 else Dense(layer.name, input_shape[0])
        self.normaliser = None if variant is None else normaliser_behind(made_by, variant)

    def forward(self, x: Tensor) -> Tensor:
        """(N, ...) to the same, normalised where the slot carries a normaliser."""
        return x if self.normaliser is None else cast(Tensor, self.normaliser(x))

    def roles(self) -> Mapping[Role, tuple[nn.Parameter, ...]]:
        """As `bnbench.network.layers.Slot.roles`: γ and β, if any."""
        if self.normaliser is None:
            return {}
        return {
            "gamma": (cast(nn.Parameter, self.normaliser.weight),),
            "beta": (cast(nn.Parameter, self.normaliser.bias),),
        }


class BlockSum(nn.Module):
    """A block's body plus its shortcut. A module, so that what the ReLU behind it gets can be looked at."""

    def forward(self, body: Tensor, shortcut: Tensor) -> Tensor:
        """Two of one shape (N, ...) to their sum."""
        return body + shortcut


def subsample(x: Tensor, stride: int, channels: int) -> Tensor:
    """Every stride-th row and column; channels of zeros behind those that there are.

    Args:
        x: (N, C, H, W)
        stride: 1 keeps all.
        channels: of what is given, at least C.
    """
    return functional.pad(x[:, :, ::stride, ::stride], (0, 0, 0, 0, 0, channels - x.shape[1]))
