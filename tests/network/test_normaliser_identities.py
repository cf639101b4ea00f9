"""What must be the same thing by two names: of normalisers, of weights, of rows."""

from __future__ import annotations

import dataclasses
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional

from bnbench.components.architectures import ARCHITECTURES, Conv, Dense
from bnbench.components.site import Site
from bnbench.components.variants import VARIANTS, Affine, AffineRule, Variant
from bnbench.network.layers import Slot
from bnbench.network.normalisers import build_normaliser
from bnbench.network.reparametrisations import WeightStandardisation
from bnbench.training.seeding import StepDraws, generator, uniform_noise
from support.networks import build, initialised, same_bits, variant_named

MAP, DENSE = (6, 4, 3, 5), (6, 4)
LAYERS = ARCHITECTURES.get("3c3d").layers(4, 0.125)
IMAGE = (1, 32, 32)


def module(normaliser, shape=MAP, **options):
    row = Variant(
        "mine", "M", "", normaliser, AffineRule(Affine.LEARNED, 1.0), AffineRule(Affine.LEARNED, 0.0), options=options
    )
    channels, *size = shape[1:]
    built = build_normaliser(row, Site("slot", channels, 15 if size else 1, bool(size), 3))
    built.weight.data = torch.linspace(0.5, 2.0, channels)
    built.bias.data = torch.linspace(-1.0, 1.0, channels)
    return built


def images(shape=MAP, seed=1):
    made = torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 2 + 1
    return made.contiguous(memory_format=torch.channels_last) if len(shape) == 4 else made


def outcome(built, x, *more):
    """What a module makes of a batch, the gradients, and the running statistics after it."""
    x = x.clone(memory_format=torch.preserve_format).requires_grad_()
    y = built(x, *more)
    y.backward(images(tuple(x.shape), seed=9))
    return y, x.grad, built.weight.grad, built.bias.grad, *built.buffers()


def assert_close(one, other, count=4, **tolerance):
    for left, right in zip(one[:count], other[:count], strict=True):
        torch.testing.assert_close(left, right, **(tolerance or {"rtol": 1e-5, "atol": 1e-5}))


def test_one_group_is_layer_norm_and_groups_of_one_channel_are_instance_norm():
    assert_close(outcome(module("group", groups=1), images()), outcome(module("layer"), images()))
    wide = build_normaliser(variant_named("gn_gamma_beta"), Site("slot", 4, 15, True, 3))
    assert wide._groups == 2  # never as many as channels: that would be instance norm
    each = module("instance")
    assert_close(outcome(each, images()), outcome(type(each)(4, 4).requires_grad_(), images()), count=0)
    torch.testing.assert_close(each(images()), functional.group_norm(images(), 4, each.weight, each.bias, 1e-5))


def test_batch_norm_of_one_image_is_instance_norm():
    x = images((1, 4, 3, 5))
    assert_close(outcome(module("batch"), x), outcome(module("instance"), x))


@pytest.mark.parametrize("shape", [MAP, DENSE])
def test_a_ghost_batch_as_large_as_the_batch_is_batch_norm_bit_for_bit(shape):
    ghost, batch = module("batch_ghost", shape, chunk=6), module("batch", shape)
    for seed in (1, 2):
        for one, other in zip(outcome(ghost, images(shape, seed)), outcome(batch, images(shape, seed)), strict=True):
            assert same_bits(one, other)
        ghost.zero_grad(), batch.zero_grad()


def test_ghost_batches_are_a_loop_over_chunks():
    x, ghost, batch = images(), module("batch_ghost", chunk=2), module("batch")
    assert same_bits(ghost(x), torch.cat([batch(chunk) for chunk in x.split(2)]))


@pytest.mark.parametrize("shape", [MAP, DENSE])
def test_detached_statistics_have_the_forward_of_batch_norm_bit_for_bit_and_another_gradient(shape):
    detached, batch = module("batch_detached", shape), module("batch", shape)
    one, other = outcome(detached, images(shape)), outcome(batch, images(shape))
    assert same_bits(one[0], other[0])
    assert_close(one[2:], other[2:], count=2)
    dimensions = (0, *range(2, len(shape)))
    assert other[1].sum(dimensions).abs().max() < 1e-4
    assert one[1].sum(dimensions).abs().min() > 1e-2
    for left, right in zip(one[4:], other[4:], strict=True):
        assert same_bits(left, right)


