"""Optimisers against updates written by hand; what decays, what moves, at which rate."""

import dataclasses

import numpy as np
import pytest
import torch

from bnbench.components.architectures import ARCHITECTURES
from bnbench.components.optimisers import OPTIMISER_SETTINGS, OPTIMISERS, Optimiser
from bnbench.components.variants import Affine, AffineRule
from bnbench.errors import UserError
from bnbench.options import Option
from bnbench.problem import Training
from bnbench.training.optimiser import build_optimiser, parameter_groups
from bnbench.training.seeding import generator
from support.networks import build, run_spec, train, trainer, variant_named

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


# --- which parameters decay ---------------------------------------------------------------------------------------


def away_from_their_starts(model):
    random = torch.Generator().manual_seed(0)
    for vector in model.affine_vectors():
        vector.tensor.data.add_(torch.rand(vector.tensor.shape, generator=random, dtype=torch.float64) + 1)


def loss_of(model, seed=3):
    random = torch.Generator().manual_seed(seed)
    images = torch.randn(8, 1, 32, 32, generator=random, dtype=torch.float64)
    labels = torch.randint(0, 4, (8,), generator=random)
    return torch.nn.functional.cross_entropy(model(images, None), labels)


@pytest.mark.parametrize("variant", ["vanilla", "bn", "bn_gamma_beta"])
@pytest.mark.parametrize("scope", ["weights", "all"])
def test_decay_is_the_gradient_of_half_lambda_times_the_squares_of_what_the_scope_says(variant, scope):
    row, settings = variant_named(variant), training(l2=0.01, l2_scope=scope)
    decayed, explicit = network(row), network(row)
    for model in (decayed, explicit):
        model.eval()
        away_from_their_starts(model)
    optimiser = build_optimiser(decayed, row, settings)
    penalised = [
        parameter
        for name, parameter in explicit.named_parameters()
        if parameter.requires_grad and (scope == "all" or name.endswith("linear.weight"))
    ]
    loss = loss_of(explicit) + 0.5 * 0.01 * sum(p.square().sum() for p in penalised)
    loss.backward()
    loss_of(decayed).backward()
    optimiser.step()
    before = {name: parameter.detach() for name, parameter in explicit.named_parameters()}
    for name, parameter in decayed.named_parameters():
        gradient = explicit.get_parameter(name).grad
        expected = before[name] if gradient is None else before[name] - 0.3 * gradient
        torch.testing.assert_close(parameter.detach(), expected, rtol=1e-12, atol=1e-12, msg=name)


def test_the_groups_of_a_scope_that_is_everything():
    model = network(variant_named("bn_gamma_beta"))
    groups = parameter_groups(model, variant_named("bn_gamma_beta"), training(l2_scope="all"))
    assert [(len(group["params"]), group["weight_decay"]) for group in groups] == [
        (6, 0.01), (1, 0.01), (5, 0.01), (5, 0.01)
    ]  # fmt: skip


# --- AdamW --------------------------------------------------------------------------------------------------------


def adamw_by_hand(w, gradients, *, rate, decay, betas, eps):
    m = v = np.zeros_like(w)
    for t, g in enumerate(gradients, start=1):
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g * g
        w = w - rate * decay * w
        w = w - rate * (m / (1 - betas[0] ** t)) / (np.sqrt(v / (1 - betas[1] ** t)) + eps)
    return w


@pytest.mark.parametrize("options", [{}, {"betas": (0.8, 0.95), "eps": 1e-3}])
def test_adamw_against_a_loop_in_numpy(options):
    row = dataclasses.replace(
        variant_named("bn_gamma_beta"), gamma=AffineRule(Affine.LEARNED, 0.5, learning_rate_factor=0.1)
    )
    settings = training(optimiser="adamw", learning_rate=0.03, l2=0.2, **options)
    model = network(row)
    optimiser = build_optimiser(model, row, settings)
    before = {name: parameter.detach().numpy().copy() for name, parameter in model.named_parameters()}
    steps = []
    for seed in (1, 2, 3, 4):
        steps.append(set_gradients(model, seed))
        optimiser.step()
    for name, parameter in model.named_parameters():
        expected = adamw_by_hand(
            before[name],
            [gradients[name].numpy() for gradients in steps],
            rate=0.03 * (0.1 if name.endswith("normaliser.weight") else 1),
            decay=0.2 if name.endswith("linear.weight") else 0.0,
            betas=settings.betas,
            eps=settings.eps,
        )
        np.testing.assert_allclose(parameter.detach().numpy(), expected, rtol=1e-12, atol=1e-14, err_msg=name)


