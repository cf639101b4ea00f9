"""A training loop as DeepOBS runs one, to measure against. Nothing of bnbench is in it.

Images are decoded and augmented one by one by torchvision's transforms of PIL images, in a DataLoader without
workers; tensors are contiguous (N, C, H, W); 'same' padding is a layer of its own; a ReLU comes before its pool.
The networks are 3C3D and ALL-CNN-C with a full BatchNorm (γ and β learned) behind every layer but the last.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from bnbench.data.torchvision_compat import import_torchvision

MEAN = (0.49139968, 0.48215841, 0.44653091)
STD = (0.24703223, 0.24348513, 0.26158784)


class PlainImages(Dataset[tuple[Tensor, int]]):
    """What torchvision's CIFAR-10 does: bytes to a PIL image to the transforms, one image at a time."""

    def __init__(self, pixels: np.ndarray, labels: np.ndarray) -> None:
        transforms = import_torchvision("torchvision.transforms")
        self.pixels, self.labels = pixels, labels
        self.transform = transforms.Compose(
            [
                transforms.Pad(2),
                transforms.RandomCrop((32, 32)),
                transforms.RandomHorizontalFlip(),
                transforms.ColorJitter(brightness=63.0 / 255.0, contrast=(0.2, 1.8), saturation=(0.5, 1.5)),
                transforms.ToTensor(),
                transforms.Normalize(MEAN, STD),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.pixels[index])), int(self.labels[index])


class SamePadding(nn.Module):
    """Zeros around the image, so that a kernel with this stride yields ⌈size / stride⌉ positions (as TensorFlow)."""

    def __init__(self, kernel: int, stride: int) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        before_after: list[int] = []
        for size in (x.shape[3], x.shape[2]):
            positions = -(-size // self.stride)
            total = max((positions - 1) * self.stride + self.kernel - size, 0)
            before_after += [total // 2, total - total // 2]
        return functional.pad(x, before_after)


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1, same: bool = True) -> list[nn.Module]:
    """A convolution, its BatchNorm and its ReLU, padded explicitly."""
    padding: list[nn.Module] = [SamePadding(kernel, stride)] if same and kernel > 1 else []
    linear = nn.Conv2d(inputs, outputs, kernel, stride)
    return [*padding, linear, nn.BatchNorm2d(outputs), nn.ReLU()]


def pool() -> list[nn.Module]:
    """Max pooling of 3×3 with stride 2, padded explicitly."""
    return [SamePadding(3, 2), nn.MaxPool2d(3, 2)]


def dense(inputs: int, outputs: int) -> list[nn.Module]:
    """A dense layer, its BatchNorm and its ReLU."""
    return [nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), nn.ReLU()]


class GlobalMean(nn.Module):
    """The mean over height and width."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3))


def network_3c3d(classes: int) -> nn.Sequential:
    """Three convolutions with pooling, three dense layers."""
    return nn.Sequential(
        *conv(3, 64, 5, same=False),
        *pool(),
        *conv(64, 96, 3, same=False),
        *pool(),
        *conv(96, 128, 3),
        *pool(),
        nn.Flatten(),
        *dense(1152, 512),
        *dense(512, 256),
        nn.Linear(256, classes),
    )


def network_allcnnc(classes: int) -> nn.Sequential:
    """Nine convolutions and a global mean."""
    return nn.Sequential(
        nn.Dropout(0.2),
        *conv(3, 96, 3),
        *conv(96, 96, 3),
        *conv(96, 96, 3, stride=2),
        nn.Dropout(0.5),
        *conv(96, 192, 3),
        *conv(192, 192, 3),
        *conv(192, 192, 3, stride=2),
        nn.Dropout(0.5),
        *conv(192, 192, 3, same=False),
        *conv(192, 192, 1),
        nn.Conv2d(192, classes, 1),
        nn.ReLU(),
        GlobalMean(),
    )


NETWORKS = {"3c3d": network_3c3d, "allcnnc": network_allcnnc}


def train(
    network: nn.Module, pixels: np.ndarray, labels: np.ndarray, batch_size: int, l2: float, device: torch.device
) -> Iterator[float]:
    """Train without end; yields each step's accuracy.

    Args:
        network: on the device.
        pixels: uint8 (images, 32, 32, 3).
        labels: int64 (images,).
        batch_size: images a step.
        l2: factor of the weights' squared norm, which DeepOBS adds to the loss.
        device: where the network is.
    """
    loader = DataLoader(PlainImages(pixels, labels), batch_size=batch_size, shuffle=True, drop_last=True, num_workers=0)
    weights = [parameter for name, parameter in network.named_parameters() if "weight" in name]
    optimiser = torch.optim.SGD(network.parameters(), lr=0.01)
    loss_function = nn.CrossEntropyLoss()
    network.train()
    while True:
        for batch, labels_of_batch in loader:
            optimiser.zero_grad()
            images, targets = batch.to(device), labels_of_batch.to(device)
            outputs = network(images)
            loss = loss_function(outputs, targets)
            _, predicted = torch.max(outputs.data, 1)
            accuracy = (predicted == targets).sum().item() / len(targets)
            loss = loss + 0.5 * sum(l2 * weight.pow(2).sum() for weight in weights)
            loss.backward()
            optimiser.step()
            yield accuracy
