"""Rows beyond the five in training: what moves, what stays to the bit, what is recorded, what a pause changes."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from bnbench.components.variants import Affine, AffineRule
from bnbench.data.augmentation import cut_windows, jitter
from bnbench.errors import UserError
from bnbench.training.checkpoint import checkpoint_bytes, restore_checkpoint
from bnbench.training.evaluation import evaluate_splits, with_population_statistics
from bnbench.training.events import Finished
from bnbench.training.loop import draw_epoch, unaugmented
from bnbench.training.numerics import numerics
from bnbench.training.optimiser import build_optimiser
from bnbench.training.seeding import StepDraws
from support.networks import run_spec, same_bits, train, trainer, variant_named
from support.probing import probed

SAMPLE = [
    "ln_beta", "in_gamma", "gn_gamma_beta", "wn", "wn_gamma", "wn_init", "ws_ln", "ws_scaled", "bn_detached",
    "bn_init_stats", "bn_var_only_beta", "bn_running", "bn_population", "bn_linf", "bn_noisy", "bn_last_only",
    "bn_u_frozen", "bn_only", "bn_only_output", "output_only", "random_entries", "affine_gamma", "bias_only",
]  # fmt: skip


def spec_of(variant, **fields):
    placement = "first:3" if str(variant).startswith("in") else "hidden"
    return run_spec(variant, placement, epochs=1, **{"momentum": 0.9, "learning_rate": 0.02, **fields})


def moved(before, after):
    """Names of what is no longer the same bits."""
    return {name for name, value in after.items() if not same_bits(value, before[name])}


@pytest.mark.parametrize("variant", SAMPLE)
def test_what_is_not_learned_stays_to_the_bit_and_what_is_learned_moves(variant):
    run = trainer(spec_of(variant))
    run._settle()  # as it will be again, to the same bits
    before = {name: value.clone() for name, value in run.network.state_dict().items()}
    assert isinstance(train(run).last, Finished)
    after = run.network.state_dict()
    learned = {name for name, parameter in run.network.named_parameters() if parameter.requires_grad}
    statistics = {name for name, _ in run.network.named_buffers() if "running" in name or "tracked" in name}
    assert moved(before, after) - statistics == learned
    plans = {plan.site.slot: plan for plan in run.spec.slot_plans()}
    for slot, plan in plans.items():
        own = [p for name, p in run.network.named_parameters() if name.startswith(f"slots.{slot}.") and p.requires_grad]
        assert sum(p.numel() for p in own) == plan.learned


def test_random_entries_are_two_a_channel_and_all_else_stays():
    run = trainer(spec_of("random_entries"))
    weights = {name: slot.reparametrisation(slot.linear.weight).detach().clone()
               for name, slot in run.network.slots.items() if slot.reparametrisation is not None}  # fmt: skip
    drawn = {name: slot.linear.weight.detach().clone() for name, slot in run.network.slots.items()}
    assert set(weights) == {"conv1", "conv2", "conv3", "dense1", "dense2"}
    assert all(same_bits(weights[name], drawn[name]) for name in weights)
    train(run)
    places = {}
    for name, slot in run.network.slots.items():
        now = drawn[name] if name not in weights else slot.reparametrisation(slot.linear.weight).detach()
        changed = (now != drawn[name]).flatten(1)
        assert set(changed.sum(1).tolist()) <= ({0} if name not in weights else {0, 1, 2})
        if name in weights:
            assert changed.sum() > changed.shape[0]  # a channel behind dead inputs has no gradient
            places[name] = slot.reparametrisation.positions
            assert all(len(set(row)) == 2 for row in places[name].tolist())
    again = trainer(spec_of("random_entries", lr_factor=0.5))
    assert all(torch.equal(again.network.slots[name].reparametrisation.positions, places[name]) for name in places)
    other = trainer(spec_of("random_entries", seed=8))
    assert any(not torch.equal(other.network.slots[n].reparametrisation.positions, places[n]) for n in places)


def test_random_entries_decay():
    row = variant_named("random_entries")
    run = trainer(spec_of(row, l2=0.5))
    groups = [(len(group["params"]), group["weight_decay"]) for group in run.optimiser.param_groups]
    assert groups == [(5, 0.5)]


@pytest.mark.parametrize("variant", ["wn_gamma_beta", "wn_beta", "ws_scaled"])
def test_decay_of_weight_norm_is_half_lambda_the_squared_length_of_the_weights(variant):
    """Against the term in the loss: it acts on g alone, since ‖W‖² = Σ g²."""
    spec = spec_of(variant, momentum=0.0, l2=0.3, learning_rate=0.1)
    run, by_hand = trainer(spec), trainer(spec)
    images = torch.randn(8, 1, 32, 32, generator=torch.Generator().manual_seed(1))
    labels = torch.arange(8) % 4
    learned = [each for each in by_hand.network.parameters() if each.requires_grad]
    loss = functional.cross_entropy(by_hand.network(images, StepDraws(1, 0)), labels)
    if variant == "ws_scaled":  # what is standardised decays, too, as weights behind a normaliser do
        raw = [slot.linear.weight for slot in by_hand.network.slots.values()]
        scales = [slot.reparametrisation.scale for slot in by_hand.network.slots.values() if slot.reparametrisation]
        loss = loss + 0.15 * sum(each.square().sum() for each in (*raw, *scales))
    else:
        for slot in by_hand.network.slots.values():
            weights = slot.linear.weight
            made = weights if slot.reparametrisation is None else slot.reparametrisation(weights)
            if slot.reparametrisation is None or variant == "wn_gamma_beta":
                loss = loss + 0.15 * made.square().sum()
    gradients = torch.autograd.grad(loss, learned)
    expected = [each.detach() - 0.1 * gradient for each, gradient in zip(learned, gradients, strict=True)]
    functional.cross_entropy(run.network(images, StepDraws(1, 0)), labels).backward()
    run.optimiser.step()
    found = [each for each in run.network.parameters() if each.requires_grad]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.detach(), other, rtol=1e-5, atol=1e-6)
    directions = {id(slot.linear.weight) for slot in run.network.slots.values() if "direction" in slot.roles()}
    for group in run.optimiser.param_groups:
        assert not (group["weight_decay"] and any(id(each) in directions for each in group["params"]))


def test_the_scale_of_weight_norm_has_the_rate_of_gamma():
    row = dataclasses.replace(variant_named("wn_gamma"), name="slow", gamma=AffineRule(Affine.LEARNED, 1.0, 0.01))
    run = trainer(spec_of(row))
    scales = {id(slot.reparametrisation.scale) for slot in run.network.slots.values() if slot.reparametrisation}
    rates = {group["lr"] for group in run.optimiser.param_groups if id(group["params"][0]) in scales}
    assert rates == {0.02 * 0.01}
    with pytest.raises(Exception, match="leaves no parameter to learn"):
        still = dataclasses.replace(variant_named("wn"), name="still", train_weights=False)
        build_optimiser(trainer(spec_of("wn")).network.requires_grad_(False), still, run.spec.training)


def test_snapshots_of_weight_norm_have_its_scale_and_its_bias():
    run = trainer(spec_of("wn_gamma_beta"))
    starts = {name: slot.reparametrisation.scale.detach().clone()
              for name, slot in run.network.slots.items() if slot.reparametrisation}  # fmt: skip
    snapshots = train(run).snapshots()
    assert {parameter for _, parameter in snapshots} == {"scale", "bias"}
    for slot, start in starts.items():
        steps, values = snapshots[slot, "scale"]
        assert steps[0] == 0
        np.testing.assert_array_equal(values[0], start.numpy())
        assert not np.array_equal(values[-1], values[0])


# ---- what is evaluated ----


@pytest.mark.parametrize(
    ("variant", "statistics"),
    [("bn_gamma_beta", {"running", "population"}), ("bn_detached", {"running", "population"}),
     ("bn_mean_only", {"running", "population"}), ("bn_noisy", {"running", "population"}),
     ("gn_gamma_beta", {"running"}), ("bn_init_stats", {"running"}), ("wn", {"running"}), ("vanilla", {"running"})],
)  # fmt: skip
def test_population_statistics_are_evaluated_where_there_are_any(variant, statistics):
    run = trainer(spec_of(variant, population_statistics=True))
    evaluated = {(row[2], row[3]) for row in train(run).evaluations()}
    assert evaluated == {(split, each) for split in ("train_eval", "valid", "test") for each in statistics}


def test_population_statistics_of_running_batches_are_those_of_batch_norm():
    """Batch by batch with the batch's own statistics: before the first there are no others."""
    losses = {}
    for variant in ("bn_running", "bn_gamma_beta"):
        run = trainer(spec_of(variant, population_statistics=True))
        losses[variant] = [row[4] for row in train(run).evaluations() if row[0] == 0 and row[3] == "population"]
    np.testing.assert_allclose(losses["bn_running"], losses["bn_gamma_beta"], rtol=1e-5)


