"""Evaluation per image, and population statistics, against explicit computations in float64."""

import copy
import math

import numpy as np
import pytest
import torch

from bnbench.components.architectures import ARCHITECTURES
from bnbench.training.evaluation import evaluate, evaluate_splits, with_population_statistics
from bnbench.training.seeding import generator
from support.networks import build, digest, pipeline, run_spec, trainer, variant_named

ARCHITECTURE_IMAGE = (1, 32, 32)


def network(architecture="3c3d", variant="bn_gamma_beta", placement="every"):
    """A network whose running statistics have seen a batch, and whose γ and β are not where they start."""
    layers = ARCHITECTURES.get(architecture).layers(4, 0.125)
    built = build(layers, ARCHITECTURE_IMAGE, variant_named(variant), placement)
    built.initialise(lambda slot: generator(1, "weights", slot))
    random = torch.Generator().manual_seed(4)
    for vector in built.affine_vectors():
        if vector.parameter != "bias":
            vector.tensor.data.add_(torch.randn(vector.tensor.shape, generator=random) * 0.2)
    built(torch.randn((16, *ARCHITECTURE_IMAGE), generator=random))
    return built


def batches(sizes, seed=3, dtype=torch.float32):
    random = torch.Generator().manual_seed(seed)
    return [
        (
            torch.randn((size, *ARCHITECTURE_IMAGE), generator=random).to(dtype),
            torch.randint(0, 4, (size,), generator=random),
        )
        for size in sizes
    ]


def image_by_image(model, data):
    """Mean loss and accuracy over images that were each evaluated alone, in float64."""
    model = copy.deepcopy(model).double().eval()
    losses, correct = [], []
    for images, labels in data:
        for image, label in zip(images, labels, strict=True):
            logits = model(image[None].double())[0].detach().numpy()
            largest = logits.max()
            losses.append(largest + math.log(np.exp(logits - largest).sum()) - logits[label])
            correct.append(int(np.argmax(logits)) == int(label))
    return np.array(losses), np.array(correct)


def test_each_image_has_the_same_weight():
    model, data = network(), batches((8, 8, 3))
    losses, correct = image_by_image(model, data)
    loss, accuracy = evaluate(model, data, "fp32")
    assert loss == pytest.approx(losses.mean(), rel=1e-5)
    assert accuracy == correct.mean()
    # A mean of the batches' means would be something else, so the test can tell.
    ends = np.cumsum((8, 8, 3))[:-1]
    assert abs(np.mean([part.mean() for part in np.split(losses, ends)]) - losses.mean()) > 1e-3


def test_the_size_of_the_batches_makes_no_difference():
    model = network()
    ((images, labels),) = batches((19,))
    results = [
        evaluate(model, list(zip(images.split(size), labels.split(size), strict=True)), "fp32")
        for size in (1, 4, 7, 19)
    ]
    for loss, accuracy in results[1:]:
        assert loss == pytest.approx(results[0][0], rel=1e-6)
        assert accuracy == results[0][1]


@pytest.mark.parametrize("training", [True, False])
def test_the_network_is_left_as_it_was(training):
    model = network().train(training)
    before = {name: digest(tensor) for name, tensor in model.state_dict().items()}
    evaluate(model, batches((8, 3)), "fp32")
    assert {name: digest(tensor) for name, tensor in model.state_dict().items()} == before
    assert all(module.training is training for module in model.modules())


def test_inference_uses_running_statistics_and_no_dropout():
    model, data = network("allcnnc"), batches((8,))
    first = evaluate(model, data, "fp32")
    assert evaluate(model, data, "fp32") == first
    assert first[0] == pytest.approx(image_by_image(model, data)[0].mean(), rel=1e-5)


def test_bf16_evaluates_close_to_fp32_and_not_the_same():
    model, data = network(), batches((8, 8))
    exact, rough = evaluate(model, data, "fp32"), evaluate(model, data, "bf16")
    assert rough[0] != exact[0]
    assert rough[0] == pytest.approx(exact[0], rel=0.05)


