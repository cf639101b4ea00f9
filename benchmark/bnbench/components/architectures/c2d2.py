"""2C2D of DeepOBS (Schneider et al. 2019)."""

from __future__ import annotations

from bnbench.components.architectures.layers import Conv, Dense, Flatten, Layer, MaxPool, scaled
from bnbench.components.architectures.row import ARCHITECTURES, Architecture


def _layers(classes: int, width: float) -> tuple[Layer, ...]:
    return (
        Conv("conv1", scaled(32, width), 5, initialiser="truncated_normal"),
        MaxPool(2, 2),
        Conv("conv2", scaled(64, width), 5, initialiser="truncated_normal"),
        MaxPool(2, 2),
        Flatten(),
        Dense("dense1", scaled(1024, width), initialiser="truncated_normal"),
        Dense("dense2", classes, activation=False, initialiser="truncated_normal"),
    )


C2D2 = ARCHITECTURES.register(
    "2c2d",
    Architecture(
        "2c2d",
        "2C2D",
        "two convolutions with max pooling, two dense layers",
        "Schneider et al. 2019 (DeepOBS, fmnist_2c2d), whose biases start at 0.05: here at 0, as everywhere",
        image_size=28,
        layers=_layers,
    ),
)
