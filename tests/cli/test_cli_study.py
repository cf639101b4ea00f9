"""`bnbench study`: what it would run, and that it runs it once."""

from __future__ import annotations

import json

import pytest

from support.command_line import invoke, table_bytes

SMALL = """
summary = "two experiments that share vanilla"
source = "this test"
reading = "as it stands"

[[experiments]]
id = "hidden"
summary = "the default placement"
problems = ["digits_mlp"]
variants = ["vanilla", "bn"]
placements = ["hidden"]

[[experiments]]
id = "first"
summary = "one BatchNorm"
problems = ["digits_mlp"]
variants = ["vanilla", "bn"]
placements = ["first", "dense1"]
"""
SHORT = ("--size", "tiny", "--epochs", 1, "--device", "cpu")


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(SMALL, encoding="utf-8")
    return path


def test_a_dry_run_of_the_thesis_without_its_data_counts_every_run(tmp_path, monkeypatch):
    monkeypatch.setenv("BNBENCH_DATA", str(tmp_path / "data"))
    result = invoke("study", "thesis", "--dry-run", "--seeds", 3, "--results", tmp_path / "no")
    assert result.exit_code == 0, result.output
    assert "315 runs (105 a seed, 3 seeds); 0 finished, 315 to run" in result.stdout
    assert "bnbench data fetch cifar10," in result.stdout
    assert "bnbench data fetch cifar100," in result.stdout
    assert list(tmp_path.iterdir()) == []


def test_without_its_data_it_says_how_to_get_them(tmp_path, monkeypatch):
    monkeypatch.setenv("BNBENCH_DATA", str(tmp_path / "data"))
    result = invoke("study", "thesis", "--results", tmp_path / "no")
    assert result.exit_code == 2
    assert "bnbench data import cifar10" in result.stderr
    assert "--size tiny" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_first_experiment_on_real_data_is_one_command(tmp_path, monkeypatch):
    monkeypatch.setenv("BNBENCH_DATA", str(tmp_path / "data"))
    part = ("--size", "short", "--only", "fig-4.1", "--problem", "cifar10_3c3d")
    result = invoke("study", "thesis", *part, "--seeds", 3, "--dry-run", "--results", tmp_path / "no")
    assert result.exit_code == 0, result.output
    assert "size short: width 0.5, 10 epochs, batch 128, all images of cifar10 (cifar10_3c3d)" in result.stdout
    assert "15 runs (5 a seed, 3 seeds); 0 finished, 15 to run" in result.stdout
    other = invoke("study", "thesis", "--only", "fig-4.3", "--problem", "cifar10_3c3d", "--results", tmp_path / "no")
    assert other.exit_code == 2
    assert "study 'thesis': fig-4.3: no run of cifar10_3c3d" in other.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_tiny_thesis_as_json(tmp_path):
    result = invoke("study", "thesis", "--dry-run", "--json", "--size", "tiny", "--results", tmp_path / "no")
    document = json.loads(result.stdout)
    assert (document["runs"], document["to_run"], document["missing_data"]) == (105, 105, [])
    assert [each["own"] for each in document["experiments"]] == [15, 10, 10, 10, 4, 8, 8, 8, 8, 12, 12]
    assert len({spec["run_id"] for spec in document["specs"]}) == 105
    figures = [figure for each in document["experiments"] for figure in each["figures"]]
    assert len(figures) == 31
    assert figures[0]["panels"][0]["problem"] == "cifar10_3c3d"


def test_a_study_of_the_users_own_is_run_once_and_then_finished(small, tmp_path):
    store = tmp_path / "results"
    part = invoke("study", small, *SHORT, "--only", "first", "--results", store)
    assert part.exit_code == 0, part.output
    assert "`bnbench estimate …` measures it" in part.stderr
    kept = table_bytes(store)
    assert {name.split("-")[1] for name in kept} == {"vanilla", "bn"}
    whole = invoke("study", small, *SHORT, "--results", store)
    assert whole.exit_code == 0, whole.output
    assert "(2 of 3 are finished already)" in whole.stderr
    assert "side by side on cpu, from what such runs took here" in whole.stderr
    assert kept.items() <= table_bytes(store).items()
    assert len(list(store.glob("*/run.json"))) == 3
    again = invoke("study", small, *SHORT, "--results", store)
    assert "All 3 runs have ended already" in again.stderr
    dry = invoke("study", small, *SHORT, "--dry-run", "--results", store)
    assert "3 runs (3 a seed, 1 seed); 3 finished, 0 to run" in dry.stdout


@pytest.mark.parametrize(
    ("arguments", "needles"),
    [
        (("thesys",), ("unknown study 'thesys'", "'thesis'", "thesis_code")),
        (("thesis", "--only", "fig-4.9"), ("fig-4.9", "fig-4.5")),
        (("thesis", "--precision", "fp8"), ("fp8", "fp32")),
        (("thesis", "--seeds", "11"), ("11", "10")),
        (("thesis", "--set", "training.l3=1"), ("training.l3", "training.l2")),
    ],
)
def test_a_mistake(arguments, needles, tmp_path):
    result = invoke("study", *arguments, "--size", "tiny", "--results", tmp_path / "no")
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    for needle in needles:
        assert needle in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_list_mentions_the_studies():
    assert "thesis_code" in invoke("list").stdout
    assert "thesis_code" not in invoke("list", "digits_*").stdout
