"""A results folder that is renamed under a running sweep: it is said, the sweep ends, nothing is lost or begun anew."""

from __future__ import annotations

import time

import pytest

from bnbench.execution.executors import InProcess, LocalPool
from bnbench.execution.listening import Silent
from bnbench.execution.options import RunOptions
from bnbench.execution.run import record_failure
from bnbench.execution.selection import Grid, Settings, select
from bnbench.execution.sweep import Sweep
from bnbench.storage.files import StorageError
from bnbench.storage.lock import acquire_lock
from bnbench.storage.rename_watch import RenameWatch
from bnbench.storage.store import ResultStore
from bnbench.training.events import EpochEvaluated
from support.command_line import invoke, start, table_bytes

ASKED = ("digits_mlp", "--size", "tiny", "--device", "cpu", "--variant", "bn", "--seeds", 2)


@pytest.mark.long
def test_the_command_says_so_and_the_same_command_goes_on_under_the_new_name(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    process = start(
        "run", *ASKED, "--epochs", 200, "--workers", 2, "--checkpoint-every", "0.05s", "--results", old
    )  # fmt: skip
    # A checkpoint of each run: one run alone may have two.
    while len({path.parent for path in old.glob("*/work-*/*.checkpoint")}) < 2 and process.poll() is None:
        time.sleep(0.02)
    old.rename(new)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 2, said
    assert f"Error: {old} was renamed, moved or removed while its runs were trained" in said
    assert f"is kept in {new}: with --results {new} they go on" in said
    assert not old.exists()
    assert "another process is training it" not in said

    status = invoke("status", "--results", new).stdout
    assert "2 resumable" in status, status


class RenamesAt(Silent):
    """Renames a folder once a run has come to an epoch."""

    def __init__(self, old, new, *, another=False):
        self.old, self.new, self.another, self.ended_runs = old, new, another, []

    def event(self, spec, event):
        if isinstance(event, EpochEvaluated) and event.epoch == 1 and not self.new.exists():
            self.old.rename(self.new)
            if self.another:
                self.old.mkdir()

    def ended(self, spec, outcome):
        self.ended_runs.append(outcome)


def specs():
    settings = Settings(size="tiny", seeds=2, epochs=2)
    return select(Grid(("digits_mlp",), variants=("bn",), settings=settings)).specs


@pytest.mark.parametrize(
    ("executor", "another"),
    [(LocalPool(), False), (LocalPool(), True), (InProcess(), False)],
    ids=["pool", "pool, another folder in its place", "in this process"],
)
def test_nothing_is_written_under_the_old_name(tmp_path, executor, another):
    old, new = tmp_path / "old", tmp_path / "new"
    options = RunOptions("cpu", workers=1 if isinstance(executor, LocalPool) else 0)
    listener = RenamesAt(old, new, another=another)
    with pytest.raises(StorageError, match=f"{old} was renamed, moved or removed"):
        Sweep(specs(), old, options, executor, listener).run()
    assert listener.ended_runs == []
    assert not old.exists() or not list(old.iterdir())
    if another or isinstance(executor, InProcess):
        return  # whose process lives on, and would have to be found silent first
    # The rest under the new name, as if nothing had happened.
    Sweep(specs(), new, options, executor, Silent()).run()
    assert len(ResultStore(new).finished()) == 2
    whole = tmp_path / "whole"
    Sweep(specs(), whole, options, executor, Silent()).run()
    assert table_bytes(new) == table_bytes(whole)


def test_who_becomes_the_writer_of_a_run_in_a_sweep_makes_no_results_folder(tmp_path):
    with pytest.raises(StorageError, match="No such file or directory"):
        acquire_lock(tmp_path / "gone" / "run", store_is_there=True)
    with pytest.raises(StorageError, match="No such file or directory"):
        record_failure(specs()[0], tmp_path / "gone", RunOptions("cpu"), "out of luck")
    assert not (tmp_path / "gone").exists()


def test_a_folder_that_is_removed_is_nowhere(tmp_path):
    folder = tmp_path / "runs"
    folder.mkdir()
    with RenameWatch(folder) as watch:
        watch.check()
        folder.rmdir()
        with pytest.raises(StorageError, match="was renamed, moved or removed") as caught:
            watch.check()
        assert "where the folder is now" in caught.value.hint
        folder.mkdir()
        with pytest.raises(StorageError):
            watch.check()
