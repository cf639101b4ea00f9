"""The probe `landscape`: a quadratic in closed form, and the network of a run at its own step."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from bnbench.training.loop import draw_epoch
from bnbench.training.probing.gradients import flat, loss_and_gradient, norm
from bnbench.training.probing.landscape import RELATIVE_STEPS, along_gradient
from bnbench.training.probing.moment import NotMeasuredError, TrainingBatch
from bnbench.training.seeding import StepDraws
from support.networks import CPU, pipeline, run_spec, train, trainer
from support.probing import probed_spec

RATE = 0.03


@pytest.fixture
def quadratic():
    """½·xᵀAx with a symmetric A, at a point."""
    numbers = np.random.default_rng(1)
    matrix = numbers.normal(size=(5, 5))
    return matrix + matrix.T, numbers.normal(size=5)


def test_a_quadratic_has_what_follows_in_closed_form(quadratic):
    matrix, point = quadratic
    x, a = torch.tensor(point, requires_grad=True), torch.tensor(matrix)

    def evaluate():
        loss = 0.5 * x @ a @ x
        return loss.detach(), torch.autograd.grad(loss, [x])

    found = along_gradient([x], evaluate, RATE)
    gradient = matrix @ point
    assert [row[1] for row in found] == list(RELATIVE_STEPS) == [0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4]
    for size, relative, loss, length, distance, cosine in found:
        assert size == relative * RATE
        moved = point - size * gradient
        there = matrix @ moved
        assert loss == pytest.approx(0.5 * moved @ matrix @ moved, rel=1e-12)
        assert length == pytest.approx(np.linalg.norm(there), rel=1e-12)
        # ‖g_a − g₀‖ = a·‖A·g₀‖, so that the effective smoothness is ‖A·g₀‖ / ‖g₀‖ at every distance.
        assert distance == pytest.approx(size * np.linalg.norm(matrix @ gradient), rel=1e-12, abs=1e-15)
        assert cosine == pytest.approx(there @ gradient / np.linalg.norm(there) / np.linalg.norm(gradient), rel=1e-12)


def test_what_is_not_finite_on_the_way_is_recorded_and_at_the_step_itself_there_is_nothing():
    x = torch.tensor([1.0], requires_grad=True)

    def evaluate():
        loss = -torch.log(x).sum()
        return loss.detach(), torch.autograd.grad(loss, [x])

    found = along_gradient([x], evaluate, -0.5)  # uphill: x = 1 + a·g, past zero
    assert math.isnan(found[-1][2])
    assert [row[1] for row in found] == list(RELATIVE_STEPS)
    with torch.no_grad():
        x.fill_(-1.0)
    with pytest.raises(NotMeasuredError, match="not finite at this step"):
        along_gradient([x], evaluate, 0.1)


@pytest.mark.parametrize("variant", ["vanilla", "bn_gamma_beta", "bn_running", "bn_noisy", "random_entries"])
def test_at_distance_zero_it_is_the_loss_of_the_coming_update_with_its_dropout_to_the_last_bit(variant):
    told = train(trainer(probed_spec({"landscape": {"schedule": "every:3"}}, variant, architecture="allcnnc")))
    found = {row[0]: row for row in told.table("landscape") if row[4] == 0}
    losses = told.column("batch_loss")
    assert sorted(found) == [0, 3, 6, 9, 12, 15, 16]
    for step in sorted(found)[:-1]:
        assert np.float32(found[step][5]) == losses[step]
        assert found[step][1] == step // 8
    assert len(told.table("landscape")) == 9 * 7
    # At the end it is the batch that one more epoch would begin with.
    longer = train(trainer(run_spec(variant, architecture="allcnnc", epochs=3)))
    assert np.float32(found[16][5]) == longer.column("batch_loss")[16]
    assert told.rows_of("probe_notes") == []


def test_one_learning_rate_along_the_gradient_is_where_plain_gradient_descent_goes():
    spec = probed_spec({"landscape": True}, "vanilla", architecture="mlp", l2=0.0)
    found = train(trainer(spec)).table("landscape")[2]
    assert found[3] == spec.training.learning_rate
    data, network = pipeline(spec), trainer(spec).network
    order, parameters = draw_epoch(spec, data.train_size, 1, CPU)
    batch = TrainingBatch(*data.training_batch(order[:8], parameters), StepDraws(spec.seed, 0))
    learned = list(network.parameters())
    optimiser = torch.optim.SGD(learned, lr=spec.training.learning_rate)
    functional.cross_entropy(network(batch.images, batch.draws), batch.labels).backward()
    optimiser.step()
    loss, there = loss_and_gradient(network, batch, learned)
    assert found[5] == pytest.approx(float(loss), rel=1e-6)
    assert found[6] == pytest.approx(norm(flat(there)), rel=1e-6)
