"""Every normaliser against loops over NumPy float64 numbers, written from its formula, and against torch's modules."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from bnbench.components.architectures import Conv, Dense
from bnbench.components.normalisers import NORMALISERS, groups_of
from bnbench.components.site import Site
from bnbench.components.variants import VARIANTS, Affine, AffineRule, Variant
from bnbench.network.layers import Slot
from bnbench.network.normalisers import build_normaliser

EPSILON = 1e-5
LEARNED = AffineRule(Affine.LEARNED, 1.0), AffineRule(Affine.LEARNED, 0.0)
SHAPES = {"map": (4, 6, 3, 2), "dense": (4, 12), "one channel": (4, 1, 2, 3), "one image": (1, 6, 2, 2)}


def row(normaliser, **options):
    return Variant("mine", "M", "a test's", normaliser, *LEARNED, options=options)


def module(normaliser, shape, **options):
    """In training mode and double precision, γ and β away from 1 and 0."""
    channels, *size = shape[1:]
    site = Site("slot", channels, int(np.prod(size)), bool(size), fan_in=3)
    built = build_normaliser(row(normaliser, **options), site).double()
    random = np.random.default_rng(5)
    built.weight.data = torch.from_numpy(1 + 0.5 * random.standard_normal(channels))
    built.bias.data = torch.from_numpy(0.5 * random.standard_normal(channels))
    return built


def numbers(shape, seed=1):
    return np.random.default_rng(seed).standard_normal(shape) * 1.5 + 0.75


def sharing(normaliser, shape, options):
    """Lists of the places that share their statistics."""
    images, channels, *size = shape
    positions = list(itertools.product(*map(range, size)))
    ns, cs = range(images), range(channels)
    if normaliser in {"batch", "batch_detached", "batch_mean_only", "batch_var_only", "batch_init_stats", "batch_l1",
                      "batch_linf"}:  # fmt: skip
        return [[(n, c, *p) for n in ns for p in positions] for c in cs]
    if normaliser == "batch_ghost":
        chunks = [ns[start : start + options["chunk"]] for start in range(0, images, options["chunk"])]
        return [[(n, c, *p) for n in chunk for p in positions] for chunk in chunks for c in cs]
    if normaliser == "instance":
        return [[(n, c, *p) for p in positions] for n in ns for c in cs]
    groups = {"layer": 1, "group": options.get("groups")}[normaliser]
    width = channels // groups
    return [[(n, c, *p) for c in cs[g * width : (g + 1) * width] for p in positions] for n in ns for g in range(groups)]


def by_loops(normaliser, x, gamma, beta, options, statistics=None):
    """γ · x̂ + β; with the statistics of other numbers where they are given."""
    y = np.empty_like(x)
    source = x if statistics is None else statistics
    for places in sharing(normaliser, x.shape, options):
        values = [source[place] for place in places]
        mean = sum(values) / len(values)
        distances = [abs(value - mean) for value in values]
        variance = {
            "batch_l1": (sum(distances) / len(values)) ** 2,
            "batch_linf": max(distances) ** 2,
        }.get(normaliser, sum(each**2 for each in distances) / len(values))
        for place in places:
            centred = x[place] if normaliser == "batch_var_only" else x[place] - mean
            divisor = 1.0 if normaliser == "batch_mean_only" else np.sqrt(variance + EPSILON)
            y[place] = gamma[place[1]] * centred / divisor + beta[place[1]]
    return y


def differences(loss, array, step=1e-6):
    """The gradient of a function of an array, by central differences."""
    gradient = np.empty_like(array)
    for place in np.ndindex(array.shape):
        sides = []
        for sign in (1, -1):
            moved = array.copy()
            moved[place] += sign * step
            sides.append(loss(moved))
        gradient[place] = (sides[0] - sides[1]) / (2 * step)
    return gradient


CASES = [
    (normaliser, shape, options)
    for normaliser, options in (
        ("batch", {}), ("layer", {}), ("instance", {}), ("group", {"groups": 3}), ("group", {"groups": 2}),
        ("batch_l1", {}), ("batch_linf", {}),
        ("batch_detached", {}), ("batch_mean_only", {}), ("batch_var_only", {}), ("batch_ghost", {"chunk": 2}),
    )
    for shape in SHAPES
    if not (normaliser == "instance" and shape == "dense")
    and not (normaliser == "group" and shape == "one channel")
    and not (normaliser == "batch_ghost" and shape == "one image")
]  # fmt: skip


@pytest.mark.parametrize(("normaliser", "shape", "options"), CASES)
def test_forward_and_backward_against_loops(normaliser, shape, options):
    x, built = numbers(SHAPES[shape]), module(normaliser, SHAPES[shape], **options)
    gamma, beta = built.weight.detach().numpy().copy(), built.bias.detach().numpy().copy()
    kept = x if normaliser == "batch_detached" else None
    inputs = torch.from_numpy(x).requires_grad_()
    y = built(inputs)
    np.testing.assert_allclose(y.detach().numpy(), by_loops(normaliser, x, gamma, beta, options), rtol=1e-9, atol=1e-10)
    upstream = numbers(x.shape, seed=2)
    y.backward(torch.from_numpy(upstream))

    def loss(x=x, gamma=gamma, beta=beta):
        return float((upstream * by_loops(normaliser, x, gamma, beta, options, kept)).sum())

    for name, found, array in (("x", inputs, x), ("gamma", built.weight, gamma), ("beta", built.bias, beta)):
        expected = differences(lambda moved, name=name: loss(**{name: moved}), array)
        np.testing.assert_allclose(found.grad.numpy(), expected, rtol=1e-6, atol=1e-7, err_msg=name)


@pytest.mark.parametrize(("normaliser", "shape", "options"), CASES)
def test_a_constant_input_gives_beta_and_finite_gradients(normaliser, shape, options):
    built = module(normaliser, SHAPES[shape], **options)
    x = torch.full(SHAPES[shape], 0.75, dtype=torch.float64, requires_grad=True)
    y = built(x)
    y.sum().backward()
    scale = 0.75 / np.sqrt(EPSILON) if normaliser == "batch_var_only" else 0.0
    expected = (scale * built.weight + built.bias).view(1, -1, *(1,) * (x.dim() - 2)).expand_as(y)
    torch.testing.assert_close(y, expected, rtol=1e-9, atol=1e-9)
    assert all(bool(torch.isfinite(each.grad).all()) for each in (x, built.weight, built.bias))


@pytest.mark.parametrize(("normaliser", "shape", "options"), CASES)
def test_the_gradient_can_be_differentiated(normaliser, shape, options):
    """As a Hessian needs it: of the sum of γ's, β's and x's gradients, against differences of these."""
    built = module(normaliser, SHAPES[shape], **options)
    x = torch.from_numpy(numbers(SHAPES[shape])).requires_grad_()
    upstream = torch.from_numpy(numbers(SHAPES[shape], seed=2))
    inputs = (x, built.weight, built.bias)
    directions = [torch.from_numpy(numbers(tuple(each.shape), seed)) for seed, each in enumerate(inputs, 10)]

    def gradient(create_graph):
        y = functional.softplus(built(inputs[0]))
        return torch.autograd.grad((upstream * y).sum(), inputs, create_graph=create_graph)

    def move(by):
        with torch.no_grad():
            for each, direction in zip(inputs, directions, strict=True):
                each.add_(direction, alpha=by)

    product = torch.autograd.grad(
        sum((g * d).sum() for g, d in zip(gradient(create_graph=True), directions, strict=True)), inputs
    )
    # (∂g/∂θ)ᵀ d: if the gradient is that of a function it is H d, and the derivative of g along d is that, too.
    step, sides = 1e-6, []
    for sign in (1, -1):
        move(sign * step)
        sides.append(gradient(create_graph=False))
        move(-sign * step)
    if normaliser == "batch_detached":  # not the gradient of any function: its two derivatives differ
        assert all(bool(torch.isfinite(each).all()) for each in product)
        return
    for found, plus, minus in zip(product, *sides, strict=True):
        torch.testing.assert_close(found, (plus - minus) / (2 * step), rtol=1e-4, atol=1e-5)


