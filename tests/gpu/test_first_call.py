"""What the script for a GPU's first minutes compares with, and that it says where there is none."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gpu import first_call

CPU = torch.device("cpu")


def test_the_committed_digests_are_those_of_this_code():
    committed = json.loads(first_call.DIGESTS.read_text(encoding="utf-8"))
    found = first_call.pairing(CPU)
    assert list(found) == list(committed)
    # Batches go through floating-point arithmetic that differs between instruction sets; the rest is exact.
    exact = [name for name in found if not name.endswith(" batch")]
    assert {name: found[name] for name in exact} == {name: committed[name] for name in exact}
    told = list(first_call.compared({**found, "more": "x"}, found))
    assert [each["ok"] for each in told] == [True] * len(found) + [False]


def test_the_items_work_where_there_is_no_gpu():
    (problem,) = {spec.problem for spec in [first_call.spec_of("cifar10_3c3d")]}
    spec = first_call.spec_of(problem)
    assert first_call.state_after(spec, CPU, 1) == first_call.state_after(spec, CPU, 1)
    assert [each["error"] for each in first_call.augmented(CPU)] == [0.0, 0.0]
    assert all(each["ok"] and each["error"] < 1e-3 for each in first_call.extremes(CPU) if each["k"] == 0)


def test_a_network_is_looked_at_twice_and_operation_by_operation(monkeypatch):
    monkeypatch.setattr(first_call, "PROBLEMS", ("cifar10_3c3d",))
    monkeypatch.setattr(first_call, "STUDIED", ("vanilla",))
    monkeypatch.setattr(first_call, "PARTS", ())
    told = [(each["item"], each["momentum"], each["ok"]) for each in first_call.determinism(CPU, ("fp32",), 1)]
    assert told == [(item, momentum, True) for momentum in (0.0, 0.9) for item in ("determinism", "graphs")]
    states = iter("aabccd")
    monkeypatch.setattr(first_call, "state_after", lambda *_: next(states))
    assert [each["ok"] for each in first_call.determinism(CPU, ("fp32",), 1)] == [True, False, True, False]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so_and_ends_with_2():
    script = Path(first_call.__file__)
    ended = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "there is no CUDA device here" in ended.stderr
