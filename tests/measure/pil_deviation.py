"""How far augmentation on floats is from the 8-bit PIL path that DeepOBS takes, on the images of a data set.

Every image is augmented twice with the same parameters: here, on float32 in [0, 1], and by torchvision on
a PIL image, which cuts off to whole bytes after each operation, followed by ToTensor. Printed are, on the
scale from 0 to 1: the mean difference (ours less PIL's), and of the absolute difference per pixel value
the mean, the 99.9th percentile and the maximum.

    PYTHONPATH=tests python tests/measure/pil_deviation.py cifar10
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import click
import torch
from PIL import Image
from torch import Tensor

from bnbench.data.augmentation import draw_parameters, jitter
from bnbench.data.dataset import DATASETS
from support.augmentation import adjust, augment, crop, flip
from support.torchvision_reference import (
    ADJUSTMENTS,
    CIFAR,
    functional,
    torchvision_adjusted,
    torchvision_augmented,
    torchvision_cropped,
    torchvision_jittered,
)


def differences(pixels: Tensor, seed: int) -> dict[str, Tensor]:
    """Ours less PIL's, by operation.

    Args:
        pixels: uint8 (images, height, width, 3).
        seed: of the parameters.
    """
    images = [Image.fromarray(each) for each in pixels.numpy()]
    unit = pixels.permute(0, 3, 1, 2).float().div(255)
    drawn = draw_parameters(CIFAR, len(images), torch.Generator().manual_seed(seed))
    fixed = replace(drawn, order=torch.arange(3).expand(len(images), 3))
    pad = CIFAR.crop_padding

    def stacked(augmented: list[Image.Image]) -> Tensor:
        return torch.stack([functional.to_tensor(image) for image in augmented])

    cropped = flip(crop(unit, drawn.row, drawn.column, pad), drawn.flip)
    by_pil = [torchvision_cropped(image, drawn, index, pad) for index, image in enumerate(images)]
    found = {"crop and flip": cropped - stacked(by_pil)}
    for name in ADJUSTMENTS:
        adjusted = adjust(name, unit, drawn)
        by_pil = [torchvision_adjusted(image, drawn, index, name) for index, image in enumerate(images)]
        found[name] = adjusted - stacked(by_pil)
    for title, parameters in (("jitter, fixed order", fixed), ("jitter, random order", drawn)):
        by_pil = [torchvision_jittered(image, parameters, index) for index, image in enumerate(images)]
        found[title] = jitter(unit, parameters) - stacked(by_pil)
    by_pil = [torchvision_augmented(image, drawn, index, pad) for index, image in enumerate(images)]
    found["the whole"] = augment(unit, drawn, CIFAR) - stacked(by_pil)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", help="a data set of RGB images that has been imported")
    parser.add_argument("--images", type=int, default=5_000)
    parser.add_argument("--seed", type=int, default=42)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    train = DATASETS.get(arguments.dataset).load_splits(arguments.seed).train
    pixels = torch.tensor(train.pixels[: arguments.images])
    click.echo(
        f"{len(pixels):,} training images of {arguments.dataset}, on the scale from 0 to 1 (1/255 = {1 / 255:.5f})"
    )
    click.echo(f"{'operation':<22}{'bias':>10}{'mean':>10}{'99.9 %':>10}{'max':>10}{'max · 255':>11}")
    for name, difference in differences(pixels, arguments.seed).items():
        size = difference.abs()
        high = float(size.flatten().kthvalue(int(0.999 * size.numel())).values)
        bias, mean, largest = float(difference.double().mean()), float(size.double().mean()), float(size.max())
        click.echo(f"{name:<22}{bias:>10.6f}{mean:>10.6f}{high:>10.6f}{largest:>10.6f}{largest * 255:>11.2f}")


if __name__ == "__main__":
    main()
