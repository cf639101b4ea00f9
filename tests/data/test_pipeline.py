"""Batches, image by image, against torchvision; and splits that are evaluated whole."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from bnbench.data.augmentation import draw_parameters
from bnbench.data.dataset import DATASETS, LabelledImages, Splits
from bnbench.data.pipeline import PREPARED_PIXELS, ImagePipeline
from bnbench.data.torchvision_compat import import_torchvision
from bnbench.problem import Augmentation
from support.torchvision_reference import CIFAR, torchvision_augmented

functional = import_torchvision("torchvision.transforms.functional")
CPU = torch.device("cpu")
DIGITS = Augmentation(crop_padding=2)


def _splits(counts: tuple[int, int, int, int] = (90, 20, 20, 23), largest: int = 255, shape=(32, 32, 3)) -> Splits:
    random = np.random.default_rng(3)

    def part(count: int) -> LabelledImages:
        pixels = random.integers(0, largest + 1, (count, *shape)).astype(np.uint8)
        return LabelledImages(pixels, random.integers(0, 10, count))

    return Splits(*(part(count) for count in counts))


def _reference_images(part: LabelledImages, largest: int, size: int) -> Tensor:
    """(images, channels, size, size) in [0, 1], by torchvision's `to_tensor` or, resized, by its `resize`."""
    if largest == 255:
        return torch.stack([functional.to_tensor(image) for image in part.pixels])
    unit = torch.tensor(part.pixels).permute(0, 3, 1, 2).float() / largest
    return functional.resize(unit, [size, size], antialias=False)


def _batches(pipeline: ImagePipeline, split: str, batch_size: int = 8) -> tuple[Tensor, Tensor]:
    images, labels = zip(*pipeline.evaluation_batches(split, batch_size), strict=True)
    return torch.cat(images), torch.cat(labels)


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "digits"])
def test_training_batches_are_torchvisions_image_by_image(name: str) -> None:
    dataset = DATASETS.get(name)
    digits = name == "digits"
    augmentation = DIGITS if digits else CIFAR
    splits = dataset.load_splits(42) if digits else _splits()
    pipeline = ImagePipeline(splits, dataset=dataset, image_size=32, augmentation=augmentation, device=CPU)
    published = _reference_images(splits.train, dataset.largest_value, 32)
    mean, std = dataset.mean, dataset.std
    if mean is None or std is None:
        values = published.double()
        mean, std = (float(values.mean()),), (float(values.std(correction=0)),)
    assert pipeline.train_size == len(splits.train)
    for epoch in range(2):
        parameters = draw_parameters(augmentation, pipeline.train_size, torch.Generator().manual_seed(epoch))
        indices = torch.randperm(pipeline.train_size, generator=torch.Generator().manual_seed(epoch + 10))[:64]
        images, labels = pipeline.training_batch(indices, parameters)
        assert labels.tolist() == splits.train.labels[indices.numpy()].tolist()
        assert images.dtype == torch.float32
        assert images.is_contiguous(memory_format=torch.channels_last)
        for image, index in zip(images, indices.tolist(), strict=True):
            expected = torchvision_augmented(published[index], parameters, index, augmentation.crop_padding)
            # Compared where both are on the scale from 0 to 1, to which the tolerance refers.
            unit = image * torch.tensor(std).view(-1, 1, 1) + torch.tensor(mean).view(-1, 1, 1)
            assert (unit - expected).abs().max() <= 1e-6
            standardised = functional.normalize(expected, mean, std)
            assert (image - standardised).abs().max() <= 1e-6 / min(std)


@pytest.mark.parametrize("name", ["cifar10", "digits"])
def test_evaluation_covers_every_split_whole_in_order_and_unaugmented(name: str) -> None:
    dataset = DATASETS.get(name)
    splits = dataset.load_splits(42) if name == "digits" else _splits()
    pipeline = ImagePipeline(splits, dataset=dataset, image_size=32, augmentation=CIFAR, device=CPU)
    mean, std = dataset.mean, dataset.std
    if mean is None or std is None:
        values = _reference_images(splits.train, dataset.largest_value, 32).double()
        mean, std = (float(values.mean()),), (float(values.std(correction=0)),)
    for split in ("train_eval", "valid", "test"):
        part = getattr(splits, split)
        assert pipeline.split_size(split) == len(part)
        expected = functional.normalize(_reference_images(part, dataset.largest_value, 32), mean, std)
        for batch_size in (7, 1000):
            images, labels = _batches(pipeline, split, batch_size)
            assert labels.tolist() == part.labels.tolist()
            assert (images - expected).abs().max() <= 1e-6 / min(std)
        for images, _ in pipeline.evaluation_batches(split, 7):
            assert images.is_contiguous(memory_format=torch.channels_last)
    first, second = _batches(pipeline, "test"), _batches(pipeline, "test")
    assert torch.equal(first[0], second[0])


def test_digits_are_standardised_on_the_training_split_after_resizing() -> None:
    dataset = DATASETS.get("digits")
    splits = dataset.load_splits(42)
    pipeline = ImagePipeline(splits, dataset=dataset, image_size=28, augmentation=DIGITS, device=CPU)
    images, _ = _batches(pipeline, "train_eval", 100)
    assert images.shape == (1077, 1, 28, 28)
    assert abs(float(images.double().mean())) < 1e-5
    assert abs(float(images.double().std(correction=0)) - 1) < 1e-5
    assert abs(float(_batches(pipeline, "test")[0].mean())) > 1e-4, "the test images are not standardised on themselves"


