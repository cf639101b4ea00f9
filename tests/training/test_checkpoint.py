"""The state of a run as bytes: all of it, and nothing that is not this run's."""

from __future__ import annotations

import io
import pickle

import pytest
import torch

from bnbench.training.checkpoint import CheckpointError, checkpoint_bytes, restore_checkpoint
from bnbench.training.events import Paused
from support.networks import Told, run_spec, train, trainer


def paused_after(spec, steps):
    run = trainer(spec)
    told = train(run, lambda: run.step >= steps)
    assert told.last == Paused(steps)
    return run, told


@pytest.mark.parametrize(
    ("variant", "options"),
    [
        ("vanilla", {}),
        ("bn", {"momentum": 0.9}),
        ("bn_beta", {"architecture": "allcnnc"}),
        ("bn_gamma", {"architecture": "allcnnc", "momentum": 0.9}),
        ("bn_gamma_beta", {"placement": "every", "momentum": 0.9}),
        ("bn_gamma_beta", {"optimiser": "adamw", "rates": "cosine", "warmup_epochs": 1.5}),
        ("bn_gamma", {"momentum": 0.9, "nesterov": True, "rates": "steps", "milestones": [1], "l2_scope": "all"}),
    ],
)
def test_a_run_that_goes_on_from_its_bytes_has_the_rows_of_an_uninterrupted_one(variant, options):
    spec = run_spec(variant, **options)
    whole = train(trainer(spec))
    run, first = paused_after(spec, 11)
    again = trainer(spec)
    restore_checkpoint(again, checkpoint_bytes(run))
    assert again.step == 11
    rest = train(again)
    assert Told([*first.events, *rest.events]).rows() == whole.rows()


def test_the_time_of_an_epoch_is_told_whole():
    spec = run_spec()
    run, _ = paused_after(spec, 11)
    again = trainer(spec)
    restore_checkpoint(again, checkpoint_bytes(run))
    assert (again.images, again.train_s) == (3 * 8, run.train_s)
    assert run.train_s > 0
    last = [event for event in train(again).events if hasattr(event, "images")][-1]
    assert (last.epoch, last.images) == (2, 64)
    assert last.train_s > run.train_s


@pytest.fixture(scope="module")
def saved():
    spec = run_spec(momentum=0.9)
    run, _ = paused_after(spec, 3)
    return spec, checkpoint_bytes(run)


def test_bytes_that_were_cut_or_altered_are_refused_or_harmless(saved):
    spec, good = saved
    for length in (0, 1, 100, len(good) // 2, len(good) - 1):
        with pytest.raises(CheckpointError):
            restore_checkpoint(trainer(spec), good[:length])
    with pytest.raises(CheckpointError):
        restore_checkpoint(trainer(spec), b"x" * 1000)


def test_nothing_but_weights_is_unpickled(saved):
    spec, _ = saved

    class Trap:
        def __reduce__(self):
            return (exec, ("raise AssertionError('code was run')",))

    for data in (pickle.dumps(Trap(), protocol=2), _zipped({"format": 1, "network": Trap()})):
        with pytest.raises(CheckpointError, match="cannot be read"):
            restore_checkpoint(trainer(spec), data)


def _zipped(state):
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "another format"),
        ({"run_id": "somebody-else"}, "belongs to the run somebody-else"),
        ({"step": 0}, "step 0 is not one of the run's 16"),
        ({"step": 17}, "step 17"),
        ({"step": 3.0}, "'step' is missing or of another type"),
        ({"train_s": None}, "'train_s'"),
        ({"network": {}}, "does not fit the network"),
        ({"optimiser": {"state": {}, "param_groups": []}}, "does not fit the network"),
        ({"optimiser": {}}, "does not fit the network"),
    ],
)
def test_a_state_that_is_not_of_this_run_is_refused(saved, change, message):
    spec, good = saved
    state = torch.load(io.BytesIO(good), weights_only=True)
    with pytest.raises(CheckpointError, match=message):
        restore_checkpoint(trainer(spec), _zipped({**state, **change}))


def test_a_network_of_another_width_is_refused(saved):
    spec, good = saved
    state = torch.load(io.BytesIO(good), weights_only=True)
    name = next(iter(state["network"]))
    state["network"][name] = torch.zeros(3)
    with pytest.raises(CheckpointError, match="does not fit"):
        restore_checkpoint(trainer(spec), _zipped(state))