def test_noise_of_no_size_is_batch_norm():
    noise = partial(uniform_noise, 1, 1, like=torch.ones(1))
    quiet = module("batch_noisy", shift=0.0, scale=1.0, jitter=0.0)
    assert_close(outcome(quiet, images(), noise), outcome(module("batch"), images()), rtol=0, atol=0)
    assert_close(outcome(module("batch_noisy"), images()), outcome(module("batch"), images()), rtol=0, atol=0)
    loud = module("batch_noisy")
    assert not torch.allclose(loud(images(), noise), loud(images()))
    assert same_bits(loud.eval()(images(), noise), loud(images()))


def test_noise_is_what_its_formula_says():
    images_, channels = 4000, 3
    built = build_normaliser(variant_named("bn_noisy"), Site("slot", channels, 1, False, 3))
    x = torch.randn(images_, channels, generator=torch.Generator().manual_seed(3))
    batch = functional.batch_norm(x, None, None, training=True)
    draws = partial(uniform_noise, 7, 3, like=x)
    y = built(x, draws)
    mean = 0.5 * (2 * draws("mean", (channels,)) - 1)
    scale = 1 + 0.25 * draws("scale", (channels,))
    # By the least-squares line of y over BatchNorm's output: its slope is the scale, its intercept the mean.
    torch.testing.assert_close((y * batch).mean(0), scale, rtol=0, atol=0.01)
    torch.testing.assert_close(y.mean(0), mean, rtol=0, atol=0.01)
    residual = y - scale * batch - mean
    torch.testing.assert_close(residual.var(0), torch.full((3,), 0.1**2 / 3 + 0.1**2), rtol=0.15, atol=0)


def test_running_statistics_in_training_are_those_of_evaluation_before_the_batch():
    running = module("batch_running")
    running(images(seed=4))
    before = module("batch")
    before.load_state_dict(running.state_dict())
    expected = before.eval()(images(seed=5))
    assert same_bits(running(images(seed=5)), expected)
    assert not same_bits(running.running_mean, before.running_mean)
    x = images(seed=6).requires_grad_()
    scale = running.weight / (running.running_var + 1e-5).sqrt()
    running(x).sum().backward()
    torch.testing.assert_close(x.grad, scale.view(1, -1, 1, 1).expand_as(x))


