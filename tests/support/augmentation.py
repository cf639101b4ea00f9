"""The parts of the package's augmentation one at a time, so that each can be compared with torchvision's."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from bnbench.data.augmentation import AugmentationParameters, cut_windows, has_jitter, jitter
from bnbench.problem import Augmentation


def augment(images: Tensor, parameters: AugmentationParameters, augmentation: Augmentation) -> Tensor:
    """Crop, mirror and jitter, one set of parameters an image.

    Args:
        images: float (images, channels, height, width) in [0, 1], square.
        parameters: as many, on the same device.
        augmentation: the settings that they were drawn for.
    """
    images = flip(crop(images, parameters.row, parameters.column, augmentation.crop_padding), parameters.flip)
    return jitter(images, parameters) if has_jitter(augmentation) else images


def crop(images: Tensor, row: Tensor, column: Tensor, padding: int) -> Tensor:
    """Pad with zeros on all sides, then cut out the original size at (row, column)."""
    padded = torch.nn.functional.pad(images, (padding,) * 4).permute(0, 2, 3, 1).contiguous()
    return cut_windows(
        padded,
        image=torch.arange(len(images), device=images.device),
        row=row,
        column=column,
        flips=torch.zeros_like(row, dtype=torch.bool),
        size=images.shape[-1],
    )


def flip(images: Tensor, flips: Tensor) -> Tensor:
    """The mirror image, left to right, where `flips` is true."""
    origin = torch.zeros_like(flips, dtype=torch.int64)
    return cut_windows(
        images.permute(0, 2, 3, 1).contiguous(),
        image=torch.arange(len(images), device=images.device),
        row=origin,
        column=origin,
        flips=flips,
        size=images.shape[-1],
    )


def adjust(name: str, images: Tensor, parameters: AugmentationParameters) -> Tensor:
    """Only one of brightness, contrast and saturation: the others' factor is 1."""
    ones = torch.ones_like(parameters.brightness)
    alone = {other: ones for other in ("brightness", "contrast", "saturation") if other != name}
    return jitter(images, replace(parameters, **alone))
