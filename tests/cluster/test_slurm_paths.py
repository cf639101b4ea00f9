"""Results folders with odd names, on a real Slurm: what is not refused is taken literally; jobs that leave no log."""

from __future__ import annotations

import shutil
import string

import pytest

from bnbench.execution.slurm.queue import CLUSTER_FOLDER, read_submissions
from bnbench.execution.slurm.submit import INTERPRETED
from cluster.slurm import Slurm, wait_for
from support.command_line import invoke

pytest.importorskip("submitit")

PATIENCE = 300.0
RUN = ("run", "digits_mlp", "--size", "tiny", "--epochs", "1", "--variant", "vanilla", "--seeds", "1")
SLURM = (*RUN, "--device", "cpu", "--executor", "slurm", "--slurm", "time=5")

LITERAL = "".join(character for character in string.printable if character not in {*INTERPRETED, "/"}) + "é漢"
"""Every character that a folder's name may hold here."""


@pytest.fixture(autouse=True)
def talking_to(slurm: Slurm, monkeypatch) -> None:
    """Commands of this process talk to the private cluster."""
    for name in ("SLURM_CONF", "PATH"):
        monkeypatch.setenv(name, slurm.environment[name])


def test_every_character_that_is_not_refused_is_taken_literally(slurm, tmp_path, monkeypatch):
    """In the results' path; the folder that the job is submitted from may hold any."""
    submitter = tmp_path / "50%j %u\\noise"
    submitter.mkdir()
    monkeypatch.chdir(submitter)
    outer = tmp_path / "outer"
    store = outer / "~" / "-x" / "#" / " both ends " / LITERAL / "$(touch here)" / "results"
    result = invoke(*SLURM, "--results", store)
    assert result.exit_code == 0, result.output
    ((submission,), _) = read_submissions(store)
    (job_id,) = submission.elements
    wait_for(lambda: job_id not in slurm.jobs(), PATIENCE)
    log = store / CLUSTER_FOLDER / submission.name / f"{job_id}_0_log.out"
    assert "1 finished" in log.read_text()
    assert "nothing to train" in invoke(*SLURM, "--results", store).stderr
    assert list(submitter.iterdir()) == [], "nothing is written outside the results folder"
    for folder in list(store.parents)[: len(store.parents) - len(outer.parents)]:
        assert len(list(folder.iterdir())) == 1, folder


@pytest.mark.parametrize("character", [*"%\\"])
def test_what_is_refused_would_have_been_rewritten(character, slurm, tmp_path):
    """Without the refusal the job would be lost, and nothing would say so."""
    folder = tmp_path / f"5{character}n"
    folder.mkdir()
    job_id = slurm.output("sbatch", "--parsable", f"--output={folder}/log", "--wrap", "true")
    wait_for(lambda: job_id not in slurm.jobs(), PATIENCE)
    assert list(folder.iterdir()) == []
    refused = invoke(*SLURM, "--results", folder)
    assert (refused.exit_code, list(folder.iterdir())) == (2, [])


def test_jobs_that_are_held_and_jobs_that_vanish_are_noticed(slurm, tmp_path):
    store = tmp_path / "results"
    assert invoke(*SLURM, "--slurm", "sbatch.hold=true", "--results", store).exit_code == 0
    ((submission,), _) = read_submissions(store)
    (job_id,) = submission.elements
    held = invoke("status", "--results", store).stdout
    assert "PENDING (JobHeldUser)" in held
    assert f"1 job will not start without your help ({job_id})" in held

    # The node does not see the folder.
    logs = store / CLUSTER_FOLDER / submission.name
    logs.rename(tmp_path / "elsewhere")
    slurm.output("scontrol", "release", job_id)
    wait_for(lambda: job_id not in slurm.jobs(), PATIENCE)
    shutil.move(tmp_path / "elsewhere", logs)
    gone = invoke("status", "--results", store).stdout
    assert f"1 run was given to jobs that left the queue without a log ({job_id})" in gone
    assert "does so again" not in gone
    assert slurm.job(job_id)["Reason"] == "JobLaunchFailure"
