"""What is no file, or far too large, in place of each kind of file that a command reads: told at once, and no more."""

import shutil

import pytest

from bnbench.data.cifar_source import RELEASES
from bnbench.execution.slurm.queue import CLUSTER_FOLDER, Submission, write_submission
from bnbench.shipped import shipped_folder
from bnbench.storage.lock import acquire_lock, look_at_lock
from bnbench.storage.processes import this_process
from bnbench.storage.sweeps import SWEEPS_FOLDER, SweepRecord, SweepRun, write_sweep
from support.command_line import invoke
from support.odd_files import ODD_FILES, at_once, make_sparse, put_in_place_of
from support.synthetic_cifar import install_synthetic
from support.synthetic_store import SyntheticRun, build_store

SEEDS = (42, 43, 44, 45)
TOO_LARGE = "bytes, and no such file has more than"


def runs(**fields):
    return [SyntheticRun("digits_mlp", "bn", seed, [0.1, 0.5, 0.7], size="tiny", **fields) for seed in SEEDS]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    return build_store(tmp_path_factory.mktemp("recorded") / "runs", runs())


@pytest.fixture
def results(tmp_path, recorded):
    """Runs, a sweep and a submission on record; files may be replaced."""
    store = shutil.copytree(recorded, tmp_path / "runs")
    sweep = SweepRun(run_id="x-1", setting_id="x")
    write_sweep(store, SweepRecord(command="bnbench run x", process=this_process(), side_by_side=1, runs=(sweep,)))
    write_submission(store, Submission(name="bnbench-1", elements={"1": ("x-1",)}))
    return store


def call(*arguments):
    with at_once():
        return invoke(*arguments)


@pytest.mark.parametrize("kind", [*ODD_FILES, "too large"])
def test_files_of_a_results_folder(results, tmp_path, kind):
    first, second, third, _ = sorted(path for path in results.iterdir() if path.name.startswith("digits"))
    (sweep,) = (results / SWEEPS_FOLDER).glob("*.json")
    document, table = first / "run.json", second / "curves.parquet"
    odd = [document, table, sweep, results / CLUSTER_FOLDER / "bnbench-1.json", third / "writer-000001.lock"]
    (third / "run.json").unlink()
    (third / "work-0123456789abcdef").mkdir()
    for path in odd:
        if kind == "too large":
            make_sparse(path, 65 << 20)
        else:
            put_in_place_of(path, kind)
    told = TOO_LARGE if kind == "too large" else ODD_FILES[kind].told

    status = call("status", "--results", results)
    assert status.exit_code == 0, status.output
    said = " ".join((status.stdout + status.stderr).split())
    for path in odd[:-1]:
        assert str(path) in said or f"{path.parent}: {path.name}" in said
    assert told in said
    assert "Not ended: 1 cut off before the first checkpoint" in said

    rank = call("rank", "--results", results)
    assert rank.exit_code == 0, rank.output
    assert told in " ".join(rank.stderr.split())

    merged = call("merge", results, "--results", tmp_path / "merged")
    assert "Traceback" not in merged.output
    assert sorted(path.name for path in (tmp_path / "merged").iterdir()) == [path.name for path in sorted(
        path for path in results.iterdir() if path.name.startswith("digits")
    )[-1:]]  # fmt: skip
    # A dangling link is no sign of a run; everything else is named.
    assert told in " ".join(merged.output.split()) or "link" in kind

    # Nobody holds the lock, so a writer takes its place at once.
    assert look_at_lock(third).is_nobodys()
    with acquire_lock(third) as lock:
        assert lock is not None
        assert [path.name for path in third.glob("writer-*")] == ["writer-000002.lock"]


@pytest.mark.parametrize("kind", [*ODD_FILES, "too large"])
def test_files_that_a_user_wrote(tmp_path, kind):
    path = tmp_path / "mine.toml"
    if kind == "too large":
        make_sparse(path, 2 << 20)
    else:
        ODD_FILES[kind].make(path)
    told = TOO_LARGE if kind == "too large" else ODD_FILES[kind].told
    study = tmp_path / "mine_too.toml"
    study.write_text('extends = "mine.toml"\n')
    results = tmp_path / "results"
    for arguments in (
        ("show", path),
        ("run", path, "--results", results),
        ("study", path, "--results", results),
        ("study", study, "--results", results),
    ):
        result = call(*arguments)
        assert result.exit_code == 2, result.output
        assert f"{path}: cannot be read:" in result.stderr
        assert told in result.stderr
    assert not results.exists()


