"""The rows that layer tables are made of, and what a table says of its slots (torch-free)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal, get_args

from pydantic import Field, SkipValidation, WrapValidator
from pydantic_core import PydanticCustomError

from bnbench.components.placements import HEAD, OUTPUT, SHORTCUT, STEM, SlotPlace, refuse_slot_name, refuse_slot_names
from bnbench.errors import UserError
from bnbench.row import Count, Row, Text

Initialiser = Literal["xavier_normal", "xavier_uniform", "kaiming_normal", "truncated_normal"]
"""`kaiming_normal`: He et al. 2015, variance 2 / fan-in, as for a ReLU behind the layer."""


def _one_message(value: object, validate: object) -> object:
    try:
        return validate(value)  # type: ignore[operator] # pydantic's handler
    except ValueError as error:
        raise PydanticCustomError("padding", "should be 'same' or 'valid', or a number of pixels") from error


Padding = Annotated[Literal["same", "valid"] | Annotated[int, Field(ge=0)], WrapValidator(_one_message)]
"""`same` as TensorFlow pads, `valid` not at all, or so many pixels of zeros on each side, as PyTorch pads."""


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
class Norm(Row):
    """A slot without weights: BatchNorm where the placement says so, nothing elsewhere; then ReLU."""

    kind: ClassVar[str] = "stand-alone normaliser"

    name: Text
    activation: bool = True


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


@dataclass(frozen=True)
class Subsample(Row):
    """A shortcut without weights (He et al. 2016, option A): every stride-th pixel, missing channels filled with zeros.

    The zeros come behind the channels that there are.
    """

    kind: ClassVar[str] = "subsampling"

    stride: Count
    channels: Count
    """Of what it gives; at least those of what it gets."""


@dataclass(frozen=True)
class Residual(Row):
    """A block: its body's output plus its shortcut's, then ReLU (He et al. 2016).

    Raises:
        UserError: a field has another type, or a layer in it cannot be.
    """

    kind: ClassVar[str] = "residual block"

    name: Text
    body: SkipValidation[tuple[Layer, ...]]
    """A layer table of its own, with a slot at least and no block."""
    shortcut: SkipValidation[tuple[()] | Subsample | Conv] = ()
    """() where the block's input itself is added; else a subsampling, or a slot, which has no activation. Computed
    before the body."""
    activation: bool = True
    """Whether ReLU follows the sum."""

    def check_together(self) -> None:
        """A body of known layers, a shortcut of a known kind."""
        if not isinstance(self.body, tuple):
            raise self.wrong("body", self.body, "should be a tuple of layers")
        if self.shortcut != () and type(self.shortcut) not in {Subsample, Conv}:
            raise self.wrong("shortcut", self.shortcut, "should be (), a Subsample or a Conv")
        if isinstance(self.shortcut, Conv) and self.shortcut.activation is not False:
            raise self.wrong("shortcut", self.shortcut, "should have activation=False: ReLU follows the sum")
        for layer in (*self.shortcut_layers, *self.body):
            if isinstance(layer, Residual):
                raise self.wrong("body", layer.name, "a block cannot be in a block")
            try:
                if layer is not self.shortcut:
                    check_layer(layer)
                layer.check()
            except UserError as error:
                raise UserError(f"{self._title}: {error.problem}", hint=error.hint) from error
        if not slots(self.body):
            raise self.wrong("body", self.body, "should have a convolution, a dense layer or a normaliser")

    @property
    def shortcut_layers(self) -> tuple[Subsample | Conv, ...]:
        """The shortcut as a table: empty for the identity."""
        return (self.shortcut,) if isinstance(self.shortcut, Subsample | Conv) else ()


Slot = Conv | Dense | Norm
Layer = Conv | Dense | MaxPool | Dropout | Flatten | GlobalMean | Norm | Residual
_LAYER_TYPES: tuple[type, ...] = get_args(Layer)


def slots(layers: tuple[Layer, ...]) -> list[Slot]:
    """The layers that may carry a normaliser, in the order in which they are computed; the last is the output.

    Raises:
        UserError: a layer is of an unknown kind, so that nobody knows whether it may.
    """
    return [layer for layer in _walk(layers) if isinstance(layer, Slot)]


def slot_names(layers: tuple[Layer, ...]) -> list[str]:
    """The slots' names, in order."""
    return [slot.name for slot in slots(layers)]


def slot_places(layers: tuple[Layer, ...]) -> tuple[SlotPlace, ...]:
    """What placements can tell the slots by, in order: in a network with residual blocks roles, stages and blocks too.

    Slots before the first block are its `stem`, slots outside of blocks behind it its `head`, the last one the
    `output`. In a block they are `shortcut`, or `bn1`, `bn2`, … in the order of the body. A stage begins with the first
    block, and with each later one whose shortcut is not the identity.
    """
    if not any(isinstance(layer, Residual) for layer in layers):
        return tuple(SlotPlace(name) for name in slot_names(layers))
    places: list[SlotPlace] = []
    stage = 0
    for layer in layers:
        if isinstance(layer, Residual):
            if stage == 0 or layer.shortcut != ():
                stage += 1
            places += _places_in_block(layer, stage)
        else:
            places += [SlotPlace(name, HEAD if stage else STEM) for name in slot_names((layer,))]
    return (*places[:-1], replace(places[-1], role=OUTPUT))


def scaled(count: int, width: float) -> int:
    """A channel or feature count under a width factor: rounded, at least 1."""
    return max(1, round(count * width))


def check_table(table: object) -> None:
    """Look at a whole layer table.

    Raises:
        UserError: it is no tuple, a layer in it cannot be, two have one name, there is no slot, or a slot has a name
            that placements could not name.
    """
    if not isinstance(table, tuple):
        raise UserError(f"its layers are a {type(table).__name__}, not a tuple")
    for layer in table:
        check_layer(layer)
        layer.check()
    named = [layer.name for layer in _walk(table) if isinstance(layer, Slot | Dropout | Residual)]
    doubled = next((name for index, name in enumerate(named) if name in named[:index]), None)
    if doubled is not None:
        raise UserError(
            f"two of its layers are called '{doubled}'", hint="A layer's random numbers are keyed by its name."
        )
    if not any(isinstance(layer, Conv | Dense) for layer in _walk(table)):
        raise UserError("it has neither a convolution nor a dense layer")
    for layer in _walk(table):
        if isinstance(layer, Slot | Residual):
            refuse_slot_name(layer.name)
    refuse_slot_names(slot_places(table))


def check_layer(layer: object) -> None:
    """Look at a layer's kind.

    Raises:
        UserError: no network can be built of it.
    """
    # Exactly: a network of a subclass would be built as one of the class itself.
    if type(layer) not in _LAYER_TYPES:
        known = ", ".join(each.__name__ for each in _LAYER_TYPES)
        raise UserError(
            f"there is a layer of an unknown kind, {type(layer).__name__}", hint=f"Known kinds of layers: {known}."
        )


def _walk(layers: tuple[Layer, ...]) -> Iterator[Layer | Subsample]:
    """Every layer, those in a block behind it: the shortcut before the body."""
    for layer in layers:
        check_layer(layer)
        yield layer
        if isinstance(layer, Residual):
            yield from layer.shortcut_layers
            yield from _walk(layer.body)


def _places_in_block(block: Residual, stage: int) -> list[SlotPlace]:
    shortcut = [SlotPlace(block.shortcut.name, SHORTCUT, stage, block.name)] if isinstance(block.shortcut, Conv) else []
    body = enumerate(slot_names(block.body), start=1)
    return shortcut + [SlotPlace(name, f"bn{number}", stage, block.name) for number, name in body]
