"""The multilayer perceptron of DeepOBS (Schneider et al. 2019)."""

from __future__ import annotations

from bnbench.components.architectures.layers import Dense, Flatten, Layer, scaled
from bnbench.components.architectures.row import ARCHITECTURES, Architecture


def _layers(classes: int, width: float) -> tuple[Layer, ...]:
    return (
        Flatten(),
        Dense("dense1", scaled(1000, width)),
        Dense("dense2", scaled(500, width)),
        Dense("dense3", scaled(100, width)),
        Dense("dense4", classes, activation=False),
    )


MLP = ARCHITECTURES.register(
    "mlp",
    Architecture(
        "mlp",
        "MLP",
        "four dense layers of 1000, 500, 100 and C units",
        "Schneider et al. 2019 (DeepOBS, mnist_mlp); weights Xavier uniform, as the dense layers of 3C3D",
        image_size=28,
        layers=_layers,
    ),
)
