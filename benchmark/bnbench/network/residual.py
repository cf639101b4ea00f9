"""What networks with shortcuts are made of, beside slots: stand-alone normalisers, subsampling, the sum of a block."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from bnbench.components.architectures import Norm, Shape, trace
from bnbench.components.variants import Variant
from bnbench.network.draws import Draws
from bnbench.network.layers import Carrier
from bnbench.slot_plan import site_of


class NormSlot(Carrier):
    """A slot without weights: what the variant puts there, or nothing."""

    linear = None

    def __init__(self, layer: Norm, input_shape: Shape, variant: Variant | None) -> None:
        """A slot of the layer table.

        Args:
            layer: the row of the table.
            input_shape: (channels, height, width) or (features,).
            variant: what to put there; None for nothing.
        """
        super().__init__(layer.name, activation=layer.activation)
        if variant is not None:
            self.carry(variant, site_of(trace((layer,), input_shape)[0]))

    def forward(self, x: Tensor, draws: Draws | None = None) -> Tensor:
        """(N, ...) to the same, normalised where the slot carries a normaliser."""
        return self.normalised(x, draws)


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
