"""The networks as tables of layers: names, shapes, order (torch-free).

An architecture is a function from (classes, width) to a tuple of layers; `trace` walks the table and says what
each layer makes of its input. `bnbench.network` builds the torch module from the same table, so what
`bnbench show` prints is what is trained.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, assert_never, get_args

from pydantic import Field

from bnbench.errors import UserError
from bnbench.identity import digest, hashed
from bnbench.placement import refuse_slot_name
from bnbench.registry import Registry
from bnbench.row import Count, Name, Row, Text

Padding = Literal["same", "valid"]
Initialiser = Literal["xavier_normal", "xavier_uniform", "truncated_normal"]
Shape = tuple[int, ...]
"""The shape of one image's activations: (channels, height, width), or (features,) once flattened."""


@dataclass(frozen=True)
class Conv(Row):
    """A slot: convolution, then (where the placement says so) BatchNorm, then ReLU."""

    kind: ClassVar[str] = "convolution"

    name: Text
    channels: Count
    kernel: Count
    stride: Count = 1
    padding: Padding = "same"
    activation: bool = True
    initialiser: Initialiser = "xavier_normal"
    std: Annotated[float, Field(gt=0)] = 0.05
    """Of `truncated_normal`, which is cut at two of them; the others follow from the layer's size."""


@dataclass(frozen=True)
class Dense(Row):
    """A slot: dense layer, then (where the placement says so) BatchNorm, then ReLU."""

    kind: ClassVar[str] = "dense layer"

    name: Text
    features: Count
    activation: bool = True
    initialiser: Initialiser = "xavier_uniform"
    std: Annotated[float, Field(gt=0)] = 0.05
    """Of `truncated_normal`, which is cut at two of them; the others follow from the layer's size."""


@dataclass(frozen=True)
class MaxPool(Row):
    """Max pooling with 'same' padding; padding never wins against a value."""

    kind: ClassVar[str] = "max pooling"

    kernel: Count
    stride: Count


@dataclass(frozen=True)
class Dropout(Row):
    """Dropout of single activations while training; `name` keys its random stream."""

    kind: ClassVar[str] = "dropout"

    name: Text
    rate: Annotated[float, Field(ge=0, lt=1)]


@dataclass(frozen=True)
class Flatten(Row):
    """(channels, height, width) to (channels · height · width,)."""

    kind: ClassVar[str] = "flattening"


@dataclass(frozen=True)
class GlobalMean(Row):
    """(channels, height, width) to (channels,): the mean over the map."""

    kind: ClassVar[str] = "global mean"


Slot = Conv | Dense
Layer = Conv | Dense | MaxPool | Dropout | Flatten | GlobalMean
_LAYER_TYPES: tuple[type, ...] = get_args(Layer)


@dataclass(frozen=True)
class Architecture(Row):
    """A network that problems can name.

    Raises:
        UserError: a field has another type, or a value that cannot be.
    """

    kind: ClassVar[str] = "architecture"

    name: Name
    title: Text
    summary: str
    source: str
    image_size: Count
    """Height and width of the input, in pixels; data sets of another size are resized to it."""
    layers: Callable[[int, float], tuple[Layer, ...]]
    """(classes, width) to the layer table; width scales every hidden channel and feature count. See `layer_table`."""
    revision: Count = 1
    """Raised by its author whenever the same name comes to mean other numbers."""

    def layer_table(self, classes: int, width: float) -> tuple[Layer, ...]:
        """The layers, looked at one by one.

        Raises:
            UserError: there is none that could carry a normaliser, one is of a kind that no network can be built of or
                has a field that cannot be, or two have one name.
        """
        try:
            table = self.layers(classes, width)
            _check_table(table)
        except UserError as error:
            raise UserError(f"architecture '{self.name}': {error.problem}", hint=error.hint) from error
        except Exception as error:  # whatever a third-party function raises
            raise UserError(
                f"architecture '{self.name}': its layers cannot be made for {classes} classes and width {width:g}: "
                f"{type(error).__name__}: {error}"
            ) from error
        return table


