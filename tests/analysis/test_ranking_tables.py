"""A ranking as a reader sees it, and as a script reads it."""

import json
import math

import pytest

from bnbench.analysis.ranking import rank_measures
from bnbench.analysis.ranking_tables import ranking_json, ranking_tables
from bnbench.report.render import terminal
from support.measured_runs import HARDER, MISSED, TARGET, golden, run, several


def text(measures, *, details=False, failed=(), width=100):
    tables = ranking_tables(rank_measures(measures, failed=failed), details=details)
    return "".join(f"{terminal.render(table, width)}\n" for table in tables)


def line(output, start):
    """The words of the one line that begins with these words."""
    words = start.split()
    (found,) = [each.split() for each in output.splitlines() if each.split()[: len(words)] == words]
    return found


def test_the_golden_table_in_words():
    output = text(golden())
    assert "p1 · BatchNorm hidden · learning rate 0.1" in output
    assert line(output, "1 ")[1:5] == ["BN_γ,β", "▲", "0.500", "0.900"]
    assert line(output, "2= BN_β")[:2] == ["2=", "BN_β"]
    assert line(output, "4 ")[1:3] == ["vanilla", "▼"]
    assert "1 of 3 diverged" in " ".join(line(output, "5 "))
    assert "∞ (1/3)" in " ".join(line(output, "4 "))
    assert "missed" in line(output, "1 ")
    assert "+0.120 [0.070, 0.170]" in " ".join(line(output, "2= BN "))
    assert "with 3 no p below 0.25 is possible" in output
    assert "target: test accuracy ≥ 0.8" in output


def test_no_target_is_said():
    assert "no target" in text([run("bn", 1, 0.5), run("vanilla", 1, 0.4)])


def test_one_seed_says_nothing_about_noise():
    output = text([run("bn", 1, 0.5), run("vanilla", 1, 0.4)])
    assert "! one seed: nothing can be said about noise" in output
    assert "+0.100 no interval" in " ".join(line(output, "1 "))


def test_a_diverged_baseline_is_named():
    output = text([*(run("bn", s, 0.5) for s in (1, 2)), *(run("vanilla", s, None) for s in (1, 2))])
    assert line(output, "1 ")[-2:] == ["vanilla", "diverged"]
    assert "2 of 2 diverged" in " ".join(line(output, "2 "))


def test_several_targets_have_their_own_table():
    measures = [run(v, s, 0.5, targets=(TARGET, HARDER), steps=(20, MISSED)) for v in ("bn", "vanilla") for s in (1, 2)]
    output = text(measures)
    assert line(output, "test accuracy ≥ 0.8")[-2:] == ["2", "2"]
    assert line(output, "test accuracy ≥ 0.9")[-2:] == ["missed", "missed"]


@pytest.mark.parametrize(
    ("loss", "shown"), [(0.0123, "0.012"), (9.87654, "9.877"), (12.5, "12.50"), (321.0, "321.0"), (123456.0, "1.2e+05")]
)
def test_a_large_loss_is_shortened(loss, shown):
    assert shown in line(text([run("bn", 1, 0.5, loss=loss)]), "1 BN")


def test_overrides_and_mixtures_are_shown():
    output = text([run("bn", 1, 0.5, overrides=("training.epochs = 2",), device="cuda"), run("vanilla", 1, 0.4)])
    assert "with training.epochs = 2" in output
    assert "! mixes kinds of device: cpu, cuda" in output


def test_several_problems():
    output = text(several())
    assert "over 3 problems" in output
    row = line(output[output.index("over 3 problems") :], "BN ")
    assert row[:2] == ["BN", "1.50"]
    assert "χ² = 3.80, p = 0.150" in output
    assert "its smallest possible p with so many is 0.05\n" in output
    assert "no target: 1 of 3 problems" in output
    assert "! no variant reached test accuracy ≥ 0.8: p2" in output


def test_failed_runs_are_listed():
    output = text(golden(), failed=["p1-bn-hidden-s9-0123"])
    assert "1 run failed and so in no ranking" in output
    assert "p1-bn-hidden-s9-0123" in output


@pytest.mark.parametrize("seeds", [1, 2, 3, 6, 10])
def test_the_tests_behind_a_difference(seeds):
    measures = [
        run(variant, seed, base + seed * slope)
        for variant, base, slope in (("vanilla", 0.4, 0.0), ("bn", 0.5, 0.01), ("bn_beta", 0.4, 0.02))
        for seed in range(seeds)
    ]
    output = text(measures, details=True)
    tests = output[output.index("\ntests") :]
    row = " ".join(line(tests, "BN "))
    assert ("nothing can be said about noise" in tests) == (seeds == 1)
    assert ("an interval needs 3" in tests) == (seeds == 2)
    if seeds < 6:
        assert f"≥ {2 / 2**seeds:g}" in row
    if seeds == 10:
        assert row.count("[") == 2


@pytest.mark.parametrize("width", [80, 86, 100, 140])
def test_nothing_is_wider_than_the_terminal_or_cut_off(width):
    fields = {"setting": "s2", "problem": "cifar100_allcnnc"}
    wide = [
        *(run("vanilla", s, 0.9 - s / 70, steps=MISSED if s < 3 else 1234, **fields) for s in (1, 2, 3)),
        *(run("bn", s, 0.2 + s / 9, steps=MISSED, **fields) for s in (1, 2, 3)),
        *(run("bn_beta", s, 0.2 + s / 9, steps=3210, **fields) for s in (1, 2, 3)),
        *(run("bn_gamma", s, None if s < 3 else 0.5, steps=MISSED, **fields) for s in (1, 2, 3)),
        *(run("bn_gamma_beta", s, 0.1 + s / 9, loss=12.5, steps=3210, **fields) for s in (1, 2, 3)),
    ]
    output = text(wide, details=True, width=width)
    assert max(map(len, output.splitlines())) <= width
    assert "…" not in output
    # The rightmost column is whole, and each row ends with it.
    assert line(output, "2= BN_β")[-3:] == ["-0.449", "[-0.761,", "-0.138]"]
    assert line(output, "BN_β -0.449")[-1] == "-2.02"


def refuse(constant):
    raise AssertionError(f"{constant} is not JSON")


@pytest.mark.parametrize("measures", [golden(), several(), [run("bn", 1, math.nan, loss=math.inf)], []])
def test_json_has_only_what_json_knows(measures):
    document = json.dumps(ranking_json(rank_measures(measures)), allow_nan=False)
    assert json.loads(document, parse_constant=refuse)["failed"] == []


def test_json_of_the_golden_table():
    (group,) = ranking_json(rank_measures(golden()))["groups"]
    rows = {row["variant"]: row for row in group["variants"]}
    assert rows["bn_gamma"]["final_train_accuracy"] == {
        "mean": None,
        "standard_deviation": None,
        "word": "1 of 3 diverged",
    }
    assert rows["bn"]["final_train_accuracy"]["mean"] == pytest.approx(0.72)
    (missed,) = rows["bn_gamma_beta"]["targets"]
    assert (missed["median_steps"], missed["word"], missed["seeds_that_reached_it"]) == (None, "missed", 0)
    assert rows["bn"]["difference_to_lower_baseline"]["sign_flip_smallest_possible_p"] == 0.25
    assert rows["bn_gamma"]["difference_to_lower_baseline"]["word"] == "1 of 3 seeds without a value on both sides"
    assert rows["vanilla"]["difference_to_lower_baseline"] is None