# ---- constants that are renewed ----

RENEWED = variant_named("bn_population").replace(name="renewed", options={"batches": 2, "refresh": 3})


def test_population_statistics_in_training_are_renewed_every_so_many_updates_from_the_same_batches():
    run, now, renewed = trainer(spec_of(RENEWED)), {}, {}
    batches = list(run._whole_batches())[:2]

    def statistics(network):
        return [buffer.clone() for name, buffer in network.named_buffers() if "running" in name]

    def look():
        now[run.step] = statistics(run.network)
        renewed[run.step] = statistics(with_population_statistics(run.network, batches, "fp32"))
        return False

    train(run, pause=look)
    assert sorted(now) == list(range(1, 8)), "asked after every step but the last"
    for step in range(1, 7):
        expected = renewed[step] if step % 3 == 0 else now[step]
        assert all(map(torch.equal, now[step + 1], expected)), step


def test_population_statistics_in_training_need_as_many_batches_as_the_row_says():
    assert trainer(spec_of(RENEWED, batch_size=20)).step == 0
    for batch_size in (21, 48):  # train_eval has 41 images
        with pytest.raises(UserError, match=f"need 2 whole batches: train_eval has 41 images, a batch {batch_size}"):
            trainer(spec_of(RENEWED, batch_size=batch_size))