# --- the rate over a run ------------------------------------------------------------------------------------------


def test_every_update_has_the_rate_that_the_schedule_says_and_records_it():
    row = dataclasses.replace(
        variant_named("bn_gamma_beta"),
        name="slow",
        gamma=AffineRule(Affine.LEARNED, 1.0, learning_rate_factor=0.01),
    )
    run = trainer(run_spec(row, rates="cosine", floor=0.001))
    seen = []
    run.optimiser.register_step_pre_hook(lambda optimiser, *_: seen.append([g["lr"] for g in optimiser.param_groups]))
    told = train(run)
    rates = [0.001 + (0.05 - 0.001) * (1 + np.cos(np.pi * step / 16)) / 2 for step in range(16)]
    np.testing.assert_allclose(told.column("learning_rate"), rates, rtol=1e-14)
    weights, biases, gammas, betas = np.array(seen).T
    np.testing.assert_array_equal(weights, told.column("learning_rate"))
    np.testing.assert_array_equal(gammas, weights * 0.01)
    np.testing.assert_array_equal(biases, weights)
    np.testing.assert_array_equal(betas, weights)


def test_a_schedule_that_never_falls_is_a_constant_rate_to_the_last_bit():
    constant = train(trainer(run_spec("bn_gamma_beta", momentum=0.9)))
    never = train(trainer(run_spec("bn_gamma_beta", momentum=0.9, rates="steps", milestones=[2])))
    assert never.rows() == constant.rows()


def test_nesterov_and_adamw_are_other_trainings_than_momentum():
    momentum, nesterov, adamw = (
        train(trainer(run_spec("bn", epochs=1, **settings))).column("batch_loss")
        for settings in ({"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}, {"optimiser": "adamw"})
    )
    assert momentum[0] == nesterov[0] == adamw[0]
    assert len({momentum[2], nesterov[2], adamw[2]}) == 3


# --- one's own ----------------------------------------------------------------------------------------------------


def signs(groups, *, momentum, scale):
    class Signs(torch.optim.SGD):
        def step(self, closure=None):
            for group in self.param_groups:
                for parameter in group["params"]:
                    parameter.grad.copy_(parameter.grad.sign() * scale)
            return super().step(closure)

    return Signs(groups, momentum=momentum)


def nothing(groups):
    return groups


@pytest.fixture
def own_optimiser(monkeypatch):
    monkeypatch.setattr(OPTIMISERS, "_session", {})

    def register(**fields):
        given = {"settings": ("momentum",), "options": (Option("scale", 0.5, "of a sign", minimum=0.0),)} | fields
        row = Optimiser("signs", "signs", "θ ← θ − η·s·sign(g)", "part of g", "a test", f"{__name__}:signs", **given)
        return OPTIMISERS.register_for_session(row)

    return register


def test_an_optimiser_of_ones_own_trains_and_its_options_name_the_run(own_optimiser):
    own_optimiser()
    spec = run_spec("bn", optimiser="signs", learning_rate=0.01)
    assert spec.resolved()["training"]["optimiser_options"] == {"scale": 0.5}
    assert np.isfinite(train(trainer(spec)).column("batch_loss")).all()
    assert run_spec("bn", optimiser="signs", learning_rate=0.01, optimiser_options={"scale": 0.5}).run_id == spec.run_id
    other = run_spec("bn", optimiser="signs", learning_rate=0.01, optimiser_options={"scale": 1})
    assert other.setting_id != spec.setting_id
    own_optimiser(revision=2)
    assert spec.resolved()["optimiser_revision"] == 2


def test_what_builds_no_optimiser_is_named(own_optimiser):
    own_optimiser(settings=(), options=())
    OPTIMISERS.register_for_session(dataclasses.replace(OPTIMISERS.get("signs"), build=f"{__name__}:nothing"))
    with pytest.raises(UserError, match=r"optimiser 'signs': .*:nothing made a list"):
        trainer(run_spec("bn", optimiser="signs"))


def test_every_setting_belongs_to_an_optimiser():
    rows = [OPTIMISERS.get(name) for name in ("sgd", "adamw")]
    assert {each for row in rows for each in row.settings} == set(OPTIMISER_SETTINGS) < set(Training.model_fields)
