"""Whole networks against straight re-implementations; what is learned, what is refused, where weights start."""

import dataclasses
import math
from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional

from bnbench.components.architectures import ARCHITECTURES, Conv, Dense, Dropout, Flatten, MaxPool, slot_names
from bnbench.components.variants import VARIANTS, Affine, AffineRule
from bnbench.errors import UserError
from bnbench.network.build import Network
from bnbench.network.normalisers import ChannelAffine
from support.networks import FIVE, build, initialised, randomised, run_spec, same_bits, variant_named

IMAGE = (3, 32, 32)


def full_network(architecture, classes, variant, placement="hidden", image=IMAGE):
    return build(ARCHITECTURES.get(architecture).layers(classes, 1.0), image, variant_named(variant), placement)


def images(count=2, image=IMAGE):
    return torch.randn((count, *image), generator=torch.Generator().manual_seed(1), dtype=torch.float64)


class Straight:
    """The networks of the study call by call; numbers come from a state_dict, structure from here alone."""

    def __init__(self, state, training):
        self.state = state
        self.training = training

    def norm(self, x, slot):
        prefix = f"slots.{slot}.normaliser."
        if prefix + "weight" not in self.state:
            return x
        shape = (1, -1, 1, 1) if x.dim() == 4 else (1, -1)
        if self.training:
            axes = (0, 2, 3) if x.dim() == 4 else (0,)
            mean, variance = x.mean(axes), x.var(axes, unbiased=False)
        else:
            mean, variance = self.state[prefix + "running_mean"], self.state[prefix + "running_var"]
        x = (x - mean.view(shape)) / (variance + 1e-5).sqrt().view(shape)
        return x * self.state[prefix + "weight"].view(shape) + self.state[prefix + "bias"].view(shape)

    def conv(self, x, slot, padding=(0, 0, 0, 0), stride=1):
        weight, bias = self.state[f"slots.{slot}.linear.weight"], self.state.get(f"slots.{slot}.linear.bias")
        x = functional.conv2d(functional.pad(x, padding), weight, bias, stride)
        return functional.relu(self.norm(x, slot))

    def dense(self, x, slot):
        weight, bias = self.state[f"slots.{slot}.linear.weight"], self.state.get(f"slots.{slot}.linear.bias")
        return self.norm(functional.linear(x, weight, bias), slot)

    def pool(self, x):
        return functional.max_pool2d(functional.pad(x, (0, 1, 0, 1)), 3, 2)

    def three_conv_three_dense(self, x):
        x = self.pool(self.conv(x, "conv1"))
        x = self.pool(self.conv(x, "conv2"))
        x = self.pool(self.conv(x, "conv3", (1, 1, 1, 1)))
        x = x.reshape(len(x), 128 * 3 * 3)
        x = functional.relu(self.dense(x, "dense1"))
        x = functional.relu(self.dense(x, "dense2"))
        return self.dense(x, "dense3")

    def all_cnn_c(self, x, masks):
        around, after = (1, 1, 1, 1), (0, 1, 0, 1)
        x = x * masks["dropout0"]
        x = self.conv(self.conv(x, "conv1", around), "conv2", around)
        x = self.conv(x, "conv3", after, 2) * masks["dropout3"]
        x = self.conv(self.conv(x, "conv4", around), "conv5", around)
        x = self.conv(x, "conv6", after, 2) * masks["dropout6"]
        x = self.conv(x, "conv7")
        x = self.conv(self.conv(x, "conv8"), "conv9")
        return x.sum((2, 3)) / 36


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize(
    ("variant", "placement"), [("vanilla", "hidden"), ("bn_gamma_beta", "every"), ("bn", "last:3")]
)
def test_3c3d_against_a_straight_implementation(variant, placement, training):
    network = randomised(initialised(full_network("3c3d", 10, variant, placement))).double().train(training)
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    expected = Straight(state, training).three_conv_three_dense(images(4))
    assert expected.shape == (4, 10)
    torch.testing.assert_close(network(images(4)), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize(
    ("variant", "placement"), [("vanilla", "hidden"), ("bn_beta", "hidden"), ("bn_gamma_beta", "every")]
)
def test_all_cnn_c_against_a_straight_implementation(variant, placement, training):
    network = randomised(initialised(full_network("allcnnc", 100, variant, placement))).double().train(training)
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    shapes = {"dropout0": (2, 3, 32, 32), "dropout3": (2, 96, 16, 16), "dropout6": (2, 192, 8, 8)}
    rates = {"dropout0": 0.2, "dropout3": 0.5, "dropout6": 0.5}
    random = torch.Generator().manual_seed(2)
    masks = {
        name: (torch.rand(shape, generator=random) >= rates[name]).double() / (1 - rates[name])
        for name, shape in shapes.items()
    }
    asked = []

    def dropout(name, rate, like):
        asked.append((name, rate, tuple(like.shape)))
        return masks[name]

    result = network(images(), SimpleNamespace(dropout=dropout))
    assert asked == [(name, rates[name], shapes[name]) for name in shapes]
    expected = Straight(state, training).all_cnn_c(images(), masks)
    assert expected.shape == (2, 100)
    torch.testing.assert_close(result, expected, rtol=1e-10, atol=1e-10)
    without = dict.fromkeys(masks, torch.ones((), dtype=torch.float64))
    network.load_state_dict(state)  # a forward pass in train mode moved the running statistics
    torch.testing.assert_close(network(images()), Straight(state, training).all_cnn_c(images(), without))


def test_the_mlp_against_a_straight_implementation():
    network = randomised(initialised(full_network("mlp", 10, "bn_gamma", image=(1, 28, 28)))).double()
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    straight = Straight(state, training=True)
    x = images(5, (1, 28, 28)).reshape(5, 784)
    for slot in ("dense1", "dense2", "dense3"):
        x = functional.relu(straight.dense(x, slot))
    torch.testing.assert_close(network(images(5, (1, 28, 28))), straight.dense(x, "dense4"), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    "layers",
    [
        (Conv("conv1", 4, 3), MaxPool(3, 2)),
        (Conv("conv1", 4, 3), MaxPool(2, 1), MaxPool(3, 2)),
        (Conv("conv1", 4, 3), Dropout("dropout1", 0.5), MaxPool(3, 2)),
        (Conv("conv1", 4, 3, activation=False), MaxPool(3, 2)),
        (Conv("conv1", 4, 3, activation=False), Dropout("dropout1", 0.5), MaxPool(3, 2)),
        (MaxPool(3, 2), Conv("conv1", 4, 3)),
    ],
)
def test_layers_in_any_order_with_and_without_activation(layers):
    network = initialised(build((*layers, Flatten()), IMAGE, variant_named("vanilla"), "output")).double()
    mask = torch.linspace(0, 2, 2 * 4 * 32 * 32, dtype=torch.float64).view(2, 4, 32, 32)
    x = images()
    for layer in layers:
        if isinstance(layer, Conv):
            linear = network.slots["conv1"].linear
            x = functional.conv2d(x, linear.weight, linear.bias, padding=1)
            x = functional.relu(x) if layer.activation else x
        elif isinstance(layer, Dropout):
            x = x * mask
        else:  # windows over the end of the map hold what they can
            x = functional.max_pool2d(functional.pad(x, (0, 1, 0, 1), value=-math.inf), layer.kernel, layer.stride)
    result = network(images(), SimpleNamespace(dropout=lambda _layer, _rate, _like: mask))
    torch.testing.assert_close(result, x.flatten(1), rtol=1e-12, atol=1e-12)
    assert (result.min().item() >= 0) is all(layer.activation for layer in layers if isinstance(layer, Conv))


def test_channels_last_reaches_through_the_convolutions():
    network = initialised(full_network("3c3d", 10, "bn_gamma_beta")).to(memory_format=torch.channels_last)
    layouts = {}
    for name in ("conv1", "conv2", "conv3"):
        network.slots[name].register_forward_hook(
            lambda _module, _inputs, result, name=name: layouts.update(
                {name: result.is_contiguous(memory_format=torch.channels_last)}
            )
        )
    network(images().float().contiguous(memory_format=torch.channels_last))
    assert layouts == {"conv1": True, "conv2": True, "conv3": True}


# --- what is learned ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("placement", ["hidden", "every", "first"])
@pytest.mark.parametrize("architecture", ["3c3d", "allcnnc"])
@pytest.mark.parametrize("variant", FIVE, ids=lambda row: row.name)
def test_gradients_reach_every_learned_parameter_and_no_frozen_one(variant, architecture, placement):
    layers = ARCHITECTURES.get(architecture).layers(10, 0.125)
    network = initialised(build(layers, IMAGE, variant, placement))
    labels = torch.arange(16) % 10
    functional.cross_entropy(network(images(16).float()), labels).backward()
    frozen = {"bn": {"gamma", "beta"}, "bn_beta": {"gamma"}, "bn_gamma": {"beta"}}.get(variant.name, set())
    for vector in network.affine_vectors():
        assert vector.tensor.requires_grad is (vector.parameter not in frozen)
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.count_nonzero() > 0, name
        else:
            assert parameter.grad is None, name


def test_affine_vectors_are_every_gamma_beta_and_bias_sorted():
    network = full_network("3c3d", 10, "bn_gamma", "last:3")
    found = [(vector.parameter, vector.slot, len(vector.tensor)) for vector in network.affine_vectors()]
    assert found == [
        ("beta", "conv3", 128), ("beta", "dense1", 512), ("beta", "dense2", 256),
        ("bias", "conv1", 64), ("bias", "conv2", 96), ("bias", "dense3", 10),
        ("gamma", "conv3", 128), ("gamma", "dense1", 512), ("gamma", "dense2", 256),
    ]  # fmt: skip
    owned = {id(parameter) for parameter in network.parameters()}
    assert all(id(vector.tensor) in owned for vector in network.affine_vectors())


# --- rows of the table that do not ship --------------------------------------------------------------------------


def test_a_row_that_learns_in_the_last_slots_only():
    row = dataclasses.replace(
        variant_named("bn_gamma_beta"),
        name="late",
        gamma=AffineRule(Affine.LEARNED, 0.5, learned_in="last:2"),
        beta=AffineRule(Affine.LEARNED, 0.25, learned_in="output:2"),
    )
    network = build(ARCHITECTURES.get("3c3d").layers(10, 0.125), IMAGE, row, "every")
    learned = {(vector.parameter, vector.slot) for vector in network.affine_vectors() if vector.tensor.requires_grad}
    assert learned == {("gamma", "dense1"), ("gamma", "dense2"), ("beta", "dense2"), ("beta", "dense3")}
    starts = {vector.parameter: set(vector.tensor.tolist()) for vector in network.affine_vectors()}
    assert starts == {"gamma": {0.5}, "beta": {0.25}}


def test_a_row_that_trains_batchnorm_alone():
    row = dataclasses.replace(variant_named("bn_gamma_beta"), name="only_bn", train_weights=False)
    network = build(ARCHITECTURES.get("3c3d").layers(10, 0.125), IMAGE, row, "hidden")
    learned = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert learned == {
        f"slots.{slot}.normaliser.{parameter}"
        for slot in ("conv1", "conv2", "conv3", "dense1", "dense2")
        for parameter in ("weight", "bias")
    }


def test_a_row_without_normalisation_is_the_affine_part_alone_and_beta_its_only_shift():
    row = dataclasses.replace(
        variant_named("vanilla"),
        name="affine",
        gamma=AffineRule(Affine.LEARNED, 0.5),
        beta=AffineRule(Affine.LEARNED, 0.125),
    )
    assert row.normaliser == "none"
    assert row.alters_slots
    network = build(ARCHITECTURES.get("3c3d").layers(10, 0.125), IMAGE, row, "conv1,dense1").double()
    initialised(network)
    for name, slot in network.slots.items():
        carries = name in {"conv1", "dense1"}
        assert (slot.linear.bias is None) is carries
        assert isinstance(slot.normaliser, ChannelAffine) is carries
    plain = build(ARCHITECTURES.get("3c3d").layers(10, 0.125), IMAGE, variant_named("vanilla")).double()
    for name, slot in network.slots.items():
        plain.slots[name].linear.load_state_dict(slot.linear.state_dict(), strict=False)
        if name in {"conv1", "dense1"}:  # γ · W x + β is a layer of weights γ W and bias β
            plain.slots[name].linear.weight.data *= 0.5
            plain.slots[name].linear.bias.data.fill_(0.125)
    torch.testing.assert_close(network(images()), plain(images()), rtol=1e-12, atol=1e-12)
    network(images()).sum().backward()
    assert network.slots["conv1"].normaliser.weight.grad.count_nonzero() > 0
    assert network.slots["dense1"].normaliser.bias.grad.count_nonzero() > 0


# --- equal masks, wrong placements -------------------------------------------------------------------------------


def test_expressions_of_one_mask_give_one_network():
    layers = ARCHITECTURES.get("3c3d").layers(10, 0.125)
    states = [
        initialised(build(layers, IMAGE, variant_named("bn_gamma"), expression)).state_dict()
        for expression in ("first", "first:1", "conv1", "100000")
    ]
    for state in states[1:]:
        assert list(state) == list(states[0])
        assert all(same_bits(state[name], states[0][name]) for name in state)


def test_a_mask_of_another_length_is_refused():
    layers = ARCHITECTURES.get("3c3d").layers(10, 0.125)
    with pytest.raises(UserError, match="mask 11111 has 5 digits, the network has 6 slots"):
        Network(layers, IMAGE, "11111", variant_named("bn"))


@pytest.mark.parametrize("placement", ["first:7", "conv4", "11111", "last:0", "000000"])
def test_a_placement_that_does_not_fit_is_refused_with_the_grammar_and_the_slots(placement):
    with pytest.raises(UserError) as refused:
        run_spec("bn", placement)
    assert placement in refused.value.problem
    for alternative in ("hidden", "every", "penultimate", "output:K", "conv1 conv2 conv3 dense1 dense2 dense3"):
        assert alternative in refused.value.hint


def test_a_variant_that_does_not_exist_is_refused_with_the_ones_that_do():
    with pytest.raises(UserError) as refused:
        VARIANTS.get("bn_gama")
    assert "Did you mean 'bn_gamma'?" in str(refused.value)
    assert all(row.name in str(refused.value) for row in FIVE)


def test_a_row_whose_learned_slots_do_not_exist_is_refused():
    row = dataclasses.replace(
        variant_named("bn_gamma"), name="odd", gamma=AffineRule(Affine.LEARNED, 1.0, learned_in="conv9")
    )
    with pytest.raises(UserError, match="'conv9' is neither a placement nor a slot"):
        build(ARCHITECTURES.get("3c3d").layers(10, 0.125), IMAGE, row)


# --- where weights start -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("slot", "fan_in", "fan_out"),
    [("conv1", 3 * 25, 64 * 25), ("conv2", 64 * 9, 96 * 9), ("conv3", 96 * 9, 128 * 9)],
)
def test_convolutions_start_xavier_normal(slot, fan_in, fan_out):
    linear = initialised(full_network("3c3d", 10, "vanilla")).slots[slot].linear
    weights = linear.weight.detach().double().flatten()
    std = math.sqrt(2 / (fan_in + fan_out))
    count = len(weights)
    assert abs(weights.mean()) < 4 * std / math.sqrt(count)
    assert abs(weights.std() / std - 1) < 4 / math.sqrt(2 * count)
    # Kurtosis 3 tells a normal from a uniform distribution (1.8) and a truncated one.
    assert abs((weights / std).pow(4).mean() - 3) < 4 * math.sqrt(96 / count)
    assert linear.bias.count_nonzero() == 0


