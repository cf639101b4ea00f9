"""`bnbench run` on real data: what it writes, skips, repeats, survives."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from bnbench.shipped import shipped_folder
from bnbench.storage.sweeps import SWEEPS_FOLDER
from support.command_line import TABLES, invoke, start, table_bytes
from support.synthetic_cifar import install_synthetic

SWEEP = ("run", "digits_mlp", "--size", "tiny", "--epochs", "2", "--device", "cpu")
VARIANTS = ("vanilla", "bn", "bn_gamma", "bn_beta", "bn_gamma_beta")
PNG = b"\x89PNG\r\n\x1a\n"


def documents(store: Path) -> dict[str, dict]:
    """Every run.json, by run id."""
    return {path.parent.name: json.loads(path.read_text()) for path in sorted(store.glob("*/run.json"))}


def wait_for(condition, seconds: float = 60.0):
    """The first true value of a condition."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if value := condition():
            return value
        time.sleep(0.005)
    raise AssertionError("waited in vain")


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """All five variants, one at a time, by a process of its own: its folder, stdout and stderr."""
    store = tmp_path_factory.mktemp("sweep") / "deep" / "results"
    process = start(*SWEEP, "--workers", 1, "--results", store)
    stdout, stderr = process.communicate(timeout=100)
    assert process.returncode == 0, stderr
    return store, stdout, stderr


def test_a_sweep_records_every_run_whole(sweep):
    store, _, _ = sweep
    runs = documents(store)
    assert sorted(name.split("-")[1] for name in runs) == sorted(VARIANTS)
    for name, document in runs.items():
        assert document["status"] == "finished"
        assert sorted(path.name for path in (store / name).iterdir()) == sorted(
            ["run.json", *(f"{table}.parquet" for table in (*TABLES, "timing"))]
        )
        assert pq.read_metadata(store / name / "steps.parquet").num_rows == 2 * 44
        slots = pq.read_table(store / name / "affine.parquet")["slot"].unique().to_pylist()
        assert slots == ["dense1", "dense2", "dense3", "dense4"]
        text = (store / name / "run.json").read_text()
        assert str(store) not in text
        assert os.uname().nodename not in text


def test_the_sparsity_probe_writes_a_table_of_its_own_and_changes_no_other(tmp_path):
    asked = ("run", "cifar10_3c3d", "--size", "tiny", "--variant", "bn_beta", "--epochs", 1, "--device", "cpu")
    assert invoke(*asked, "--results", tmp_path / "on").exit_code == 0
    assert invoke(*asked, "--set", "probes.sparsity=false", "--results", tmp_path / "off").exit_code == 0
    (on,), (off,) = (list((tmp_path / name).glob("*/run.json")) for name in ("on", "off"))
    measured = pq.read_table(on.parent / "sparsity.parquet").to_pydict()
    assert measured["epoch"] == [0] * 5 + [1] * 5
    assert measured["step"] == [0] * 5 + [44] * 5
    assert measured["slot"] == ["conv1", "conv2", "conv3", "dense1", "dense2"] * 2
    assert all(0 < share < 1 for share in measured["zeroed"])
    assert not (off.parent / "sparsity.parquet").exists()
    assert on.parent.name != off.parent.name
    identity = {"run_id", "setting_id"}
    for table in TABLES:
        first, second = (pq.read_table(each.parent / f"{table}.parquet") for each in (on, off))
        kept = [name for name in first.column_names if name not in identity]
        assert first.select(kept).replace_schema_metadata().equals(second.select(kept).replace_schema_metadata())


def test_the_ranking_goes_to_stdout_and_the_progress_to_stderr(sweep):
    store, stdout, stderr = sweep
    assert "digits_mlp (tiny)" in stdout
    assert "lower baseline" in stdout
    assert "[5/5]" not in stdout
    for number in range(1, 6):
        assert f"[{number}/5] digits_mlp " in stderr
    assert str(store / "training_curves.png") in stderr
    assert (store / "training_curves.png").read_bytes().startswith(PNG)


