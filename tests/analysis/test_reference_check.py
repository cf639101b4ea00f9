"""The three tiers, on made-up runs whose every number is known."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from bnbench.analysis.frames import open_results
from bnbench.analysis.reference import tiers
from bnbench.analysis.reference.check import check_results
from bnbench.analysis.reference.outcome import Tier
from bnbench.analysis.reference.platform import circumstances_that_differ
from bnbench.analysis.reference.present import as_json, as_text
from bnbench.analysis.reference.stored import CHECKED_STEPS, read_references, write_reference
from bnbench.errors import UserError
from bnbench.problem import find_problem
from bnbench.storage.store import ResultStore
from support.synthetic_store import SyntheticRun, build_store

PROBLEM = "digits_mlp"
EPOCHS = 3
SEEDS = (4842821, 42, 43, 44, 45)
VARIANTS = ("vanilla", "bn", "bn_gamma")


def loss_curve(variant, seed):
    start = 2.3 + 0.01 * (seed % 7)
    pace = {"vanilla": 0.3, "bn": 0.6, "bn_gamma": 0.7}[variant] + 0.01 * np.sin(seed)
    return [start * np.exp(-pace * epoch) for epoch in range(EPOCHS + 1)]


def run(variant, seed, **fields):
    given = {"loss": loss_curve(variant, seed), "size": "tiny", **fields}
    accuracy = given.pop("accuracy", [0.1, *(1 - each / 3 for each in given["loss"][1:])])
    return SyntheticRun(given.pop("problem", PROBLEM), variant, seed, accuracy, **given)


def store_reference(folder, runs):
    place = folder / "reference-runs"
    build_store(place, runs)
    target = write_reference(folder / "reference", open_results(place), ResultStore(place).documents())
    (reference,) = read_references(folder / "reference")
    assert reference.folder == target
    return reference


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    return store_reference(
        tmp_path_factory.mktemp("stored"), [run(variant, seed) for variant in VARIANTS for seed in SEEDS]
    )


def check(tmp_path, runs, references, **options):
    place = tmp_path / "runs"
    build_store(place, runs)
    return check_results(open_results(place), references, **options)


def test_the_same_numbers_pass_in_every_tier(tmp_path, reference):
    report = check(tmp_path, [run(variant, seed) for variant in VARIANTS for seed in SEEDS], [reference])
    assert not report.failed
    assert len(report.runs) == 15
    assert all(outcome.compared for each in report.runs for outcome in each.outcomes)
    # three splits, loss and accuracy, three epochs after the first point; one final value a curve and variant
    assert report.bands == 15 * 3 * 2 * EPOCHS
    assert [(final.seeds, final.compared) for final in report.finals] == [(5, 6)] * 3
    assert report.band_level * report.bands + report.final_level * 18 == pytest.approx(0.01)


def scaled(variant, seed, factor, epoch):
    loss = loss_curve(variant, seed)
    loss[epoch] *= factor
    return run(variant, seed, loss=loss, accuracy=run(variant, seed).accuracy)


@pytest.mark.parametrize(("factor", "noticed"), [(1 + 5e-6, False), (1 + 2e-5, True), (1 - 2e-5, True)])
def test_the_loss_before_training_has_to_agree_to_five_digits(tmp_path, reference, factor, noticed):
    report = check(tmp_path, [scaled("bn", 42, factor, 0)], [reference], tiers=[Tier.START])
    assert report.failed is noticed
    (checked,) = report.runs
    assert [each.what for each in checked.differences] == (
        [f"{split} loss before training" for split in ("train_eval", "valid", "test")] if noticed else []
    )


def test_any_other_bit_is_noticed_where_bits_are_compared(tmp_path, reference):
    changed = [scaled("bn", 42, 1 + 1e-12, 0)]
    report = check(tmp_path, changed, [reference])
    (checked,) = report.runs
    assert [each.what for each in checked.differences] == ["SHA-256 of curves"]
    assert not check(tmp_path, [], [reference], tiers=[Tier.START, Tier.SPREAD]).failed


def test_bits_are_compared_under_the_same_circumstances_only(tmp_path, reference):
    report = check(tmp_path, [run("bn", 42, device="NVIDIA H200")], [reference])
    assert not report.failed
    bits = report.runs[0].outcomes[0]
    assert bits.compared == 0
    assert "device NVIDIA H200, not cpu" in bits.why_not


def with_batch_losses(monkeypatch, factors):
    """Made-up runs whose batch loss at some steps is multiplied."""
    import support.synthetic_store as module  # noqa: PLC0415

    original = module._step_columns

    def columns(run, rate):
        made = original(run, rate)
        losses = made["batch_loss"].copy()
        for step, factor in factors.items():
            losses[step] *= np.float32(factor)
        return {**made, "batch_loss": losses}

    monkeypatch.setattr(module, "_step_columns", columns)


@pytest.mark.parametrize("step", CHECKED_STEPS)
@pytest.mark.parametrize(("factor", "noticed"), [(1 + 5e-6, False), (1 + 4e-5, True)])
def test_the_first_batch_losses_have_to_agree_to_five_digits(tmp_path, reference, monkeypatch, step, factor, noticed):
    with_batch_losses(monkeypatch, {step: factor})
    report = check(tmp_path, [run("bn", 42)], [reference], tiers=[Tier.START])
    assert [each.what for each in report.runs[0].differences] == [f"batch loss at step {step}"] * noticed


@pytest.mark.parametrize(
    ("step", "factor", "noticed"),
    [(0, 1 + 4e-5, True), (1, 1 + 2e-5, False), (1, 1 + 6e-5, True), (5, 1.4, False), (5, 1.6, True)],
)
def test_elsewhere_later_batch_losses_have_room_for_rounding(tmp_path, reference, monkeypatch, step, factor, noticed):
    with_batch_losses(monkeypatch, {step: factor})
    report = check(tmp_path, [run("bn", 42, device="another")], [reference], tiers=[Tier.START])
    assert [each.what for each in report.runs[0].differences] == [f"batch loss at step {step}"] * noticed


def test_other_batch_losses_are_not_looked_at(tmp_path, reference, monkeypatch):
    with_batch_losses(monkeypatch, {3: 2.0, 7: 2.0})
    assert not check(tmp_path, [run("bn", 42)], [reference], tiers=[Tier.START]).failed


def test_a_curve_far_outside_the_seeds_fails(tmp_path, reference):
    report = check(tmp_path, [scaled("bn", 42, 2.0, 2)], [reference], tiers=[Tier.SPREAD])
    assert report.failed
    named = [each.what for each in report.runs[0].differences]
    assert named == [f"{split} loss at epoch 2" for split in ("train_eval", "valid", "test")]
    assert report.runs[0].differences[0].expected.count("…") == 1


def test_a_seed_that_the_reference_lacks_is_compared_with_the_spread_alone(tmp_path, reference):
    report = check(tmp_path, [run("bn", 49)], [reference])
    bits, start, spread = report.runs[0].outcomes
    assert (bits.compared, start.compared) == (0, 0)
    assert bits.why_not == start.why_not == "the reference has no seed 49"
    assert spread.compared == 18
    assert not report.failed


def test_final_values_of_several_seeds_are_tested_together(tmp_path, reference):
    """Each run is inside its bands, but all of them are off to the same side."""
    runs = [scaled("bn", seed, 1.06, EPOCHS) for seed in SEEDS]
    report = check(tmp_path, runs, [reference], tiers=[Tier.SPREAD])
    assert not any(each.failed for each in report.runs)
    (final,) = report.finals
    assert [each.what for each in final.differences] == [f"final {s} loss" for s in ("train_eval", "valid", "test")]
    assert "p = " in final.differences[0].difference
    assert report.failed


def test_a_run_that_diverges_where_the_reference_did_not_fails(tmp_path, reference):
    diverged = run("bn", 42, loss=[2.3, 1.0], accuracy=[0.1, 0.6], epochs=EPOCHS, diverged_at_step=12)
    report = check(tmp_path, [diverged], [reference], tiers=[Tier.SPREAD])
    (difference,) = report.runs[0].differences
    assert (difference.obtained, difference.expected) == ("diverged", "finished")


def test_where_the_reference_diverged_so_has_to_the_run(tmp_path):
    def diverged(seed):
        return run("vanilla", seed, loss=[2.3, 1.0], accuracy=[0.1, 0.6], epochs=EPOCHS, diverged_at_step=12)

    reference = store_reference(tmp_path, [diverged(seed) for seed in SEEDS])
    assert not check(tmp_path, [diverged(42)], [reference]).failed
    report = check(tmp_path / "second", [run("vanilla", 42)], [reference], tiers=[Tier.SPREAD])
    assert report.failed


def test_values_that_are_not_finite_are_outside_every_band(tmp_path, reference):
    broken = run("bn", 42, loss=[*loss_curve("bn", 42)[:-1], float("nan")], accuracy=run("bn", 42).accuracy)
    report = check(tmp_path, [broken], [reference], tiers=[Tier.SPREAD])
    assert [each.obtained for each in report.runs[0].differences] == ["nan"] * 3


def test_a_failed_run_fails_the_check(tmp_path, reference):
    report = check(tmp_path, [run("bn", 42, error="Traceback\nValueError: boom"), run("vanilla", 42)], [reference])
    assert report.failed
    assert report.runs[0].why_not == "training failed: ValueError: boom"


def test_an_overridden_run_has_no_reference_and_is_no_failure(tmp_path, reference):
    report = check(tmp_path, [run("bn", 42), run("bn", 43, overrides={"training.l2": 0.0})], [reference])
    assert not report.failed
    (without,) = [each for each in report.runs if not each.compared]
    assert without.why_not == "the reference was made with another setting: training.l2 = 0.0, not 0.0005"


def test_where_nothing_can_be_compared_the_check_fails(tmp_path, reference):
    report = check(tmp_path, [run("bn", 43, overrides={"training.l2": 0.0})], [reference])
    assert report.nothing
    assert report.failed


def test_another_learning_rate_or_placement_has_no_reference(tmp_path, reference):
    report = check(
        tmp_path, [run("bn", 42), run("bn", 43, lr_factor=2.0), run("bn", 44, placement="first")], [reference]
    )
    reasons = {each.identity.seed: each.why_not for each in report.runs}
    assert reasons == {
        42: None,
        43: "the reference has learning rate 0.05",
        44: "the reference has no such variant and placement",
    }
    assert not report.failed


def test_a_run_made_to_be_checked_must_have_a_reference(tmp_path, reference):
    report = check(tmp_path, [run("bn", 42), run("bn", 43, lr_factor=2.0)], [reference], complete=True)
    assert report.failed


def test_a_reference_that_the_problem_file_has_left_behind_fails_the_check(tmp_path):
    """A problem file changed, and nobody made the reference anew: the problem's own runs must not pass unseen."""
    old = find_problem(PROBLEM).problem("tiny", {"training.l2": 0.01})
    reference = store_reference(tmp_path, [run("bn", seed, problem=old) for seed in SEEDS])
    report = check(tmp_path, [run("bn", 42)], [reference])
    assert report.failed
    assert report.runs[0].wrong
    assert "training.l2 = 0.0005, not 0.01" in report.runs[0].why_not


