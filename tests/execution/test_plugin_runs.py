"""Runs with rows of a plug-in file: in workers and in jobs, recorded with its digest, and stopped where it changed."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import bnbench
from bnbench.errors import UserError
from bnbench.execution.executors import InProcess, LocalPool
from bnbench.execution.listening import Silent
from bnbench.execution.options import RunOptions
from bnbench.execution.places import Place
from bnbench.execution.selection import Grid, Settings, select
from bnbench.execution.slurm.job import Chunk
from bnbench.execution.sweep import Sweep
from bnbench.plugins import load_plugin
from bnbench.storage.merge import merge_stores
from support.command_line import invoke, table_bytes
from support.plugin_files import forgetting, normaliser, write

__all__ = ["forgetting"]
pytestmark = pytest.mark.usefixtures("forgetting")

SHORT = ("training.epochs=1", "training.images=96", "evaluation.images=48")
BASE = ("digits_mlp", "--size", "tiny", *(word for each in SHORT for word in ("--set", each)))


def specs(variants=("own_gamma_beta",), seeds=1):
    return select(Grid(("digits_mlp",), variants, settings=Settings("tiny", seeds, overrides=SHORT))).specs


def sweep(store, executor=None, options=None, **grid):
    return Sweep(specs(**grid), store, options or RunOptions("cpu"), executor or InProcess(), Silent())


def documents(store):
    return [json.loads(path.read_text()) for path in sorted(Path(store).glob("*/run.json"))]


@pytest.fixture
def own(tmp_path):
    return load_plugin(write(tmp_path, normaliser()))


def test_a_worker_and_a_job_elsewhere_give_the_bytes_of_this_process(own, tmp_path):
    here, worker, job, elsewhere = (tmp_path / name for name in ("here", "worker", "job", "elsewhere"))
    sweep(here).run()
    (outcome,) = sweep(worker, LocalPool((Place(),))).run()
    assert outcome.status == "finished", outcome.error

    elsewhere.mkdir()
    chunk = tmp_path / "chunk.pickle"
    chunk.write_bytes(pickle.dumps(Chunk(specs(), job, RunOptions("cpu", workers=1))))
    job.mkdir()
    code = f"import pickle; pickle.load(open({str(chunk)!r}, 'rb'))()"
    command = [sys.executable, "-P", "-c", code]
    done = subprocess.run(command, cwd=elsewhere, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert table_bytes(here) == table_bytes(worker) == table_bytes(job) != {}

    # A job that starts when the file is another one says so, and trains nothing.
    late = tmp_path / "late"
    chunk.write_bytes(pickle.dumps(Chunk(specs(), late, RunOptions("cpu", workers=1))))
    write(tmp_path, normaliser("return x"))
    done = subprocess.run(command, cwd=elsewhere, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 1 and "plug-in 'mine.py' changed after the runs were planned" in done.stdout
    assert not late.exists()


def test_what_was_used_is_recorded_without_its_path_and_goes_along_when_stores_are_merged(own, tmp_path):
    sweep(tmp_path / "a", variants=("own_gamma_beta", "bn")).run()
    with_own, without = sorted(documents(tmp_path / "a"), key=lambda each: each["spec"]["variant"]["name"] == "bn")
    assert with_own["provenance"]["plugins"] == [
        {"kind": "variant", "name": "own_gamma_beta", "source": "mine.py", "sha256": own.sha256},
        {"kind": "normaliser", "name": "own", "source": "mine.py", "sha256": own.sha256},
    ]
    assert "plugins" not in without["provenance"]
    assert str(tmp_path) not in json.dumps(with_own)
    assert own.sha256 not in json.dumps(with_own["spec"])
    assert {each.verdict for each in merge_stores(tmp_path / "b", [tmp_path / "a"])} == {"copied"}
    assert with_own in documents(tmp_path / "b")


def test_a_file_that_changes_between_plan_and_run_is_one_message(own, tmp_path):
    planned = sweep(tmp_path / "results")
    planned.plan()
    write(tmp_path, normaliser("return x"))
    with pytest.raises(UserError, match=r"plug-in 'mine.py' changed after the runs were planned"):
        planned.run()
    assert not (tmp_path / "results").exists()


def test_a_finished_run_of_another_state_stops_everything_unless_it_is_to_be_kept(own, tmp_path, monkeypatch):
    store, path = tmp_path / "results", tmp_path / "mine.py"
    sweep(store, variants=("own_gamma_beta", "bn")).run()
    before = {path: path.read_bytes() for path in store.glob("*/*")}
    write(tmp_path, normaliser() + "# mended\n")
    now = load_plugin(path)
    arguments = (*BASE, "--variant", "own_gamma_beta", "--variant", "vanilla", "--plugin", path, "--results", store)
    planned = invoke("plan", *arguments)
    assert planned.exit_code == 0
    assert "unless with --plugin-changed keep: the normaliser 'own' has changed: run " in planned.stderr
    short = dict(each.split("=") for each in SHORT)
    frame = bnbench.plan(
        "digits_mlp", ["own_gamma_beta", "vanilla"], size="tiny", set=short, results=store, device="cpu"
    )
    assert ["has changed" in str(each) for each in frame["changed"]] == [True, False]
    done = invoke("run", *arguments)
    assert done.exit_code == 2
    old, new = f"mine.py (SHA-256 {own.sha256[:12]}…)", f"mine.py (SHA-256 {now.sha256[:12]}…)"
    assert "normaliser 'own' has changed: run digits_mlp-own_gamma_beta-" in done.stderr
    assert f"was made with that of {old}, and now it is that of {new}" in done.stderr
    assert "raise the row's revision" in done.stderr and "--plugin-changed keep" in done.stderr
    assert {path: path.read_bytes() for path in store.glob("*/*")} == before
    with pytest.raises(UserError, match=r"normaliser 'own' has changed"):
        bnbench.run("digits_mlp", "own_gamma_beta", size="tiny", set=short,
                    results=store, workers=0, progress=False)  # fmt: skip

    keep = RunOptions("cpu", plugin_changed="keep")
    (outcome,) = sweep(store, options=keep, seeds=2).run()
    assert outcome.status == "finished" and len(documents(store)) == 3
    assert all(path.read_bytes() == content for path, content in before.items())
    told = invoke("rank", "--results", store).stdout
    assert f"the normaliser 'own' is not the same in all of these runs: {old}, {new}" in told


def test_a_raised_revision_makes_other_runs(own, tmp_path):
    sweep(tmp_path / "results").run()
    write(tmp_path, normaliser(more=", revision=2"))
    load_plugin(tmp_path / "mine.py")
    assert [run.state.name for run in sweep(tmp_path / "results").plan().runs] == ["new"]
    (outcome,) = sweep(tmp_path / "results").run()
    assert outcome.status == "finished" and len(documents(tmp_path / "results")) == 2


def test_a_run_that_was_begun_with_another_state_does_not_go_on_unnoticed(own, tmp_path):
    store = tmp_path / "results"
    options = RunOptions("cpu", checkpoint_seconds=1e-9)
    asked = iter([False, False, True])
    halted = Sweep(specs(), store, options, _Halting(asked), Silent())
    halted.run()
    assert [run.state.name for run in sweep(store).plan().runs] == ["resumable"]
    write(tmp_path, normaliser() + "# mended\n")
    load_plugin(tmp_path / "mine.py")
    with pytest.raises(UserError, match=r"(?s)was begun with that of mine.py .*--fresh to begin it anew"):
        sweep(store).run()
    (outcome,) = sweep(store, options=RunOptions("cpu", plugin_changed="keep")).run()
    assert outcome.status == "finished"
    (document,) = documents(store)
    digests = [each["plugins"][1]["sha256"] for each in document["provenance"]["stretches"]]
    assert len(set(digests)) == 2


class _Halting(InProcess):
    """Trains in this process until it is asked to stop for the last time."""

    def __init__(self, answers):
        self._answers = answers

    def run_all(self, specs, store, options, listener, stop):
        return super().run_all(specs, store, options, listener, lambda: next(self._answers, True))
