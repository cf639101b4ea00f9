"""What a cluster job does when it is asked to stop, without a cluster: scontrol is a program that notes its calls."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from bnbench.components.variants import VARIANTS
from bnbench.data.dataset import DATASETS
from bnbench.execution.executors import LocalPool
from bnbench.execution.options import RunOptions
from bnbench.execution.places import Place
from bnbench.execution.run import Outcome, execute
from bnbench.execution.slurm.job import ENDED, Chunk, job_places, progress
from bnbench.plan import expand_grid
from bnbench.problem import find_problem

RUNNING = "JobId=7 JobState=RUNNING PreemptTime=None"
PREEMPTED = "JobId=7 JobState=RUNNING PreemptTime=2026-01-01T00:00:00"
CANCELLED = "JobId=7 JobState=COMPLETING PreemptTime=None"


@pytest.fixture
def specs():
    problem = find_problem("digits_mlp").problem("tiny", {"training.epochs": 1})
    rows = [VARIANTS.get("vanilla"), VARIANTS.get("bn")]
    return tuple(expand_grid(problem, DATASETS.get("digits").identify(), rows, seeds=problem.first_seeds(1)))


@pytest.fixture
def scontrol(tmp_path, monkeypatch):
    """Puts a scontrol on the path that describes a job as told, and notes how it was called."""

    def install(job: str, code: int = 0) -> Path:
        program = tmp_path / "bin" / "scontrol"
        program.parent.mkdir()
        calls = tmp_path / "calls"
        program.write_text(
            f"#!/bin/sh\necho \"$@\" >> '{calls}'\necho '{job}'\n[ \"$1\" = requeue ] && exit {code}\nexit 0\n"
        )
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
        monkeypatch.setenv("SLURM_JOB_ID", "7")
        return calls

    return install


@pytest.fixture
def job(specs, tmp_path, monkeypatch):
    """A job that trains so many of its runs, is sent a signal, and ends; what it exits with."""

    def call(trains: int, number: signal.Signals | None) -> object:
        def run(self, given, store, options, listener, stop):
            outcomes = [execute(spec, store, options, lambda event: None) for spec in given[:trains]]
            if number is not None:
                os.kill(os.getpid(), number)
                assert stop()
            return outcomes

        monkeypatch.setattr(LocalPool, "run_all", run)
        chunk = Chunk(specs=specs, store=tmp_path / "results", options=RunOptions("cpu", workers=1))
        try:
            chunk()
        except SystemExit as end:
            return end.code
        return 0

    return call


def test_ahead_of_the_time_limit_a_job_with_work_left_goes_back_into_the_queue(job, scontrol, capsys):
    calls = scontrol(RUNNING)
    assert job(1, signal.SIGUSR2) == 128 + signal.SIGUSR2
    assert calls.read_text().splitlines() == ["--oneliner show job 7", "requeue 7"]
    assert "requeued" in capsys.readouterr().out


def test_a_job_that_came_no_further_is_not_requeued_for_ever(job, scontrol, capsys):
    calls = scontrol(RUNNING)
    assert job(0, signal.SIGUSR2) == 128 + signal.SIGUSR2
    assert "requeue 7" not in calls.read_text()
    assert "--slurm time" in capsys.readouterr().out


def test_a_cancelled_job_stays_away(job, scontrol, capsys):
    calls = scontrol(CANCELLED)
    assert job(1, signal.SIGTERM) == 128 + signal.SIGTERM
    assert "requeue 7" not in calls.read_text()
    assert "not requeued: Slurm is ending it" in capsys.readouterr().out


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2])
def test_a_preempted_job_asks_to_come_back_whatever_it_has_done(number, job, scontrol):
    calls = scontrol(PREEMPTED)
    assert job(0, number) == 128 + number
    assert calls.read_text().splitlines()[-1] == "requeue 7"


def test_a_job_whose_runs_have_all_ended_ends_well_though_it_is_asked_to_stop(job, scontrol, tmp_path):
    calls = scontrol(RUNNING)
    assert job(2, signal.SIGUSR2) == 0
    assert not calls.exists()


def test_a_job_that_cannot_be_requeued_says_so(job, scontrol, capsys):
    scontrol(RUNNING, code=1)
    assert job(1, signal.SIGUSR2) == 128 + signal.SIGUSR2
    assert "could not be requeued" in capsys.readouterr().out


def test_where_the_signal_kills_what_runs_are_forked_from_nothing_was_begun(specs, scontrol, tmp_path, monkeypatch):
    scontrol(PREEMPTED)

    def run(self, given, store, options, listener, stop):
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop()
        raise EOFError

    monkeypatch.setattr(LocalPool, "run_all", run)
    chunk = Chunk(specs=specs, store=tmp_path / "results", options=RunOptions("cpu", workers=1))
    with pytest.raises(SystemExit):
        chunk()

    def broken(*arguments):
        raise EOFError

    monkeypatch.setattr(LocalPool, "run_all", broken)
    with pytest.raises(EOFError):
        chunk()


def test_a_failed_run_shows_in_the_exit_code_and_nowhere_else(specs, tmp_path, monkeypatch):
    outcomes = [Outcome(specs[0].run_id, "failed", error="boom"), Outcome(specs[1].run_id, "finished")]
    monkeypatch.setattr(LocalPool, "run_all", lambda *arguments: outcomes)
    with pytest.raises(SystemExit) as end:
        Chunk(specs=specs, store=tmp_path, options=RunOptions("cpu", workers=1))()
    assert end.value.code == 1


def test_progress_is_what_the_store_says(specs, tmp_path):
    assert progress(specs, tmp_path) == {spec.run_id: 0 for spec in specs}
    execute(specs[0], tmp_path, RunOptions("cpu"), lambda event: None)
    assert progress(specs, tmp_path) == {specs[0].run_id: ENDED, specs[1].run_id: 0}


@pytest.mark.parametrize(
    ("visible", "device", "places"),
    [
        (None, "cuda", (Place(),) * 3),
        ("", "cuda", (Place(),) * 3),
        ("4,6", "cpu", (Place(),) * 3),
        ("4,6", "cuda", (Place("4"), Place("6"), Place("4"), Place("6"))),
        ("GPU-5e2", "cuda", (Place("GPU-5e2"),) * 2),
    ],
)
def test_runs_go_on_the_gpus_that_slurm_gave_the_job(visible, device, places, monkeypatch):
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert job_places(device, 3, 2) == places
