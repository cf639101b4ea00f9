"""The networks as tables of layers: names, shapes, order (torch-free).

An architecture is a function from (classes, width) to a tuple of layers; `trace` walks the table and says what
each layer makes of its input. `bnbench.network` builds the torch module from the same table, so what
`bnbench show` prints is what is trained.

    layers.py    the rows that tables are made of
    trace.py     shapes and costs
    row.py       what a network is, and the table of them
    c3d3.py …    a network, or a family, each
"""

from bnbench.components.architectures import c3d3, allcnnc, mlp, c2d2, resnet, vgg  # isort: skip # in the order that they are listed in
from bnbench.components.architectures.layers import (
    Conv,
    Dense,
    Dropout,
    Flatten,
    GlobalMean,
    Initialiser,
    Layer,
    MaxPool,
    Norm,
    Padding,
    Residual,
    Slot,
    Subsample,
    scaled,
    slot_names,
    slot_places,
    slots,
)
from bnbench.components.architectures.row import ARCHITECTURES, Architecture
from bnbench.components.architectures.trace import Shape, TracedLayer, layers_digest, same_padding, trace

__all__ = [
    "ARCHITECTURES",
    "Architecture",
    "Conv",
    "Dense",
    "Dropout",
    "Flatten",
    "GlobalMean",
    "Initialiser",
    "Layer",
    "MaxPool",
    "Norm",
    "Padding",
    "Residual",
    "Shape",
    "Slot",
    "Subsample",
    "TracedLayer",
    "allcnnc",
    "c2d2",
    "c3d3",
    "layers_digest",
    "mlp",
    "resnet",
    "same_padding",
    "scaled",
    "slot_names",
    "slot_places",
    "slots",
    "trace",
    "vgg",
]
