"""A data set of a user's own: an .npz file of images and labels, named by a problem file.

    train_images  uint8 (N, height, width) or (N, height, width, channels)
    train_labels  whole numbers (N,), 0 … C-1, each of them at least once
    test_images, test_labels      the same of the test part
    valid_images, valid_labels    optional; without them a fifth of the training images validates, as the seed decides

What it is called is the problem file's to say; what it is, its fingerprint says: the images are sorted by content, so
their order in the file means nothing, nor does where the file lies.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bnbench.data.dataset import DATASETS, Dataset
from bnbench.data.images import LabelledImages, Splits
from bnbench.data.npz import ArrayHeader, read_arrays
from bnbench.data.origin import exact_statistics
from bnbench.data.stored import split_indices
from bnbench.errors import UserError, unknown
from bnbench.plan import DataFacts

PARTS = ("train", "test", "valid")
"""In the order in which the fingerprint takes them."""
ARRAYS = tuple(f"{part}_{kind}" for part in PARTS for kind in ("images", "labels"))
"""What such a file may hold."""

_FEWEST = 5
"""Training images of which a fifth can validate."""
_PLANES = {1, 3, 4}
"""Channels that pictures have: where they come before height and width, the array is the wrong way round."""


def dataset_of(name: str, file: Path | None) -> Dataset:
    """The data set that a problem or a run names: a row of the table, or one made of a file of arrays.

    The file is read here and never again: the row's fingerprint and its images are of the same moment.

    Args:
        name: the data set.
        file: of a data set of a user's own; None for one of the table.

    Raises:
        UserError: there is no such data set, or the file is not one.
    """
    if file is not None:
        return _own_dataset(name, file)
    if name not in DATASETS:
        raise unknown("dataset", name, DATASETS, hint="Arrays of your own are named by their file, which ends in .npz.")
    return DATASETS.get(name)


def read_own_arrays(path: Path) -> dict[str, LabelledImages]:
    """The images of a file by part, each in the order of its content.

    Raises:
        UserError: the file cannot be read, or its arrays are not what they should be.
    """
    arrays = read_arrays(path, lambda headers: _check_headers(path, headers))
    parts = {
        part: LabelledImages(
            _pixels(arrays[f"{part}_images"]), _labels(f"{path}: {part}_labels", arrays[f"{part}_labels"])
        )
        for part in PARTS
        if f"{part}_images" in arrays
    }
    _check_classes(path, parts)
    return {part: images.in_order_of_content() for part, images in parts.items()}


def fingerprint_of_parts(parts: Mapping[str, LabelledImages]) -> str:
    """SHA-256, hexadecimal, of each part's name and shape, pixels and labels, as they lie sorted.

    The shape is in it, since the same bytes are other images as 8 by 8 and as 4 by 16 pixels.
    """
    digest = hashlib.sha256()
    for part in PARTS:
        if part in parts:
            pixels, labels = parts[part].pixels, parts[part].labels
            digest.update(f"{part} {'x'.join(map(str, pixels.shape))}\n".encode())
            digest.update(np.ascontiguousarray(pixels).data)
            digest.update(np.ascontiguousarray(labels, dtype="<i8").data)
    return digest.hexdigest()


def _own_dataset(name: str, path: Path) -> Dataset:
    if name in DATASETS:
        raise UserError(
            f"the data set of {path.name} would be called '{name}', which another data set is",
            hint='Name yours in the problem file: dataset_name = "…", beside dataset = "….npz".',
        )
    parts = read_own_arrays(path)
    train = parts["train"]
    classes, channels = int(train.labels.max()) + 1, int(train.pixels.shape[3])
    mean, std = _statistics(path, train)
    facts = DataFacts(
        name,
        classes,
        channels,
        fingerprint_of_parts(parts),
        origin="own file",
        file=path,
        mean=mean,
        std=std,
    )
    height, width = train.pixels.shape[1:3]
    count = sum(map(len, parts.values()))
    return Dataset(
        name=name,
        title=name,
        summary=f"{count:,} images of {height}×{width} pixels in {classes} classes, from a file of your own",
        images=count,
        classes=classes,
        channels=channels,
        largest_value=255,
        mean=mean,
        std=std,
        identify=lambda: facts,
        load_splits=lambda split_seed: _splits(parts, split_seed),
    )


def _splits(parts: Mapping[str, LabelledImages], split_seed: int) -> Splits:
    train = parts["train"]
    if "valid" not in parts:
        indices = split_indices(len(train), split_seed)
        return Splits(
            train=train.take(indices.train),
            train_eval=train.take(indices.train_eval),
            valid=train.take(indices.valid),
            test=parts["test"],
        )
    # As many of the training images as validate, as where the suite splits.
    order = np.random.RandomState(split_seed).permutation(len(train))[: len(parts["valid"])].astype(np.int64)
    return Splits(train=train, train_eval=train.take(np.sort(order)), valid=parts["valid"], test=parts["test"])


def _statistics(path: Path, train: LabelledImages) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel, of all training images: exact, so free of their order."""
    exact = exact_statistics(train)
    for channel, (_, std) in enumerate(exact):
        if std == 0:
            raise UserError(
                f"{path}: channel {channel} of train_images has one value everywhere, and cannot be standardised",
                hint="Leave the channel out.",
            )
    return tuple(float(mean) for mean, _ in exact), tuple(float(std) for _, std in exact)