def test_the_gradient_of_detached_statistics_is_that_of_constants_twice_over():
    built, x = module("batch_detached", (4, 3, 2, 2)), torch.from_numpy(numbers((4, 3, 2, 2))).requires_grad_()
    mean, variance = x.detach().mean((0, 2, 3)), x.detach().var((0, 2, 3), correction=0)
    upstream = torch.from_numpy(numbers((4, 3, 2, 2), seed=2)).requires_grad_()

    def plain(x, gamma, beta):
        normalised = (x - mean.view(1, -1, 1, 1)) / (variance.view(1, -1, 1, 1) + EPSILON).sqrt()
        return gamma.view(1, -1, 1, 1) * normalised + beta.view(1, -1, 1, 1)

    inputs = (x, built.weight, built.bias)
    found = torch.autograd.grad(built(x), inputs, upstream, create_graph=True)
    expected = torch.autograd.grad(plain(*inputs), inputs, upstream, create_graph=True)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)
    twice = [
        torch.autograd.grad(sum((g**2).sum() for g in each), (*inputs, upstream), allow_unused=True)
        for each in (found, expected)
    ]
    for one, other in zip(*twice, strict=True):
        assert (one is None or not one.any()) if other is None else torch.allclose(one, other, rtol=1e-8, atol=1e-8)


