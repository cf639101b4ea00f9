from __future__ import annotations

import json

import pytest

from bnbench.report.figures.registry import FIGURES
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


def test_of_a_partial_study_no_figure_shows_vanilla_alone_and_the_others_are_named(tmp_path):
    store = build_store(tmp_path / "store", [run("vanilla", seed) for seed in SEEDS[:2]])
    result = invoke("plot", "--all", "--results", store, "--output", tmp_path / "out")
    assert result.exit_code == 0, result.output
    # Vanilla at CIFAR-10's own learning rate belongs to each of these, whatever placement they are about.
    (said,) = (line for line in result.stderr.splitlines() if "vanilla alone" in line)
    assert said.startswith("Not drawn, vanilla alone is there and nothing to compare it with: 4.1, A.1, A.4 ")
    assert not list((tmp_path / "out").glob("figure-*"))
    assert [path.name.partition("-")[0] for path in (tmp_path / "out").iterdir()] == ["curves"]


def test_a_figure_that_is_asked_for_by_number_is_drawn_of_what_there_is(tmp_path):
    store = build_store(tmp_path / "store", [run("vanilla", 42)])
    result = invoke("plot", "--figure", "4.1a", "--results", store, "--output", tmp_path / "out", "--json")
    assert result.exit_code == 0, result.output
    assert "missing: BN; BN_β; BN_γ; BN_γ,β" in json.loads(result.stdout)[0]["caption"]


@pytest.fixture(scope="module")
def tiny_store(tmp_path_factory):
    """Runs of the tiny size alone, on data that the problem's name does not say."""
    runs = [run(variant, 42, problem="cifar100_3c3d", size="tiny") for variant in ("vanilla", "bn_gamma")]
    return build_store(tmp_path_factory.mktemp("tiny"), runs)


@pytest.mark.parametrize(
    "words",
    [("--all",), ("--kind", "curves"), ("--kind", "curves", "--problem", "cifar100_3c3d"), ("--figure", "4.1b")],
    ids=" ".join,
)
def test_where_only_the_size_differs_the_message_says_which_there_is_and_how_to_choose_it(tiny_store, tmp_path, words):
    result = invoke("plot", *words, "--results", tiny_store, "--output", tmp_path / "out")
    assert result.exit_code == 2
    assert "of size tiny: --size tiny" in result.stderr or "at size tiny: --size tiny" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_figure_of_tiny_runs_says_that_they_are_tiny_and_on_digits(tiny_store, tmp_path):
    words = ("--figure", "4.1b", "--kind", "gamma", "--kind", "curves")
    result = invoke("plot", *words, "--size", "tiny", "--results", tiny_store, "--output", tmp_path, "--json")
    assert result.exit_code == 0, result.output
    for drawn in json.loads(result.stdout):
        title, _, rest = drawn["caption"].partition(".")
        assert "tiny, on handwritten digits" in drawn["caption"][:140], drawn["caption"]
        picture = (tmp_path / f"{drawn['name']}.png").read_bytes()
        assert b"tiny, on handwritten digits" in picture, "the title in the file"


@pytest.mark.parametrize("kind", list(FIGURES))
def test_the_command_of_a_kinds_hint_makes_such_runs(kind, tmp_path):
    command = FIGURES.get(kind).makes
    program, *words = command.split()
    result = invoke(*words, "--dry-run", "--results", tmp_path / "none")
    assert (program, result.exit_code) == ("bnbench", 0), result.output
    if kind == "sensitivity":
        rates = {spec["learning_rate"] for spec in json.loads(invoke("plan", *words[1:], "--json").stdout)}
        assert len(rates) == 3
    assert not (tmp_path / "none").exists()


def test_the_hint_of_sensitivity_is_not_that_of_the_curves(store, tmp_path):
    result = invoke("plot", "--kind", "sensitivity", "--results", store, "--output", tmp_path / "out")
    assert "--lr-factor 0.1 --lr-factor 1 --lr-factor 10" in result.stderr