def test_images_of_the_published_size_are_not_resized() -> None:
    dataset = DATASETS.get("digits")
    splits = dataset.load_splits(42)
    pipeline = ImagePipeline(splits, dataset=dataset, image_size=8, augmentation=Augmentation(), device=CPU)
    images, _ = _batches(pipeline, "test")
    values = splits.train.pixels / 16
    expected = (splits.test.pixels.transpose(0, 3, 1, 2) / 16 - values.mean()) / values.std()
    assert np.abs(images.numpy() - expected).max() < 1e-5


def test_constants_of_a_data_set_are_used_as_given() -> None:
    dataset = replace(DATASETS.get("cifar10"), mean=(0.0, 0.5, 1.0), std=(1.0, 2.0, 0.5))
    splits = _splits()
    pipeline = ImagePipeline(splits, dataset=dataset, image_size=32, augmentation=Augmentation(), device=CPU)
    images, _ = _batches(pipeline, "test")
    expected = (splits.test.pixels / 255 - np.array([0.0, 0.5, 1.0])) / np.array([1.0, 2.0, 0.5])
    assert np.abs(images.numpy() - expected.transpose(0, 3, 1, 2)).max() < 1e-6


def test_batches_are_the_same_bit_for_bit_whatever_came_before() -> None:
    splits, dataset = _splits(), DATASETS.get("cifar10")
    parameters = draw_parameters(CIFAR, 90, torch.Generator().manual_seed(5))
    indices = torch.arange(32)
    fresh = ImagePipeline(splits, dataset=dataset, image_size=32, augmentation=CIFAR, device=CPU)
    used = ImagePipeline(splits, dataset=dataset, image_size=32, augmentation=CIFAR, device=CPU)
    _batches(used, "test")
    used.training_batch(indices + 40, parameters)
    expected, _ = fresh.training_batch(indices, parameters)
    found, _ = used.training_batch(indices, parameters)
    assert torch.equal(found, expected)
    alone, _ = used.training_batch(indices[5:6], parameters)
    assert (alone[0] - expected[5]).abs().max() <= 1e-5


@pytest.mark.parametrize("first", [0, 1, 4, 11])
@pytest.mark.parametrize("together", [1, 20, 24, 1000])
def test_batches_that_are_made_together_are_those_made_one_by_one(together: int, first: int, monkeypatch) -> None:
    pipeline = ImagePipeline(_splits(), dataset=DATASETS.get("cifar10"), image_size=32, augmentation=CIFAR, device=CPU)
    parameters = draw_parameters(CIFAR, 90, torch.Generator().manual_seed(5))
    order = torch.randperm(90, generator=torch.Generator().manual_seed(6))
    expected = [pipeline.training_batch(order[start : start + 8], parameters) for start in range(0, 88, 8)]
    monkeypatch.setitem(PREPARED_PIXELS, "cpu", together * 32 * 32)
    found = list(pipeline.training_batches(order, parameters, 8, first))
    assert len(found) == 11 - first
    for (images, labels), (own_images, own_labels) in zip(expected[first:], found, strict=True):
        assert torch.equal(own_images, images) and torch.equal(own_labels, labels)
        assert own_images.is_contiguous(memory_format=torch.channels_last)


def test_which_batches_are_made_together_is_counted_from_the_start_of_the_epoch(monkeypatch) -> None:
    pipeline = ImagePipeline(_splits(), dataset=DATASETS.get("cifar10"), image_size=32, augmentation=CIFAR, device=CPU)
    made, real = [], pipeline.training_batch

    def noted(indices: Tensor, parameters: object) -> tuple[Tensor, Tensor]:
        made.append(indices.tolist())
        return real(indices, parameters)

    monkeypatch.setattr(pipeline, "training_batch", noted)
    monkeypatch.setitem(PREPARED_PIXELS, "cpu", 30 * 32 * 32)  # three batches of eight
    parameters = draw_parameters(CIFAR, 90, torch.Generator().manual_seed(5))
    assert len(list(pipeline.training_batches(torch.arange(90), parameters, 8, 7))) == 4
    assert made == [list(range(48, 72)), list(range(72, 88))]


def test_read_only_memory_is_neither_changed_nor_complained_about() -> None:
    splits = _splits()
    splits.test.pixels.flags.writeable = False
    before = splits.train.pixels.copy()
    pipeline = ImagePipeline(splits, dataset=DATASETS.get("cifar10"), image_size=32, augmentation=CIFAR, device=CPU)
    _batches(pipeline, "test")
    pipeline.training_batch(torch.arange(16), draw_parameters(CIFAR, 90, torch.Generator()))
    assert np.array_equal(splits.train.pixels, before)


def test_pipelines_work_under_deterministic_algorithms() -> None:
    torch.use_deterministic_algorithms(True)
    try:
        pipeline = ImagePipeline(
            DATASETS.get("digits").load_splits(1),
            dataset=DATASETS.get("digits"),
            image_size=32,
            augmentation=CIFAR,
            device=CPU,
        )
        parameters = draw_parameters(CIFAR, pipeline.train_size, torch.Generator().manual_seed(5))
        images, _ = pipeline.training_batch(torch.arange(16), parameters)
    finally:
        torch.use_deterministic_algorithms(False)
    assert torch.isfinite(images).all()
