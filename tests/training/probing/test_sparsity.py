"""The sparsity probe: against networks written out by hand, and without a trace in the numbers of a run."""

import copy
from itertools import islice, pairwise

import numpy as np
import pytest
import torch
from torch.nn import functional

from bnbench.network.layers import Slot
from bnbench.training.events import Measured
from bnbench.training.probing.sparsity import SPARSITY_BATCHES, zeroed_shares
from support.networks import Told, kinds, pipeline, run_spec, splits, train, trainer


def some_network(architecture, variant="bn_gamma_beta", placement="hidden"):
    """A network with running statistics, γ and β that differ from channel to channel, and images for it."""
    spec = run_spec(variant, placement, architecture=architecture)
    network = trainer(spec).network
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for vector in network.affine_vectors():
            vector.tensor.add_(torch.randn(vector.tensor.shape, generator=generator), alpha=0.3)
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
                module.running_mean.normal_(0.0, 0.3, generator=generator)
                module.running_var.uniform_(0.5, 2.0, generator=generator)
    return network, list(pipeline(spec).evaluation_batches("train_eval", 16))


def slot_by_hand(network, name, x):
    """A slot's pre-activations, in eval mode, from its weights."""
    slot = network.slots[name]
    linear, normaliser = slot.linear, slot.normaliser
    if isinstance(linear, torch.nn.Linear):
        x = functional.linear(x, linear.weight, linear.bias)
    else:
        x = functional.conv2d(x, linear.weight, linear.bias, linear.stride, linear.padding)
    if normaliser is None:
        return x
    shape = (1, -1) + (1,) * (x.dim() - 2)
    mean, variance, scale, shift = (
        each.view(shape)
        for each in (normaliser.running_mean, normaliser.running_var, normaliser.weight, normaliser.bias)
    )
    return (x - mean) / (variance + 1e-5).sqrt() * scale + shift


def three_conv_three_dense_by_hand(network, images):
    """ReLU straight after each slot, then the pool: the order of the paper, not that of the network."""
    rectified = {}
    x = images
    for name in ("conv1", "conv2", "conv3", "dense1", "dense2"):
        x = x.flatten(1) if name == "dense1" else x
        x = slot_by_hand(network, name, x).relu()
        rectified[name] = x
        if name.startswith("conv"):
            # Zeros at the right and at the bottom: after a ReLU they never win.
            x = functional.max_pool2d(functional.pad(x, (0, 1, 0, 1)), 3, 2)
    return rectified


@pytest.mark.parametrize("placement", ["hidden", "first", "every"])
@pytest.mark.parametrize("variant", ["vanilla", "bn_gamma_beta"])
def test_the_share_is_that_of_zeros_after_a_relu_before_the_pool(variant, placement):
    network, batches = some_network("3c3d", variant, placement)
    with torch.no_grad():
        outputs = [three_conv_three_dense_by_hand(network, images) for images, _ in batches]
    shares = zeroed_shares(network, batches, "fp32")
    assert list(shares) == ["conv1", "conv2", "conv3", "dense1", "dense2"]
    for slot, share in shares.items():
        zeros = sum(int((output[slot] == 0).sum()) for output in outputs)
        everything = sum(output[slot].numel() for output in outputs)
        assert 0 < share < 1
        # One rounding may fall on the other side of zero.
        assert share == pytest.approx(zeros / everything, abs=1.5 / everything)


def test_where_the_output_has_a_relu_it_has_a_row():
    network, batches = some_network("allcnnc", placement="every")
    assert list(zeroed_shares(network, batches, "fp32")) == [f"conv{n}" for n in range(1, 10)]
    network, batches = some_network("mlp")
    assert list(zeroed_shares(network, batches, "fp32")) == ["dense1", "dense2", "dense3"]


