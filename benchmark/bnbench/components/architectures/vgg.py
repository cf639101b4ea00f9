"""VGG networks in the form for images of 32 pixels (Simonyan & Zisserman 2015; Frankle et al. 2021, open_lth).

Blocks of 3×3 convolutions, a 2×2 max pooling between two of them, the mean over the last map, one dense layer. The
dense layers of 4,096 features that the paper has behind its convolutions are left out, as everywhere on CIFAR.
"""

from __future__ import annotations

from functools import partial

from bnbench.components.architectures.layers import Conv, Dense, GlobalMean, Layer, MaxPool, scaled
from bnbench.components.architectures.row import ARCHITECTURES, Architecture

CHANNELS = (64, 128, 256, 512, 512)
DEPTHS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
"""Weight layers, three of which the dense ones would be, to the convolutions of each block."""


def vgg(classes: int, width: float, *, convolutions: tuple[int, ...]) -> tuple[Layer, ...]:
    """The layers of a VGG network.

    Args:
        classes: features of the dense layer.
        width: multiplies the channels.
        convolutions: of each block.
    """
    layers: list[Layer] = []
    for block, (count, channels) in enumerate(zip(convolutions, CHANNELS, strict=True), start=1):
        if layers:
            layers.append(MaxPool(2, 2))
        layers += [
            Conv(f"b{block}c{number}", scaled(channels, width), 3, 1, 1, initialiser="kaiming_normal")
            for number in range(1, count + 1)
        ]
    return (*layers, GlobalMean(), Dense("out", classes, activation=False, initialiser="kaiming_normal"))


for _depth, _convolutions in DEPTHS.items():
    ARCHITECTURES.register(
        f"vgg{_depth}",
        Architecture(
            f"vgg{_depth}",
            f"VGG-{_depth}",
            f"{sum(_convolutions)} convolutions in five blocks ({', '.join(map(str, _convolutions))}), 64 to 512 "
            "channels, max pooling between them; one dense layer",
            "Simonyan & Zisserman 2015, table 1; CIFAR form as Frankle et al. 2021 (open_lth, cifar_vgg)",
            image_size=32,
            layers=partial(vgg, convolutions=_convolutions),
        ),
    )
