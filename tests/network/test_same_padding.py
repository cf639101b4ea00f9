"""'Same' padding of convolutions and pools against windows cut by hand, by the rule of TensorFlow's documentation."""

import math

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch.nn import functional

from bnbench.components.architectures import Conv, Flatten, MaxPool
from bnbench.network.layers import SamePool, Slot
from support.networks import build, same_bits, variant_named

SIDES = st.integers(1, 9)
KERNELS = st.integers(1, 5)
STRIDES = st.integers(1, 3)


def windows(size, kernel, stride):
    """The positions each window covers along one axis, outside ones left out; with each its place in the kernel."""
    padding = max(kernel - (size % stride or stride), 0)
    positions = []
    for number in range(math.ceil(size / stride)):
        start = number * stride - padding // 2
        positions.append([(start + k, k) for k in range(kernel) if 0 <= start + k < size])
    return positions


def values(*shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_rule_on_sizes_of_the_study():
    # 28 pixels, 3×3, stride 2: no padding before, one pixel after. 7 pixels: one on each side.
    assert windows(28, 3, 2)[0] == [(0, 0), (1, 1), (2, 2)]
    assert windows(28, 3, 2)[-1] == [(26, 0), (27, 1)]
    assert windows(7, 3, 2)[0] == [(0, 1), (1, 2)]
    assert [len(windows(size, 3, 2)) for size in (28, 12, 6, 7)] == [14, 6, 3, 4]


@settings(max_examples=60)
@given(height=SIDES, width=SIDES, kernel=KERNELS, stride=STRIDES, seed=st.integers(0, 999))
@example(height=6, width=6, kernel=3, stride=2, seed=0)  # padded at the end only
@example(height=7, width=7, kernel=3, stride=2, seed=0)  # padded alike on both sides
@example(height=6, width=7, kernel=3, stride=2, seed=0)  # the one along rows, the other along columns
@example(height=5, width=5, kernel=2, stride=1, seed=0)  # padded at the end by a whole stride
@example(height=7, width=7, kernel=4, stride=2, seed=0)  # padded unequally on both sides
@example(height=5, width=4, kernel=1, stride=3, seed=0)  # pixels between the windows
def test_convolution_against_loops(height, width, kernel, stride, seed):
    layer = Conv("conv", 2, kernel, stride)
    slot = Slot(layer, (3, height, width), None).double()
    images = values(2, 3, height, width, seed=seed)
    result = slot(images)
    rows, columns = windows(height, kernel, stride), windows(width, kernel, stride)
    assert result.shape == (2, 2, len(rows), len(columns))
    weight, bias = slot.linear.weight.detach(), slot.linear.bias.detach()
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            total = bias.expand(2, 2).clone()
            for y, k in row:
                for x, m in column:
                    total += images[:, :, y, x] @ weight[:, :, k, m].T
            torch.testing.assert_close(result[:, :, i, j].detach(), total, rtol=1e-12, atol=1e-12)


@settings(max_examples=100)
@given(height=SIDES, width=SIDES, kernel=KERNELS, stride=STRIDES, seed=st.integers(0, 999))
@example(height=6, width=6, kernel=3, stride=2, seed=0)  # padded at the end only
@example(height=7, width=7, kernel=3, stride=2, seed=0)  # padded alike on both sides
@example(height=6, width=7, kernel=3, stride=2, seed=0)  # the one along rows, the other along columns
@example(height=5, width=5, kernel=2, stride=1, seed=0)  # padded at the end by a whole stride
@example(height=7, width=7, kernel=4, stride=2, seed=0)  # padded unequally on both sides
@example(height=5, width=4, kernel=1, stride=3, seed=0)  # pixels between the windows
def test_pool_against_loops(height, width, kernel, stride, seed):
    pool = SamePool(MaxPool(kernel, stride), (2, height, width))
    images = values(2, 2, height, width, seed=seed) - 5  # below zero: padding must not win
    result = pool(images)
    rows, columns = windows(height, kernel, stride), windows(width, kernel, stride)
    assert result.shape == (2, 2, len(rows), len(columns))
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            inside = torch.stack([images[:, :, y, x] for y, _ in row for x, _ in column])
            assert torch.equal(result[:, :, i, j], inside.amax(0))


@pytest.mark.parametrize("size", [28, 12, 6, 4, 27, 13, 7, 5, 3])
@pytest.mark.parametrize("kernel", [2, 3, 4])
def test_pooling_before_the_relu_is_relu_and_then_a_zero_padded_pool_bit_for_bit(size, kernel):
    layers = (Conv("conv1", 5, 3), MaxPool(kernel, 2), Flatten())
    network = build(layers, (2, size, size), variant_named("vanilla"), "first")
    # Coarse numbers, so that windows hold ties, zeros and nothing but negative values.
    generator = torch.Generator().manual_seed(3)
    network.slots["conv1"].linear.weight.data = torch.randint(-2, 3, (5, 2, 3, 3), generator=generator).float()
    network.slots["conv1"].linear.bias.data = torch.randint(-3, 1, (5,), generator=generator).float()
    images = torch.randint(-2, 3, (3, 2, size, size), generator=generator).float()
    images = images.contiguous(memory_format=torch.channels_last)

    ours = images.clone().requires_grad_()
    result = network(ours)
    upstream = torch.randn(result.shape, generator=generator)
    result.backward(upstream)

    theirs = images.clone().requires_grad_()
    weight, bias = (
        getattr(network.slots["conv1"].linear, each).detach().requires_grad_() for each in ("weight", "bias")
    )
    activated = functional.relu(functional.conv2d(theirs, weight, bias, padding=1))
    # Windows that a 'same' pool needs beyond the map, written for stride 2.
    total = max(kernel - 2, 0) if size % 2 == 0 else max(kernel - 1, 0)
    before, after = total // 2, total - total // 2
    padded = functional.pad(activated, (before, after, before, after))
    reference = functional.max_pool2d(padded, kernel, 2).flatten(1)
    reference.backward(upstream)

    assert (activated == 0).float().mean() > 0.2  # the ReLU had work to do
    assert same_bits(result, reference)
    assert same_bits(ours.grad, theirs.grad)
    assert same_bits(network.slots["conv1"].linear.weight.grad, weight.grad)
    assert same_bits(network.slots["conv1"].linear.bias.grad, bias.grad)