def test_one_seed_short_of_three_makes_no_band(tmp_path):
    reference = store_reference(tmp_path, [run("bn", seed) for seed in SEEDS[:2]])
    report = check(tmp_path, [run("bn", 42)], [reference])
    assert report.runs[0].outcomes[2].why_not == "the reference has 2 seeds, a band needs 3"
    assert not report.failed


def test_a_reference_is_of_one_setting_and_has_no_failed_run(tmp_path):
    with pytest.raises(UserError, match="of one setting"):
        store_reference(tmp_path / "a", [run("bn", 42), run("bn", 43, overrides={"training.l2": 0.0})])
    with pytest.raises(UserError, match="failed, so it cannot be a reference"):
        store_reference(tmp_path / "b", [run("bn", 42), run("bn", 43, error="boom")])
    with pytest.raises(UserError, match="of one provenance"):
        store_reference(tmp_path / "c", [run("bn", 42), run("bn", 43, device="other")])


def test_a_damaged_reference_is_named(tmp_path, reference):
    folder = tmp_path / "reference" / "tiny" / PROBLEM
    shutil.copytree(reference.folder, folder)
    (folder / "curves.parquet").write_bytes(b"no Parquet")
    (damaged,) = read_references(tmp_path / "reference")
    with pytest.raises(UserError, match=r"curves\.parquet cannot be read"):
        check(tmp_path, [run("bn", 42)], [damaged])
    (folder / "reference.json").write_text('{"version": 1}', encoding="utf-8")
    with pytest.raises(UserError, match="does not describe reference results"):
        read_references(tmp_path / "reference")