@dataclass(frozen=True)
class TracedLayer:
    """A layer with the shapes it maps between and what it costs."""

    layer: Layer
    input_shape: Shape
    output_shape: Shape
    weights: int
    """Entries of the weight tensor, without bias and BatchNorm; 0 for layers that have none."""
    multiply_adds: int
    """Of one image's forward pass, convolutions and dense layers only."""


ARCHITECTURES: Registry[Architecture] = Registry("architecture", Architecture, "bnbench.architectures")


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """TensorFlow's 'same' padding along one axis: (before, after), the odd one out after.

    The output has ⌈size / stride⌉ positions (TensorFlow, `tf.nn.convolution`, "Notes on padding").
    """
    total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def trace(layers: tuple[Layer, ...], input_shape: Shape) -> list[TracedLayer]:
    """Walk the table from an input shape.

    Raises:
        UserError: a layer is of an unknown kind, or does not fit what comes before it (an image too small, a dense
            layer on a map).
    """
    traced = []
    shape = input_shape
    for layer in layers:
        _check_layer(layer)
        output, weights, multiply_adds = _apply(layer, shape)
        traced.append(TracedLayer(layer, shape, output, weights, multiply_adds))
        shape = output
    return traced


def layers_digest(layers: tuple[Layer, ...], input_shape: Shape) -> str:
    """What tells two networks of one name apart: a digest of the layers, their kinds, and the shapes they map between.

    Raises:
        UserError: a layer does not fit what comes before it.
    """
    told = [
        {"kind": type(each.layer).__name__, **hashed(each.layer), "output": list(each.output_shape)}
        for each in trace(layers, input_shape)
    ]
    return digest([list(input_shape), told])


def slots(layers: tuple[Layer, ...]) -> list[Slot]:
    """The layers that may carry a BatchNorm, in order; the last is the output.

    Raises:
        UserError: a layer is of an unknown kind, so that nobody knows whether it may.
    """
    for layer in layers:
        _check_layer(layer)
    return [layer for layer in layers if isinstance(layer, Conv | Dense)]


def slot_names(layers: tuple[Layer, ...]) -> list[str]:
    """The slots' names, in order."""
    return [slot.name for slot in slots(layers)]


def scaled(count: int, width: float) -> int:
    """A channel or feature count under a width factor: rounded, at least 1."""
    return max(1, round(count * width))


def _check_table(table: object) -> None:
    if not isinstance(table, tuple):
        raise UserError(f"its layers are a {type(table).__name__}, not a tuple")
    for layer in table:
        _check_layer(layer)
        layer.check()
    named = [layer.name for layer in table if isinstance(layer, Conv | Dense | Dropout)]
    doubled = next((name for index, name in enumerate(named) if name in named[:index]), None)
    if doubled is not None:
        raise UserError(
            f"two of its layers are called '{doubled}'", hint="A layer's random numbers are keyed by its name."
        )
    names = slot_names(table)
    if not names:
        raise UserError("it has neither a convolution nor a dense layer")
    for name in names:
        refuse_slot_name(name)


def _check_layer(layer: object) -> None:
    # Exactly: a network of a subclass would be built as one of the class itself.
    if type(layer) not in _LAYER_TYPES:
        known = ", ".join(each.__name__ for each in _LAYER_TYPES)
        raise UserError(
            f"there is a layer of an unknown kind, {type(layer).__name__}", hint=f"Known kinds of layers: {known}."
        )


