"""An owner that falls asleep anywhere, or whose disk fails, harms no result. `tests/pauses.py` tries every point."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bnbench.execution.listening import Outcome
from bnbench.execution.options import RunOptions
from bnbench.execution.run import execute
from bnbench.storage import recorder
from bnbench.storage.lock import look_at_lock
from execution.test_resume import make_spec

SCRIPT = Path(__file__).parents[1] / "pauses.py"
CPU = RunOptions("cpu")


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_few_points_of_each_kind():
    parts = [option for part in ("records", "merges", "sweeps") for option in ("--part", part)]
    command = [sys.executable, str(SCRIPT), *parts, "--scenarios", "3", "--sample", "3", "--seed", "5"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 changed, lost or unclear" in done.stdout


@pytest.mark.parametrize("place", ["compact", "write_document", "remove_progress"])
def test_an_owner_that_wakes_at_its_end_finds_its_run_finished_and_changes_nothing(place, tmp_path, monkeypatch):
    """Given up between its last flush and the end of the run; the other one trains it anew meanwhile."""
    spec = make_spec(epochs=1)
    folder = tmp_path / spec.run_id
    real = getattr(recorder, place)
    finished = {}

    def sleep(*arguments):
        monkeypatch.setattr(recorder, place, real)
        assert execute(spec, tmp_path, CPU, lambda event: None, given_up=look_at_lock(folder)).status == "finished"
        finished.update(contents(folder))
        return real(*arguments)

    monkeypatch.setattr(recorder, place, sleep)
    outcome = execute(spec, tmp_path, CPU, lambda event: None)
    # Where its own run.json was there before it slept, it is its own result that it reports.
    assert outcome == Outcome(spec.run_id, "finished", elsewhere=place != "remove_progress")
    assert contents(folder) == finished
    assert {path.name for path in finished} == {
        "affine.parquet",
        "curves.parquet",
        "run.json",
        "steps.parquet",
        "timing.parquet",
    }