@pytest.mark.parametrize("kind", ["pipe", "endless device", "too large"])
def test_the_file_of_cluster_settings(tmp_path, kind, monkeypatch):
    pytest.importorskip("submitit")
    for name in ("sbatch", "srun"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    path = tmp_path / "cluster.toml"
    if kind == "too large":
        make_sparse(path, 2 << 20)
    else:
        ODD_FILES[kind].make(path)
    result = call(
        "run", "digits_mlp", "--size", "tiny", "--executor", "slurm", "--cluster", path, "--results", tmp_path / "r"
    )
    assert result.exit_code == 2, result.output
    assert f"{path}: cannot be read:" in result.stderr


@pytest.mark.parametrize("kind", [*ODD_FILES, "too large"])
def test_files_of_imported_data(tmp_path, kind, monkeypatch):
    monkeypatch.setenv("BNBENCH_DATA", str(tmp_path / "home"))
    told = TOO_LARGE if kind == "too large" else ODD_FILES[kind].told
    manifest = install_synthetic(tmp_path / "home", "cifar10", train=50, test=20)
    arrays = tmp_path / "home" / "cifar10" / manifest.arrays / "test_labels.npy"
    for path in (arrays, tmp_path / "home" / "cifar10" / "manifest.json"):
        if kind == "too large":
            make_sparse(path, 2 << 20)  # of an array: its contents are no array then
        else:
            put_in_place_of(path, kind)
        result = call("data", "verify", "cifar10")
        assert result.exit_code == 2, result.output
        assert told in result.stderr or (kind == "too large" and path is arrays)
        listed = call("data", "list")
        assert listed.exit_code == 0, listed.output


@pytest.mark.parametrize("kind", [kind for kind in ODD_FILES if kind != "folder"])
def test_files_that_are_imported(tmp_path, kind, monkeypatch):
    monkeypatch.setenv("BNBENCH_DATA", str(tmp_path / "home"))
    release = RELEASES["cifar10"]
    archive, folder = tmp_path / release.archive, tmp_path / "folder"
    folder.mkdir()
    ODD_FILES[kind].make(archive)
    for part in ("train", "test"):
        ODD_FILES[kind].make(folder / f"{part}.parquet")
    for path in (archive, folder):
        result = call("data", "import", "cifar10", path)
        assert result.exit_code == 2, result.output
        assert ODD_FILES[kind].told in result.stderr or (path is archive and "link" in kind)
    assert not (tmp_path / "home").exists()


def test_an_archive_that_is_far_too_large_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setenv("BNBENCH_DATA", str(tmp_path / "home"))
    make_sparse(tmp_path / "archive.tar.gz", 1 << 40)
    result = call("data", "import", "cifar10", tmp_path / "archive.tar.gz")
    assert result.exit_code == 2
    assert TOO_LARGE in result.stderr


@pytest.mark.parametrize("kind", ["pipe", "socket", "folder", "endless device"])
@pytest.mark.parametrize("name", ["reference.json", "curves.parquet", "steps.parquet"])
def test_files_of_a_reference(tmp_path, recorded, kind, name):
    reference = tmp_path / "reference"
    shutil.copytree(shipped_folder("reference") / "tiny" / "digits_mlp", reference / "tiny" / "digits_mlp")
    own = tmp_path / "own"
    assert invoke("reference", "update", "--from", recorded, "--reference", own).exit_code == 0
    path = own / "tiny" / "digits_mlp" / name
    put_in_place_of(path, kind)
    result = call("check", "--results", recorded, "--reference", own)
    assert result.exit_code == 2, result.output
    assert str(path) in result.stderr
    assert ODD_FILES[kind].told in " ".join(result.stderr.split())


@pytest.mark.parametrize("name", ["provenance.json", "vanilla_sgd.parquet"])
def test_files_of_the_published_curves(tmp_path, recorded, name):
    reference = shutil.copytree(shipped_folder("reference") / "deepobs", tmp_path / "reference" / "deepobs").parent
    put_in_place_of(reference / "deepobs" / name, "pipe")
    result = call("check", "--results", recorded, "--reference", reference)
    assert result.exit_code == 2, result.output
    assert str(reference / "deepobs") in result.stderr
    assert ODD_FILES["pipe"].told in " ".join(result.stderr.split())


def test_a_file_of_any_number_of_mistakes_makes_a_short_message(tmp_path):
    path = tmp_path / "mine.toml"
    many = "\n".join(f"k{number} = 1" for number in range(50_000))
    for text, lines in ((many, 6), (f"{'k' * 500_000} = 1", 5), (f"dataset = [{'1,' * 100_000}]", 5)):
        path.write_text(text)
        for command in ("show", "study"):
            result = call(command, path)
            assert result.exit_code == 2
            assert len(result.stderr) < 5_000
            assert result.stderr.count("\n") <= lines + 2, result.stderr
    path.write_text(many)
    assert "more like these" in call("show", path).stderr
    for text in (f"a = {'[' * 100_000}", f"a = {'1' * 10_000}", f"a = {'{a=' * 10_000}"):
        path.write_text(text)
        result = call("show", path)
        assert result.exit_code == 2
        assert "is not valid TOML" in result.stderr