def test_before_the_first_update_population_statistics_are_those_of_the_first_update():
    """Not the 0 and 1 that they would be until then: by the averages that evaluation takes, over the same batches."""
    run = trainer(spec_of(RENEWED))
    seen = with_population_statistics(run.network, list(run._whole_batches())[:2], "fp32")
    with numerics("fp32", torch.device("cpu"), 1):
        expected = evaluate_splits(seen, run._splits(), "running", "fp32")
        unset = evaluate_splits(run.network, run._splits(), "running", "fp32")
    told = {row[2]: row[4] for row in train(run).evaluations() if row[0] == 0}
    assert told == {each.split: pytest.approx(each.loss, rel=1e-6) for each in expected}
    assert all(abs(each.loss - told[each.split]) > 1e-3 for each in unset), "it would be seen"


def test_the_last_probe_sees_the_constants_that_the_next_update_would_and_the_run_does_not():
    """8 updates an epoch: with refresh 4 the end is where they would be renewed, with refresh 5 it is not."""
    for every, renewed in ((4, True), (5, False)):
        row = variant_named("bn_population").replace(name="other", options={"batches": 2, "refresh": every})
        run = trainer(probed(spec_of(row), {"landscape": {"schedule": "every:8"}}))
        told = train(run)
        assert run.step == 8
        last = next(row[5] for row in told.table("landscape") if row[0] == 8 and row[4] == 0.0)
        order, parameters = draw_epoch(run.spec, run._pipeline.train_size, 2, torch.device("cpu"))
        images, labels = run._pipeline.training_batch(order[:8], parameters)
        seen = with_population_statistics(run.network, list(run._whole_batches())[:2], "fp32")
        for each in seen.modules():
            if hasattr(each, "keep"):
                each.keep()
        with numerics("fp32", torch.device("cpu"), 1), torch.no_grad():
            expected = functional.cross_entropy((seen if renewed else run.network)(images), labels)
        assert last == pytest.approx(float(expected), rel=1e-6), every


# ---- starting from the first batch ----


def test_the_first_training_batch_is_settled_on_without_augmentation_before_anything_is_evaluated():
    seen = {}
    for crop_padding in (0, 2):
        run = trainer(spec_of("bn_init_stats", crop_padding=crop_padding))
        events = run.events()
        next(events)
        assert run.step == 0
        seen[crop_padding] = {name: value.clone() for name, value in run.network.named_buffers()}
    for name, value in seen[0].items():
        torch.testing.assert_close(value, seen[2][name])
        assert bool((value != (1.0 if "variance" in name else 0.0)).any())


def test_what_leaves_images_as_they_are():
    pixels = torch.rand(4, 12, 12, 3)
    own = unaugmented(4, 2)
    cut = cut_windows(pixels, image=torch.arange(4), row=own.row, column=own.column, flips=own.flip, size=8)
    assert torch.equal(cut, pixels[:, 2:10, 2:10].permute(0, 3, 1, 2))
    torch.testing.assert_close(jitter(cut, own), cut)


# ---- interruptions ----


@pytest.mark.parametrize(
    "variant",
    ["bn_init_stats", "wn_init", "bn_noisy", "bn_running", RENEWED, "bn_l1", "random_entries", "gn_gamma_beta"],
)
def test_a_run_that_was_interrupted_has_the_bytes_of_one_that_was_not(variant):
    spec = run_spec(variant, learning_rate=0.01, momentum=0.9, population_statistics=True)
    whole = train(trainer(spec))
    run = trainer(spec)
    first = train(run, pause=lambda: run.step >= 5)
    kept = checkpoint_bytes(run)
    resumed = trainer(spec)
    restore_checkpoint(resumed, kept)
    second = train(resumed)
    assert math.isfinite(whole.column("batch_loss")[-1])
    steps = np.concatenate([first.column("batch_loss"), second.column("batch_loss")])
    assert steps.tobytes() == whole.column("batch_loss").tobytes()
    assert first.evaluations() + second.evaluations() == whole.evaluations()


def test_two_runs_of_one_row_have_the_same_bytes():
    for variant in ("bn_noisy", "gn_gamma_beta", "wn_init"):
        assert train(trainer(spec_of(variant))).rows() == train(trainer(spec_of(variant))).rows()
