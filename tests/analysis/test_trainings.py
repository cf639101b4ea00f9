"""Two folders of one training, and runs of which a table is damaged: counted once, left out, and said."""

from __future__ import annotations

import json

import numpy as np
import pytest

from bnbench.analysis.activity import activity_summary
from bnbench.analysis.claims.decide import decide_claims
from bnbench.analysis.comparison import comparisons
from bnbench.analysis.frames import open_results
from bnbench.analysis.ranking import rank
from bnbench.analysis.reference.check import check_results
from bnbench.analysis.reference.stored import read_references, write_reference
from bnbench.report.figures.drawing import draw_kind
from bnbench.report.figures.registry import FIGURES
from bnbench.report.page import TEXT
from bnbench.report.webpage.build import report_page
from bnbench.storage.store import ResultStore
from bnbench.study import find_study
from support.command_line import invoke
from support.figure_runs import SLOTS, run
from support.synthetic_store import build_store

SPARSE = {"probes.sparsity": False}
DENSE = {"probes.sparsity": True, "snapshots.schedule": "every:1"}
ZEROED = {"conv1": [0.5, 0.6, 0.7, 0.7, 0.8]}


def gamma(steps, change=0.0):
    return {(slot, "gamma"): (steps, [[1.0 + step / 100 + change, 1.0] for step in steps]) for slot in SLOTS}


PLAIN = {"overrides": SPARSE, "affine": gamma(range(0, 41, 10)), "population_accuracy": [0.1, 0.2, 0.3, 0.4, 0.5]}
"""Few snapshots, and more rows of `curves`."""
PROBED = {"overrides": DENSE, "affine": gamma(range(0, 41, 5)), "zeroed": ZEROED}
"""More snapshots, and a table that the other does not have."""


def twice(path, one=PLAIN, other=PROBED, variant="bn_gamma", beside=()):
    """A results folder with one training in two folders; the ids of the two."""
    (path / "at").mkdir(parents=True)
    runs = [run(variant, 42, **one), run(variant, 42, **other)]
    build_store(path / "at", [*runs, *beside])
    return path / "at", *(each.spec().run_id for each in runs)