def test_circumstances_that_decide_bits():
    ours = {
        "platform": {"system": "Linux", "processor": "A", "instructions": "x", "processors": 2},
        "versions": {"torch": "2.13", "python": "3.11", "pyarrow": "17"},
        "device": "cpu",
        "threads": 1,
        "flags": {"tf32": False},
    }
    assert circumstances_that_differ(ours, ours) == []
    harmless = ours | {
        "platform": {**ours["platform"], "processors": 64},
        "versions": {**ours["versions"], "python": "3.13", "pyarrow": "20"},
    }
    assert circumstances_that_differ(harmless, ours) == []
    other = ours | {"threads": 2, "flags": {"tf32": True}, "versions": {"torch": "2.12"}}
    assert circumstances_that_differ(other, ours) == [
        "torch 2.12, not 2.13",
        "threads 2, not 1",
        "tf32 true, not false",
    ]


def test_variables_that_choose_kernels_decide_bits_and_packages_that_are_never_imported_do_not():
    plain = {"device": "cpu", "threads": 1, "versions": {"torch": "2.13", "torchvision": "0.28"}, "flags": {}}
    chosen = plain | {"flags": {"MKL_CBWR": "COMPATIBLE", "NVIDIA_TF32_OVERRIDE": "1"}}
    assert circumstances_that_differ(chosen, plain) == ["MKL_CBWR=COMPATIBLE, not unset"]
    assert circumstances_that_differ(plain, chosen) == ["MKL_CBWR unset, not COMPATIBLE"]
    other = plain | {"flags": {"MKL_CBWR": "AVX2"}}
    assert circumstances_that_differ(other, chosen) == ["MKL_CBWR=AVX2, not COMPATIBLE"]
    assert circumstances_that_differ(plain | {"versions": {"torch": "2.13", "torchvision": "0.26"}}, plain) == []
    on_gpu = [each | {"device": "a GPU"} for each in (chosen, plain)]
    assert circumstances_that_differ(*on_gpu) == [
        "MKL_CBWR=COMPATIBLE, not unset", "NVIDIA_TF32_OVERRIDE=1, not unset",
    ]  # fmt: skip


