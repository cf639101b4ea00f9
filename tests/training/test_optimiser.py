"""SGD against an update written by hand; what decays, what moves, at which rate."""

import dataclasses

import pytest
import torch

from bnbench.architecture import ARCHITECTURES
from bnbench.errors import UserError
from bnbench.problem import Training
from bnbench.training.optimiser import build_optimiser, parameter_groups
from bnbench.training.seeding import generator
from bnbench.variant import Affine, AffineRule
from support.networks import build, run_spec, variant_named

LAYERS = ARCHITECTURES.get("3c3d").layers(4, 0.125)


def network(variant, placement="hidden"):
    built = build(LAYERS, (1, 32, 32), variant, placement).double()
    built.initialise(lambda slot: generator(1, "weights", slot))
    return built


def training(**fields):
    return Training(**{"batch_size": 8, "epochs": 1, "learning_rate": 0.3, "l2": 0.01, **fields})


def set_gradients(model, seed):
    random = torch.Generator().manual_seed(seed)
    gradients = {}
    for name, parameter in model.named_parameters():
        gradient = torch.randn(parameter.shape, generator=random, dtype=parameter.dtype)
        gradients[name] = gradient
        parameter.grad = gradient.clone() if parameter.requires_grad else None
    return gradients


def moved_by_hand(model, gradients_of_steps, *, rate, decay, momentum=0.0, gamma_factor=1.0, beta_factor=1.0):
    """Where every parameter should be: v ← μ v + (g + λ w), w ← w - η v; λ for convolution and dense weights alone."""
    after = {}
    for name, parameter in model.named_parameters():
        w, velocity = parameter.detach().clone(), 0.0
        _, _, module, kind = name.split(".")
        factor = {"weight": gamma_factor, "bias": beta_factor}[kind] if module == "normaliser" else 1.0
        own_decay = decay if (module, kind) == ("linear", "weight") else 0.0
        for gradients in gradients_of_steps:
            if parameter.requires_grad:
                velocity = momentum * velocity + gradients[name] + own_decay * w
                w = w - rate * factor * velocity
        after[name] = w
    return after


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("variant", ["vanilla", "bn", "bn_beta", "bn_gamma", "bn_gamma_beta"])
def test_steps_against_an_update_by_hand(variant, momentum):
    row, settings = variant_named(variant), training(momentum=momentum)
    model = network(row)
    optimiser = build_optimiser(model, row, settings)
    random = torch.Generator().manual_seed(0)
    for vector in model.affine_vectors():  # away from 0, so that a decay would show
        vector.tensor.data.add_(torch.rand(vector.tensor.shape, generator=random, dtype=torch.float64) + 1)
    probe = network(row)
    probe.load_state_dict(model.state_dict())
    steps = [set_gradients(probe, seed) for seed in (1, 2, 3)]
    expected = moved_by_hand(model, steps, rate=0.3, decay=0.01, momentum=momentum)
    for seed in (1, 2, 3):
        set_gradients(model, seed)
        optimiser.step()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.detach(), expected[name], rtol=1e-13, atol=1e-13, msg=name)


def test_rates_and_decays_of_the_groups():
    row = dataclasses.replace(
        variant_named("bn_gamma_beta"),
        gamma=AffineRule(Affine.LEARNED, 0.5, learning_rate_factor=0.1),
        beta=AffineRule(Affine.LEARNED, 0.0, learning_rate_factor=2.0),
    )
    model = network(row)
    settings = training()
    optimiser = build_optimiser(model, row, settings)
    found = [(len(g["params"]), g["lr"], g["weight_decay"]) for g in optimiser.param_groups]
    assert found == [(6, 0.3, 0.01), (1, 0.3, 0.0), (5, 0.3 * 0.1, 0.0), (5, 0.3 * 2.0, 0.0)]
    steps = [set_gradients(network(row), seed=1)]
    expected = moved_by_hand(model, steps, rate=0.3, decay=0.01, gamma_factor=0.1, beta_factor=2.0)
    set_gradients(model, seed=1)
    optimiser.step()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.detach(), expected[name], rtol=1e-13, atol=1e-13)


def test_frozen_parameters_are_in_no_group():
    for variant in ("bn", "bn_beta", "bn_gamma"):
        model = network(variant_named(variant))
        grouped = [
            id(p) for group in parameter_groups(model, variant_named(variant), training()) for p in group["params"]
        ]
        learned = [id(p) for p in model.parameters() if p.requires_grad]
        assert sorted(grouped) == sorted(learned)
        assert len(learned) < len(list(model.parameters()))


def test_a_row_that_trains_batchnorm_alone_moves_nothing_else():
    row = dataclasses.replace(variant_named("bn_gamma_beta"), name="only_bn", train_weights=False)
    model = network(row)
    groups = parameter_groups(model, row, training())
    assert [len(group["params"]) for group in groups] == [5, 5]
    assert all(group["weight_decay"] == 0 for group in groups)


def test_a_row_that_leaves_nothing_to_learn_is_refused():
    row = dataclasses.replace(variant_named("bn"), name="still", train_weights=False)
    with pytest.raises(UserError, match="'still' leaves no parameter to learn"):
        build_optimiser(network(row), row, run_spec("bn").training)
