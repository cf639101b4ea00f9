"""`bnbench rank` on recorded runs of a problem of one's own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bnbench.problem import read_problem
from bnbench.shipped import shipped_folder
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


@pytest.fixture
def two_names(tmp_path, monkeypatch):
    """Runs at a file's own setting under its name, runs of another setting under the same name, and a copy of the file.

    The copy is the same problem under another name, one run of which is recorded too.
    """
    monkeypatch.chdir(tmp_path)
    text = (shipped_folder("problems") / "digits_mlp.toml").read_text(encoding="utf-8")
    (tmp_path / "digits_mlp.toml").write_text(text, encoding="utf-8")
    (tmp_path / "other.toml").write_text(text + TARGET, encoding="utf-8")
    problems = {name: read_problem(tmp_path / f"{name}.toml").problem("full") for name in ("digits_mlp", "other")}
    epochs = problems["other"].training.epochs
    curve = [0.1, *([0.5] * epochs)]
    runs = [SyntheticRun(problems["digits_mlp"], variant, 42, curve) for variant in ("vanilla", "bn")]
    runs.append(SyntheticRun(problems["digits_mlp"], "bn", 42, curve[:3]))
    build_store(tmp_path / "results", runs)
    return problems, curve


def groups_of(*arguments):
    result = invoke("rank", *arguments, "--json", "--results", "results")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)["groups"]


def test_a_renamed_file_is_known_by_its_setting(two_names):
    (group,) = groups_of("./other.toml")
    assert (group["problems"], len(group["variants"])) == (["digits_mlp"], 2)
    assert group["targets"], "the file's"
    result = invoke("activity", "./other.toml", "--results", "results")
    assert (result.exit_code, "unknown" in result.output) == (0, False), result.output


def test_a_file_means_its_own_setting_and_a_name_every_setting_in_which_it_occurs(two_names):
    problems, curve = two_names
    assert len(groups_of("digits_mlp")) == 2
    assert len(groups_of("./digits_mlp.toml")) == 1
    build_store(Path("results"), [SyntheticRun(problems["other"], "bn_beta", 42, curve)])
    (group,) = groups_of("other")
    assert group["problems"] == ["digits_mlp", "other"]
    assert {row["variant"] for row in group["variants"]} == {"vanilla", "bn", "bn_beta"}


def test_a_file_of_which_nothing_is_recorded_is_a_mistake(two_names):
    Path("third.toml").write_text(Path("other.toml").read_text().replace("split_seed = 2023", "split_seed = 1"))
    result = invoke("rank", "./third.toml", "--results", "results")
    assert (result.exit_code, "unknown recorded problem 'third'" in result.stderr) == (2, True)
