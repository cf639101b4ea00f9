"""BatchNorm in a slot against the equations of Ioffe & Szegedy (2015), written out in float64."""

import numpy as np
import pytest
import torch

from bnbench.components.architectures import Conv, Dense
from bnbench.network.layers import Slot
from support.networks import FIVE, variant_named

EPSILON = 1e-5
SHAPES = [(Dense("dense1", 6), (5,)), (Conv("conv1", 6, 1), (5, 3, 4))]


def forward(x, gamma, beta):
    """Algorithm 1 on (m, channels): y, and the mean, variance and normalised values that the gradients need."""
    mean = x.sum(0) / len(x)
    variance = ((x - mean) ** 2).sum(0) / len(x)
    normalised = (x - mean) / np.sqrt(variance + EPSILON)
    return gamma * normalised + beta, mean, variance, normalised


def backward(x, gamma, upstream, *, as_printed=False):
    """Section 3's gradients: (dx, dγ, dβ).

    Args:
        x: (m, channels).
        gamma: (channels,).
        upstream: the gradient with respect to y.
        as_printed: equations 2.21 and 2.22 of the founding study as they are printed, σ_B + ε for σ²_B + ε.
    """
    m = len(x)
    _, mean, variance, normalised = forward(x, gamma, 0.0)
    inside = (np.sqrt(variance) if as_printed else variance) + EPSILON
    d_normalised = upstream * gamma
    d_variance = (d_normalised * (x - mean) * -0.5 * inside**-1.5).sum(0)
    d_mean = (d_normalised * -1 / np.sqrt(inside)).sum(0) + d_variance * (-2 * (x - mean)).sum(0) / m
    d_x = d_normalised / np.sqrt(variance + EPSILON) + d_variance * 2 * (x - mean) / m + d_mean / m
    return d_x, (upstream * normalised).sum(0), upstream.sum(0)


def rows(array):
    """(N, C) as it is, (N, C, H, W) with a row per pixel: BatchNorm of a convolution is per channel (section 3.2)."""
    return array if array.ndim == 2 else np.moveaxis(array, 1, -1).reshape(-1, array.shape[1])


def numbers(*shape, seed):
    return np.random.default_rng(seed).normal(size=shape)


def slot_with_numbers(layer, input_shape, variant):
    slot = Slot(layer, input_shape, variant).double()
    slot.linear.weight.data = torch.from_numpy(numbers(*slot.linear.weight.shape, seed=1))
    if slot.normaliser is not None:
        slot.normaliser.weight.data = torch.from_numpy(1 + 0.3 * numbers(6, seed=2))
        slot.normaliser.bias.data = torch.from_numpy(0.3 * numbers(6, seed=3))
    return slot


@pytest.mark.parametrize(("layer", "input_shape"), SHAPES)
def test_forward_and_backward_equations(layer, input_shape):
    slot = slot_with_numbers(layer, input_shape, variant_named("bn_gamma_beta"))
    inputs = torch.from_numpy(3 * numbers(7, *input_shape, seed=4) + 2).requires_grad_()
    result = slot(inputs)
    upstream = numbers(*result.shape, seed=5)
    result.backward(torch.from_numpy(upstream))

    weight = slot.linear.weight.detach().numpy().reshape(6, 5)
    x = rows(inputs.detach().numpy()) @ weight.T
    gamma, beta = slot.normaliser.weight.detach().numpy(), slot.normaliser.bias.detach().numpy()
    y, *_ = forward(x, gamma, beta)
    d_x, d_gamma, d_beta = backward(x, gamma, rows(upstream))
    close = {"rtol": 1e-11, "atol": 1e-11}
    np.testing.assert_allclose(rows(result.detach().numpy()), y, **close)
    np.testing.assert_allclose(slot.normaliser.weight.grad.numpy(), d_gamma, **close)
    np.testing.assert_allclose(slot.normaliser.bias.grad.numpy(), d_beta, **close)
    np.testing.assert_allclose(rows(inputs.grad.numpy()), d_x @ weight, **close)
    np.testing.assert_allclose(
        slot.linear.weight.grad.numpy().reshape(6, 5), d_x.T @ rows(inputs.detach().numpy()), **close
    )