@pytest.mark.parametrize(
    ("slot", "fan_in", "fan_out"), [("dense1", 1152, 512), ("dense2", 512, 256), ("dense3", 256, 10)]
)
def test_dense_layers_start_xavier_uniform(slot, fan_in, fan_out):
    linear = initialised(full_network("3c3d", 10, "vanilla")).slots[slot].linear
    weights = linear.weight.detach().double().flatten()
    bound = math.sqrt(6 / (fan_in + fan_out))
    assert weights.abs().max() <= bound * (1 + 1e-7)
    assert weights.max() > bound * 0.99
    assert weights.min() < -bound * 0.99
    assert abs(weights.std() / (bound / math.sqrt(3)) - 1) < 4 / math.sqrt(2 * len(weights))
    assert linear.bias.count_nonzero() == 0


def test_every_convolution_of_all_cnn_c_starts_xavier_normal_with_zero_bias():
    network = initialised(full_network("allcnnc", 100, "vanilla"))
    for slot in network.slots.values():
        weights = slot.linear.weight.detach()
        outputs, inputs, height, width = weights.shape
        std = math.sqrt(2 / ((inputs + outputs) * height * width))
        assert abs(weights.double().std() / std - 1) < 4 / math.sqrt(2 * weights.numel())
        assert slot.linear.bias.count_nonzero() == 0


