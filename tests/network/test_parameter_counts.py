"""Parameter counts, from layer shapes typed here: every problem, size, placement and variant."""

import pytest
import torch

from bnbench.components.architectures import ARCHITECTURES
from bnbench.problem import find_problem, problem_files
from support.networks import FIVE, build, variant_named

SIZES = ("full", "tiny")
# Kernel width, then inputs and outputs: "image" and "classes" are the problem's, numbers are scaled by its width.
CONVOLUTIONS = {
    "3c3d": [("conv1", 5, "image", 64), ("conv2", 3, 64, 96), ("conv3", 3, 96, 128)],
    "allcnnc": [
        ("conv1", 3, "image", 96),
        ("conv2", 3, 96, 96),
        ("conv3", 3, 96, 96),
        ("conv4", 3, 96, 192),
        ("conv5", 3, 192, 192),
        ("conv6", 3, 192, 192),
        ("conv7", 3, 192, 192),
        ("conv8", 1, 192, 192),
        ("conv9", 1, 192, "classes"),
    ],
    "mlp": [],
    "2c2d": [("conv1", 5, "image", 32), ("conv2", 5, 32, 64)],
}
# 3C3D's maps are 3 pixels wide when they are flattened: 32, 28, 14, 12, 6, 6, 3. The MLP's images are 28 pixels wide;
# 2C2D's maps go from there to 14 and 7.
DENSE = {
    "3c3d": [("dense1", 3 * 3, 128, 512), ("dense2", 1, 512, 256), ("dense3", 1, 256, "classes")],
    "allcnnc": [],
    "mlp": [
        ("dense1", 28 * 28, "image", 1000),
        ("dense2", 1, 1000, 500),
        ("dense3", 1, 500, 100),
        ("dense4", 1, 100, "classes"),
    ],
    "2c2d": [("dense1", 7 * 7, 64, 1024), ("dense2", 1, 1024, "classes")],
}
# Which slots each placement of the problem files means.
PLACES = {
    "3c3d": {
        "hidden": "conv1 conv2 conv3 dense1 dense2",
        "every": "conv1 conv2 conv3 dense1 dense2 dense3",
        "first": "conv1",
        "penultimate": "dense2",
        "output": "dense3",
        "first:3": "conv1 conv2 conv3",
        "last:3": "conv3 dense1 dense2",
    },
    "allcnnc": {
        "hidden": "conv1 conv2 conv3 conv4 conv5 conv6 conv7 conv8",
        "every": "conv1 conv2 conv3 conv4 conv5 conv6 conv7 conv8 conv9",
        "first": "conv1",
        "penultimate": "conv8",
        "output": "conv9",
        "first:4": "conv1 conv2 conv3 conv4",
        "last:4": "conv5 conv6 conv7 conv8",
        "output:4": "conv6 conv7 conv8 conv9",
    },
    "2c2d": {
        "hidden": "conv1 conv2 dense1",
        "every": "conv1 conv2 dense1 dense2",
        "first": "conv1",
        "penultimate": "dense1",
        "output": "dense2",
        "first:2": "conv1 conv2",
        "last:2": "conv2 dense1",
    },
    "mlp": {
        "hidden": "dense1 dense2 dense3",
        "every": "dense1 dense2 dense3 dense4",
        "first": "dense1",
        "penultimate": "dense3",
        "output": "dense4",
    },
}
LEARNED = {"vanilla": 0, "bn": 0, "bn_beta": 1, "bn_gamma": 1, "bn_gamma_beta": 2}


def slot_shapes(architecture, width, channels, classes):
    """Slot to (weights, outputs)."""

    def count(size):
        return {"image": channels, "classes": classes}.get(size) or max(1, round(size * width))

    shapes = {}
    for name, kernel, inputs, outputs in CONVOLUTIONS[architecture]:
        shapes[name] = (kernel * kernel * count(inputs) * count(outputs), count(outputs))
    for name, positions, inputs, outputs in DENSE[architecture]:
        shapes[name] = (positions * count(inputs) * count(outputs), count(outputs))
    return shapes


def expected(shapes, normalised, variant):
    """(learned, frozen) parameters: a bias or, under a BatchNorm, γ and β."""
    learned = frozen = 0
    for name, (weights, outputs) in shapes.items():
        learned += weights
        if name in normalised and variant != "vanilla":
            learned += LEARNED[variant] * outputs
            frozen += (2 - LEARNED[variant]) * outputs
        else:
            learned += outputs
    return learned, frozen


def counted(network):
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in network.parameters()]
    return sum(n for n, learned in sizes if learned), sum(n for n, learned in sizes if not learned)


@pytest.mark.parametrize("classes", [10, 100])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "name", [name for name in sorted(problem_files()) if "resnet" not in name and "vgg" not in name]
)
def test_every_placement_and_variant_has_the_parameters_of_its_layer_shapes(name, size, classes):
    problem = find_problem(name).problem(size)
    channels = 1 if problem.dataset in {"digits", "fmnist"} else 3
    shapes = slot_shapes(problem.architecture, problem.width, channels, classes)
    architecture = ARCHITECTURES.get(problem.architecture)
    layers = architecture.layers(classes, problem.width)
    image = (channels, architecture.image_size, architecture.image_size)
    for placement in problem.placements:
        normalised = PLACES[problem.architecture][placement].split()
        for variant in FIVE:
            with torch.device("meta"):  # shapes without numbers
                network = build(layers, image, variant, placement)
            assert counted(network) == expected(shapes, normalised, variant.name), (placement, variant.name)
            without_bias = {slot for slot, module in network.slots.items() if module.linear.bias is None}
            assert without_bias == (set() if variant.name == "vanilla" else set(normalised))


@pytest.mark.parametrize(
    ("architecture", "classes", "variant", "placement", "parameters"),
    [
        ("3c3d", 10, "vanilla", "hidden", (895_210, 0)),
        ("allcnnc", 100, "vanilla", "hidden", (1_387_108, 0)),
        # 64 + 96 + 128 + 512 + 256 = 1,056 biases give way to as many γ and as many β.
        ("3c3d", 10, "bn", "hidden", (895_210 - 1_056, 2 * 1_056)),
        ("3c3d", 10, "bn_gamma_beta", "hidden", (895_210 + 1_056, 0)),
        # All 3 · 96 + 5 · 192 + 100 = 1,348 biases do.
        ("allcnnc", 100, "bn_beta", "every", (1_387_108, 1_348)),
    ],
)
def test_the_networks_of_the_study(architecture, classes, variant, placement, parameters):
    with torch.device("meta"):
        layers = ARCHITECTURES.get(architecture).layers(classes, 1.0)
        assert counted(build(layers, (3, 32, 32), variant_named(variant), placement)) == parameters