def test_a_loss_that_is_not_finite_is_reported_as_it_is():
    model = network().eval()
    model.slots["dense3"].normaliser.running_mean.fill_(math.inf)
    loss, accuracy = evaluate(model, batches((8,)), "fp32")
    assert not math.isfinite(loss)
    assert 0 <= accuracy <= 1


def test_splits_keep_their_order_and_names():
    model = network()
    splits = {"valid": batches((8,), seed=1), "test": batches((8,), seed=2)}
    rows = evaluate_splits(model, splits, "running", "fp32")
    assert [(row.split, row.statistics) for row in rows] == [("valid", "running"), ("test", "running")]
    assert (rows[0].loss, rows[0].accuracy) == evaluate(model, splits["valid"], "fp32")
    assert (rows[1].loss, rows[1].accuracy) == evaluate(model, splits["test"], "fp32")


@pytest.mark.parametrize("architecture", ["3c3d", "allcnnc"])
def test_population_statistics_against_two_passes(architecture):
    """Equations 2.26 and 2.27: E[x] = E_B[μ_B], Var[x] = m/(m-1) · E_B[σ²_B], over what reaches each BatchNorm."""
    model, data = network(architecture).double(), batches((8, 8, 8, 8), dtype=torch.float64)
    reached = {}
    probe = copy.deepcopy(model).train()
    for name, slot in probe.slots.items():
        reached[name] = []
        slot.normaliser.register_forward_pre_hook(lambda _, inputs, name=name: reached[name].append(inputs[0].detach()))
    for images, _ in data:
        probe(images)

    settled = with_population_statistics(model, data, "fp32")
    for name, inputs in reached.items():
        per_batch = [np.moveaxis(each.numpy(), 1, -1).reshape(-1, each.shape[1]) for each in inputs]
        m = len(per_batch[0])
        means = np.array([rows.sum(0) / m for rows in per_batch])
        variances = np.array([((rows - rows.sum(0) / m) ** 2).sum(0) / m for rows in per_batch])
        normaliser = settled.slots[name].normaliser
        np.testing.assert_allclose(normaliser.running_mean.numpy(), means.mean(0), rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(normaliser.running_var.numpy(), m / (m - 1) * variances.mean(0), rtol=1e-10)


def test_the_original_network_is_not_touched_by_population_statistics():
    model = network()
    before = {name: digest(tensor) for name, tensor in model.state_dict().items()}
    settled = with_population_statistics(model, batches((8, 8)), "fp32")
    assert {name: digest(tensor) for name, tensor in model.state_dict().items()} == before
    assert all(slot.normaliser.momentum == 0.1 for slot in model.slots.values())
    parameters = dict(model.named_parameters())
    for name, parameter in settled.named_parameters():
        assert digest(parameter) == digest(parameters[name])
        assert parameter.data_ptr() != parameters[name].data_ptr()
    assert not torch.equal(settled.slots["conv1"].normaliser.running_mean, model.slots["conv1"].normaliser.running_mean)


def test_population_statistics_mend_what_a_running_average_has_not_learned_yet():
    # docs/fidelity.md, point 11: before the first step the running statistics are 0 and 1.
    spec = run_spec("bn_gamma_beta", population_statistics=True, learning_rate=0.05)
    run = trainer(spec)
    data = list(pipeline(spec).evaluation_batches("train_eval", 8))[:-1]
    settled = with_population_statistics(run.network, data, "fp32")
    whole = torch.cat([images for images, _ in data])
    logits = copy.deepcopy(run.network).train()(whole)
    apart = {}
    for name, model in (("running", run.network), ("population", settled)):
        with torch.no_grad():
            apart[name] = (model.eval()(whole) - logits).abs().mean().item()
    assert apart["population"] < 0.3 * apart["running"]


def test_variants_without_batch_statistics_are_the_same_with_both():
    model = network(variant="vanilla", placement="hidden")
    data = batches((8, 8))
    assert evaluate(with_population_statistics(model, data, "fp32"), data, "fp32") == evaluate(model, data, "fp32")
