"""Networks with shortcuts: against torchvision's modules, against straight implementations, layer by layer."""

import dataclasses

import pytest
import torch
from torch import nn
from torch.nn import functional

from bnbench.components.architectures import (
    ARCHITECTURES,
    Conv,
    Dense,
    Dropout,
    Flatten,
    GlobalMean,
    MaxPool,
    Norm,
    Residual,
    Subsample,
    slot_names,
)
from bnbench.components.variants import Affine, AffineRule
from bnbench.data.torchvision_compat import import_torchvision
from bnbench.network.build import Network
from bnbench.training.probing.sparsity import zeroed_shares
from bnbench.training.seeding import StepDraws, generator
from support.networks import build, initialised, randomised, variant_named

IMAGE = (3, 16, 16)
HEAD = (GlobalMean(), Dense("out", 4, activation=False))


def images(count=2, image=IMAGE):
    return torch.randn((count, *image), generator=torch.Generator().manual_seed(1), dtype=torch.float64)


# --- torchvision ---------------------------------------------------------------------------------------------------


def parts(slot):
    """The names of torchvision's layer and normaliser that a slot stands for."""
    if slot == "stem":
        return "conv1", "bn1"
    if slot == "out":
        return "fc", None
    stage, block, layer = slot[1], int(slot[3]) - 1, slot[4:]
    place = f"layer{stage}.{block}"
    if layer == "sc":
        return f"{place}.downsample.0", f"{place}.downsample.1"
    return f"{place}.conv{layer[1]}", f"{place}.bn{layer[1]}"


