from __future__ import annotations

import json

import pytest

from support.command_line import invoke
from support.figure_runs import SEEDS, VARIANTS, run
from support.synthetic_store import build_store


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return build_store(
        tmp_path_factory.mktemp("store"), [run(variant, seed) for variant in VARIANTS for seed in SEEDS[:2]]
    )


def test_figures_and_kinds_are_written_in_the_formats_asked_for(store, tmp_path):
    result = invoke(
        "plot", "--figure", "4.1a", "--kind", "difference", "--format", "svg,png", "--width", "column",
        "--results", store, "--output", tmp_path / "out",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    written = [line.rsplit("/", 1)[-1] for line in result.stdout.splitlines()]
    assert written[:2] == ["figure-4.1a.png", "figure-4.1a.svg"]
    assert [name.partition("-")[0] for name in written[2:]] == ["difference", "difference"]
    assert sorted(written) == sorted(path.name for path in (tmp_path / "out").iterdir())


def test_the_machine_readable_answer_has_captions_and_commands_that_draw_the_same_again(store, tmp_path):
    def plot(*words: str):
        result = invoke("plot", *words, "--results", store, "--output", tmp_path, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    (drawn,) = plot("--kind", "gamma")
    assert "--setting" in drawn["command"], "these runs are not at the problem's own settings"
    contents = (tmp_path / f"{drawn['name']}.png").read_bytes()
    assert "drawn is seed 4842821" in drawn["caption"]
    words = drawn["command"].split()
    assert words[:2] == ["bnbench", "plot"]
    (again,) = plot(*words[2:])
    assert again == drawn
    assert (tmp_path / f"{again['name']}.png").read_bytes() == contents


def test_the_list_says_how_much_there_is(store):
    rows = json.loads(invoke("plot", "--list", "--results", store, "--json").stdout)
    there = {row["figure"]: (row["models"], row["models_in_all"]) for row in rows}
    assert (there["4.1"], there["4.10"], there["A.16"]) == ((5, 15), (2, 2), (0, 15))
    text = invoke("plot", "--list", "--results", store).stdout
    for word in ("4.13", "A.18", "sensitivity", "heatmap"):
        assert word in text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "nothing to draw was named"),
        (("--figure", "4.99"), "unknown figure '4.99'"),
        (("--kind", "gama"), "Did you mean 'gamma'?"),
        (("--figure", "4.1", "--format", "jpg"), "unknown format 'jpg'"),
        (("--figure", "4.1", "--width", "poster"), "unknown width 'poster'"),
        (("--figure", "4.2"), "bnbench study thesis --only fig-4.2"),
        (("--figure", "4.10", "--seed", "5"), "Recorded seeds"),
        (("--kind", "curves", "--problem", "digits_mlp"), "unknown recorded full problem"),
        (("--kind", "sensitivity"), "one placement at two learning rates"),
        (("--kind", "curves", "--size", "tiny"), "--size"),
        (("--all", "--size", "tiny"), "nothing to draw"),
    ],
)
def test_a_mistake_gets_one_message_and_writes_nothing(store, tmp_path, words, said):
    result = invoke("plot", *words, "--results", store, "--output", tmp_path / "out")
    assert result.exit_code == 2
    assert said in result.stderr
    assert "Traceback" not in result.output
    assert not (tmp_path / "out").exists()


def test_an_empty_folder_names_the_command_that_makes_the_runs(tmp_path):
    result = invoke("plot", "--figure", "4.6", "--size", "tiny", "--results", tmp_path / "none")
    assert result.exit_code == 2
    assert "bnbench study thesis --only fig-4.1 --size tiny" in result.stderr
    assert not (tmp_path / "none").exists()