TORCHS = {
    "batch": nn.BatchNorm2d,
    "layer": lambda c: nn.GroupNorm(1, c),
    "instance": lambda c: nn.InstanceNorm2d(c, affine=True),
    "group": lambda c: nn.GroupNorm(3, c),
}


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("normaliser", TORCHS)
def test_forward_and_backward_against_torchs_module(normaliser, memory):
    shape = (4, 6, 5, 3)
    built = module(normaliser, shape, **({"groups": 3} if normaliser == "group" else {})).float()
    theirs = TORCHS[normaliser](6)
    theirs.load_state_dict({name: value for name, value in built.state_dict().items() if name in theirs.state_dict()})
    upstream = torch.from_numpy(numbers(shape, 2)).float()
    gradients = []
    for each in (built, theirs):
        x = torch.from_numpy(numbers(shape)).float().contiguous(memory_format=memory).requires_grad_()
        y = each(x)
        y.backward(upstream)
        gradients.append((y, x.grad, each.weight.grad, each.bias.grad))
        if each is built:  # torch's instance norm gives up channels_last
            assert x.grad.is_contiguous(memory_format=memory)
            assert y.is_contiguous(memory_format=memory)
    for found, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_layer_norm_of_a_dense_slot_is_torchs():
    built, x = module("layer", (4, 6)), torch.from_numpy(numbers((4, 6)))
    torch.testing.assert_close(built(x), functional.layer_norm(x, (6,), built.weight, built.bias, EPSILON))


def test_half_precision_activations_have_statistics_of_single_precision():
    for normaliser in ("instance", "batch_mean_only", "batch_var_only", "batch_l1", "batch_linf"):
        built = module(normaliser, (4, 6, 5, 3)).float()
        x = torch.from_numpy(numbers((4, 6, 5, 3)) + 20).float().bfloat16()
        half = built(x)
        assert half.dtype is torch.bfloat16
        torch.testing.assert_close(half.float(), built(x.float()), rtol=2e-2, atol=2e-2)


# ---- what is evaluated with, and from where it comes ----

PARTS = ["batch_detached", "batch_mean_only", "batch_var_only", "batch_running", "batch_noisy"]


@pytest.mark.parametrize("normaliser", PARTS)
@pytest.mark.parametrize("shape", [(4, 6, 3, 2), (4, 6)])
def test_running_statistics_are_those_of_batch_norm_bit_for_bit(normaliser, shape):
    built, batch = module(normaliser, shape), module("batch", shape)
    for averages_anew in (False, True):
        if averages_anew:
            built.average_anew()
            batch.average_anew()
        for seed in (1, 2, 3):
            x = torch.from_numpy(numbers(shape, seed))
            built(x), batch(x)
        assert torch.equal(built.running_mean, batch.running_mean)
        assert torch.equal(built.running_var, batch.running_var)
        assert built.num_batches_tracked == batch.num_batches_tracked == 3


def evaluated(normaliser, **options):
    """(x, what evaluation makes of it, the module) after two training batches."""
    built = module(normaliser, (4, 6, 3, 2), **options)
    for seed in (1, 2):
        built(torch.from_numpy(numbers((4, 6, 3, 2), seed)))
    built.eval()
    x = torch.from_numpy(numbers((4, 6, 3, 2), 3))
    return x, built(x), built


