"""`bnbench check` and `bnbench reference`, in small; the shipped reference is checked in tests/reference."""

import json
import shutil

import numpy as np
import pytest

from bnbench.analysis.reference.published import read_published
from bnbench.analysis.reference.stored import read_references
from bnbench.shipped import shipped_folder
from support.command_line import invoke
from support.synthetic_store import SyntheticRun, build_store

ACCURACY = [0.1, 0.5, 0.7, 0.8]
SEEDS = (42, 43, 44)


def runs(**fields):
    return [
        SyntheticRun("digits_mlp", variant, seed, ACCURACY, size="tiny", **fields)
        for variant in ("vanilla", "bn")
        for seed in SEEDS
    ]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return build_store(tmp_path_factory.mktemp("recorded") / "runs", runs())


@pytest.fixture(scope="module")
def stored(tmp_path_factory, results):
    folder = tmp_path_factory.mktemp("stored") / "reference"
    done = invoke("reference", "update", "--from", results, "--reference", folder)
    assert done.exit_code == 0, done.stderr
    assert done.stdout == "digits_mlp tiny: 6 runs stored, the first reference of this problem at this size\n"
    return folder


@pytest.fixture
def reference(tmp_path, stored):
    """A copy, which a test may change."""
    return shutil.copytree(stored, tmp_path / "reference")


def check(results, reference, *options):
    return invoke("check", "--results", results, "--reference", reference, *options)


def test_green_is_exit_code_0_and_red_is_1(tmp_path, results, reference):
    done = check(results, reference)
    assert done.exit_code == 0
    assert "6 runs compared, 0 failed" in done.stdout
    other = build_store(tmp_path / "other", runs(loss=[0.9, 0.4, 0.3, 0.2]))
    done = check(other, reference)
    assert done.exit_code == 1
    assert "obtained 0.4  expected" in done.stdout


def test_without_anything_to_compare_it_is_red(tmp_path, reference):
    other = build_store(tmp_path / "other", [SyntheticRun("digits_3c3d", "bn", 42, [0.1, 0.2])])
    done = check(other, reference)
    assert done.exit_code == 1
    assert "no reference of digits_3c3d at size full" in done.stdout
    assert "Nothing was compared" in done.stdout


def test_the_formats(results, reference):
    assert json.loads(check(results, reference, "--format", "json").stdout)["ok"] is True


def test_tiers_problems_and_sizes_are_chosen(results, reference):
    report = json.loads(check(results, reference, "digits_mlp", "--tier", "start", "--format", "json").stdout)
    assert report["tiers"] == ["start"]
    assert check(results, reference, "--size", "full").exit_code == 1
    done = check(results, reference, "digits_mpl")
    assert done.exit_code == 2
    assert "Did you mean 'digits_mlp'?" in done.stderr


def test_update_replaces_and_says_what_changed(tmp_path, results, reference):
    again = invoke("reference", "update", "--from", results, "--reference", reference)
    assert again.stdout == "digits_mlp tiny: 6 runs stored, 0 with other numbers than before, 0 added\n"
    other = build_store(tmp_path / "other", [*runs(loss=[0.9, 0.4, 0.3, 0.2])[1:]])
    done = invoke("reference", "update", "--from", other, "--reference", reference)
    assert done.stdout == "digits_mlp tiny: 5 runs stored, 5 with other numbers than before, 0 added\n"
    (stored,) = read_references(reference)
    assert sum(len(group) for group in stored.groups.values()) == 5
    assert check(other, reference).exit_code == 0
    (document,) = reference.rglob("reference.json")
    written = json.loads(document.read_text())
    written["provenance"]["flags"] = {**written["provenance"].get("flags", {}), "MKL_CBWR": "COMPATIBLE"}
    document.write_text(json.dumps(written))
    done = invoke("reference", "update", "--from", results, "--reference", reference)
    assert done.stdout == (
        "digits_mlp tiny: 6 runs stored, 5 with other numbers than before (now MKL_CBWR unset, not COMPATIBLE), "
        "1 added\n"
    )


def test_storing_twice_gives_the_same_bytes(tmp_path, results, reference):
    before = {path.name: path.read_bytes() for path in reference.rglob("*.*")}
    shutil.rmtree(reference)
    invoke("reference", "update", "--from", results, "--reference", reference)
    assert {path.name: path.read_bytes() for path in reference.rglob("*.*")} == before
    assert set(before) == {"curves.parquet", "steps.parquet", "reference.json"}


def test_list_says_where_a_reference_comes_from(reference):
    done = invoke("reference", "list", "--reference", reference)
    assert done.stdout.startswith("digits_mlp tiny: 6 runs, 3 seeds; ")


def test_fresh_needs_an_empty_folder(results, reference):
    done = check(results, reference, "--fresh")
    assert done.exit_code == 2
    assert "holds runs already" in done.stderr


def test_from_takes_no_problems(results, tmp_path):
    done = invoke("reference", "update", "digits_mlp", "--from", results, "--reference", tmp_path / "none")
    assert done.exit_code == 2
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(("shift", "code"), [(-0.01, 0), (-0.1, 1)])
def test_published_baselines_are_compared_and_their_caveats_printed(tmp_path, shift, code):
    published = read_published(shipped_folder("reference"))
    rows = published.curves[np.isclose(published.curves["learning_rate"], 0.158489)]
    mean = rows.groupby("epoch")["test_accuracy"].mean().to_numpy() + shift
    made = [
        SyntheticRun("cifar100_allcnnc", "vanilla", seed, (mean + offset).clip(0).tolist())
        for seed, offset in ((42, -0.002), (43, 0.0), (44, 0.002))
    ]
    done = invoke("check", "--results", build_store(tmp_path / "runs", made))
    assert done.exit_code == code
    assert "(3 seeds) beside DeepOBS lr 0.158 (7 seeds), epochs 0 to 350" in done.stdout
    assert all(caveat in done.stdout for caveat in published.caveats)