def test_mean_and_variance_only_one_after_the_other_are_batch_norm():
    plain = AffineRule(Affine.FIXED, 1.0), AffineRule(Affine.FIXED, 0.0)
    site = Site("slot", 4, 15, True, 3)
    mean, variance, batch = (
        build_normaliser(Variant("mine", "M", "", name, *plain), site)
        for name in ("batch_mean_only", "batch_var_only", "batch")
    )
    expected = batch(images())
    torch.testing.assert_close(variance(mean(images())), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(mean(variance(images())), expected, rtol=1e-5, atol=1e-5)


def test_the_statistics_of_the_first_batch_are_batch_norm_on_it():
    batch = torch.randn(8, *IMAGE, generator=torch.Generator().manual_seed(2))
    first = initialised(build(LAYERS, IMAGE, variant_named("bn_init_stats"), "every"))
    normal = initialised(build(LAYERS, IMAGE, variant_named("bn_gamma_beta"), "every"))
    assert first.settling
    assert not normal.settling
    first.settle(batch)
    torch.testing.assert_close(first(batch), normal(batch), rtol=1e-4, atol=1e-4)
    kept = {name: value.clone() for name, value in first.named_buffers()}
    first(batch * 3 + 1)
    first.eval()(batch)
    assert all(same_bits(value, kept[name]) for name, value in first.named_buffers())
    torch.testing.assert_close(first(batch[:3]), first(batch)[:3])  # no image depends on another any more


def test_weight_norm_begins_as_vanilla_bit_for_bit():
    x = torch.randn(4, *IMAGE, generator=torch.Generator().manual_seed(2))
    expected = initialised(build(LAYERS, IMAGE, variant_named("vanilla")))(x)
    for name in ("wn", "wn_beta", "wn_gamma", "wn_gamma_beta"):
        assert same_bits(initialised(build(LAYERS, IMAGE, variant_named(name), "every"))(x), expected)


def test_weight_norm_is_torchs():
    slot = Slot(Conv("c", 5, 3, padding="valid"), (2, 6, 6), variant_named("wn_gamma_beta")).double()
    slot.reparametrisation.scale.data = torch.linspace(0.5, 2, 5, dtype=torch.float64)
    theirs = nn.Conv2d(2, 5, 3).double()
    theirs.load_state_dict(slot.linear.state_dict())
    nn.utils.parametrizations.weight_norm(theirs, dim=0)
    theirs.parametrizations.weight.original0.data = slot.reparametrisation.scale.data.view(5, 1, 1, 1).clone()
    x = torch.randn(3, 2, 6, 6, dtype=torch.float64)
    y = slot(x)
    torch.testing.assert_close(y, theirs(x))
    y.square().sum().backward()
    theirs(x).square().sum().backward()
    torch.testing.assert_close(
        slot.reparametrisation.scale.grad, theirs.parametrizations.weight.original0.grad.flatten()
    )
    torch.testing.assert_close(slot.linear.weight.grad, theirs.parametrizations.weight.original1.grad)


def test_weight_norm_that_starts_from_a_batch_has_outputs_of_mean_0_and_variance_1():
    x = torch.randn(64, *IMAGE, generator=torch.Generator().manual_seed(2))
    network = initialised(build(LAYERS, IMAGE, variant_named("wn_init"), "every"))
    network.settle(x)
    seen = {}
    for name, slot in network.slots.items():
        slot.register_forward_hook(lambda _module, _inputs, y, name=name: seen.update({name: y.detach()}))
    network(x)
    assert set(seen) == set(network.slots)
    for y in seen.values():
        dimensions = (0, *range(2, y.dim()))
        alive = y.var(dimensions, correction=0) > 1e-3  # a channel that no input reaches has no variance to scale
        assert alive.float().mean() > 0.8
        torch.testing.assert_close(y.mean(dimensions), torch.zeros(y.shape[1]), rtol=0, atol=1e-4)
        torch.testing.assert_close(
            y.var(dimensions, correction=0)[alive], torch.ones(int(alive.sum())), rtol=1e-2, atol=1e-2
        )


def test_standardised_weights_ignore_the_scale_and_the_shift_of_what_they_are_made_of():
    for shape in ((5, 3, 3, 3), (5, 12)):
        weights = torch.randn(shape, dtype=torch.float64)
        made = WeightStandardisation()(weights)
        torch.testing.assert_close(WeightStandardisation()(weights * 3 + 2), made, rtol=1e-4, atol=1e-4)
        flat = made.flatten(1)
        torch.testing.assert_close(flat.mean(1), torch.zeros(5, dtype=torch.float64))
        torch.testing.assert_close(flat.std(1), torch.ones(5, dtype=torch.float64), rtol=1e-4, atol=0)
        by_hand = (weights[0] - weights[0].mean()) / (weights[0].std(correction=1) + 1e-5)
        torch.testing.assert_close(made[0], by_hand)
    scaled = Slot(Dense("d", 5), (12,), variant_named("ws_scaled")).double()
    scaled.reparametrisation.scale.data.fill_(2.0)
    x = torch.randn(4, 12, dtype=torch.float64)
    plain = 2.0 * WeightStandardisation()(scaled.linear.weight) / 12**0.5
    torch.testing.assert_close(scaled(x), functional.linear(x, plain, scaled.linear.bias))


def test_affine_of_one_and_zero_is_the_identity():
    x = torch.randn(4, *IMAGE, generator=torch.Generator().manual_seed(2))
    plain = initialised(build(LAYERS, IMAGE, variant_named("vanilla")))
    for name in ("affine", "affine_gamma", "affine_beta", "affine_only", "bias_only"):
        assert torch.equal(initialised(build(LAYERS, IMAGE, variant_named(name)))(x), plain(x))


# ---- random numbers ----


def test_noise_has_a_fixed_stream():
    # Bits that every device and every later version must give.
    numbers = uniform_noise(7, 3, "conv1/mean", (4,), torch.ones(1)).tolist()
    assert numbers == [0.9873492121696472, 0.14200639724731445, 0.49724841117858887, 0.23392844200134277]
    other = [
        uniform_noise(8, 3, "conv1/mean", (4,), torch.ones(1)), uniform_noise(7, 4, "conv1/mean", (4,), torch.ones(1)),
        uniform_noise(7, 3, "conv2/mean", (4,), torch.ones(1)), uniform_noise(7, 3, "conv1/scale", (4,), torch.ones(1)),
    ]  # fmt: skip
    assert all(each.tolist() != numbers for each in other)
    many = uniform_noise(7, 3, "conv1", (20000,), torch.ones(1, dtype=torch.float64))
    assert many.dtype is torch.float64
    assert uniform_noise(7, 3, "conv1", (4,), torch.ones(1, dtype=torch.bfloat16)).dtype is torch.float32
    assert float(many.min()) >= 0
    assert float(many.max()) < 1
    assert abs(float(many.mean()) - 0.5) < 0.01
    assert abs(float(many.var()) - 1 / 12) < 0.003


def test_a_noisy_slot_asks_for_its_own_numbers_and_only_in_training():
    network = initialised(build(LAYERS, IMAGE, variant_named("bn_noisy")))
    x = torch.randn(4, *IMAGE, generator=torch.Generator().manual_seed(2))
    asked = []

    class Draws(StepDraws):
        def noise(self, name, shape, like):
            asked.append((name, shape))
            return super().noise(name, shape, like)

    one = network(x, Draws(1, 1))
    assert [name for name, _ in asked[:5]] == [
        f"conv1/{what}" for what in ("mean", "scale", "mean of an image", "radius", "angle")
    ]
    assert {name.split("/")[0] for name, _ in asked} == {"conv1", "conv2", "conv3", "dense1", "dense2"}
    assert same_bits(network(x, Draws(1, 1)), one)
    assert not same_bits(network(x, Draws(1, 2)), one)
    asked.clear()
    network(x)
    network.eval()(x, Draws(1, 1))
    assert asked == []


def test_a_drawn_start_is_the_same_for_every_row_and_leaves_the_weights_alone():
    rows = [VARIANTS.get(name) for name in ("bn_u", "bn_u_frozen", "bn_only", "output_only", "random_entries")]
    networks = [initialised(build(LAYERS, IMAGE, row, placement)) for row in rows for placement in ("hidden", "every")]
    plain = initialised(build(LAYERS, IMAGE, variant_named("bn_gamma_beta"), "every"))
    starts = [network.slots["conv2"].normaliser.weight.detach() for network in networks]
    assert all(same_bits(start, starts[0]) for start in starts)
    assert len(set(starts[0].tolist())) == len(starts[0])
    assert float(starts[0].min()) >= 0
    assert float(starts[0].max()) < 1
    for network in networks:
        assert not network.slots["conv2"].normaliser.bias.any()
        for name, slot in network.slots.items():
            assert same_bits(slot.drawn_weights, plain.slots[name].drawn_weights)
    assert not same_bits(initialised(build(LAYERS, IMAGE, rows[0]), seed=2).slots["conv2"].normaliser.weight, starts[0])
    with pytest.raises(ValueError, match="draws γ or β"):
        build(LAYERS, IMAGE, rows[0]).initialise(lambda slot: generator(1, "weights", slot))


def test_a_start_of_its_own_in_some_slots():
    rule = AffineRule(Affine.LEARNED, 1.0, initial_in=("first:2", 0.0))
    row = dataclasses.replace(variant_named("bn_gamma_beta"), name="mine", gamma=rule)
    network = initialised(build(LAYERS, IMAGE, row, "hidden"))
    starts = {name: set(slot.normaliser.weight.tolist()) for name, slot in network.slots.items() if slot.normaliser}
    assert starts == {"conv1": {0.0}, "conv2": {0.0}, "conv3": {1.0}, "dense1": {1.0}, "dense2": {1.0}}
    both = dataclasses.replace(row, gamma=dataclasses.replace(rule, initial=0.5, initial_until=1.0))
    network = initialised(build(LAYERS, IMAGE, both, "hidden"))
    assert set(network.slots["conv2"].normaliser.weight.tolist()) == {0.0}
    assert float(network.slots["conv3"].normaliser.weight.detach().min()) >= 0.5
