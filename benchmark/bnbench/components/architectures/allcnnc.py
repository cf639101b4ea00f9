"""ALL-CNN-C, a founding network of the study (Springenberg et al. 2015)."""

from __future__ import annotations

from bnbench.components.architectures.layers import Conv, Dropout, GlobalMean, Layer, scaled
from bnbench.components.architectures.row import ARCHITECTURES, Architecture


def _layers(classes: int, width: float) -> tuple[Layer, ...]:
    narrow, wide = scaled(96, width), scaled(192, width)
    return (
        Dropout("dropout0", 0.2),
        Conv("conv1", narrow, 3),
        Conv("conv2", narrow, 3),
        Conv("conv3", narrow, 3, stride=2),
        Dropout("dropout3", 0.5),
        Conv("conv4", wide, 3),
        Conv("conv5", wide, 3),
        Conv("conv6", wide, 3, stride=2),
        Dropout("dropout6", 0.5),
        Conv("conv7", wide, 3, padding="valid"),
        Conv("conv8", wide, 1),
        Conv("conv9", classes, 1),
        GlobalMean(),
    )


ALL_CNN_C = ARCHITECTURES.register(
    "allcnnc",
    Architecture(
        "allcnnc",
        "ALL-CNN-C",
        "nine convolutions with dropout, ReLU after every one, a global mean at the end",
        "Springenberg et al. 2015, table 1; Schneider et al. 2019 (DeepOBS); Tsingunidis 2023, section 3.1",
        image_size=32,
        layers=_layers,
    ),
)
