"""`--executor slurm` as a user meets it, with programs that stand in for Slurm's; tests/cluster has the real ones."""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path

import pytest

from bnbench.execution.slurm.queue import CLUSTER_FOLDER, read_submissions
from bnbench.storage.lock import acquire_lock
from support.command_line import invoke

RUN = ("run", "digits_mlp", "--size", "tiny", "--epochs", "2")
SLURM = (*RUN, "--executor", "slurm")


@pytest.fixture
def results(tmp_path):
    return tmp_path / "results"


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """Puts programs of these names on an otherwise empty path; each prints and exits as told."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def install(**answers: tuple[str, int]) -> None:
        for name, (answer, code) in answers.items():
            stream = "2" if code else "1"
            (folder / name).write_text(f"#!/bin/sh\n/bin/cat >&{stream} <<'END'\n{answer}\nEND\nexit {code}\n")
            (folder / name).chmod(0o755)

    return install


@pytest.fixture
def accepting(programs):
    """A Slurm that takes every job, and has none in its queue."""
    programs(sbatch=("Submitted batch job 77", 0), srun=("", 0), squeue=("", 0))


@pytest.mark.parametrize(
    ("arguments", "needles"),
    [
        ((*RUN, "--slurm", "partition=gpu"), ("--executor slurm",)),
        ((*RUN, "--cluster", "mine.toml"), ("--executor slurm",)),
        ((*SLURM, "--workers", "2"), ("--workers", "--slurm cpus")),
        ((*SLURM, "--gpus", "0,1"), ("--gpus", "--slurm gpus")),
        ((*SLURM, "--slurm", "partiton=gpu"), ("'partiton'", "'partition'")),
        ((*SLURM, "--cluster", "nowhere.toml"), ("nowhere.toml", "cannot be read")),
        ((*SLURM, "--device", "cuda"), ("--slurm gpus=1",)),
        ((*SLURM, "--threads", "4", "--slurm", "cpus=2"), ("4 threads", "2 CPUs")),
    ],
)
def test_mistakes_are_told_and_nothing_is_written(arguments, needles, results, accepting):
    result = invoke(*arguments, "--results", results)
    assert result.exit_code == 2, result.output
    for needle in needles:
        assert needle in result.stderr
    assert not results.exists()


def test_a_machine_without_slurm_is_told(results, programs):
    result = invoke(*SLURM, "--results", results)
    assert result.exit_code == 2
    assert "needs sbatch and srun" in result.stderr
    assert not results.exists()


def test_an_installation_without_submitit_is_told(results, accepting, monkeypatch):
    monkeypatch.setitem(sys.modules, "submitit", None)
    result = invoke(*SLURM, "--results", results)
    assert result.exit_code == 2
    assert "bnbench[cluster]" in result.stderr
    assert not results.exists()


def test_what_slurm_refuses_is_told_in_its_words(results, programs):
    pytest.importorskip("submitit")
    programs(sbatch=("sbatch: error: invalid partition specified: gpu", 1), srun=("", 0), squeue=("", 0))
    result = invoke(*SLURM, "--slurm", "partition=gpu", "--results", results)
    assert result.exit_code == 2
    assert "Slurm refused the jobs: sbatch: error: invalid partition specified: gpu" in result.stderr
    assert read_submissions(results) == ([], [])
    assert list((results / CLUSTER_FOLDER).iterdir()) == []


def test_a_sweep_is_submitted_recorded_and_not_submitted_twice(results, accepting, programs):
    pytest.importorskip("submitit")
    result = invoke(*SLURM, "--slurm", "runs-per-job=2", "--checkpoint-every", "7", "--results", results)
    assert result.exit_code == 0, result.output
    assert "Submitted 5 runs in 3 jobs (77_0 … 77_2)" in result.stderr
    ((submission,), _) = read_submissions(results)
    assert list(submission.elements) == ["77_0", "77_1", "77_2"]
    folder = results / CLUSTER_FOLDER / submission.name
    chunk = pickle.loads((folder / "77_1_submitted.pkl").read_bytes()).function
    assert tuple(spec.run_id for spec in chunk.specs) == submission.elements["77_1"]
    assert (chunk.store, chunk.options.device, chunk.options.checkpoint_seconds) == (results.absolute(), "cpu", 7.0)

    queue = "\n".join(f"{submission.name}|77_{each}|PENDING|Resources" for each in range(3))
    programs(squeue=(queue, 0))
    again = invoke(*SLURM, "--results", results)
    assert again.exit_code == 0
    assert "5 runs are in the queue already (jobs 77_0, 77_1, 77_2)" in again.stderr
    assert len(read_submissions(results)[0]) == 1
    status = invoke("status", "--results", results)
    assert status.exit_code == 0, status.output
    assert "PENDING (Resources)" in status.stdout
    records = json.loads(invoke("status", "--json", "--results", results).stdout)
    told = {record["run_id"]: (record["status"], record["job"], record["job_state"]) for record in records}
    assert told == {
        run_id: ("waiting", job, "PENDING") for job, run_ids in submission.elements.items() for run_id in run_ids
    }
    assert invoke("status", "--runs", "--results", results).stdout.count("waiting, job 77_") == 5

    # They leave the queue, and nothing has become of them.
    leave_logs(results)
    programs(squeue=("", 0))
    gone = invoke("status", "--results", results)
    assert "5 runs were given to jobs that are no longer in the queue" in gone.stdout
    assert "does so again" in gone.stdout
    programs(sbatch=("Submitted batch job 78", 0))
    lost = invoke(*SLURM, "--results", results)
    assert "Submitted 5 runs in 5 jobs" in lost.stderr
    assert "without a log" not in lost.stderr
    assert len(read_submissions(results)[0]) == 2

    # Once more: it is not only advised to do so again.
    leave_logs(results)
    twice = invoke("status", "--results", results).stdout
    assert "5 of them were submitted up to 2 times already" in twice
    assert "/78_0_0_log.out" in twice
    assert "does so again" not in twice


def leave_logs(results: Path) -> None:
    """What jobs that were started leave."""
    for submission in read_submissions(results)[0]:
        for job_id in submission.elements:
            (results / CLUSTER_FOLDER / submission.name / f"{job_id}_0_log.out").touch()


def test_jobs_that_vanish_without_a_log_are_not_advised_to_be_submitted_again(results, accepting, programs):
    pytest.importorskip("submitit")
    assert invoke(*SLURM, "--slurm", "runs-per-job=2", "--results", results).exit_code == 0
    for _ in range(2):
        status = invoke("status", "--results", results).stdout
        assert "5 runs were given to jobs that left the queue without a log (77_0, 77_1, 77_2)" in status
        assert "scontrol show job 77_0" in status
        assert "does so again" not in status
        again = invoke(*SLURM, "--slurm", "runs-per-job=2", "--results", results)
        assert "Warning: 5 of these were submitted before" in again.stderr


@pytest.mark.parametrize("reason", ["JobHeldAdmin", "launch_failed_requeued_held", "PartitionTimeLimit"])
def test_a_job_that_will_never_start_is_told(reason, results, accepting, programs):
    pytest.importorskip("submitit")
    assert invoke(*SLURM, "--slurm", "runs-per-job=5", "--results", results).exit_code == 0
    ((submission,), _) = read_submissions(results)
    programs(squeue=(f"{submission.name}|77|PENDING|{reason}", 0))
    status = invoke("status", "--results", results).stdout
    assert "1 job will not start without your help (77)" in status
    assert f"scancel --name={submission.name}" in status
    programs(squeue=(f"{submission.name}|77|PENDING|Resources", 0))
    assert "without your help" not in invoke("status", "--results", results).stdout


@pytest.mark.parametrize(
    ("folder", "named"),
    [("50%noise", "%"), ("20%users", "%"), ("100%% sure", "%"), ("a\\b", "a backslash"), ("a\nb", "a line break")],
)
def test_a_path_that_slurm_would_rewrite_is_refused(folder, named, tmp_path, accepting, monkeypatch):
    for path in (tmp_path / folder / "results", Path("results")):
        (tmp_path / folder).mkdir(exist_ok=True)
        monkeypatch.chdir(tmp_path / folder)
        result = invoke(*SLURM, "--results", path)
        assert result.exit_code == 2, result.output
        assert f"the path of the results folder holds {named}," in result.stderr
        assert "symbolic link" in result.stderr
    assert list((tmp_path / folder).iterdir()) == []


def test_a_machine_without_squeue_says_so(results, accepting, programs, monkeypatch):
    pytest.importorskip("submitit")
    assert invoke(*SLURM, "--results", results).exit_code == 0
    monkeypatch.setenv("PATH", "")
    status = invoke("status", "--results", results)
    assert status.exit_code == 0
    assert "no squeue" in status.stdout


def test_runs_that_are_being_trained_are_not_submitted(results, accepting):
    pytest.importorskip("submitit")
    plan = json.loads(invoke("plan", *RUN[1:], "--json", "--results", results).stdout)
    busy = plan[0]["run_id"]
    lock = acquire_lock(results / busy)
    assert lock is not None
    with lock:
        result = invoke(*SLURM, "--results", results)
    assert "1 runs are being trained" in result.stderr
    assert "Submitted 4 runs" in result.stderr
    ((submission,), _) = read_submissions(results)
    assert busy not in {run_id for runs in submission.elements.values() for run_id in runs}


def test_settings_come_from_a_file_too(results, accepting, tmp_path):
    pytest.importorskip("submitit")
    file = tmp_path / "cluster.toml"
    file.write_text('partition = "long"\ntime = "2-0"\nruns-per-job = 5\n[sbatch]\nmail-type = "FAIL"\n')
    assert invoke(*SLURM, "--cluster", file, "--slurm", "time=30", "--results", results).exit_code == 0
    ((submission,), _) = read_submissions(results)
    assert list(submission.elements) == ["77"], "one job is no array"
    (script,) = Path(results / CLUSTER_FOLDER / submission.name).glob("77_submission.sh")
    for line in ("--partition=long", "--time=30", "--mail-type=FAIL", "--requeue"):
        assert f"#SBATCH {line}\n" in script.read_text()
