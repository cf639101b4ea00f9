"""From stored images to standardised batches, on the training device."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bnbench.data.augmentation import AugmentationParameters, cut_windows, has_jitter, jitter
from bnbench.data.dataset import Dataset
from bnbench.data.images import LabelledImages, Splits
from bnbench.measurement import Split
from bnbench.problem import Augmentation

PREPARED_PIXELS = {"cpu": 0, "cuda": 2_048 * 32 * 32}
"""Pixels of the training images that are augmented together, by the kind of device; a whole batch at least.

A GPU is given some 80 small operations to augment anything, as long as the rest of a small network's step takes to be
launched; a CPU is fastest where a batch stays in its cache.
"""


@dataclass(frozen=True, eq=False)
class _Stored:
    """A split on the device: the published bytes, or floats in [0, 1] where images had to be resized."""

    pixels: Tensor
    """Contiguous (images, height, width, channels)."""
    labels: Tensor


class ImagePipeline:
    """The data of one run, held on its device.

    Batches are float32, standardised, of shape (images, channels, height, width), channels last in memory.
    Images whose published size is the network's are kept as bytes; others are resized once, bilinearly.
    """

    def __init__(
        self,
        splits: Splits,
        *,
        dataset: Dataset,
        image_size: int,
        augmentation: Augmentation,
        device: torch.device,
    ) -> None:
        """Move the data to the device.

        Args:
            splits: as the data set publishes them.
            dataset: its largest pixel value, and its mean and standard deviation if it has them.
            image_size: height and width of the network's input.
            augmentation: what is done to training images.
            device: where batches are made.
        """
        self._size = image_size
        self._largest = dataset.largest_value
        self._device = device
        self._jitters = has_jitter(augmentation)
        train = _resized(splits.train.pixels, image_size, self._largest)
        mean, std = dataset.mean, dataset.std
        if mean is None or std is None:
            mean, std = _statistics(train, self._largest)
        # A value per pixel and channel: this is seven times as fast as broadcasting three numbers.
        self._mean = _pattern(mean, image_size).to(device)
        self._std = _pattern(std, image_size).to(device)
        pad = augmentation.crop_padding
        padded = torch.zeros(
            (len(train), image_size + 2 * pad, image_size + 2 * pad, train.shape[3]), dtype=train.dtype
        )
        padded[:, pad : pad + image_size, pad : pad + image_size] = train
        self._train = _Stored(padded.to(device), _labels(splits.train).to(device))
        self._evaluated: dict[Split, _Stored] = {
            "train_eval": self._stored(splits.train_eval),
            "valid": self._stored(splits.valid),
            "test": self._stored(splits.test),
        }

    @property
    def train_size(self) -> int:
        """Images to train on."""
        return len(self._train.labels)

    def split_size(self, split: Split) -> int:
        """Images of a split that is evaluated."""
        return len(self._evaluated[split].labels)

    def training_batch(self, indices: Tensor, parameters: AugmentationParameters) -> tuple[Tensor, Tensor]:
        """The augmented images at some positions of the training split, and their labels.

        Args:
            indices: int64 (batch,), on the CPU or the device.
            parameters: of all training images for this epoch; fastest on the device.

        Returns:
            Images (batch, channels, height, width) and labels (batch,).
        """
        indices = indices.to(self._device, non_blocking=True)
        own = parameters.to(self._device).select(indices)
        windows = cut_windows(
            self._train.pixels, image=indices, row=own.row, column=own.column, flips=own.flip, size=self._size
        )
        images = self._to_unit(windows)
        if self._jitters:
            images = jitter(images, own)
        return self._standardised(images), self._train.labels.index_select(0, indices)

    def training_batches(
        self, order: Tensor, parameters: AugmentationParameters, batch_size: int, first: int = 0
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """The whole batches of an epoch: each `training_batch` of the next `batch_size` positions.

        Which are made together is counted from the epoch's start, so an epoch that goes on somewhere within is given
        the same bits.

        Args:
            order: int64 (images,), positions in the training split.
            parameters: of all training images for this epoch.
            batch_size: images of each; what is left over at the end makes none.
            first: the first batch that is wanted, from 0.
        """
        pixels = PREPARED_PIXELS.get(self._device.type, 0)
        together = max(1, pixels // (self._size**2 * batch_size))
        count = len(order) // batch_size
        for start in range(first // together * together, count, together):
            stop = min(start + together, count)
            images, labels = self.training_batch(order[start * batch_size : stop * batch_size], parameters)
            for batch in range(max(first, start), stop):
                own = slice((batch - start) * batch_size, (batch - start + 1) * batch_size)
                yield images[own], labels[own]

    def evaluation_batches(self, split: Split, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """A whole split in its fixed order, without augmentation; the last batch may be short."""
        stored = self._evaluated[split]
        for start in range(0, len(stored.labels), batch_size):
            images = self._to_unit(stored.pixels[start : start + batch_size].permute(0, 3, 1, 2))
            yield self._standardised(images), stored.labels[start : start + batch_size]

    def _stored(self, images: LabelledImages) -> _Stored:
        pixels = _resized(images.pixels, self._size, self._largest)
        return _Stored(pixels.to(self._device), _labels(images).to(self._device))

    def _to_unit(self, images: Tensor) -> Tensor:
        return images if images.is_floating_point() else images.float().div_(self._largest)

    def _standardised(self, images: Tensor) -> Tensor:
        last = images.contiguous(memory_format=torch.channels_last)
        return (last - self._mean).div_(self._std)


def _resized(pixels: np.ndarray, size: int, largest: int) -> Tensor:
    """(images, size, size, channels): the bytes themselves, or floats in [0, 1] if they had to be resized."""
    published = torch.from_numpy(np.array(pixels))
    if published.shape[1:3] == (size, size):
        return published
    unit = published.permute(0, 3, 1, 2).float().div_(largest)
    resized = torch.nn.functional.interpolate(unit, size=(size, size), mode="bilinear", align_corners=False)
    return resized.permute(0, 2, 3, 1).contiguous()


def _statistics(images: Tensor, largest: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of every channel, over all pixels of all images, on the scale from 0 to 1."""
    unit = images.double() if images.is_floating_point() else images.double().div_(largest)
    std, mean = torch.std_mean(unit, dim=(0, 1, 2), correction=0)
    return tuple(mean.tolist()), tuple(std.tolist())


def _pattern(values: tuple[float, ...], size: int) -> Tensor:
    pattern = torch.tensor(values, dtype=torch.float32).view(1, -1, 1, 1).expand(1, -1, size, size)
    return pattern.contiguous(memory_format=torch.channels_last)


def _labels(images: LabelledImages) -> Tensor:
    return torch.from_numpy(np.array(images.labels))