def test_bits_are_not_compared_where_a_variable_chose_other_kernels(tmp_path, reference):
    flagged = run("bn", 42)
    provenance = {**reference.provenance, "flags": {"MKL_CBWR": "COMPATIBLE"}}
    report = check(tmp_path, [flagged], [dataclasses.replace(reference, provenance=provenance)])
    bits = report.runs[0].outcomes[0]
    assert bits.why_not == "computed under other circumstances: MKL_CBWR unset, not COMPATIBLE"


@pytest.fixture(scope="module")
def red(tmp_path_factory, reference):
    runs = [scaled("bn", 42, 1.3, 0), run("vanilla", 42), run("bn", 43, overrides={"training.l2": 0.0})]
    return check(tmp_path_factory.mktemp("red"), runs, [reference])


def test_as_text_there_is_a_line_a_run_and_more_only_where_it_fails(red):
    lines = as_text(red).splitlines()
    starts = [line[:4].strip() for line in lines[: lines.index("")]]
    assert starts == ["FAIL", *[""] * 4, "–", "ok"]
    assert "train_eval loss before training" in lines[2]
    assert "obtained" in lines[2]
    assert "2 runs compared, 1 failed; 1 run without a reference" in lines


def test_as_json_it_is_json_and_says_the_same(red):
    values = json.loads(json.dumps(as_json(red), allow_nan=False))
    assert values["ok"] is False
    assert [(each["variant"], each["ok"], each["compared"]) for each in values["runs"]] == [
        ("bn", False, True),
        ("bn", True, False),
        ("vanilla", True, True),
    ]


def test_what_is_looked_at_is_what_the_document_says():
    assert (tiers.START_TOLERANCE, CHECKED_STEPS) == (1e-5, (0, 1, 5))
    assert tiers.TOLERANCE_ELSEWHERE == {1: 3e-5, 5: 0.5}
