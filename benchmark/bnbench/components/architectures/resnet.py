"""Residual networks for images of 32 pixels (He et al. 2016): the CIFAR family, and ResNet-18 to -101.

Convolutions pad symmetrically, as in PyTorch; a 1×1 convolution pads nothing. Where a bottleneck block halves the
map, its 3×3 convolution does it, as in torchvision (not the first 1×1, as in the paper). Weights are drawn Kaiming
normal, those of the dense layer too, as Frankle et al. 2021 do.
"""

from __future__ import annotations

from functools import partial
from typing import Literal

from bnbench.components.architectures.layers import Conv, Dense, GlobalMean, Layer, Residual, Subsample, scaled
from bnbench.components.architectures.row import ARCHITECTURES, Architecture

Block = Literal["basic", "bottleneck"]
Shortcut = Literal["A", "B"]
"""Where the shape changes: A subsamples and fills with zeros, B is a 1×1 convolution (He et al. 2016, section 4.1)."""

EXPANSION = 4
"""Channels that a bottleneck block gives for each channel of its 3×3 convolution."""


def residual_network(
    classes: int,
    width: float,
    *,
    blocks: tuple[int, ...],
    widths: tuple[int, ...],
    block: Block = "basic",
    shortcut: Shortcut = "B",
) -> tuple[Layer, ...]:
    """The layer table of a residual network.

    Slots are called `stem`, `s2b1c1` (stage 2, block 1, convolution 1), `s2b1sc` (its shortcut) and `out`.

    Args:
        classes: outputs.
        width: multiplies every hidden channel count.
        blocks: of each stage; the first block of every stage but the first halves the map.
        widths: channels of each stage's 3×3 convolutions; the stem has the first stage's.
        block: two 3×3 convolutions, or 1×1, 3×3 and 1×1.
        shortcut: what stands where a block's output has another shape than its input.
    """
    channels = scaled(widths[0], width)
    layers: list[Layer] = [_conv("stem", channels, 3)]
    for stage, (count, own) in enumerate(zip(blocks, widths, strict=True), start=1):
        inner = scaled(own, width)
        outer = inner if block == "basic" else EXPANSION * inner
        for number in range(1, count + 1):
            stride = 2 if stage > 1 and number == 1 else 1
            name = f"s{stage}b{number}"
            changes = stride > 1 or channels != outer
            layers.append(
                Residual(
                    name,
                    _basic(name, inner, stride) if block == "basic" else _bottleneck(name, inner, outer, stride),
                    _shortcut(name, outer, stride, shortcut) if changes else (),
                )
            )
            channels = outer
    return (
        *layers,
        GlobalMean(),
        Dense("out", classes, activation=False, initialiser="kaiming_normal"),
    )


def _conv(name: str, channels: int, kernel: int, stride: int = 1, *, activation: bool = True) -> Conv:
    return Conv(name, channels, kernel, stride, kernel // 2, activation=activation, initialiser="kaiming_normal")


def _basic(name: str, channels: int, stride: int) -> tuple[Layer, ...]:
    return (_conv(f"{name}c1", channels, 3, stride), _conv(f"{name}c2", channels, 3, activation=False))


def _bottleneck(name: str, inner: int, outer: int, stride: int) -> tuple[Layer, ...]:
    return (
        _conv(f"{name}c1", inner, 1),
        _conv(f"{name}c2", inner, 3, stride),
        _conv(f"{name}c3", outer, 1, activation=False),
    )


def _shortcut(name: str, channels: int, stride: int, option: Shortcut) -> Subsample | Conv:
    if option == "A":
        return Subsample(stride, channels)
    return _conv(f"{name}sc", channels, 1, stride, activation=False)


CIFAR_WIDTHS = (16, 32, 64)
WIDTHS = (64, 128, 256, 512)
_FRANKLE = "He et al. 2016, section 4.2, with option B; Frankle et al. 2021 (open_lth, cifar_resnet)"
_SHORTCUTS: dict[Shortcut, str] = {
    "A": "option A, shortcuts without weights",
    "B": "option B, 1×1 convolutions as shortcuts where the shape changes",
}


def _register(name: str, title: str, summary: str, source: str, layers: partial[tuple[Layer, ...]]) -> None:
    ARCHITECTURES.register(name, Architecture(name, title, summary, source, image_size=32, layers=layers))


def _register_cifar(depth: int, option: Shortcut) -> None:
    count = (depth - 2) // 6
    _register(
        f"resnet{depth}" if option == "B" else f"resnet{depth}a",
        f"ResNet-{depth}" if option == "B" else f"ResNet-{depth} (A)",
        f"three stages of {count} basic block{'s' * (count > 1)}, 16, 32 and 64 channels; {_SHORTCUTS[option]}",
        _FRANKLE if option == "B" else "He et al. 2016, section 4.2",
        partial(residual_network, blocks=(count,) * 3, widths=CIFAR_WIDTHS, shortcut=option),
    )


def _register_wide(depth: int, blocks: tuple[int, ...], block: Block) -> None:
    _register(
        f"resnet{depth}",
        f"ResNet-{depth}",
        f"four stages of {block} blocks ({', '.join(map(str, blocks))}), 64 to 512 channels; for images of 32 pixels: "
        "a 3×3 stem, no max pooling",
        "He et al. 2016, table 1, option B; CIFAR form as Davis & Frank 2022",
        partial(residual_network, blocks=blocks, widths=WIDTHS, block=block),
    )


for _depth in (8, 14, 20, 32, 56, 110):
    _register_cifar(_depth, "B")
    _register_cifar(_depth, "A")
_register(
    "resnet29b",
    "ResNet-29 (bottleneck)",
    "three stages of 3 bottleneck blocks, 16, 32 and 64 inner channels; small enough for two CPU cores",
    "this suite: the blocks of He et al. 2016, figure 5 right, in the stages of section 4.2, option B",
    partial(residual_network, blocks=(3, 3, 3), widths=CIFAR_WIDTHS, block="bottleneck"),
)
_register_wide(18, (2, 2, 2, 2), "basic")
_register_wide(34, (3, 4, 6, 3), "basic")
_register_wide(50, (3, 4, 6, 3), "bottleneck")
_register_wide(101, (3, 4, 23, 3), "bottleneck")