def flip(path):
    """Damage a file without changing its length."""
    contents = bytearray(path.read_bytes())
    contents[len(contents) // 2] ^= 0xFF
    path.write_bytes(contents)


def test_two_folders_of_one_training_count_once_and_each_table_is_that_with_most_rows(tmp_path):
    store, plain, probed = twice(tmp_path, beside=[run("vanilla", 42, overrides=SPARSE)])
    results = open_results(store)
    (record,) = results.select(variant="bn_gamma")
    assert record.identity.run_id == plain, "the folder of its curves stands for it"
    assert record.tables == ("curves", "steps", "affine", "timing", "sparsity")
    assert {each.identity.run_id for each in results.folders} >= {plain, probed}
    assert len(results.runs()) == 2
    assert (results.curves(variant="bn_gamma")["statistics"] == "population").sum() == 5
    assert set(results.affine(variant="bn_gamma")["step"]) == set(range(0, 41, 5)), "of the other folder"
    for table in ("affine", "sparsity"):
        rows = results.table(table, variant="bn_gamma")
        assert set(rows["run_id"]) == {plain}
        assert str(rows["run_id"].dtype) == "category"
    assert len(results.trajectory(plain, "conv1", "gamma").steps) == 9
    (group,) = rank(results).groups
    assert [(row.variant, row.seeds) for row in group.rows] == [("bn_gamma", (42,)), ("vanilla", (42,))]
    assert set(activity_summary(results, parameter="gamma")["snapshots"]) == {9}
    assert results.warnings == ()


def test_asked_for_by_its_own_id_the_other_folder_is_read(tmp_path):
    store, plain, probed = twice(tmp_path)
    results = open_results(store)
    assert set(results.curves(run_id=probed)["run_id"]) == {probed}
    assert not (results.curves(run_id=probed)["statistics"] == "population").any()
    assert [each.identity.run_id for each in results.select(run_id=[plain, probed])] == [plain, probed]
    assert len(results.trajectory(probed, "conv1", "gamma").steps) == 9
    (row,) = comparisons(results.select(run_id=[probed, plain]))[0].rows
    assert row.seeds == (42,)
    (group,) = rank(results, run_id=[probed]).groups
    assert group.run_ids == [probed]


def test_equal_rows_decide_by_run_id(tmp_path):
    store, *ids = twice(tmp_path, {"overrides": SPARSE}, {"overrides": DENSE, "zeroed": ZEROED})
    (record,) = open_results(store).records
    assert record.identity.run_id == min(ids)


def test_a_training_that_failed_elsewhere_has_a_result(tmp_path):
    store, plain, failed = twice(tmp_path, other={"overrides": DENSE, "error": "Traceback: no space left"})
    results = open_results(store)
    assert [(each.identity.run_id, each.status) for each in results.records] == [(plain, "finished")]
    assert rank(results).failed == ()
    assert failed in invoke("status", "--runs", "--results", store).stdout


def test_what_both_hold_is_compared_bit_for_bit_and_nan_equals_nan(tmp_path):
    strange = [2.3, float("nan"), 1.3, float("inf"), 1.1]
    store, *_ = twice(tmp_path, {**PLAIN, "loss": strange}, {**PROBED, "loss": strange})
    results = open_results(store)
    (record,) = results.records
    assert results.disagreement(record) is None


OTHER_LOSS = [2.3, 1.4, 1.3, np.nextafter(1.2, 2), 1.1]


@pytest.mark.parametrize(
    ("other", "where"),
    [
        ({"loss": OTHER_LOSS}, "epoch 3, split train_eval, statistics running of curves"),
        ({"affine": gamma(range(0, 41, 5), 1e-6)}, "step 0, slot conv1, parameter gamma of affine"),
        ({"affine": {("conv1", "gamma"): ([10], [[1.1, 1.0, 1.0]])}}, "step 10, slot conv1, parameter gamma of affine"),
        ({"steps_per_epoch": 9}, "epoch 1, split train_eval, statistics running of curves"),
        (
            {"accuracy": [0.1, 0.2], "loss": [2.3, 1.4], "zeroed": {}, "epochs": 4, "diverged_at_step": 12},
            "how it ended (finished, diverged at step 12)",
        ),
    ],
)
def test_a_difference_is_a_warning_and_named(tmp_path, other, where):
    store, plain, probed = twice(tmp_path, other={**PROBED, **other})
    results = open_results(store)
    (record,) = results.records
    said = f"{plain} and {probed} are one training, and differ in {where}: it decides nothing"
    assert results.disagreement(record) == said
    assert results.warnings == (said,)
    (group,) = rank(results).groups
    assert said in group.notes


def test_a_training_whose_folders_differ_is_in_no_verdict(tmp_path):
    beside = [run("vanilla", 42, overrides=SPARSE)]
    build_store(tmp_path / "stored", [run("vanilla", 42, **PLAIN), run("bn_gamma", 42, **PLAIN)])
    write_reference(
        tmp_path / "reference", open_results(tmp_path / "stored"), ResultStore(tmp_path / "stored").documents()
    )
    references = read_references(tmp_path / "reference")
    for other, alike in ((PROBED, True), ({**PROBED, "loss": OTHER_LOSS}, False)):
        store, plain, _ = twice(tmp_path / str(alike), other=other, beside=beside)
        results = open_results(store)
        checked = {each.identity.variant: each for each in check_results(results, references).runs}
        assert checked["vanilla"].compared
        assert checked["bn_gamma"].compared is alike
        report = decide_claims(open_results(store), find_study("thesis"))
        assert sum(body.runs for body in report.apart) == (2 if alike else 1)
        assert [plain in warning for warning in report.warnings] == [] if alike else [True]


@pytest.fixture
def damaged(tmp_path):
    """Three runs of which one has a damaged `affine`; its id."""
    runs = [run("bn_gamma", seed, affine=gamma(range(0, 41, 10))) for seed in (42, 43)] + [run("vanilla", 42)]
    store = build_store(tmp_path / "store", runs)
    broken = runs[1].spec().run_id
    flip(store / broken / "affine.parquet")
    return store, broken


def test_a_damaged_table_is_that_runs_warning_and_the_others_go_on(damaged):
    store, broken = damaged
    results = open_results(store)
    assert results.warnings == (), "it costs too much to look at every table before it is read"
    assert set(activity_summary(results)["seed"]) == {42}
    (warning,) = results.warnings
    assert warning.endswith(
        "its contents are not those that were written; the run is damaged and counts as not finished"
    )
    assert f"{broken}/affine.parquet" in warning
    assert results.damaged == (broken,)
    assert {record.identity.run_id for record in results.records if not record.readable} == {broken}
    assert set(results.curves(variant="bn_gamma")["seed"]) == {42}, "it is left out of everything from then on"
    assert set(open_results(store).affine()["seed"]) == {42}, "and so by the frames"


def test_figures_claims_and_the_page_go_on_without_it(damaged):
    store, broken = damaged
    results = open_results(store)
    (drawing,) = draw_kind(results, FIGURES.get("activity"), comparisons(results.records), TEXT)
    assert "missing: BN_γ" not in drawing.caption
    assert "1 seed (42)" in drawing.caption
    results = open_results(store)
    decide_claims(results, find_study("thesis"))
    page = report_page(results)
    assert f"{broken}" in page
    assert "damaged" in page


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("activity",), 0),
        (("activity", "--json"), 0),
        (("plot", "--kind", "gamma", "--output", "drawn"), 0),
        (("report", "--output", "page.html"), 0),
        (("check",), 1),
    ],
)
def test_commands_say_what_came_up_while_they_read(damaged, tmp_path, monkeypatch, words, code):
    store, broken = damaged
    monkeypatch.chdir(tmp_path)
    result = invoke(*words, "--results", store)
    assert (result.exit_code, "Traceback" in result.output) == (code, False), result.output
    assert result.stderr.count("the run is damaged and counts as not finished") == 1
    assert broken in result.stderr
    if "--json" in words:
        assert {row["seeds"][0] for row in json.loads(result.stdout)["rows"]} == {42}


def test_a_damaged_table_that_nothing_is_read_from_is_found_when_the_folders_are_compared(tmp_path):
    store, plain, probed = twice(tmp_path)
    flip(store / plain / "affine.parquet")
    results = open_results(store)
    (group,) = rank(results).groups
    assert results.damaged == (plain,)
    assert len(results.warnings) == 1
    assert [record.identity.run_id for record in results.records] == [probed]
    assert group.run_ids == [probed]
    assert not any("one training" in note for note in group.notes)
    (left,) = results.sound(open_results(store).records, "curves")
    assert left.identity.run_id == probed, "whoever still holds the damaged folder gets what stands for it now"


def test_where_one_folder_of_a_training_is_damaged_the_other_is_read(tmp_path):
    store, plain, probed = twice(tmp_path)
    flip(store / probed / "affine.parquet")
    results = open_results(store)
    assert set(results.affine()["step"]) == set(range(0, 41, 10))
    assert results.damaged == (probed,)
    assert set(activity_summary(open_results(store))["snapshots"]) == {5}
    flip(store / plain / "affine.parquet")
    results = open_results(store)
    assert len(results.affine()) == 0
    assert results.damaged == tuple(sorted((plain, probed)))
    assert len(activity_summary(open_results(store))) == 0