def test_a_second_time_nothing_is_trained_and_one_missing_run_is_repeated_alone(sweep, tmp_path):
    store = tmp_path / "results"
    shutil.copytree(sweep[0], store)
    before = table_bytes(store)
    stamps = {path: path.stat().st_mtime_ns for path in store.glob("*/*")}
    again = invoke(*SWEEP, "--results", store)
    assert again.exit_code == 0
    assert "nothing to train" in again.stderr
    assert again.stdout == sweep[1]
    assert {path: path.stat().st_mtime_ns for path in store.glob("*/*")} == stamps

    gone = next(store.glob("digits_mlp-bn_gamma_beta-*"))
    shutil.rmtree(gone)
    planned = invoke(*SWEEP, "--results", store, "--dry-run")
    assert [line.split()[-1] for line in planned.stdout.splitlines() if line.startswith("to run")] == [gone.name]
    assert not gone.exists()
    repeated = invoke(*SWEEP, "--results", store)
    assert repeated.exit_code == 0
    assert "1 run to train (4 of 5 are finished already)" in repeated.stderr
    assert table_bytes(store) == before
    kept = {path: stamp for path, stamp in stamps.items() if path.parent != gone}
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_two_workers_write_the_same_bytes_as_one(sweep, tmp_path):
    result = invoke(*SWEEP, "--workers", 2, "--results", tmp_path)
    assert result.exit_code == 0
    assert "2 side by side" in result.stderr
    assert table_bytes(tmp_path) == table_bytes(sweep[0])
    assert len(table_bytes(tmp_path)) == 5 * len(TABLES)


def test_a_dry_run_writes_nothing_and_shares_vanilla_over_placements(tmp_path):
    result = invoke(*SWEEP, "--placement", "hidden", "--placement", "first", "--dry-run", "--results", tmp_path / "no")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert len(lines) == 1 + 2 * 4
    assert sum(" vanilla " in line for line in lines) == 1
    assert list(tmp_path.iterdir()) == []


def test_settings_make_other_settings(tmp_path):
    def runs(*arguments):
        result = invoke(*SWEEP, "--variant", "bn", "--dry-run", "--results", tmp_path, *arguments)
        return result.stdout.split()[-1]

    plain = runs()
    assert runs("--set", "training.epochs=2") == plain
    others = {
        runs("--epochs", 3),
        runs("--set", "training.l2=0"),
        runs("--set", "width=0.25"),
        runs("--precision", "bf16"),
        runs("--lr-factor", "0.5"),
    }
    assert len(others | {plain}) == 6


def test_a_problem_of_the_users_own_from_another_folder(sweep, tmp_path, monkeypatch):
    shutil.copy(shipped_folder("problems") / "digits_mlp.toml", tmp_path / "mine.toml")
    monkeypatch.chdir(tmp_path)
    result = invoke("run", "./mine.toml", *SWEEP[2:], "--variant", "bn")
    assert result.exit_code == 0, result.output
    (own,) = (tmp_path / "results" / "runs").glob("*-bn-hidden-*")
    shipped = sweep[0] / own.name
    assert shipped.exists(), "the same resolved run has the same id under any problem name"
    assert set(pq.read_table(own / "steps.parquet")["problem"].to_pylist()) == {"mine"}
    for column in ("batch_loss", "batch_accuracy"):
        ours, theirs = (pq.read_table(folder / "steps.parquet")[column] for folder in (own, shipped))
        assert ours.equals(theirs)


def test_a_diverged_run_is_a_result_and_ranks_last(tmp_path):
    arguments = (*SWEEP, "--variant", "vanilla", "--variant", "bn", "--lr-factor", "10000", "--results", tmp_path)
    result = invoke(*arguments)
    assert result.exit_code == 0, result.output
    runs = {name.split("-")[1]: document for name, document in documents(tmp_path).items()}
    assert runs["vanilla"]["status"] == "diverged"
    assert runs["vanilla"]["diverged_at_step"] >= 1
    assert "diverged at step" in result.stderr
    assert runs["bn"]["status"] == "finished"
    ranked = [line.split() for line in result.stdout.splitlines() if line.strip().startswith(("1 ", "2 "))]
    assert [row[1] for row in ranked] == ["BN", "vanilla"]
    assert "nothing to train" in invoke(*arguments).stderr


