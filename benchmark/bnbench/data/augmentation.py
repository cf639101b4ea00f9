"""Augmentation of training images: every image with parameters of its own, a whole batch at a time.

As DeepOBS has it: zero padding, a random crop of the original size, a random mirror image, and
torchvision's ColorJitter (without hue) with its random order of brightness, contrast and saturation.
The operations work on float images of shape (images, channels, height, width) with values in [0, 1].
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations

import torch
from torch import Tensor

from bnbench.problem import Augmentation

BRIGHTNESS, CONTRAST, SATURATION = range(3)

_ORDERS = tuple(permutations((BRIGHTNESS, CONTRAST, SATURATION)))
_GREY = (0.2989, 0.587, 0.114)
"""Rounded ITU-R 601-2 luma, as torchvision has it."""


@dataclass(frozen=True, eq=False)
class AugmentationParameters:
    """What is done to each of `count` images."""

    row: Tensor
    """int64 (count,): the crop's upper edge in the padded image."""
    column: Tensor
    """int64 (count,): its left edge."""
    flip: Tensor
    """bool (count,)"""
    brightness: Tensor
    """float32 (count,): the factor; 1 leaves the image alone."""
    contrast: Tensor
    saturation: Tensor
    order: Tensor
    """int64 (count, 3): which of brightness 0, contrast 1 and saturation 2 comes first, second, third."""

    def select(self, indices: Tensor) -> AugmentationParameters:
        """The parameters of some images; indices on the same device."""
        return AugmentationParameters(*(each.index_select(0, indices) for each in self._tensors()))

    def to(self, device: torch.device) -> AugmentationParameters:
        """The parameters on a device."""
        return AugmentationParameters(*(each.to(device) for each in self._tensors()))

    def _tensors(self) -> tuple[Tensor, ...]:
        return (self.row, self.column, self.flip, self.brightness, self.contrast, self.saturation, self.order)


def draw_parameters(augmentation: Augmentation, count: int, generator: torch.Generator) -> AugmentationParameters:
    """Draw every image's parameters on the CPU.

    The same numbers are drawn whatever is switched on, so that switching one operation off leaves the
    others' parameters as they were.

    Args:
        augmentation: what a problem does to its training images.
        count: images.
        generator: a CPU generator.
    """
    # In double precision, where flooring 33 · u cannot round up to 33.
    uniform = torch.rand((7, count), generator=generator, dtype=torch.float64)
    offsets = 2 * augmentation.crop_padding + 1
    order = torch.tensor(_ORDERS)[(uniform[6] * len(_ORDERS)).long()]
    return AugmentationParameters(
        row=(uniform[0] * offsets).long(),
        column=(uniform[1] * offsets).long(),
        flip=uniform[2] < augmentation.horizontal_flip,
        brightness=_factors(augmentation.brightness, uniform[3]),
        contrast=_factors(augmentation.contrast, uniform[4]),
        saturation=_factors(augmentation.saturation, uniform[5]),
        order=order,
    )


def has_jitter(augmentation: Augmentation) -> bool:
    """Whether any of brightness, contrast and saturation is ever changed."""
    return augmentation.brightness > 0 or augmentation.contrast > 0 or augmentation.saturation > 0


def cut_windows(stored: Tensor, *, image: Tensor, row: Tensor, column: Tensor, flips: Tensor, size: int) -> Tensor:
    """Square windows out of stored images, mirrored where asked, in a single gather.

    Args:
        stored: contiguous (images, height, width, channels), of any type.
        image: int64 (batch,): which image each window is cut from.
        row: int64 (batch,): its upper edge.
        column: int64 (batch,): its left edge.
        flips: bool (batch,).
        size: of the window, in pixels.

    Returns:
        (batch, channels, size, size) of the same type, channels last in memory.
    """
    _, height, width, channels = stored.shape
    steps = torch.arange(size, device=stored.device)
    rows = row[:, None] + steps
    columns = column[:, None] + torch.where(flips[:, None], size - 1 - steps, steps)
    pixel = (image[:, None, None] * height + rows[:, :, None]) * width + columns[:, None, :]
    windows = stored.view(-1, channels).index_select(0, pixel.view(-1))
    return windows.view(len(image), size, size, channels).permute(0, 3, 1, 2)


def jitter(images: Tensor, parameters: AugmentationParameters) -> Tensor:
    """Brightness, contrast and saturation, in each image's own order.

    All three are blends with a reference (black, mean grey, grey), so that at each of the three places the
    whole batch is blended at once, every image with the reference and the factor that its order puts there.
    """
    saturation = parameters.saturation if images.shape[1] == 3 else torch.ones_like(parameters.saturation)
    factors = torch.stack((parameters.brightness, parameters.contrast, saturation), dim=1).gather(1, parameters.order)
    # Channel planes one after another: three times as fast here as channels last.
    images = images.contiguous()
    for place in range(3):
        operation = parameters.order[:, place]
        factor = factors[:, place]
        grey = _grey(images)
        mean = grey.mean(dim=(1, 2, 3), keepdim=True)
        to_grey = _per_image((1 - factor) * (operation == SATURATION))
        to_mean = _per_image((1 - factor) * (operation == CONTRAST))
        images = (_per_image(factor) * images).add_(to_grey * grey + to_mean * mean).clamp_(0, 1)
    return images


def _factors(strength: float, uniform: Tensor) -> Tensor:
    low, high = max(0.0, 1.0 - strength), 1.0 + strength
    return (low + (high - low) * uniform).float()


def _grey(images: Tensor) -> Tensor:
    if images.shape[1] == 1:
        return images
    return _GREY[0] * images[:, 0:1] + _GREY[1] * images[:, 1:2] + _GREY[2] * images[:, 2:3]


def _per_image(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)