def twin(network, name):
    """torchvision's network in its form for images of 32 pixels, with a network's numbers."""
    with torch.device("meta"):  # without numbers of its own
        module = getattr(import_torchvision("torchvision.models"), name)(num_classes=10)
        module.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        module.maxpool = nn.Identity()
    module.to_empty(device="cpu").double()
    pairs = []
    for slot, own in network.slots.items():
        linear, normaliser = parts(slot)
        pairs.append((own.linear, module.get_submodule(linear)))
        if normaliser is not None:
            pairs.append((own.normaliser, module.get_submodule(normaliser)))
    for own, theirs in pairs:
        theirs.load_state_dict(own.state_dict())
    assert sum(map(torch.numel, module.parameters())) == sum(map(torch.numel, network.parameters()))
    return module, pairs


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_resnets_are_torchvisions(name):
    layers = ARCHITECTURES.get(name).layer_table(10, 1.0)
    network = randomised(initialised(build(layers, IMAGE, variant_named("bn_gamma_beta")))).double()
    module, pairs = twin(network, name)
    for training in (True, False):
        network.train(training)
        module.train(training)
        own, theirs = network(images()), module(images())
        torch.testing.assert_close(own, theirs, rtol=1e-12, atol=1e-12)
        for result in (own, theirs):
            functional.cross_entropy(result, torch.tensor([3, 7])).backward()
    for mine, other in pairs:  # of both passes, summed
        for parameter, expected in zip(mine.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(parameter.grad, expected.grad, rtol=1e-12, atol=1e-12)
            assert parameter.grad.count_nonzero() > 0
        for (key, buffer), (_, expected) in zip(mine.named_buffers(), other.named_buffers(), strict=True):
            torch.testing.assert_close(buffer, expected, rtol=1e-12, atol=1e-12, msg=key)


# --- He et al. 2016, section 4.2, call by call ------------------------------------------------------------------------


def straight(state, x, blocks, option, training):
    """The CIFAR network, from a state_dict."""

    def conv(x, slot, stride=1):
        weight, bias = state[f"slots.{slot}.linear.weight"], state.get(f"slots.{slot}.linear.bias")
        x = functional.conv2d(x, weight, bias, stride, padding=weight.shape[-1] // 2)
        prefix = f"slots.{slot}.normaliser."
        if prefix + "weight" not in state:
            return x
        if training:
            mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
        else:
            mean, variance = state[prefix + "running_mean"], state[prefix + "running_var"]
        x = (x - mean[:, None, None]) / (variance[:, None, None] + 1e-5).sqrt()
        return x * state[prefix + "weight"][:, None, None] + state[prefix + "bias"][:, None, None]

    x = functional.relu(conv(x, "stem"))
    for stage in range(1, 4):
        for block in range(1, blocks + 1):
            halves = stage > 1 and block == 1
            name, stride = f"s{stage}b{block}", 2 if halves else 1
            past = x
            x = conv(functional.relu(conv(x, f"{name}c1", stride)), f"{name}c2")
            if halves and option == "A":
                zeros = torch.zeros(x.shape, dtype=x.dtype)
                for row in range(x.shape[2]):
                    for column in range(x.shape[3]):
                        zeros[:, : past.shape[1], row, column] = past[:, :, 2 * row, 2 * column]
                past = zeros
            elif halves:
                past = conv(past, f"{name}sc", 2)
            x = functional.relu(x + past)
    return functional.linear(x.mean((2, 3)), state["slots.out.linear.weight"], state["slots.out.linear.bias"])


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize(
    ("variant", "placement"), [("bn_gamma_beta", "hidden"), ("bn_beta", "residual-last"), ("vanilla", "hidden")]
)
@pytest.mark.parametrize(
    ("name", "blocks", "option"),
    [("resnet8", 1, "B"), ("resnet8a", 1, "A"), ("resnet14", 2, "B"), ("resnet14a", 2, "A")],
)
@pytest.mark.parametrize("width", [0.25, 0.1])  # 0.1: 2, 3 and 6 channels
def test_the_cifar_family_against_a_straight_implementation(name, blocks, option, variant, placement, training, width):
    layers = ARCHITECTURES.get(name).layer_table(10, width)
    network = randomised(initialised(build(layers, IMAGE, variant_named(variant), placement))).double().train(training)
    state = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    expected = straight(state, images(3), blocks, option, training)
    assert ("slots.s2b1c2.normaliser.weight" in state) is (variant != "vanilla")
    torch.testing.assert_close(network(images(3)), expected, rtol=1e-11, atol=1e-11)


# --- layer by layer -----------------------------------------------------------------------------------------------


def test_every_kind_of_layer_may_be_in_a_block():
    block = Residual(
        "block",
        (
            Norm("pre"),
            Conv("conv1", 3, 3),
            MaxPool(3, 1),
            Dropout("dropout", 0.5),
            Conv("conv2", 3, 1, activation=False),
        ),
        activation=False,
    )
    network = randomised(initialised(build((block, *HEAD), IMAGE, variant_named("bn_gamma_beta"), "bn1"))).double()
    draws = StepDraws(7, 3)
    x = images(4)
    pre, conv1, conv2 = (network.slots[name] for name in ("pre", "conv1", "conv2"))
    assert pre.linear is None
    body = functional.relu(
        functional.batch_norm(x, None, None, pre.normaliser.weight, pre.normaliser.bias, training=True, eps=1e-5)
    )
    body = functional.conv2d(body, conv1.linear.weight, conv1.linear.bias, padding=1)
    body = functional.max_pool2d(functional.relu(body), 3, 1, padding=1)
    body = body * draws.dropout("dropout", 0.5, body)
    body = functional.conv2d(body, conv2.linear.weight, conv2.linear.bias)
    out = network.slots["out"].linear
    expected = functional.linear((x + body).mean((2, 3)), out.weight, out.bias)
    torch.testing.assert_close(network(x, draws), expected, rtol=1e-12, atol=1e-12)


def test_a_normaliser_alone_is_nothing_where_the_placement_leaves_it_out():
    layers = (Norm("input", activation=False), Flatten(), Dense("out", 4, activation=False))
    plain = initialised(build(layers, IMAGE, variant_named("vanilla"))).double()
    assert [name for name, _ in plain.named_parameters()] == ["slots.out.linear.weight", "slots.out.linear.bias"]
    linear = plain.slots["out"].linear
    torch.testing.assert_close(plain(images()), functional.linear(images().flatten(1), linear.weight, linear.bias))
    normalised = build(layers, IMAGE, variant_named("bn_gamma_beta"), "input")
    assert isinstance(normalised.slots["input"].normaliser, nn.BatchNorm2d)
    assert [(each.parameter, each.slot) for each in normalised.affine_vectors()] == [
        ("beta", "input"), ("bias", "out"), ("gamma", "input"),
    ]  # fmt: skip
    dense = build((Flatten(), Norm("flat"), Dense("out", 4)), IMAGE, variant_named("bn"), "flat")
    assert isinstance(dense.slots["flat"].normaliser, nn.BatchNorm1d)


def test_slots_have_a_bias_exactly_where_they_carry_no_normaliser():
    layers = ARCHITECTURES.get("resnet8").layer_table(10, 0.25)
    network = build(layers, IMAGE, variant_named("bn_gamma"), "bn1,shortcut")
    without = [name for name, slot in network.slots.items() if slot.linear.bias is None]
    assert without == ["s1b1c1", "s2b1sc", "s2b1c1", "s3b1sc", "s3b1c1"]
    assert without == [name for name, slot in network.slots.items() if slot.normaliser is not None]


def test_what_is_learned_in_some_slots_only_may_be_said_by_role():
    row = dataclasses.replace(
        variant_named("bn_gamma_beta"), name="late", gamma=AffineRule(Affine.LEARNED, 1.0, learned_in="residual-last")
    )
    network = build(ARCHITECTURES.get("resnet8").layer_table(10, 0.25), IMAGE, row)
    learned = [
        each.slot for each in network.affine_vectors() if each.parameter == "gamma" and each.tensor.requires_grad
    ]
    assert learned == ["s1b1c2", "s2b1c2", "s3b1c2"]


def test_kaiming_normal_has_a_variance_of_two_over_fan_in_and_the_slots_own_stream():
    layers = ARCHITECTURES.get("resnet20").layer_table(10, 1.0)
    network = initialised(build(layers, IMAGE, variant_named("vanilla")))
    for name, fan_in in {"s3b2c1": 64 * 9, "s3b1sc": 32, "out": 64}.items():
        weight = network.slots[name].linear.weight
        spread = (2 / fan_in) ** 0.5
        assert weight.std().item() == pytest.approx(spread, rel=0.1)
        drawn = torch.randn(weight.shape, generator=generator(7, "weights", name)) * spread
        torch.testing.assert_close(weight.detach(), drawn)
    assert all(slot.linear.bias.count_nonzero() == 0 for slot in network.slots.values())


def test_sparsity_is_counted_at_every_relu_that_behind_a_sum_by_the_blocks_name():
    block = Residual("block", (Conv("conv1", 3, 3), Conv("conv2", 3, 3, activation=False)))
    layers = (Conv("stem", 3, 3), block, Residual("linear", (Conv("conv3", 3, 1),), activation=False), *HEAD)
    network = initialised(build(layers, IMAGE, variant_named("vanilla"))).double()
    x = images(4)
    shares = zeroed_shares(network, [(x, torch.zeros(4))], "fp32")
    assert list(shares) == ["stem", "conv1", "block", "conv3"]

    def conv(x, name):
        linear = network.slots[name].linear
        return functional.conv2d(x, linear.weight, linear.bias, padding=linear.padding)

    stem = conv(x, "stem")
    conv1 = conv(functional.relu(stem), "conv1")
    total = conv(functional.relu(conv1), "conv2") + functional.relu(stem)
    conv3 = conv(functional.relu(total), "conv3")
    expected = [(each <= 0).double().mean().item() for each in (stem, conv1, total, conv3)]
    assert list(shares.values()) == pytest.approx(expected, abs=0.002)  # float64 against the probe's own precision


def test_the_whole_family_builds_and_learns_every_parameter():
    for name in ("resnet8a", "resnet29b"):
        layers = ARCHITECTURES.get(name).layer_table(10, 0.1)
        network = initialised(build(layers, IMAGE, variant_named("bn_gamma_beta")))
        functional.cross_entropy(network(images(4).float()), torch.arange(4)).backward()
        assert list(network.slots) == slot_names(layers)
        for key, parameter in network.named_parameters():
            assert parameter.grad is not None and parameter.grad.count_nonzero() > 0, key


def test_a_shortcut_without_weights_has_no_slot():
    block = Residual("block", (Conv("conv1", 5, 3, 2, padding=1),), Subsample(2, 5))
    network = Network((block, *HEAD), IMAGE, "00", variant_named("vanilla"))
    assert list(network.slots) == ["conv1", "out"]