def test_the_study_misprints_two_gradients():
    # docs/fidelity.md, point 12: σ_B + ε printed for σ²_B + ε. Judged by differences of the forward pass alone.
    x, gamma, upstream = 2 * numbers(8, 3, seed=6), 1 + 0.3 * numbers(3, seed=7), numbers(8, 3, seed=8)
    differences = np.empty_like(x)
    for place in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[place] = 1e-6
        plus, minus = (forward(x + sign * step, gamma, 0.0)[0] for sign in (1, -1))
        differences[place] = ((plus - minus) / 2e-6 * upstream).sum()
    printed, *_ = backward(x, gamma, upstream, as_printed=True)
    corrected, *_ = backward(x, gamma, upstream)
    assert np.abs(corrected - differences).max() < 1e-8  # what central differences can tell
    assert np.abs(printed - differences).max() > 0.1

    inputs = torch.from_numpy(x).requires_grad_()
    normaliser = Slot(Dense("dense1", 3), (3,), variant_named("bn_gamma_beta")).double().normaliser
    normaliser.weight.data = torch.from_numpy(gamma)
    normaliser(inputs).backward(torch.from_numpy(upstream))
    assert np.abs(corrected - inputs.grad.numpy()).max() < 1e-14
    assert np.abs(printed - inputs.grad.numpy()).max() > 0.1


@pytest.mark.parametrize(("layer", "input_shape"), SHAPES)
def test_inference_with_running_averages(layer, input_shape):
    slot = slot_with_numbers(layer, input_shape, variant_named("bn_gamma_beta"))
    weight = slot.linear.weight.detach().numpy().reshape(6, 5)
    running_mean, running_variance = np.zeros(6), np.ones(6)
    for batch in range(4):
        inputs = numbers(7, *input_shape, seed=20 + batch) * (batch + 1)
        slot.train()(torch.from_numpy(inputs))
        x = rows(inputs) @ weight.T
        running_mean = 0.9 * running_mean + 0.1 * x.mean(0)
        running_variance = 0.9 * running_variance + 0.1 * x.var(0, ddof=1)
    inputs = numbers(3, *input_shape, seed=30)
    result = slot.eval()(torch.from_numpy(inputs))
    gamma, beta = slot.normaliser.weight.detach().numpy(), slot.normaliser.bias.detach().numpy()
    expected = gamma * (rows(inputs) @ weight.T - running_mean) / np.sqrt(running_variance + EPSILON) + beta
    np.testing.assert_allclose(rows(result.detach().numpy()), expected, rtol=1e-12, atol=1e-12)


def test_before_the_first_batch_inference_is_the_affine_part_alone():
    slot = slot_with_numbers(Dense("dense1", 6), (5,), variant_named("bn_gamma_beta")).eval()
    inputs = numbers(3, 5, seed=9)
    x = inputs @ slot.linear.weight.detach().numpy().T
    expected = (
        slot.normaliser.weight.detach().numpy() * x / np.sqrt(1 + EPSILON) + slot.normaliser.bias.detach().numpy()
    )
    np.testing.assert_allclose(slot(torch.from_numpy(inputs)).detach().numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("variant", FIVE, ids=lambda row: row.name)
@pytest.mark.parametrize(("layer", "input_shape"), SHAPES)
def test_each_variant_computes_its_row_of_the_table(variant, layer, input_shape):
    torch.manual_seed(0)
    slot = Slot(layer, input_shape, variant if variant.alters_slots else None).double()
    inputs = numbers(7, *input_shape, seed=10)
    result = rows(slot(torch.from_numpy(inputs)).detach().numpy())
    linear = rows(inputs) @ slot.linear.weight.detach().numpy().reshape(6, 5).T
    if variant.name == "vanilla":
        expected = linear + slot.linear.bias.detach().numpy()
        assert slot.normaliser is None
    else:
        expected, *_ = forward(linear, 1.0, 0.0)
        learned = (slot.normaliser.weight.requires_grad, slot.normaliser.bias.requires_grad)
        assert learned == ("gamma" in variant.name, "beta" in variant.name)
    np.testing.assert_allclose(result, expected, rtol=1e-11, atol=1e-11)