@pytest.mark.long
def test_cifar100_under_all_variants_for_two_steps(tmp_path, monkeypatch):
    monkeypatch.setenv("BNBENCH_DATA", str(tmp_path / "data"))
    install_synthetic(tmp_path / "data", "cifar100")
    store = tmp_path / "results"
    options = ("--epochs", 1, "--set", "width=0.0625", "--device", "cpu", "--results", store)
    process = start("run", "cifar100_allcnnc", *options)
    _, stderr = process.communicate(timeout=100)
    assert process.returncode == 0, stderr
    assert len(documents(store)) == 5
    for name, document in documents(store).items():
        assert document["status"] == "finished"
        assert pq.read_table(store / name / "steps.parquet")["step"].to_pylist() == [0, 1]


def test_status_and_rank_read_what_was_recorded(sweep):
    store = sweep[0]
    ranking = json.loads(invoke("rank", "--json", "--results", store).stdout)
    for variant in VARIANTS:
        assert f'"{variant}"' in json.dumps(ranking)
    assert invoke("rank", "digits_mlp", "--size", "tiny", "--results", store).exit_code == 0
    runs = json.loads(invoke("status", "--json", "--results", store).stdout)
    assert sorted(run["variant"] for run in runs) == sorted(VARIANTS)
    assert {run["status"] for run in runs} == {"finished"}
    counts = invoke("status", "--results", store).stdout.splitlines()[-1].split()
    assert counts[-3:] == ["5", "0", "0"]
    assert invoke("rank", "digits_3c3d", "--results", store).exit_code == 2


def test_ctrl_c_keeps_what_is_done_and_the_same_command_does_the_rest(sweep, tmp_path):
    process = start(*SWEEP, "--workers", 1, "--results", tmp_path)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("[1/5]"):
            break
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "Interrupted" in stderr
    assert "Traceback" not in stderr
    kept = table_bytes(tmp_path)
    assert 0 < len(kept) < 5 * len(TABLES)
    status = invoke("status", "--results", tmp_path).stdout
    assert f"$ {shlex.join(['bnbench', *map(str, SWEEP), '--workers', '1', '--results', str(tmp_path)])}" in status
    assert "It runs no more; typed again where it was typed, it does the rest." in status
    assert invoke(*SWEEP, "--results", tmp_path).exit_code == 0
    assert "it does the rest" not in invoke("status", "--results", tmp_path).stdout
    assert list((tmp_path / SWEEPS_FOLDER).iterdir()) == []
    assert table_bytes(tmp_path) == table_bytes(sweep[0])


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the worker by way of /proc")
def test_a_killed_worker_is_recorded_as_failed_and_the_others_go_on(tmp_path):
    chosen = ("--variant", "vanilla", "--variant", "bn")
    process = start(*SWEEP, "--epochs", 15, *chosen, "--workers", 1, "--results", tmp_path)
    wait_for(lambda: list(tmp_path.glob("digits_mlp-vanilla-*/work-*")))
    (worker,) = [child for each in children(process.pid) for child in children(each)]
    os.kill(worker, signal.SIGKILL)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1, stderr
    assert "SIGKILL" in stderr
    assert "Traceback" not in stderr
    runs = {name.split("-")[1]: document for name, document in documents(tmp_path).items()}
    assert {name: document["status"] for name, document in runs.items()} == {"vanilla": "failed", "bn": "finished"}
    assert "SIGKILL" in runs["vanilla"]["error"]


def children(process: int) -> list[int]:
    """The processes that a process has started."""
    return [int(each) for each in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