def test_nothing_and_everything_is_zeroed():
    network, batches = some_network("3c3d")
    with torch.no_grad():
        network.slots["conv2"].normaliser.weight.zero_()
        network.slots["conv2"].normaliser.bias.fill_(0.5)
        network.slots["dense1"].normaliser.weight.zero_()
        network.slots["dense1"].normaliser.bias.zero_()
    shares = zeroed_shares(network, batches, "fp32")
    assert shares["conv2"] == 0
    # Exactly 0 is zeroed, or rather: after the ReLU it is 0.
    assert shares["dense1"] == 1


def test_the_shares_do_not_depend_on_how_the_images_are_cut_into_batches():
    network, batches = some_network("3c3d", "vanilla")
    images = torch.cat([each for each, _ in batches])
    labels = torch.cat([each for _, each in batches])
    cut = [(images[start:stop], labels[start:stop]) for start, stop in pairwise((0, 20, 41))]
    # A convolution's last bits may depend on the size of the batch.
    assert zeroed_shares(network, batches, "fp32") == pytest.approx(zeroed_shares(network, cut, "fp32"), abs=1e-3)


@pytest.mark.parametrize("training", [True, False])
def test_the_network_is_left_as_it_was(training):
    network, batches = some_network("3c3d")
    network.train(training)
    before = copy.deepcopy(network.state_dict())
    zeroed_shares(network, batches, "fp32")
    assert network.training is training
    assert all(module.training is training for module in network.modules())
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert not any(module._forward_hooks for module in network.modules())


def test_a_pass_that_goes_around_a_slot_is_noticed(monkeypatch):
    network, batches = some_network("3c3d")
    # As a fused or compiled network would: the slot's arithmetic, without calling the slot.
    monkeypatch.setattr(Slot, "__call__", Slot.forward)
    with pytest.raises(RuntimeError, match=r"3 passes, but the slots saw \[0, 0, 0, 0, 0\]"):
        zeroed_shares(network, batches, "fp32")
    assert not any(module._forward_hooks for module in network.modules())


def test_without_images_there_is_nothing_to_be_said():
    network, _ = some_network("3c3d")
    with pytest.raises(RuntimeError, match="0 passes"):
        zeroed_shares(network, [], "fp32")


@pytest.mark.parametrize("architecture", ["3c3d", "allcnnc"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_probe_does_not_change_a_bit_of_what_a_run_records(architecture, precision):
    fields = {"architecture": architecture, "precision": precision, "population_statistics": True}
    without = train(trainer(run_spec(**fields)))
    told = train(trainer(run_spec(**fields, sparsity=True)))
    assert told.rows() == without.rows()
    assert without.rows_of("sparsity") == []
    slots = [len(event.columns["slot"]) for event in told.rows_of("sparsity")]
    assert slots == [5 if architecture == "3c3d" else 9] * 3


def test_every_epoch_has_its_shares_those_of_the_network_at_that_moment():
    spec = run_spec(sparsity=True)
    run = trainer(spec)
    batches = list(pipeline(spec).evaluation_batches("train_eval", 125))
    seen = []
    for event in run.events():
        if isinstance(event, Measured) and event.table == "sparsity":
            rows = Told([event]).table("sparsity")
            assert {row[2]: row[3] for row in rows} == zeroed_shares(run.network, batches, "fp32")
            assert {row[1] for row in rows} == {run.step}
            seen += {row[0] for row in rows}
    assert seen == [0, 1, 2]


def test_only_the_first_images_of_train_eval_are_looked_at():
    spec = run_spec(sparsity=True)
    images = splits((640, 640, 20, 20))
    pixels = images.train_eval.pixels.copy()
    pixels[500:] = np.random.default_rng(0).integers(0, 17, pixels[500:].shape)
    other = splits((640, 640, 20, 20))
    object.__setattr__(other, "train_eval", type(images.train_eval)(pixels, images.train_eval.labels))
    first, second = (Told(list(islice(trainer(spec, each).events(), 3))) for each in (images, other))
    assert kinds(first.events) == kinds(second.events) == ["c", "z", "e"]
    assert first.table("curves")[0] != second.table("curves")[0]
    assert first.table("sparsity") == second.table("sparsity")
    assert SPARSITY_BATCHES * 125 == 500