def _apply(layer: Layer, shape: Shape) -> tuple[Shape, int, int]:
    """(output shape, weights, multiply-adds) of a layer on an input of a shape."""
    match layer:
        case Dropout():
            return shape, 0, 0
        case Dense():
            if len(shape) != 1:
                raise UserError(f"dense layer '{layer.name}' needs a flattened input, not the shape {shape}")
            weights = shape[0] * layer.features
            return (layer.features,), weights, weights
        case Conv() | MaxPool() | GlobalMean() | Flatten():
            if len(shape) != 3:
                raise UserError(f"layer {layer} needs an input of shape (channels, height, width), not {shape}")
            return _apply_to_map(layer, *shape)
        case other:
            assert_never(other)


def _apply_to_map(
    layer: Conv | MaxPool | GlobalMean | Flatten, channels: int, height: int, width: int
) -> tuple[Shape, int, int]:
    match layer:
        case Conv():
            rows = _positions(height, layer.kernel, layer.stride, layer.padding, layer.name)
            columns = _positions(width, layer.kernel, layer.stride, layer.padding, layer.name)
            weights = layer.channels * channels * layer.kernel**2
            return (layer.channels, rows, columns), weights, weights * rows * columns
        case MaxPool():
            return (channels, math.ceil(height / layer.stride), math.ceil(width / layer.stride)), 0, 0
        case GlobalMean():
            return (channels,), 0, 0
        case Flatten():
            return (channels * height * width,), 0, 0
        case other:
            assert_never(other)


def _positions(size: int, kernel: int, stride: int, padding: Padding, name: str) -> int:
    match padding:
        case "same":
            return math.ceil(size / stride)
        case "valid":
            if size < kernel:
                raise UserError(f"the map that reaches '{name}' is {size} pixels wide, its kernel {kernel}")
            return (size - kernel) // stride + 1
        case other:
            assert_never(other)


def _three_conv_three_dense(classes: int, width: float) -> tuple[Layer, ...]:
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


def _all_convolutional_c(classes: int, width: float) -> tuple[Layer, ...]:
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


def _multilayer_perceptron(classes: int, width: float) -> tuple[Layer, ...]:
    return (
        Flatten(),
        Dense("dense1", scaled(1000, width)),
        Dense("dense2", scaled(500, width)),
        Dense("dense3", scaled(100, width)),
        Dense("dense4", classes, activation=False),
    )


def _two_conv_two_dense(classes: int, width: float) -> tuple[Layer, ...]:
    return (
        Conv("conv1", scaled(32, width), 5, initialiser="truncated_normal"),
        MaxPool(2, 2),
        Conv("conv2", scaled(64, width), 5, initialiser="truncated_normal"),
        MaxPool(2, 2),
        Flatten(),
        Dense("dense1", scaled(1024, width), initialiser="truncated_normal"),
        Dense("dense2", classes, activation=False, initialiser="truncated_normal"),
    )


for _architecture in (
    Architecture(
        "3c3d",
        "3C3D",
        "three convolutions with max pooling, three dense layers",
        "Schneider et al. 2019 (DeepOBS); Tsingunidis 2023, section 3.1",
        image_size=32,
        layers=_three_conv_three_dense,
    ),
    Architecture(
        "allcnnc",
        "ALL-CNN-C",
        "nine convolutions with dropout, ReLU after every one, a global mean at the end",
        "Springenberg et al. 2015, table 1; Schneider et al. 2019 (DeepOBS); Tsingunidis 2023, section 3.1",
        image_size=32,
        layers=_all_convolutional_c,
    ),
    Architecture(
        "mlp",
        "MLP",
        "four dense layers of 1000, 500, 100 and C units",
        "Schneider et al. 2019 (DeepOBS, mnist_mlp); weights Xavier uniform, as the dense layers of 3C3D",
        image_size=28,
        layers=_multilayer_perceptron,
    ),
    Architecture(
        "2c2d",
        "2C2D",
        "two convolutions with max pooling, two dense layers",
        "Schneider et al. 2019 (DeepOBS, fmnist_2c2d), whose biases start at 0.05: here at 0, as everywhere",
        image_size=28,
        layers=_two_conv_two_dense,
    ),
):
    ARCHITECTURES.register(_architecture.name, _architecture)
