"""Augmentation, image by image, against torchvision's functional transforms on float tensors."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from bnbench.data.augmentation import AugmentationParameters, draw_parameters, jitter
from bnbench.data.torchvision_compat import import_torchvision
from bnbench.problem import Augmentation
from support.augmentation import adjust, augment, crop, flip
from support.torchvision_reference import CIFAR, torchvision_adjusted, torchvision_augmented, torchvision_jittered

functional = import_torchvision("torchvision.transforms.functional")

EXTREME = Augmentation(crop_padding=16, horizontal_flip=0.3, brightness=1.5, contrast=2.0, saturation=3.0)
TOLERANCE = 1e-6


def _images(count: int, channels: int = 3, size: int = 32) -> Tensor:
    """Whole images of noise, of one colour, black and white ones, on the values that bytes can have."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (count, channels, size, size), generator=generator)
    images[0], images[1], images[2] = 0, 255, 100
    return images.float() / 255


def _parameters(augmentation: Augmentation, count: int, seed: int = 0) -> AugmentationParameters:
    return draw_parameters(augmentation, count, torch.Generator().manual_seed(seed))


def _largest_difference(batch: Tensor, singles: list[Tensor]) -> float:
    assert batch.shape == torch.stack(singles).shape
    return float((batch - torch.stack(singles)).abs().max())


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("settings", [CIFAR, EXTREME], ids=["cifar", "extreme"])
@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
def test_each_adjustment_is_torchvisions(name: str, settings: Augmentation, channels: int) -> None:
    images = _images(64, channels)
    parameters = _parameters(settings, 64)
    adjusted = adjust(name, images.clone(), parameters)
    expected = [torchvision_adjusted(image, parameters, index, name) for index, image in enumerate(images)]
    assert _largest_difference(adjusted, expected) <= TOLERANCE
    if channels == 3 or name != "saturation":
        assert not torch.allclose(adjusted, images, atol=0.01)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("settings", [CIFAR, EXTREME], ids=["cifar", "extreme"])
def test_crop_and_flip_are_torchvisions_exactly(settings: Augmentation, channels: int) -> None:
    images, parameters = _images(64, channels), _parameters(settings, 64)
    padding = settings.crop_padding
    cropped = crop(images, parameters.row, parameters.column, padding)
    padded = functional.pad(images, [padding] * 4)
    corners = zip(padded, parameters.row.tolist(), parameters.column.tolist(), strict=True)
    expected = [functional.crop(image, row, column, 32, 32) for image, row, column in corners]
    assert torch.equal(cropped, torch.stack(expected))
    flipped = flip(images, parameters.flip)
    for image, result, mirrored in zip(images, flipped, parameters.flip, strict=True):
        assert torch.equal(result, functional.hflip(image) if mirrored else image)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("settings", [CIFAR, EXTREME], ids=["cifar", "extreme"])
def test_jitter_is_torchvisions_in_every_order(settings: Augmentation, channels: int) -> None:
    images, parameters = _images(128, channels), _parameters(settings, 128)
    assert len({tuple(order) for order in parameters.order.tolist()}) == 6
    expected = [torchvision_jittered(image, parameters, index) for index, image in enumerate(images)]
    assert _largest_difference(jitter(images, parameters), expected) <= TOLERANCE


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("settings", [CIFAR, EXTREME], ids=["cifar", "extreme"])
def test_the_whole_of_it_is_torchvisions(settings: Augmentation, channels: int) -> None:
    images, parameters = _images(128, channels), _parameters(settings, 128)
    expected = [
        torchvision_augmented(image, parameters, index, settings.crop_padding) for index, image in enumerate(images)
    ]
    assert _largest_difference(augment(images, parameters, settings), expected) <= TOLERANCE


def test_no_augmentation_leaves_images_alone() -> None:
    images = _images(8)
    assert torch.equal(augment(images, _parameters(Augmentation(), 8), Augmentation()), images)


def test_parameters_fill_their_ranges_evenly() -> None:
    count = 60_000
    parameters = _parameters(CIFAR, count)
    for offsets in (parameters.row, parameters.column):
        frequencies = torch.bincount(offsets, minlength=5) / count
        assert len(frequencies) == 5
        assert (frequencies - 1 / 5).abs().max() < 0.01
    assert abs(float(parameters.flip.float().mean()) - 0.5) < 0.01
    for factors, strength in (
        (parameters.brightness, 63 / 255),
        (parameters.contrast, 0.8),
        (parameters.saturation, 0.5),
    ):
        low, high = torch.aminmax(factors)
        assert 1 - strength <= low < 1 - strength + 0.001
        assert 1 + strength - 0.001 < high <= 1 + strength + 1e-6
        assert abs(float(factors.mean()) - 1) < 0.01
    codes = parameters.order @ torch.tensor([9, 3, 1])
    assert sorted(set(codes.tolist())) == [5, 7, 11, 15, 19, 21]
    assert (torch.unique(codes, return_counts=True)[1] / count - 1 / 6).abs().max() < 0.01


def test_a_strength_over_one_starts_at_zero() -> None:
    brightness = _parameters(EXTREME, 10_000).brightness
    assert 0 <= brightness.min() < 0.01
    assert 2.49 < brightness.max() <= 2.5


def test_independent_parameters_are_uncorrelated() -> None:
    parameters = _parameters(CIFAR, 60_000)
    columns = [getattr(parameters, field.name) for field in dataclasses.fields(parameters) if field.name != "order"]
    table = torch.corrcoef(torch.stack([column.double() for column in [*columns, parameters.order[:, 0]]]))
    assert (table - torch.eye(len(table))).abs().max() < 0.02


@pytest.mark.parametrize(
    ("switched_off", "fields"),
    [
        ("crop_padding", {"row", "column"}),
        ("horizontal_flip", {"flip"}),
        ("brightness", {"brightness"}),
        ("contrast", {"contrast"}),
        ("saturation", {"saturation"}),
    ],
)
def test_switching_one_operation_off_leaves_the_others_as_they_were(switched_off: str, fields: set[str]) -> None:
    everything = _parameters(CIFAR, 1000)
    value = 0 if switched_off == "crop_padding" else 0.0
    without = _parameters(CIFAR.model_copy(update={switched_off: value}), 1000)
    for field in dataclasses.fields(AugmentationParameters):
        same = torch.equal(getattr(everything, field.name), getattr(without, field.name))
        assert same == (field.name not in fields), field.name


def test_parameters_belong_to_images_and_can_be_selected() -> None:
    parameters, again = _parameters(CIFAR, 100), _parameters(CIFAR, 100)
    indices = torch.tensor([7, 3, 99, 7])
    selected = parameters.select(indices)
    for field in dataclasses.fields(AugmentationParameters):
        assert torch.equal(getattr(parameters, field.name), getattr(again, field.name))
        assert torch.equal(getattr(selected, field.name), getattr(parameters, field.name)[indices])
    assert not torch.equal(_parameters(CIFAR, 100, seed=1).brightness, parameters.brightness)


def test_the_images_given_are_not_changed() -> None:
    images, parameters = _images(16), _parameters(CIFAR, 16)
    before = images.clone()
    augment(images, parameters, CIFAR)
    jitter(images, parameters)
    adjust("saturation", images, parameters)
    assert torch.equal(images, before)
