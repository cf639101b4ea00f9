"""The probe `covariate_shift`: a two-layer linear network by hand, and when there is nothing to be seen."""

import copy
from itertools import pairwise

import numpy as np
import pytest
import torch

from bnbench.components.architectures import Dense, Flatten
from bnbench.training.probing.covariate_shift import MOST_SLOTS, chosen_slots, covariate_shift
from bnbench.training.probing.moment import NotMeasuredError
from support.networks import train, trainer
from support.probing import batch_of, moment_of, probed_spec, rows, small_network

IMAGE = (1, 2, 2)
LINEAR = (Flatten(), Dense("first", 3, activation=False), Dense("second", 4, activation=False))


def moved(network, by=0.05):
    """A copy of which each parameter has been moved, and the state before."""
    before = copy.deepcopy(network.state_dict())
    numbers = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=numbers, dtype=parameter.dtype), alpha=by)
    return network, before


def gradient_of_second(state, hidden_state, images, labels):
    """The gradient of the second layer's weight and bias, the first layer of another state."""
    x = images.reshape(len(images), -1)
    hidden = x @ hidden_state["slots.first.linear.weight"].numpy().T + hidden_state["slots.first.linear.bias"].numpy()
    logits = hidden @ state["slots.second.linear.weight"].numpy().T + state["slots.second.linear.bias"].numpy()
    shares = np.exp(logits - logits.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    error = (shares - np.eye(4)[labels]) / len(labels)
    return np.concatenate([(error.T @ hidden).ravel(), error.sum(0)])


def test_a_linear_network_by_hand():
    network, before = moved(small_network(LINEAR, IMAGE, "vanilla"))
    after = copy.deepcopy(network.state_dict())
    images, labels = batch_of(IMAGE, 4)
    (measured,) = covariate_shift(moment_of(network, LINEAR, IMAGE, [(images, labels)], before=before))
    (row,) = rows(measured)
    numbers = images.numpy(), labels.numpy()
    ours = gradient_of_second(before, before, *numbers)
    theirs = gradient_of_second(before, after, *numbers)
    assert row["slot"] == "second", "before the first slot nothing changes, so it has no row"
    assert (row["step"], row["epoch"], row["statistics"]) == (3, 1, "batch")
    assert row["gradient_norm"] == pytest.approx(np.linalg.norm(ours), rel=1e-12)
    assert row["shift"] == pytest.approx(np.linalg.norm(ours - theirs), rel=1e-10)
    assert row["shift"] > 1e-3
    assert row["relative_shift"] == pytest.approx(row["shift"] / row["gradient_norm"], rel=1e-14)
    assert row["cosine"] == pytest.approx(ours @ theirs / np.linalg.norm(ours) / np.linalg.norm(theirs), rel=1e-12)


def test_every_slot_before_moves_with_all_its_parameters_and_later_ones_do_not():
    layers = (Flatten(), Dense("a", 3), Dense("b", 3), Dense("c", 4, activation=False))
    network, before = moved(small_network(layers, IMAGE))
    batch = batch_of(IMAGE, 4)
    reference = copy.deepcopy(network)
    (measured,) = covariate_shift(moment_of(network, layers, IMAGE, [batch], before=before))

    def gradients(updated):
        state = {name: (reference.state_dict() if name.split(".")[1] in updated else before)[name] for name in before}
        mixed = copy.deepcopy(reference)
        mixed.load_state_dict(state)
        torch.nn.functional.cross_entropy(mixed(batch[0]), batch[1]).backward()
        return {
            name: torch.cat([each.grad.reshape(-1) for each in slot.parameters()]) for name, slot in mixed.slots.items()
        }

    for row, updated in zip(rows(measured), ({"a"}, {"a", "b"}), strict=True):
        difference = gradients(set())[row["slot"]] - gradients(updated)[row["slot"]]
        assert row["shift"] == pytest.approx(float(difference.norm()), rel=1e-9)


def test_over_batches_of_train_eval_gradients_are_means():
    network, before = moved(small_network(LINEAR, IMAGE, "vanilla"))
    after = copy.deepcopy(network.state_dict())
    batches = [batch_of(IMAGE, 4, seed=seed) for seed in (1, 2, 3)]
    part = batch_of(IMAGE, 4, images=5)
    moment = moment_of(
        network, LINEAR, IMAGE, [batch_of(IMAGE, 4)], before=before,
        evaluation_batches=lambda split, size: iter([*batches, part] if (split, size) == ("train_eval", 12) else []),
    )  # fmt: skip
    (measured,) = covariate_shift(moment, batches=3)
    (row,) = rows(measured)
    ours, theirs = (
        np.mean([gradient_of_second(before, hidden, x.numpy(), y.numpy()) for x, y in batches], axis=0)
        for hidden in (before, after)
    )
    assert row["gradient_norm"] == pytest.approx(np.linalg.norm(ours), rel=1e-12)
    assert row["shift"] == pytest.approx(np.linalg.norm(ours - theirs), rel=1e-10)
    with pytest.raises(NotMeasuredError, match="train_eval has 3 whole batches, not 4"):
        list(covariate_shift(moment, batches=4))


def test_each_of_several_batches_is_normalised_by_its_own_statistics_and_none_moves_the_running_ones():
    layers = (Flatten(), Dense("a", 3), Dense("b", 3), Dense("c", 4, activation=False))
    network, before = moved(small_network(layers, IMAGE))
    batches = [batch_of(IMAGE, 4, seed=seed) for seed in (1, 2)]
    reference = copy.deepcopy(network)
    reference.load_state_dict(before)
    for images, labels in batches:
        (torch.nn.functional.cross_entropy(reference(images), labels) / 2).backward()
    own = {name: torch.cat([each.grad.reshape(-1) for each in slot.parameters()])
           for name, slot in reference.slots.items()}  # fmt: skip
    (measured,) = covariate_shift(
        moment_of(network, layers, IMAGE, [batch_of(IMAGE, 4)], before=before,
                  evaluation_batches=lambda split, size: iter(batches)), batches=2,
    )  # fmt: skip
    assert [row["slot"] for row in rows(measured)] == ["b", "c"]
    for row in rows(measured):
        assert row["gradient_norm"] == pytest.approx(float(own[row["slot"]].norm()), rel=1e-10)
    for name, buffer in network.named_buffers():
        assert torch.equal(buffer, before[name]), name


def test_where_nothing_was_updated_nothing_shifts():
    network = small_network(LINEAR, IMAGE, "vanilla")
    before = copy.deepcopy(network.state_dict())
    (measured,) = covariate_shift(moment_of(network, LINEAR, IMAGE, [batch_of(IMAGE, 4)], before=before))
    (row,) = rows(measured)
    assert (row["shift"], row["relative_shift"]) == (0.0, 0.0)
    assert row["gradient_norm"] > 0


def test_a_network_of_one_slot_cannot_be_measured():
    layers = (Flatten(), Dense("only", 4, activation=False))
    network = small_network(layers, IMAGE, "vanilla", "every")
    with pytest.raises(NotMeasuredError, match="no slot but the first"):
        list(
            covariate_shift(
                moment_of(network, layers, IMAGE, [batch_of(IMAGE, 4)], before=copy.deepcopy(network.state_dict()))
            )
        )


def test_of_a_deep_network_twelve_slots_are_looked_at_the_last_among_them():
    names = [f"conv{index}" for index in range(1, 56)]
    chosen = chosen_slots(names)
    assert len(chosen) == MOST_SLOTS == 12
    assert chosen[-1] == "conv55"
    places = [names.index(name) for name in chosen]
    assert {b - a for a, b in pairwise(places)} <= {4, 5}
    assert chosen_slots(names[:12]) == names[:12]


def test_in_a_run_it_sees_the_real_update_momentum_and_all_and_none_after_the_end():
    spec = probed_spec({"covariate_shift": {"schedule": "every:4"}}, momentum=0.9)
    told = train(trainer(spec))
    assert sorted({row[0] for row in told.table("covariate_shift")}) == [0, 4, 8, 12]
    assert {row[3] for row in told.table("covariate_shift")} == {"conv2", "conv3", "dense1", "dense2", "dense3"}
    still = train(trainer(probed_spec({"covariate_shift": True}, "vanilla", learning_rate=1e-30, l2=0.0)))
    assert {row[5] for row in still.table("covariate_shift")} == {0.0}
