"""`bnbench rank` on recorded runs of a problem of one's own."""

from __future__ import annotations

import json

import pytest

from bnbench.problem import read_problem
from support.command_line import invoke
from support.synthetic_store import SyntheticRun, build_store

MINE = """
summary = "a problem of one's own"
source = "this test"
dataset = "digits"
architecture = "3c3d"
placements = ["hidden"]
seeds = [1, 2]
split_seed = 7
[training]
batch_size = 32
epochs = 3
learning_rate = 0.1
"""
TARGET = """
[[targets]]
metric = "accuracy"
split = "test"
level = 0.8
[targets.source]
run_ids = ["some-run"]
commit = "0123abc"
statistic = "made up"
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A folder with mine.toml and recorded runs of it."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "mine.toml"
    path.write_text(MINE + TARGET)
    problem = read_problem(path).problem()
    accuracy = {"vanilla": [0.1, 0.5, 0.8, 0.8], "bn": [0.1, 0.8, 0.9, 0.9]}
    build_store(tmp_path / "results", [SyntheticRun(problem, name, 1, curve) for name, curve in accuracy.items()])
    return path


def ranked(*arguments):
    (group,) = json.loads(invoke("rank", *arguments, "--json", "--results", "results").stdout)["groups"]
    return {row["variant"]: [time["median_epochs"] for time in row["targets"]] for row in group["variants"]}


def test_a_problem_that_is_named_by_its_file_has_the_targets_of_the_file(mine):
    assert ranked("./mine.toml") == {"bn": [1], "vanilla": [2]}
    # By its name alone it is not known where its file lies.
    assert ranked("mine") == ranked() == {"bn": [], "vanilla": []}
    shown = invoke("rank", "./mine.toml", "--results", "results").stdout
    assert "target: test accuracy ≥ 0.8" in shown


def test_the_files_are_checked_as_everywhere(mine):
    mine.write_text(MINE + "tipo = 1")
    result = invoke("rank", "./mine.toml", "--results", "results")
    assert result.exit_code == 2
    assert "unknown key 'training.tipo'" in result.stderr
    assert invoke("rank", "./absent.toml", "--results", "results").exit_code == 2
