"""VGG networks: parameters against published counts, and torchvision's module with the same numbers."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from bnbench.components.architectures import ARCHITECTURES, MaxPool, slot_names, trace
from bnbench.data.torchvision_compat import import_torchvision
from support.networks import build, initialised, randomised, variant_named

IMAGE = (3, 32, 32)
# Name: parameters with BN_γ,β behind every convolution, and without a normaliser, for 10 classes (open_lth, cifar_vgg,
# whose convolutions have a bias behind which BatchNorm's mean takes it away again: without these biases).
COUNTS = {"vgg11": (9_228_362, 9_225_610), "vgg16": (14_724_042, 14_719_818)}


def table(name):
    return ARCHITECTURES.get(name).layer_table(10, 1.0)


@pytest.mark.parametrize("name", COUNTS)
def test_parameters_are_the_published_ones(name):
    with torch.device("meta"):
        found = tuple(
            sum(each.numel() for each in build(table(name), IMAGE, variant_named(variant)).parameters())
            for variant in ("bn_gamma_beta", "vanilla")
        )
    assert found == COUNTS[name]


@pytest.mark.parametrize(("name", "depth"), [("vgg11", 11), ("vgg13", 13), ("vgg16", 16), ("vgg19", 19)])
def test_its_number_counts_the_papers_three_dense_layers(name, depth):
    assert len(slot_names(table(name))) == depth - 3 + 1
    assert sum(isinstance(layer, MaxPool) for layer in table(name)) == 4
    assert trace(table(name), IMAGE)[-2].input_shape == (512, 2, 2)


def test_it_is_torchvisions_without_its_last_pooling_and_its_dense_layers():
    network = randomised(initialised(build(table("vgg11"), IMAGE, variant_named("bn_gamma_beta")))).double()
    with torch.device("meta"):
        features = import_torchvision("torchvision.models").vgg11_bn().features[:-1]
    twin = features.to_empty(device="cpu").double()
    modules = [module for module in twin if not isinstance(module, nn.ReLU | nn.MaxPool2d)]
    own = [each for name, slot in network.slots.items() if name != "out" for each in (slot.linear, slot.normaliser)]
    for mine, theirs in zip(own, modules, strict=True):
        theirs.load_state_dict(mine.state_dict(), strict=isinstance(mine, nn.BatchNorm2d))
        if isinstance(theirs, nn.Conv2d):
            nn.init.zeros_(theirs.bias)
    images = torch.randn(2, *IMAGE, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    for training in (True, False):
        network.train(training)
        twin.train(training)
        expected = functional.linear(twin(images).mean((2, 3)), network.slots["out"].linear.weight,
                                     network.slots["out"].linear.bias)  # fmt: skip
        torch.testing.assert_close(network(images), expected, rtol=1e-12, atol=1e-12)
