"""`bnbench claims`: verdicts for people and for scripts."""

from __future__ import annotations

import json

import pytest

from bnbench.analysis.claims.ledger import every_study
from bnbench.problem import find_problem
from bnbench.study import find_study
from bnbench.words import counted
from support.command_line import invoke
from support.synthetic_store import SyntheticRun, build_store

PROBLEM = "digits_mlp"
STUDY = f"""
summary = "one claim that the digits decide"
source = "this test"
reading = "as it stands"

[[experiments]]
id = "hidden"
summary = "the default placement"
problems = ["{PROBLEM}"]
variants = ["vanilla", "bn"]
placements = ["hidden"]
claims = ["better", "alike"]

[[claims]]
id = "better"
figure = "1"
text = "BN ends higher than vanilla"
[[claims.parts]]
rule = "greater"
measure = "final accuracy"
problem = "{PROBLEM}"
a = "bn"
b = "vanilla"

[[claims]]
id = "alike"
figure = "2"
text = "BN ends like vanilla"
[[claims.parts]]
rule = "similar"
measure = ["final accuracy", "final loss"]
problem = "{PROBLEM}"
a = "bn"
b = "vanilla"
"""


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A study file and results: 30 epochs as the problem has them, and two as it has not."""
    folder = tmp_path_factory.mktemp("claims")
    (folder / "small.toml").write_text(STUDY, encoding="utf-8")
    seeds = find_problem(PROBLEM).problem().first_seeds(3)
    full = [
        SyntheticRun(PROBLEM, variant, seed, [level + 0.01 * index] * 31, steps_per_epoch=1)
        for index, seed in enumerate(seeds)
        for variant, level in (("vanilla", 0.5), ("bn", 0.6))
    ]
    short = [SyntheticRun(PROBLEM, variant, seeds[0], [0.5, 0.5]) for variant in ("vanilla", "bn")]
    build_store(folder / "results", [*full, *short])
    return folder


def claims(small, *arguments):
    return invoke("claims", *arguments, "--study", small / "small.toml", "--results", small / "results")


def test_the_table_says_verdict_effect_interval_seeds_reading_and_data(small):
    shown = claims(small)
    assert shown.exit_code == 0, shown.output
    assert "2 claims, 1 holds, 1 refuted, 0 undecided, 0 no data" in shown.stdout
    assert "+0.100 [+0.100, +0.100]" in shown.stdout
    assert "reading: as it stands" in shown.stdout
    assert "digits 000000000000" in shown.stdout
    (row,) = [line for line in shown.stdout.splitlines() if line.startswith("better")]
    assert row.split()[6:10] == ["[1]", "holds", "1/1", "3"]
    apart = shown.stdout.split("not evidence: training.epochs = 1")[1]
    assert apart.split("\n")[1].split() == ["would", "be", "undecided", "better", "alike"]


def test_the_details_of_a_claim_have_the_numbers_of_each_part(small):
    shown = claims(small, "alike").stdout
    assert "final loss: digits_mlp BN ~ vanilla" in shown
    assert "BN: 0.61" in shown
    assert "vanilla: 0.51" in shown
    assert "not evidence (training.epochs = 1): undecided" in shown
    assert "BN ends higher" not in shown


def test_json_has_evidence_and_apart_from_it_the_rest(small):
    document = json.loads(claims(small, "--json").stdout)
    assert document["reading"] == "as it stands"
    assert [each["verdict"] for each in document["evidence"]["claims"]] == ["holds", "refuted"]
    (other,) = document["not_evidence"]
    assert other["label"] == "training.epochs = 1"
    part = document["evidence"]["claims"][0]["parts"][0]
    assert part["effect"] == pytest.approx(0.1)
    assert part["interval_95"] == pytest.approx([0.1, 0.1])
    assert len(part["seeds"]) == 3
    assert len(part["run_ids"]) == 6
    assert part["rule"]["rule"] == "greater"
    assert len(part["obtained"][0]["values"]) == 3
    assert document["evidence"]["data"][0]["dataset"] == "digits"


def test_an_empty_store_lists_every_claim_of_the_thesis(tmp_path):
    shown = invoke("claims", "--study", "thesis", "--results", tmp_path / "none")
    assert shown.exit_code == 0
    assert "thesis: 28 claims, 0 holds, 0 refuted, 0 undecided, 28 no data\n" in shown.stdout
    ids = [line.split()[0] for line in shown.stdout.splitlines() if line.startswith("c")]
    assert [name for name in ids if name != "claim"] == [claim.id for claim in find_study("thesis").claims]
    assert list(tmp_path.iterdir()) == []
    detail = invoke("claims", "c18", "--results", tmp_path / "none").stdout
    assert "bnbench study thesis --only fig-4.1 --only fig-4.5 --seeds 3" in " ".join(detail.split())


def test_tiny_runs_on_demand(small, tmp_path):
    assert "no run of size tiny" in claims(small, "--size", "tiny").stdout
    levels = [0.1] * (find_problem(PROBLEM).problem("tiny").training.epochs + 1)
    tiny = [SyntheticRun(PROBLEM, variant, 42, levels, size="tiny") for variant in ("vanilla", "bn")]
    store = build_store(tmp_path, tiny)
    shown = invoke("claims", "--size", "tiny", "--study", small / "small.toml", "--results", store).stdout
    assert shown.startswith("NOT EVIDENCE (tiny): small: 2 claims, 0 holds, 0 refuted, 2 undecided")


def test_the_ledger_of_an_empty_store(tmp_path):
    shown = invoke("claims", "--results", tmp_path / "none")
    assert shown.exit_code == 0
    total = sum(len(study.claims) for study in every_study())
    said = f"{total} claims of {counted(len(every_study()), 'study', 'studies')}, 0 decided"
    assert said in " ".join(shown.stdout.split())
    document = json.loads(invoke("claims", "--json", "--results", tmp_path / "none").stdout)
    assert (document["claims"], document["decided"]) == (total, 0)
    assert "thesis_code" not in [each["study"] for each in document["studies"]]


@pytest.mark.parametrize(
    ("arguments", "needles"),
    [
        (("c29",), ("unknown claim 'c29'", "c28")),
        (("--study", "thesys"), ("unknown study 'thesys'", "'thesis'")),
        (("--study", "absent.toml"), ("absent.toml", "cannot be read")),
    ],
)
def test_a_mistake(arguments, needles, tmp_path):
    result = invoke("claims", *arguments, "--results", tmp_path / "none")
    assert result.exit_code == 2
    for needle in needles:
        assert needle in result.stderr
