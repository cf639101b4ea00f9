"""Images and their labels in memory, and the four splits that a problem trains and evaluates on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Images as they were published: whole numbers, not yet scaled, resized or standardised."""

    pixels: npt.NDArray[np.uint8]
    """Shape (images, height, width, channels)."""
    labels: npt.NDArray[np.int64]
    """Shape (images,), from 0 on."""

    def __post_init__(self) -> None:
        if self.pixels.ndim != 4 or self.pixels.dtype != np.uint8:
            raise ValueError(f"pixels are {self.pixels.dtype} of shape {self.pixels.shape}, not uint8 (N, H, W, C)")
        if self.labels.shape != self.pixels.shape[:1] or self.labels.dtype != np.int64:
            raise ValueError(f"labels are {self.labels.dtype} of shape {self.labels.shape}, not int64 (N,)")

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: npt.NDArray[np.int64]) -> LabelledImages:
        """A copy of the images at these positions, in that order."""
        return LabelledImages(self.pixels[indices], self.labels[indices])

    def in_order_of_content(self) -> LabelledImages:
        """A copy, sorted by the SHA-256 of each image's pixels (row by row, channels last), then by label.

        The order is a function of what the images are and not of where they came from. Images that are equal in
        pixels and label cannot be told apart, so it does not matter which of them comes first.
        """
        pixels = np.ascontiguousarray(self.pixels)
        digests = b"".join(hashlib.sha256(image.data).digest() for image in pixels)
        words = np.frombuffer(digests, dtype=">u8").reshape(len(pixels), 4)
        order = np.lexsort((self.labels, *words.T[::-1])).astype(np.int64)
        return LabelledImages(pixels[order], self.labels[order])


@dataclass(frozen=True, eq=False)
class Splits:
    """What is trained on, and what is evaluated. `train_eval` is a part of `train`; the others are disjoint."""

    train: LabelledImages
    train_eval: LabelledImages
    valid: LabelledImages
    test: LabelledImages


def fingerprint(parts: Iterable[LabelledImages]) -> str:
    """SHA-256, hexadecimal, of each part's pixels (row by row, channels last) and labels (64-bit little-endian)."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(np.ascontiguousarray(part.pixels).data)
        digest.update(np.ascontiguousarray(part.labels, dtype="<i8").data)
    return digest.hexdigest()


def split_digest(splits: Mapping[str, npt.NDArray[np.int64]]) -> str:
    """SHA-256, hexadecimal, of which images each split holds and in which order.

    Args:
        splits: positions of images, by the split's name; the order of the names does not matter.
    """
    digest = hashlib.sha256()
    for name in sorted(splits):
        indices = np.ascontiguousarray(splits[name], dtype="<i8")
        digest.update(f"{name} {indices.size}\n".encode())
        digest.update(indices.data)
    return digest.hexdigest()
