"""What travels in results/reference: complete, small, of the code as it is, and confirmed by runs made here and now."""

import json
import subprocess
from pathlib import Path

import pytest

from bnbench.analysis.frames import open_results
from bnbench.analysis.reference.stored import read_references
from bnbench.components.variants import STUDIED, VARIANTS
from bnbench.data.dataset import DATASETS
from bnbench.data.origin import is_evidence
from bnbench.plan import DataFacts, expand_grid
from bnbench.problem import find_problem, problem_files
from bnbench.shipped import shipped_folder
from bnbench.storage.digests import run_digests
from bnbench.storage.store import ResultStore
from support.command_line import command

FOLDER = shipped_folder("reference")
SEEDS = 5
LARGEST_BYTES = 2_000_000


REFERENCED = [name for name in problem_files() if not any(part in name for part in ("resnet", "vgg", "batch4"))]
"""Residual networks and VGG have none, nor has the problem of small batches: each takes as long at its tiny size as
all of these."""


@pytest.fixture(scope="module")
def references():
    return {(each.problem, each.size): each for each in read_references(FOLDER)}


@pytest.mark.parametrize("name", REFERENCED)
def test_every_shipped_problem_has_all_variants_and_five_seeds_of_its_own_settings(references, name):
    problem = find_problem(name).problem("tiny")
    wanted = expand_grid(
        problem,
        DATASETS.get(problem.dataset).identify(),
        [VARIANTS.get(each) for each in STUDIED],
        seeds=problem.first_seeds(SEEDS),
    )
    assert (name, "tiny") in references, f"`bnbench reference update {name}` is due"
    reference = references[name, "tiny"]
    assert {spec.setting_id for spec in wanted} == {reference.setting_id}, "`bnbench reference update` is due"
    stored = [run for group in reference.groups.values() for run in group]
    assert sorted((run.variant, run.mask, run.learning_rate, run.seed) for run in stored) == sorted(
        (spec.variant.name, spec.mask, spec.training.learning_rate, spec.seed) for spec in wanted
    )


def test_there_is_no_reference_of_a_problem_that_does_not_ship(references):
    assert {name for name, size in references if size == "tiny"} == set(REFERENCED)
    assert {name for name, size in references if size == "full"} <= set(problem_files())


FULL = sorted((Path(FOLDER) / "full" / "runs").glob("*/run.json"))


@pytest.mark.parametrize("path", FULL, ids=lambda path: path.parent.name)
def test_a_full_length_run_is_one_of_the_study_as_it_is_whole_and_of_official_data(references, path):
    store = ResultStore(path.parents[1])
    (document,) = [each for each in store.documents() if each.run_id == path.parent.name]
    record = open_results(store.path).select(run_id=document.run_id)[0]
    assert record.readable and record.identity.size == "full" and is_evidence(record.data_origin)
    dataset = DATASETS.get(document.spec["data"]["name"])
    data = DataFacts(dataset.name, dataset.classes, dataset.channels, record.fingerprint, record.data_origin)
    problem = find_problem(record.identity.problem).problem()
    (wanted,) = expand_grid(problem, data, [VARIANTS.get(record.identity.variant)], seeds=[record.identity.seed])
    assert wanted.setting_id == record.identity.setting_id, "these runs are of another setting than the problem's"
    digests = run_digests(store, document.run_id, document.tables)
    stored = references[record.identity.problem, "full"]
    (kept,) = [run for group in stored.groups.values() for run in group
               if (run.variant, run.seed) == (record.identity.variant, record.identity.seed)]  # fmt: skip
    assert kept.digests == {table: digests[table] for table in kept.digests}
    assert sum(each.stat().st_size for each in path.parent.iterdir()) < 2_500_000


def test_every_reference_says_where_it_comes_from(references):
    for reference in references.values():
        assert {"versions", "platform", "source", "device", "threads", "flags"} <= reference.provenance.keys()
        assert reference.provenance["source"]["dirty"] is False


def test_it_is_small():
    carried = [path for path in Path(FOLDER).rglob("*") if path.is_file() and "runs" not in path.parts]
    assert sum(path.stat().st_size for path in carried) < LARGEST_BYTES


@pytest.mark.parametrize(
    "sample",
    [("digits_mlp", "digits_3c3d"), pytest.param(("cifar100_allcnnc", "fmnist_2c2d"), marks=pytest.mark.long)],
    ids=", ".join,
)
def test_one_seed_of_every_network_trained_now_agrees_with_it(sample, tmp_path):
    """A problem of each network; all of them, and all five seeds: `make check-reference`."""
    asked = command("check", *sample, "--fresh", "--format", "json", "--results", tmp_path / "runs")
    done = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=1800)
    report = json.loads(done.stdout)
    red = [(run["run_id"], run["why_not"], run["differences"]) for run in report["runs"] if not run["ok"]]
    assert (done.returncode, red) == (0, [])
    assert len(report["runs"]) == len(sample) * len(STUDIED)
    for run in report["runs"]:
        assert run["tiers"]["start"]["compared"] >= 3 + 3
        assert run["tiers"]["spread"]["compared"] > 0