def _check_headers(path: Path, headers: Mapping[str, ArrayHeader]) -> None:
    """All that can be said of the arrays before they are read."""
    for name in headers:
        if name not in ARRAYS:
            error = unknown("array", name, ARRAYS)
            raise UserError(f"{path}: {error.problem}", hint=error.hint)
    parts = [part for part in PARTS if {f"{part}_images", f"{part}_labels"} & headers.keys() or part != "valid"]
    missing = [f"{part}_{kind}" for part in parts for kind in ("images", "labels") if f"{part}_{kind}" not in headers]
    if missing:
        raise UserError(
            f"{path}: the arrays {', '.join(missing)} are not there",
            hint="train_images, train_labels, test_images and test_labels are needed; valid_images and valid_labels "
            "may be there too. All are written by one numpy.savez_compressed(path, train_images=…, …).",
        )
    for part in parts:
        _check_part(path, part, headers[f"{part}_images"], headers[f"{part}_labels"])
    shapes = {part: headers[f"{part}_images"].shape[1:] for part in parts}
    for part, shape in shapes.items():
        if shape != shapes["train"]:
            raise UserError(f"{path}: {part}_images are of shape {shape}, train_images of {shapes['train']}")
    if "valid" not in parts and headers["train_images"].shape[0] < _FEWEST:
        raise UserError(
            f"{path}: {headers['train_images'].shape[0]} training images are too few to validate on a fifth of them",
            hint="Give valid_images and valid_labels, or more images.",
        )


def _check_part(path: Path, part: str, images: ArrayHeader, labels: ArrayHeader) -> None:
    shape = images.shape
    if images.dtype != np.uint8 or len(shape) not in {3, 4} or min(shape) < 1:
        raise UserError(
            f"{path}: {part}_images are {images.dtype} of shape {shape}",
            hint="Whole numbers from 0 to 255 are needed, uint8, of shape (images, height, width) or "
            "(images, height, width, channels).",
        )
    if len(shape) == 4 and shape[1] in _PLANES and shape[3] not in _PLANES:
        raise UserError(
            f"{path}: {part}_images of shape {shape} would be {shape[1]}×{shape[2]} pixels with {shape[3]} channels",
            hint="Channels come last: images.transpose(0, 2, 3, 1).",
        )
    if labels.dtype.kind not in "iu" or len(labels.shape) != 1:
        raise UserError(
            f"{path}: {part}_labels are {labels.dtype} of shape {labels.shape}",
            hint="Whole numbers of shape (images,) are needed: labels.astype(numpy.int64).",
        )
    if labels.shape[0] != shape[0]:
        raise UserError(f"{path}: {shape[0]:,} {part}_images have {labels.shape[0]:,} {part}_labels")


def _check_classes(path: Path, parts: Mapping[str, LabelledImages]) -> None:
    """Classes count from 0 on without a gap, and what is evaluated has no others than what is trained on."""
    train = parts["train"].labels
    found = np.unique(train)
    if len(found) < 2:
        raise UserError(f"{path}: train_labels name one class only: {found[0]}", hint="Two are needed at least.")
    gap = next((label for label, each in enumerate(found) if each != label), None)
    if gap is not None:
        raise UserError(
            f"{path}: train_labels go up to {found[-1]} and leave out {gap}",
            hint="Classes are 0 … C-1, each of them at least once: numpy.unique(labels, return_inverse=True)[1].",
        )
    for part, images in parts.items():
        largest = int(images.labels.max())
        if largest >= len(found):
            raise UserError(f"{path}: {part}_labels go up to {largest}, train_labels to {len(found) - 1}")


def _pixels(array: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    return np.ascontiguousarray(array if array.ndim == 4 else array[..., np.newaxis])


def _labels(where: str, array: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    low, high = int(array.min()), int(array.max())
    if low < 0 or high > np.iinfo(np.int64).max:
        wrong = low if low < 0 else high
        raise UserError(f"{where}: there is a label {wrong}", hint="Classes are whole numbers from 0 on.")
    return array.astype(np.int64)
