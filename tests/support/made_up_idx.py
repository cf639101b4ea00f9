"""Small data sets in the files of Fashion-MNIST: four gzip files in the IDX format, and a release with their sums."""

from __future__ import annotations

import gzip
import hashlib
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np

from bnbench.data.idx_source import IDX_RELEASES, IdxRelease, ReleasedFile
from bnbench.data.images import LabelledImages
from bnbench.data.store import StoredImages

TRAIN, TEST = 120, 30


def made_up_images(seed: int = 0) -> StoredImages:
    """Noise around a value that depends on the class."""
    random = np.random.default_rng(seed)

    def part(count: int) -> LabelledImages:
        labels = np.arange(count, dtype=np.int64) % 10
        pixels = 20 * labels[:, None, None, None] + random.integers(0, 40, (count, 28, 28, 1))
        return LabelledImages(pixels.astype(np.uint8), labels)

    return StoredImages(part(TRAIN), part(TEST))


def idx_bytes(array: np.ndarray) -> bytes:
    """An array of bytes in the IDX format."""
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def write_idx(folder: Path, images: StoredImages | None = None) -> IdxRelease:
    """Write the four files; returns the release as if they were the official ones."""
    images = made_up_images() if images is None else images
    folder.mkdir(parents=True, exist_ok=True)
    arrays = [each for part in (images.train, images.test) for each in (part.pixels[..., 0], part.labels)]
    for file, array in zip(IDX_RELEASES["fmnist"].files, arrays, strict=True):
        (folder / file.name).write_bytes(gzip.compress(idx_bytes(array), 1))
    return release_of(folder)


def release_of(folder: Path) -> IdxRelease:
    """The release whose official files are those of a folder."""
    official = IDX_RELEASES["fmnist"]
    files = tuple(_checked(folder / file.name) for file in official.files)
    return replace(official, train_files=files[:2], test_files=files[2:], train_images=TRAIN, test_images=TEST)


def _checked(path: Path) -> ReleasedFile:
    content = path.read_bytes()
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    return ReleasedFile(path.name, md5, hashlib.sha256(content).hexdigest())
