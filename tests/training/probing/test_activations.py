"""The probe `activations`: moments by a straight computation, and channels that never get through a ReLU."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from bnbench.components.architectures import Conv, Dense, GlobalMean
from bnbench.training.probing import activations as module
from bnbench.training.probing.activations import activations
from bnbench.training.probing.moment import NotMeasuredError
from support.networks import splits, train, trainer
from support.probing import batch_of, moment_of, probed_spec, rows, small_network

IMAGE = (2, 5, 5)
LAYERS = (Conv("conv", 4, kernel=3), GlobalMean(), Dense("last", 3, activation=False))
BATCHES = [batch_of(IMAGE, 3, seed=seed) for seed in (0, 1, 2)]


def outputs(network, name):
    """What a slot hands over, (channels, images × positions), batch after batch."""
    found = []
    hook = network.slots[name].register_forward_hook(lambda slot, given, output: found.append(output.detach()))
    with torch.no_grad():
        for images, _ in BATCHES:
            network(images)
    hook.remove()
    return np.concatenate([each.transpose(0, 1).reshape(each.shape[1], -1).numpy() for each in found], axis=1)


@pytest.mark.parametrize("statistics", ["batch", "running"])
@pytest.mark.parametrize("at_once", [1 << 22, 700])
def test_the_moments_are_those_of_all_images_and_positions(statistics, at_once, monkeypatch):
    monkeypatch.setattr(module, "_AT_ONCE", at_once)
    network = small_network(LAYERS, IMAGE)
    with torch.no_grad():
        network.slots["conv"].normaliser.bias[1] = -40.0
    (measured,) = activations(statistics, moment_of(network, LAYERS, IMAGE, BATCHES))
    network = small_network(LAYERS, IMAGE).train(statistics == "batch")
    with torch.no_grad():
        network.slots["conv"].normaliser.bias[1] = -40.0
    found = rows(measured)
    assert [row["slot"] for row in found] == ["conv", "last"]
    for row in found:
        values = outputs(network, row["slot"])
        assert row["mean"] == pytest.approx(values.mean(), rel=1e-12)
        assert row["standard_deviation"] == pytest.approx(values.std(axis=1).mean(), rel=1e-12)
        assert row["kurtosis"] == pytest.approx(stats.kurtosis(values, axis=1, fisher=False).mean(), rel=1e-10)
        assert row["never_positive"] == (values.max(axis=1) <= 0).mean()
        assert row["statistics"] == statistics
    assert found[0]["never_positive"] == 0.25


def test_a_constant_channel_has_no_kurtosis():
    network = small_network(LAYERS, IMAGE)
    with torch.no_grad():
        network.slots["conv"].normaliser.weight.zero_()
        network.slots["conv"].normaliser.bias.fill_(0.1)
    (measured,) = activations("batch", moment_of(network, LAYERS, IMAGE, BATCHES))
    conv, last = rows(measured)
    assert math.isnan(conv["kurtosis"])
    assert conv["standard_deviation"] == pytest.approx(0.0, abs=1e-12)
    assert math.isnan(last["kurtosis"])


def test_without_a_whole_batch_there_is_nothing_to_normalise_with():
    network = small_network(LAYERS, IMAGE)
    short = [tuple(each[:5] for each in BATCHES[0])]
    moment = moment_of(network, LAYERS, IMAGE, BATCHES, evaluation_batches=lambda split, size: iter(short))
    with pytest.raises(NotMeasuredError, match="no whole batch of 12"):
        list(activations("batch", moment))
    assert len(list(activations("running", moment))) == 1


def test_a_run_has_them_at_every_evaluation_of_its_first_images_only():
    spec = probed_spec({"activations": {"statistics": "running"}}, architecture="mlp")
    images = splits((640, 640, 20, 20))
    pixels = images.train_eval.pixels.copy()
    pixels[512:] = np.random.default_rng(0).integers(0, 17, pixels[512:].shape)
    object.__setattr__(images, "train_eval", type(images.train_eval)(pixels, images.train_eval.labels))
    first, other = (
        next(event for event in trainer(spec, each).events() if getattr(event, "table", "") == "activations")
        for each in (splits((640, 640, 20, 20)), images)
    )
    assert rows(first) == rows(other)
    told = train(trainer(spec))
    assert [row[0] for row in told.table("activations")] == [0] * 4 + [1] * 4 + [2] * 4
