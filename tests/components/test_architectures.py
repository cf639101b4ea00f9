"""The layer tables: shapes and parameters against numbers computed by hand."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnbench.components.architectures import (
    ARCHITECTURES,
    Conv,
    Dense,
    Flatten,
    GlobalMean,
    MaxPool,
    same_padding,
    scaled,
    slot_names,
    slots,
    trace,
)
from bnbench.errors import UserError

# slot: (input shape, output shape, weights), by hand from the layers as the study and DeepOBS describe them.
THREE_C_THREE_D_10 = {
    "conv1": ((3, 32, 32), (64, 28, 28), 5 * 5 * 3 * 64),
    "conv2": ((64, 14, 14), (96, 12, 12), 3 * 3 * 64 * 96),
    "conv3": ((96, 6, 6), (128, 6, 6), 3 * 3 * 96 * 128),
    "dense1": ((1152,), (512,), 1152 * 512),
    "dense2": ((512,), (256,), 512 * 256),
    "dense3": ((256,), (10,), 256 * 10),
}
ALL_CNN_C_100 = {
    "conv1": ((3, 32, 32), (96, 32, 32), 9 * 3 * 96),
    "conv2": ((96, 32, 32), (96, 32, 32), 9 * 96 * 96),
    "conv3": ((96, 32, 32), (96, 16, 16), 9 * 96 * 96),
    "conv4": ((96, 16, 16), (192, 16, 16), 9 * 96 * 192),
    "conv5": ((192, 16, 16), (192, 16, 16), 9 * 192 * 192),
    "conv6": ((192, 16, 16), (192, 8, 8), 9 * 192 * 192),
    "conv7": ((192, 8, 8), (192, 6, 6), 9 * 192 * 192),
    "conv8": ((192, 6, 6), (192, 6, 6), 192 * 192),
    "conv9": ((192, 6, 6), (100, 6, 6), 192 * 100),
}
MLP_10 = {
    "dense1": ((784,), (1000,), 784 * 1000),
    "dense2": ((1000,), (500,), 1000 * 500),
    "dense3": ((500,), (100,), 500 * 100),
    "dense4": ((100,), (10,), 100 * 10),
}
TWO_C_TWO_D_10 = {
    "conv1": ((1, 28, 28), (32, 28, 28), 5 * 5 * 32),
    "conv2": ((32, 14, 14), (64, 14, 14), 5 * 5 * 32 * 64),
    "dense1": ((7 * 7 * 64,), (1024,), 7 * 7 * 64 * 1024),
    "dense2": ((1024,), (10,), 1024 * 10),
}
CASES = [
    ("3c3d", 10, (3, 32, 32), THREE_C_THREE_D_10),
    ("allcnnc", 100, (3, 32, 32), ALL_CNN_C_100),
    ("mlp", 10, (1, 28, 28), MLP_10),
    ("2c2d", 10, (1, 28, 28), TWO_C_TWO_D_10),
]


@pytest.mark.parametrize(("name", "classes", "image", "table"), CASES)
def test_every_slot_has_the_shapes_and_weights_computed_by_hand(name, classes, image, table):
    layers = ARCHITECTURES.get(name).layers(classes, 1.0)
    traced = [each for each in trace(layers, image) if isinstance(each.layer, Conv | Dense)]
    assert slot_names(layers) == list(table) == [slot.name for slot in slots(layers)]
    assert {each.layer.name: (each.input_shape, each.output_shape, each.weights) for each in traced} == table


@pytest.mark.parametrize(("name", "classes", "image", "table"), CASES)
def test_a_layer_takes_what_the_one_before_it_gives(name, classes, image, table):
    traced = trace(ARCHITECTURES.get(name).layers(classes, 1.0), image)
    assert traced[0].input_shape == image
    assert all(one.output_shape == following.input_shape for one, following in pairwise(traced))
    assert traced[-1].output_shape == (classes,)


@pytest.mark.parametrize(
    ("name", "classes", "parameters"),
    [("3c3d", 10, 895_210), ("allcnnc", 100, 1_387_108), ("mlp", 10, 1_336_610), ("2c2d", 10, 3_274_634)],
)
def test_the_vanilla_networks_have_the_published_parameter_counts(name, classes, parameters):
    architecture = ARCHITECTURES.get(name)
    image = (1 if name in {"mlp", "2c2d"} else 3, architecture.image_size, architecture.image_size)
    traced = trace(architecture.layers(classes, 1.0), image)
    biases = sum(each.output_shape[0] for each in traced if isinstance(each.layer, Conv | Dense))
    assert sum(each.weights for each in traced) + biases == parameters


def test_what_a_forward_pass_costs():
    traced = trace(ARCHITECTURES.get("3c3d").layers(10, 1.0), (3, 32, 32))
    costs = {each.layer.name: each.multiply_adds for each in traced if isinstance(each.layer, Conv | Dense)}
    assert costs == {
        "conv1": 28 * 28 * 64 * 75,
        "conv2": 12 * 12 * 96 * 576,
        "conv3": 6 * 6 * 128 * 864,
        "dense1": 1152 * 512,
        "dense2": 512 * 256,
        "dense3": 2560,
    }
    others = [each for each in trace(ARCHITECTURES.get("allcnnc").layers(100, 1.0), (3, 32, 32))
              if not isinstance(each.layer, Conv | Dense)]  # fmt: skip
    assert len(others) == 4
    assert all(each.weights == each.multiply_adds == 0 for each in others)


def test_activations_are_where_the_study_has_them():
    def without_relu(name):
        return [slot.name for slot in slots(ARCHITECTURES.get(name).layers(10, 1.0)) if not slot.activation]

    assert without_relu("3c3d") == ["dense3"]
    assert without_relu("mlp") == ["dense4"]
    assert without_relu("2c2d") == ["dense2"]
    assert without_relu("allcnnc") == []  # ReLU after every convolution, the last included


def test_initialisers_are_those_of_the_study():
    for name in ("3c3d", "allcnnc", "mlp"):
        for slot in slots(ARCHITECTURES.get(name).layers(10, 1.0)):
            assert slot.initialiser == ("xavier_normal" if isinstance(slot, Conv) else "xavier_uniform")


def test_dropout_of_all_cnn_c():
    layers = ARCHITECTURES.get("allcnnc").layers(100, 1.0)
    named = [(layer.name, layer.rate) for layer in layers if type(layer).__name__ == "Dropout"]
    assert named == [("dropout0", 0.2), ("dropout3", 0.5), ("dropout6", 0.5)]
    following = [
        slots(layers[layers.index(layer) + 1 :])[0].name for layer in layers if type(layer).__name__ == "Dropout"
    ]
    assert following == ["conv1", "conv4", "conv7"]


@pytest.mark.parametrize(("name", "classes", "image", "table"), CASES)
def test_width_scales_hidden_slots_and_leaves_the_output(name, classes, image, table):
    narrow = slots(ARCHITECTURES.get(name).layers(classes, 0.25))
    sizes = [slot.channels if isinstance(slot, Conv) else slot.features for slot in narrow]
    wanted = [output[0] / 4 for _, output, _ in table.values()]
    assert sizes == [*wanted[:-1], classes]


def test_no_width_removes_a_layer():
    assert scaled(96, 0.125) == 12
    assert scaled(96, 0.0001) == 1


# (size, kernel, stride) -> (before, after), windows drawn by hand.
@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding"),
    [(32, 3, 1, (1, 1)), (32, 3, 2, (0, 1)), (16, 3, 2, (0, 1)), (28, 3, 2, (0, 1)), (12, 3, 2, (0, 1)),
     (6, 3, 2, (0, 1)), (7, 3, 2, (1, 1)), (5, 3, 2, (1, 1)), (6, 5, 1, (2, 2)), (6, 2, 1, (0, 1)),
     (6, 1, 1, (0, 0)), (6, 1, 2, (0, 0)),
     (7, 4, 2, (1, 2)), (1, 3, 2, (1, 1))],
)  # fmt: skip
def test_same_padding_against_windows_drawn_by_hand(size, kernel, stride, padding):
    assert same_padding(size, kernel, stride) == padding


@given(st.integers(1, 64), st.integers(1, 9), st.integers(1, 4))
def test_same_padding_holds_just_the_windows_needed(size, kernel, stride):
    before, after = same_padding(size, kernel, stride)
    positions = len(range(0, size, stride))  # one window for each stride begun
    starts = [index * stride - before for index in range(positions)]
    assert starts[-1] + kernel <= size + after  # the last window fits
    if before + after:
        assert starts[-1] + kernel == size + after  # and nothing is left over
    assert after - before in {0, 1}  # the odd one goes right and bottom


@given(st.integers(1, 40), st.integers(1, 5), st.integers(1, 3))
def test_same_layers_give_a_position_for_each_stride_begun(size, kernel, stride):
    expected = len(range(0, size, stride))
    for layer in (Conv("conv1", 4, kernel, stride), MaxPool(kernel, stride)):
        assert trace((layer,), (4, size, size))[0].output_shape == (4, expected, expected)


@given(st.integers(1, 40), st.integers(1, 5), st.integers(1, 3))
def test_valid_layers_give_a_position_for_each_whole_window(size, kernel, stride):
    layers = (Conv("conv1", 4, kernel, stride, padding="valid"),)
    windows = len([start for start in range(0, size, stride) if start + kernel <= size])
    if windows:
        assert trace(layers, (3, size, size))[0].output_shape == (4, windows, windows)
    else:
        with pytest.raises(UserError, match=f"reaches 'conv1' is {size} pixels wide, its kernel {kernel}"):
            trace(layers, (3, size, size))


def test_a_table_that_does_not_fit_is_refused():
    with pytest.raises(UserError, match="dense layer 'dense1' needs a flattened input"):
        trace((Dense("dense1", 10),), (3, 8, 8))
    with pytest.raises(UserError, match="needs an input of shape"):
        trace((Flatten(), MaxPool(3, 2)), (3, 8, 8))
    with pytest.raises(UserError, match="needs an input of shape"):
        trace((GlobalMean(),), (10,))
    with pytest.raises(UserError, match="reaches 'conv7'"):
        trace(ARCHITECTURES.get("allcnnc").layers(10, 1.0), (3, 8, 8))
    assert trace((GlobalMean(),), (10, 6, 5))[0].output_shape == (10,)
    assert trace((Flatten(),), (10, 6, 5))[0].output_shape == (300,)
