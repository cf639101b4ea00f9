"""A walk through a layer table: what each layer makes of its input, and what that costs (torch-free)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, assert_never

from bnbench.components.architectures.layers import (
    Conv,
    Dense,
    Dropout,
    Flatten,
    GlobalMean,
    Layer,
    MaxPool,
    Norm,
    Padding,
    Residual,
    Subsample,
    check_layer,
)
from bnbench.errors import UserError
from bnbench.identity import digest, hashed

Shape = tuple[int, ...]
"""The shape of one image's activations: (channels, height, width), or (features,) once flattened."""


@dataclass(frozen=True)
class TracedLayer:
    """A layer with the shapes it maps between and what it costs."""

    layer: Layer | Subsample
    input_shape: Shape
    output_shape: Shape
    weights: int
    """Entries of the weight tensor, without bias and normaliser; 0 for layers that have none, and for a block: the
    layers in it have theirs."""
    multiply_adds: int
    """Of one image's forward pass, convolutions and dense layers only; 0 for a block."""
    index: int = 0
    """Its place in the table that it is in, from 0."""
    block: str | None = None
    """The name of the residual block that it is in."""
    in_shortcut: bool = False
    """Whether it is the shortcut of that block."""


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """TensorFlow's 'same' padding along one axis: (before, after), the odd one out after.

    The output has ⌈size / stride⌉ positions (TensorFlow, `tf.nn.convolution`, "Notes on padding").
    """
    total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def trace(layers: tuple[Layer, ...], input_shape: Shape) -> list[TracedLayer]:
    """Walk the table from an input shape; behind a block come the layers in it, the shortcut before the body.

    Raises:
        UserError: a layer is of an unknown kind, or does not fit what comes before it (an image too small, a dense
            layer on a map), or what a block's body and shortcut make cannot be added.
    """
    return list(_trace(layers, input_shape))


def layers_digest(layers: tuple[Layer, ...], input_shape: Shape) -> str:
    """What tells two networks of one name apart: a digest of the layers, their kinds, and the shapes they map between.

    Raises:
        UserError: a layer does not fit what comes before it.
    """
    told = [
        {
            "kind": type(each.layer).__name__,
            **_own_fields(each.layer),
            "output": list(each.output_shape),
            **_place(each),
        }
        for each in trace(layers, input_shape)
    ]
    return digest([list(input_shape), told])


def _own_fields(layer: Layer | Subsample) -> dict[str, Any]:
    """What is hashed of a layer; of a block without the layers in it, which are told one by one, with their kinds."""
    inside = {"body", "shortcut"} if isinstance(layer, Residual) else set()
    return {name: value for name, value in hashed(layer).items() if name not in inside}


def _place(traced: TracedLayer) -> dict[str, Any]:
    """Where in a block a layer is; nothing for a layer in none, which was hashed before there were any."""
    if traced.block is None:
        return {}
    return {"block": traced.block, "branch": "shortcut" if traced.in_shortcut else "body"}


def _trace(layers: tuple[Layer, ...], shape: Shape, block: str | None = None) -> Iterator[TracedLayer]:
    for index, layer in enumerate(layers):
        check_layer(layer)
        if isinstance(layer, Residual):
            inside = _trace_block(layer, shape)
            yield TracedLayer(layer, shape, inside[-1].output_shape, 0, 0, index)
            yield from inside
            shape = inside[-1].output_shape
        else:
            output, weights, multiply_adds = _apply(layer, shape)
            yield TracedLayer(layer, shape, output, weights, multiply_adds, index, block)
            shape = output


def _trace_block(block: Residual, shape: Shape) -> list[TracedLayer]:
    """The layers of a block: the shortcut, then the body, whose last layer gives the shape of the sum."""
    try:
        shortcut = [
            TracedLayer(each, shape, *_apply(each, shape), block=block.name, in_shortcut=True)
            for each in block.shortcut_layers
        ]
        body = list(_trace(block.body, shape, block.name))
    except UserError as error:
        raise UserError(f"residual block '{block.name}': {error.problem}", hint=error.hint) from error
    added = shortcut[-1].output_shape if shortcut else shape
    made = body[-1].output_shape
    if made != added:
        raise UserError(
            f"residual block '{block.name}': its body makes {made}, its shortcut {added}; they cannot be added",
            hint="A shortcut that is not the identity brings the input to the body's shape: a Subsample or a Conv.",
        )
    return [*shortcut, *body]


def _apply(layer: Layer | Subsample, shape: Shape) -> tuple[Shape, int, int]:
    """(output shape, weights, multiply-adds) of a layer on an input of a shape."""
    match layer:
        case Dropout() | Norm():
            return shape, 0, 0
        case Dense():
            if len(shape) != 1:
                raise UserError(f"dense layer '{layer.name}' needs a flattened input, not the shape {shape}")
            weights = shape[0] * layer.features
            return (layer.features,), weights, weights
        case Conv() | MaxPool() | GlobalMean() | Flatten() | Subsample():
            if len(shape) != 3:
                raise UserError(f"layer {layer} needs an input of shape (channels, height, width), not {shape}")
            return _apply_to_map(layer, *shape)
        case Residual():
            raise AssertionError("a block is traced layer by layer")
        case other:
            assert_never(other)


def _apply_to_map(
    layer: Conv | MaxPool | GlobalMean | Flatten | Subsample, channels: int, height: int, width: int
) -> tuple[Shape, int, int]:
    match layer:
        case Conv():
            rows = _positions(height, layer.kernel, layer.stride, layer.padding, layer.name)
            columns = _positions(width, layer.kernel, layer.stride, layer.padding, layer.name)
            weights = layer.channels * channels * layer.kernel**2
            return (layer.channels, rows, columns), weights, weights * rows * columns
        case MaxPool():
            return (channels, math.ceil(height / layer.stride), math.ceil(width / layer.stride)), 0, 0
        case Subsample():
            if layer.channels < channels:
                raise UserError(f"{layer} gets {channels} channels: it adds channels of zeros and takes none away")
            return (layer.channels, math.ceil(height / layer.stride), math.ceil(width / layer.stride)), 0, 0
        case GlobalMean():
            return (channels,), 0, 0
        case Flatten():
            return (channels * height * width,), 0, 0
        case other:
            assert_never(other)


def _positions(size: int, kernel: int, stride: int, padding: Padding, name: str) -> int:
    if padding == "same":
        return math.ceil(size / stride)
    padded = size + 2 * (0 if padding == "valid" else padding)
    if padded < kernel:
        raise UserError(f"the map that reaches '{name}' is {size} pixels wide, its kernel {kernel}")
    return (padded - kernel) // stride + 1
