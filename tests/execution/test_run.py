"""One run in this process: how its end is recorded."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from bnbench.components.variants import VARIANTS
from bnbench.data.dataset import DATASETS
from bnbench.errors import UserError
from bnbench.execution import run as run_module
from bnbench.execution.options import RunOptions
from bnbench.execution.run import execute, record_failure
from bnbench.plan import expand_grid
from bnbench.problem import find_problem
from bnbench.storage.repeating import forget_failure
from bnbench.storage.store import ResultStore


@pytest.fixture
def spec():
    problem = find_problem("digits_mlp").problem("tiny", {"training.epochs": 1})
    (only,) = expand_grid(
        problem, DATASETS.get("digits").identify(), [VARIANTS.get("bn")], seeds=problem.first_seeds(1)
    )
    return only


def nobody(event):
    """A listener that does not listen."""


def test_the_listener_hears_everything_and_torch_is_left_as_it_was(spec, tmp_path):
    heard = []
    before = (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled())
    outcome = execute(spec, tmp_path, RunOptions("cpu"), heard.append)
    assert (outcome.status, outcome.run_id, outcome.error) == ("finished", spec.run_id, None)
    assert {type(event).__name__ for event in heard} >= {"StepReached", "Measured", "EpochEvaluated", "Finished"}
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == before
    assert list(ResultStore(tmp_path).finished()) == [spec.run_id]


def test_a_run_that_raises_is_recorded_with_its_traceback_without_places(spec, tmp_path, monkeypatch):
    def broken(*arguments):
        raise ZeroDivisionError(f"in the middle of {tmp_path}")

    monkeypatch.setattr(run_module, "Trainer", broken)
    outcome = execute(spec, tmp_path, RunOptions("cpu"), nobody)
    assert outcome.status == "failed"
    document = json.loads((tmp_path / spec.run_id / "run.json").read_text())
    assert document["status"] == "failed"
    assert "Traceback" in document["error"]
    assert "ZeroDivisionError" in document["error"]
    assert str(tmp_path) not in document["error"]
    assert "/home" not in document["error"] and "/work" not in document["error"]
    assert ResultStore(tmp_path).finished() == {}
    monkeypatch.undo()
    again = execute(spec, tmp_path, RunOptions("cpu"), nobody)
    assert (again.status, again.elsewhere, again.error) == ("failed", True, document["error"]), "not tried by itself"
    assert forget_failure(tmp_path / spec.run_id)
    assert execute(spec, tmp_path, RunOptions("cpu"), nobody).status == "finished"
    assert not forget_failure(tmp_path / spec.run_id)


def test_a_mistake_of_the_users_is_raised_and_not_recorded(spec, tmp_path):
    with pytest.raises(UserError, match="tpu"):
        execute(spec, tmp_path / "results", RunOptions("tpu"), nobody)
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("change", [{"fingerprint": "0" * 64}, {"split": "0" * 64}])
def test_data_or_a_split_of_their_own_that_changed_since_the_plan_are_refused(spec, tmp_path, change):
    other = replace(spec, data=replace(spec.data, **change))
    with pytest.raises(UserError, match="'digits' changed after the run was planned"):
        execute(other, tmp_path / "results", RunOptions("cpu"), nobody)


def test_a_failure_recorded_on_behalf_of_a_dead_process_is_no_result(spec, tmp_path):
    outcome = record_failure(spec, tmp_path, RunOptions("cpu", 3), "ended by SIGKILL")
    document = json.loads((tmp_path / spec.run_id / "run.json").read_text())
    assert (outcome.status, document["status"], document["error"]) == ("failed", "failed", "ended by SIGKILL")
    assert document["provenance"]["threads"] == 3
    assert ResultStore(tmp_path).finished() == {}