def test_initial_weights_depend_on_seed_and_slot_alone():
    layers = ARCHITECTURES.get("allcnnc").layers(10, 0.125)
    reference = initialised(build(layers, IMAGE, variant_named("vanilla")))
    for variant in FIVE:
        for placement in ("hidden", "output"):
            network = initialised(build(layers, IMAGE, variant, placement))
            for name, slot in network.slots.items():
                assert same_bits(slot.linear.weight, reference.slots[name].linear.weight)
    other = initialised(build(layers, IMAGE, variant_named("vanilla")), seed=8)
    weights = [slot.linear.weight for network in (reference, other) for slot in network.slots.values()]
    firsts = [weight.flatten()[:8] / weight.std() for weight in weights]
    assert not any(torch.allclose(a, b, atol=1e-3) for i, a in enumerate(firsts) for b in firsts[:i])


def test_a_network_of_one_slot_is_a_network():
    network = initialised(
        build((Flatten(), Dense("only", 3, activation=False)), (1, 2, 2), variant_named("bn"), "output")
    )
    assert network(torch.randn(5, 1, 2, 2)).shape == (5, 3)
    assert slot_names((Flatten(), Dense("only", 3))) == ["only"]


@pytest.mark.parametrize("variant", ["vanilla", "bn_gamma_beta"])
def test_2c2d_against_a_straight_implementation(variant):
    network = randomised(initialised(full_network("2c2d", 10, variant, image=(1, 28, 28)))).double().eval()
    slots = network.slots
    batch = torch.randn(3, 1, 28, 28, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def normalised(name, x):
        normaliser = slots[name].normaliser
        return x if normaliser is None else normaliser(x)

    def convolved(name, x):
        linear = slots[name].linear
        x = functional.conv2d(x, linear.weight, linear.bias, padding=2)
        return functional.max_pool2d(functional.relu(normalised(name, x)), 2, 2)

    x = convolved("conv2", convolved("conv1", batch)).flatten(1)
    x = functional.relu(normalised("dense1", slots["dense1"].linear(x)))
    torch.testing.assert_close(network(batch), slots["dense2"].linear(x), rtol=1e-10, atol=1e-10)


def test_2c2d_starts_truncated_normal_with_zero_bias():
    network = initialised(full_network("2c2d", 10, "vanilla", image=(1, 28, 28)))
    # A standard normal cut at ±2 has the variance 1 - 4 φ(2) / (2 Φ(2) - 1).
    share = math.sqrt(1 - 4 * math.exp(-2) / math.sqrt(2 * math.pi) / math.erf(math.sqrt(2)))
    for slot in network.slots.values():
        weights = slot.linear.weight.detach().double().flatten()
        assert 0.095 < weights.abs().max() <= 0.1
        assert abs(weights.std() / (0.05 * share) - 1) < 4 / math.sqrt(2 * len(weights))
        assert abs(weights.mean()) < 4 * 0.05 / math.sqrt(len(weights))
        assert slot.linear.bias.count_nonzero() == 0