@pytest.mark.parametrize("normaliser", [*PARTS, "batch_ghost"])
def test_evaluation_uses_the_running_statistics(normaliser):
    x, y, built = evaluated(normaliser, **({"chunk": 2} if normaliser == "batch_ghost" else {}))
    mean, variance = (each.view(1, -1, 1, 1) for each in (built.running_mean, built.running_var))
    weight, bias = built.weight.view(1, -1, 1, 1), built.bias.view(1, -1, 1, 1)
    centred = x if normaliser == "batch_var_only" else x - mean
    divisor = 1.0 if normaliser == "batch_mean_only" else (variance + EPSILON).sqrt()
    torch.testing.assert_close(y, weight * centred / divisor + bias, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("normaliser", ["batch_l1", "batch_linf"])
@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_running_statistics_of_another_spread_are_averages_of_the_mean_and_of_the_squared_spread(normaliser, memory):
    x = torch.from_numpy(numbers((4, 6, 3, 2))).contiguous(memory_format=memory)
    built = module(normaliser, (4, 6, 3, 2))
    y = built(x)
    assert y.is_contiguous(memory_format=memory)
    distances = (x - x.mean((0, 2, 3), keepdim=True)).abs()
    spread = distances.mean((0, 2, 3)) if normaliser == "batch_l1" else distances.amax((0, 2, 3))
    torch.testing.assert_close(built.running_mean, 0.1 * x.mean((0, 2, 3)))
    torch.testing.assert_close(built.running_var, 0.9 + 0.1 * spread.square())
    built.average_anew()
    for _ in range(2):
        built(x)
    torch.testing.assert_close(built.running_var, spread.square())
    built.eval()
    torch.testing.assert_close(built(x), y, rtol=1e-9, atol=1e-9)


def test_population_statistics_are_constants_until_they_are_taken_anew():
    built, x = module("batch_population", (4, 6, 3, 2), batches=2, refresh=5), torch.from_numpy(numbers((4, 6, 3, 2)))
    others = [torch.from_numpy(numbers((4, 6, 3, 2), seed)) for seed in (2, 3)]
    before = [each.clone() for each in built.buffers()]
    built(x)
    assert all(torch.equal(*pair) for pair in zip(before, built.buffers(), strict=True)), "a batch moves nothing"
    built.average_anew()
    for each in others:
        built(each)
    built.keep()
    mean = torch.stack([each.mean((0, 2, 3)) for each in others]).mean(0)
    variance = torch.stack([each.var((0, 2, 3)) for each in others]).mean(0)
    inputs = x.clone().requires_grad_()
    y = built(inputs)
    scale = built.weight / (variance + EPSILON).sqrt()
    torch.testing.assert_close(
        y, scale.view(1, -1, 1, 1) * (x - mean.view(1, -1, 1, 1)) + built.bias.view(1, -1, 1, 1), rtol=1e-9, atol=1e-9
    )
    y.sum().backward()
    torch.testing.assert_close(inputs.grad, scale.detach().view(1, -1, 1, 1).expand_as(x)), "no gradient through them"
    built.eval()
    assert torch.equal(built(x), y), "trained and evaluated alike"


def test_running_statistics_of_ghost_batches_take_in_the_average_over_the_chunks():
    x = torch.from_numpy(numbers((4, 6, 3, 2)))
    built = module("batch_ghost", (4, 6, 3, 2), chunk=2)
    built(x)
    mean = torch.stack([part.mean((0, 2, 3)) for part in x.split(2)]).mean(0)
    variance = torch.stack([part.var((0, 2, 3)) for part in x.split(2)]).mean(0)
    torch.testing.assert_close(built.running_mean, 0.1 * mean)
    torch.testing.assert_close(built.running_var, 0.9 + 0.1 * variance)
    with pytest.raises(ValueError, match="a ghost batch of 2 does not divide a batch of 3"):
        built(x[:3])


# ---- groups ----


@pytest.mark.parametrize(
    ("channels", "positions", "wanted", "groups"),
    [(64, 9, 32, 32), (96, 9, 32, 32), (48, 9, 32, 24), (100, 9, 32, 25), (10, 9, 32, 5), (32, 9, 32, 16),
     (7, 9, 32, 1), (1, 9, 32, 1), (6, 9, 4, 3), (6, 9, 1, 1), (2, 9, 32, 1), (4, 9, 2, 2), (8, 2, 32, 4),
     (512, 1, 32, 32), (64, 1, 32, 16), (10, 1, 32, 2), (6, 1, 32, 1), (3, 1, 32, 1)],
)  # fmt: skip
def test_groups_are_the_largest_divisor_that_leaves_two_channels_and_four_numbers(channels, positions, wanted, groups):
    assert groups_of(channels, positions, wanted) == groups


def test_every_normaliser_builds_on_maps_and_where_it_may_on_dense_slots():
    for name in NORMALISERS:
        for layer, shape in ((Conv("c", 4, 3), (3, 8, 8)), (Dense("d", 4), (8,))):
            if name == "instance" and isinstance(layer, Dense):
                continue
            slot = Slot(layer, shape, row(name)).eval()
            assert slot(torch.randn(2, *shape)).shape == ((2, 4) if isinstance(layer, Dense) else (2, 4, 8, 8))


def test_the_rows_that_ship_are_built_of_what_they_name():
    kinds = {name: VARIANTS.get(name).normaliser for name in VARIANTS if not VARIANTS.is_third_party(name)}
    assert set(kinds.values()) == set(NORMALISERS)
