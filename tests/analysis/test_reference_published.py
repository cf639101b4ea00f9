"""The published baselines: the numbers as published, and how runs are put beside them."""

import json
from pathlib import Path

import numpy as np
import pytest

from bnbench.analysis.frames import open_results
from bnbench.analysis.reference.present import published_lines
from bnbench.analysis.reference.published import compare_published, read_published
from bnbench.problem import DeepOBSSource, RunsSource, find_problem
from bnbench.shipped import shipped_folder
from support.synthetic_store import SyntheticRun, build_store

FULL_RUNS = Path(__file__).parents[2] / "results" / "reference" / "full" / "runs"


@pytest.fixture(scope="module")
def published():
    found = read_published(shipped_folder("reference"))
    assert found is not None
    return found


def last(published, problem, rate):
    rows = published.curves
    rows = rows[
        (rows["problem"] == problem) & np.isclose(rows["learning_rate"], rate) & (rows["epoch"] == rows["epochs"])
    ]
    return rows["test_accuracy"], rows["train_accuracy"]


def test_the_numbers_are_those_that_the_fidelity_document_quotes(published):
    test, _ = last(published, "cifar10_3c3d", 0.0630957)
    assert (len(test), round(test.mean(), 3), round(test.std(), 3)) == (5, 0.839, 0.007)
    assert last(published, "cifar10_3c3d", 0.0251189)[0].round(3).tolist() == [0.834]
    assert last(published, "cifar10_3c3d", 0.0158489)[0].round(3).tolist() == [0.826]
    test, train = last(published, "cifar100_allcnnc", 0.158489)
    assert (len(test), round(test.mean(), 3), round(test.std(), 3)) == (7, 0.575, 0.012)
    assert (round(train.mean(), 3), round(train.std(), 3)) == (0.690, 0.021)


def test_the_problem_files_targets_are_rows_of_the_same_table(published):
    for name in ("cifar10_3c3d", "cifar100_allcnnc"):
        targets = find_problem(name).problem("full").targets
        (target,) = [each for each in targets if isinstance(each.source, DeepOBSSource)]
        values, _ = last(published, name, target.source.learning_rate)
        assert target.level == pytest.approx(values.mean(), abs=1e-6)


def test_a_target_that_was_measured_here_is_what_the_runs_it_names_make():
    (target,) = [
        each for each in find_problem("cifar10_3c3d").problem("full").targets if isinstance(each.source, RunsSource)
    ]
    curves, final = open_results(FULL_RUNS).table("curves"), []
    for run in target.source.run_ids:
        document = json.loads((FULL_RUNS / run / "run.json").read_text(encoding="utf-8"))
        found = (document["spec"]["variant"]["name"], document["size"], document["provenance"]["source"]["commit"])
        assert found == ("vanilla", "full", target.source.commit)
        own = curves[(curves["run_id"] == run) & (curves["split"] == "test") & (curves["epoch"] > 90)]
        assert len(own) == 10
        final.append(own["accuracy"].mean())
    assert target.level == pytest.approx(np.mean(final), abs=5e-5)


def curve(published, problem, rate, shift=0.0):
    rows = published.curves[
        (published.curves["problem"] == problem) & np.isclose(published.curves["learning_rate"], rate)
    ]
    return (rows.groupby("epoch")["test_accuracy"].mean() + shift).clip(0, 1).tolist()


def compare(tmp_path, published, runs):
    build_store(tmp_path / "runs", runs)
    return compare_published(open_results(tmp_path / "runs"), published)


@pytest.mark.parametrize(("shift", "failed"), [(-0.02, False), (-0.10, True), (0.06, True)])
def test_final_accuracy_is_tested_where_both_sides_have_seeds(tmp_path, published, shift, failed):
    shifts = {42: shift - 0.004, 43: shift, 44: shift + 0.004}
    problem = "cifar100_allcnnc"
    runs = [
        SyntheticRun(problem, "vanilla", seed, curve(published, problem, 0.158489, each))
        for seed, each in shifts.items()
    ]
    (comparison,) = compare(tmp_path, published, runs)
    assert (comparison.seeds, comparison.published_seeds, comparison.epochs) == (3, 7, 350)
    assert comparison.published_rate == pytest.approx(0.158489)
    assert comparison.final - comparison.published_final == pytest.approx(shift, abs=2e-3)
    assert comparison.correlation > 0.99
    assert comparison.failed is failed


def test_one_published_seed_is_shown_and_not_tested(tmp_path, published):
    runs = [
        SyntheticRun("cifar10_3c3d", "vanilla", seed, curve(published, "cifar10_3c3d", 0.0251189, -0.3))
        for seed in (42, 43, 44)
    ]
    (comparison,) = compare(tmp_path, published, runs)
    assert comparison.p is None
    assert not comparison.failed
    assert comparison.published_deviation is None
    text = "\n".join(published_lines(published, [comparison]))
    assert "no test: they published 1 seed at that rate" in text
    assert all(caveat in text for caveat in published.caveats)


def test_a_shorter_run_is_compared_in_shape_alone(tmp_path, published):
    accuracy = curve(published, "cifar100_allcnnc", 0.158489)[:11]
    (comparison,) = compare(tmp_path, published, [SyntheticRun("cifar100_allcnnc", "vanilla", 42, accuracy)])
    assert (comparison.epochs, comparison.final, comparison.p) == (10, None, None)
    assert "after 350 epochs" in comparison.why_no_test
    assert comparison.largest_gap == pytest.approx(0.0, abs=1e-9)


def test_only_full_size_vanilla_at_a_rate_near_to_a_published_one(tmp_path, published):
    flat = [0.1] * 101
    runs = [
        SyntheticRun("cifar10_3c3d", "bn", 42, flat),
        SyntheticRun("cifar10_3c3d", "vanilla", 42, flat[:4], size="tiny"),
        SyntheticRun("cifar10_3c3d", "vanilla", 42, flat, lr_factor=10.0),
        SyntheticRun("digits_mlp", "vanilla", 42, flat),
    ]
    assert compare(tmp_path, published, runs) == []


def test_where_there_are_no_published_curves_there_is_nothing(tmp_path):
    assert read_published(tmp_path) is None
