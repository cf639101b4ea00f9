"""Augmentation of one image at a time by torchvision, with parameters drawn by this package."""

from __future__ import annotations

from typing import TypeVar

from PIL import Image
from torch import Tensor

from bnbench.data.augmentation import AugmentationParameters
from bnbench.data.torchvision_compat import import_torchvision
from bnbench.problem import Augmentation

CIFAR = Augmentation(crop_padding=2, horizontal_flip=0.5, brightness=63 / 255, contrast=0.8, saturation=0.5)
"""What DeepOBS does to CIFAR."""

ADJUSTMENTS = ("brightness", "contrast", "saturation")

AnyImage = TypeVar("AnyImage", Tensor, Image.Image)
"""Float tensors (channels, height, width) in [0, 1], or 8-bit PIL images."""

functional = import_torchvision("torchvision.transforms.functional")


def torchvision_augmented(image: AnyImage, parameters: AugmentationParameters, index: int, padding: int) -> AnyImage:
    return torchvision_jittered(torchvision_cropped(image, parameters, index, padding), parameters, index)


def torchvision_cropped(image: AnyImage, parameters: AugmentationParameters, index: int, padding: int) -> AnyImage:
    width, height = functional.get_image_size(image)
    padded = functional.pad(image, [padding] * 4)
    cropped = functional.crop(padded, int(parameters.row[index]), int(parameters.column[index]), height, width)
    return functional.hflip(cropped) if parameters.flip[index] else cropped


def torchvision_jittered(image: AnyImage, parameters: AugmentationParameters, index: int) -> AnyImage:
    for operation in parameters.order[index].tolist():
        image = torchvision_adjusted(image, parameters, index, ADJUSTMENTS[operation])
    return image


def torchvision_adjusted(image: AnyImage, parameters: AugmentationParameters, index: int, name: str) -> AnyImage:
    adjust = getattr(functional, f"adjust_{name}")
    return adjust(image, float(getattr(parameters, name)[index]))
