"""3C3D, a founding network of the study (Schneider et al. 2019)."""

from __future__ import annotations

from bnbench.components.architectures.layers import Conv, Dense, Flatten, Layer, MaxPool, scaled
from bnbench.components.architectures.row import ARCHITECTURES, Architecture


def _layers(classes: int, width: float) -> tuple[Layer, ...]:
    return (
        Conv("conv1", scaled(64, width), 5, padding="valid"),
        MaxPool(3, 2),
        Conv("conv2", scaled(96, width), 3, padding="valid"),
        MaxPool(3, 2),
        Conv("conv3", scaled(128, width), 3),
        MaxPool(3, 2),
        Flatten(),
        Dense("dense1", scaled(512, width)),
        Dense("dense2", scaled(256, width)),
        Dense("dense3", classes, activation=False),
    )


C3D3 = ARCHITECTURES.register(
    "3c3d",
    Architecture(
        "3c3d",
        "3C3D",
        "three convolutions with max pooling, three dense layers",
        "Schneider et al. 2019 (DeepOBS); Tsingunidis 2023, section 3.1",
        image_size=32,
        layers=_layers,
    ),
)
