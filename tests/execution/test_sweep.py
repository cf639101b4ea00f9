"""The engine: a sweep says what happens, looks at the store twice, and trains here, in a pool, or not at all."""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import replace

import pytest
import torch

from bnbench.components.architectures import ARCHITECTURES
from bnbench.components.variants import VARIANTS
from bnbench.errors import MissingDataError, UserError
from bnbench.execution.executors import InProcess, LocalPool, local_executor
from bnbench.execution.listening import Silent
from bnbench.execution.options import RunOptions
from bnbench.execution.places import Place, Room
from bnbench.execution.selection import Grid, Settings, as_overrides, select
from bnbench.execution.sweep import Sweep, SweepInterrupted
from bnbench.storage import document, examine, repeating, states
from bnbench.storage import store as store_module
from bnbench.storage.checkpoints import checkpoint_paths
from bnbench.storage.lock import acquire_lock, look_at_lock
from bnbench.storage.store import ResultStore
from execution.test_resume import make_spec
from support.command_line import invoke, table_bytes

CPU = RunOptions("cpu", workers=1)
HERE = RunOptions("cpu", workers=0)


class Log(Silent):
    """Remembers what a sweep says, and does something when a run has come so far."""

    def __init__(self, then=None):
        self.said = []
        self.then = then

    def planned(self, plan):
        self.said.append(("planned", len(plan.todo)))

    def notice(self, notice):
        self.said.append(("notice", notice.text))

    def begins(self, specs):
        self.said.append(("begins", len(specs)))

    def ends(self):
        self.said.append(("ends",))

    def deferred(self, spec):
        self.said.append(("deferred", spec.variant.name))

    def event(self, spec, event):
        if self.then is not None and getattr(event, "step", 0) > 0:
            self.then(spec)

    def ended(self, spec, outcome):
        self.said.append((outcome.status, spec.variant.name))


@pytest.fixture(scope="module")
def specs():
    return [make_spec(variant=name, epochs=3) for name in ("vanilla", "bn_gamma_beta")]


@pytest.fixture(scope="module")
def pooled(specs, tmp_path_factory):
    """What a pool makes of them."""
    store = tmp_path_factory.mktemp("pooled")
    outcomes = Sweep(specs, store, CPU, local_executor(CPU), Silent()).run()
    assert [outcome.status for outcome in outcomes] == ["finished"] * 2
    return table_bytes(store)


def sweep(specs, store, listener=None, options=HERE, **more):
    return Sweep(specs, store, options, local_executor(options), listener or Silent(), **more)


def test_in_this_process_a_run_has_the_bytes_that_it_has_in_a_pool(specs, pooled, tmp_path, capfd):
    log = Log()
    outcomes = sweep(specs, tmp_path, log).run()
    assert [outcome.status for outcome in outcomes] == ["finished"] * 2
    assert table_bytes(tmp_path) == pooled
    assert log.said == [
        ("planned", 2),
        ("notice", "2 runs to train, one after another in this process on cpu, 1 CPU thread each"),
        ("begins", 2), ("finished", "vanilla"), ("finished", "bn_gamma_beta"), ("ends",),
    ]  # fmt: skip
    assert capfd.readouterr() == ("", ""), "it prints nothing"
    again = sweep(specs, tmp_path, log)
    assert again.run() == []
    assert log.said[-1] == ("notice", "All 2 runs have ended already; nothing to train.")


def test_what_the_program_around_has_set_is_not_what_a_run_computes_with(specs, pooled, tmp_path):
    before = torch.get_num_threads()
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    try:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            sweep(specs[1:], tmp_path).run()
        assert torch.get_default_dtype() == torch.float64
        assert torch.get_default_device().type == "meta"
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)
    assert torch.get_num_threads() == before
    assert table_bytes(tmp_path).items() <= pooled.items()


def test_a_signal_leaves_a_checkpoint_here_and_the_same_sweep_does_the_rest(specs, pooled, tmp_path):
    log = Log(lambda spec: os.kill(os.getpid(), signal.SIGINT))
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(SweepInterrupted) as stopped:
        sweep(specs, tmp_path, log, command="typed so").run()
    assert isinstance(stopped.value, KeyboardInterrupt), "for Python it is what Ctrl-C is"
    assert (stopped.value.finished, stopped.value.total, stopped.value.exit_code) == (0, 2, 130)
    assert [outcome.status for outcome in stopped.value.outcomes] == ["paused"]
    assert log.said[-1] == ("ends",)
    assert checkpoint_paths(tmp_path / specs[0].run_id)
    assert look_at_lock(tmp_path / specs[0].run_id) is None
    (record,) = (tmp_path / ".sweeps").glob("*.json")
    assert json.loads(record.read_text())["command"] == "typed so"
    assert signal.getsignal(signal.SIGINT) is before
    sweep(specs, tmp_path).run()
    assert table_bytes(tmp_path) == pooled
    assert not list((tmp_path / ".sweeps").glob("*.json")), "nothing is left of it"


def test_a_run_that_raises_here_is_recorded_and_stops_no_other(specs, tmp_path, monkeypatch):
    from bnbench.execution import run as run_module  # noqa: PLC0415

    real = run_module.load_pipeline

    def broken(spec, device):
        if spec.variant.name == "vanilla":
            raise ZeroDivisionError("by nothing")
        return real(spec, device)

    monkeypatch.setattr(run_module, "load_pipeline", broken)
    outcomes = sweep(specs, tmp_path).run()
    assert [outcome.status for outcome in outcomes] == ["failed", "finished"]
    assert "ZeroDivisionError" in outcomes[0].error


def test_a_run_out_of_time_here_is_a_failure_and_keeps_a_checkpoint(tmp_path):
    slow = make_spec(epochs=500)
    (outcome,) = sweep([slow], tmp_path, options=replace(HERE, run_timeout=1.0)).run()
    assert outcome.status == "failed"
    assert "took longer than 1 s (--run-timeout)" in outcome.error
    assert checkpoint_paths(tmp_path / slow.run_id)


def test_a_run_that_another_process_trains_comes_last_here_too(specs, pooled, tmp_path, monkeypatch):
    from bnbench.execution import pool  # noqa: PLC0415

    monkeypatch.setattr(pool, "LOOK_SECONDS", 0.05)
    lock = acquire_lock(tmp_path / specs[0].run_id)

    class Releasing(Log):
        def ended(self, spec, outcome):
            super().ended(spec, outcome)
            lock.release()

    log = Releasing()
    outcomes = sweep(specs, tmp_path, log).run()
    assert [outcome.status for outcome in outcomes] == ["finished"] * 2
    assert log.said[3:6] == [("deferred", "vanilla"), ("finished", "bn_gamma_beta"), ("finished", "vanilla")]
    assert table_bytes(tmp_path) == pooled


def test_a_listener_that_raises_ends_no_sweep(specs, pooled, tmp_path):
    class Broken:
        def __getattr__(self, name):
            raise RuntimeError("cannot be told")

    assert [outcome.status for outcome in sweep(specs, tmp_path, Broken()).run()] == ["finished"] * 2
    assert table_bytes(tmp_path) == pooled


def test_what_is_wrong_is_told_before_anything_is_written(tmp_path, monkeypatch):
    folder = tmp_path / "results"
    with pytest.raises(UserError, match="tf32"):
        sweep([replace(make_spec(), precision="tf32")], folder).run()
    with pytest.raises(UserError, match="tpu"):
        sweep([make_spec()], folder, options=RunOptions("tpu", workers=0)).run()
    monkeypatch.setenv("BNBENCH_DATA", str(tmp_path / "data"))
    with pytest.raises(MissingDataError, match="cifar10"):
        sweep(select(Grid(("cifar10_3c3d",))).specs, folder).run()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"gpus": ("0",), "workers": 0}, "--workers and --gpus contradict"),
        ({"gpus": ("0",), "device": "cpu"}, "--gpus and --device cpu contradict"),
        ({"workers": -1}, "workers = -1: a whole number from 0 to 1,024"),
        ({"threads": 0}, "threads = 0: a whole number from 1 to 1,024"),
        ({"threads": True}, "threads = True"),
    ],
)
def test_options_that_contradict_each_other_are_told(options, told):
    with pytest.raises(UserError, match=told):
        RunOptions(**options)


def test_settings_of_a_mapping_are_what_set_takes():
    changes = {"training.l2": 0, "training.population_statistics": True, "augmentation.horizontal_flip": False}
    texts = as_overrides(changes)
    assert Settings(overrides=texts).changes == changes


# --- components of a session ---------------------------------------------------------------------------------------


@pytest.fixture
def of_session():
    """An architecture and a variant that only this process knows."""
    network = replace(ARCHITECTURES.get("mlp"), name="my_mlp")
    row = replace(VARIANTS.get("bn"), name="my_bn", gamma=replace(VARIANTS.get("bn").gamma, initial=0.5))
    ARCHITECTURES.register_for_session(network)
    VARIANTS.register_for_session(row)
    yield network, row
    del ARCHITECTURES._session["my_mlp"], VARIANTS._session["my_bn"]


def test_code_of_a_session_is_trained_in_this_process_only(of_session, tmp_path):
    spec = replace(make_spec(epochs=1), architecture="my_mlp")
    assert "layers" in spec.resolved(), "it is a third party's"
    with pytest.raises(UserError, match=r"architecture 'my_mlp' was registered in this session"):
        sweep([spec], tmp_path / "results", options=CPU).run()
    assert not (tmp_path / "results").exists()
    (outcome,) = sweep([spec], tmp_path / "results").run()
    assert outcome.status == "finished"


def test_a_row_without_code_travels_to_every_process(of_session, tmp_path):
    spec = replace(make_spec(epochs=1), variant=of_session[1])
    for name, options in (("pool", CPU), ("here", HERE)):
        (outcome,) = sweep([spec], tmp_path / name, options=options).run()
        assert outcome.status == "finished"
    assert table_bytes(tmp_path / "pool") == table_bytes(tmp_path / "here")


# --- how often the store is looked at ------------------------------------------------------------------------------


@pytest.fixture
def looks(monkeypatch):
    """Counts looks at the store, and at single runs by folder."""
    counts = {"look": 0, "examine": [], "read": []}
    look, look_into, read = ResultStore.look, examine.examine, document.read_document

    def counted_look(*arguments):
        counts["look"] += 1
        return look(*arguments)

    def counted_examine(folder):
        counts["examine"].append(folder.name)
        return look_into(folder)

    def counted_read(folder):
        counts["read"].append(folder.name)
        return read(folder)

    monkeypatch.setattr(ResultStore, "look", counted_look)
    for module in (store_module, states):
        monkeypatch.setattr(module, "examine", counted_examine)
    for module in (examine, repeating):
        monkeypatch.setattr(module, "read_document", counted_read)
    return counts


def test_a_command_looks_at_the_store_once_before_and_once_after(tmp_path, looks):
    grid = ("digits_mlp", "--size", "tiny", "--epochs", 1, "--device", "cpu", "--workers", 1, "--results", tmp_path)
    assert invoke("run", *grid, "--variant", "vanilla", "--variant", "bn").exit_code == 0
    before = {path.parent.name for path in tmp_path.glob("*/run.json")}
    looks.update(look=0, examine=[], read=[])
    done = invoke("run", *grid, "--variant", "vanilla", "--variant", "bn", "--variant", "bn_beta")
    assert done.exit_code == 0, done.output
    assert looks["look"] == 2
    (new,) = {path.parent.name for path in tmp_path.glob("*/run.json")} - before
    # A run that had ended: with each look. Neither in between nor when its tables are read is its folder asked.
    for run_id in before:
        assert looks["examine"].count(run_id) == 2
    # The new one: when it is planned and before it starts, in this process; and then as the others.
    assert looks["examine"].count(new) <= 3
    looks.update(look=0, examine=[], read=[])
    assert "nothing to train" in invoke("run", *grid, "--variant", "vanilla", "--variant", "bn").stderr
    assert looks["look"] == 1, "nothing was trained: what was seen before is what there is"


def test_a_job_looks_at_its_own_runs_only(specs, tmp_path, looks):
    for spec in specs:
        sweep([spec], tmp_path).run()
    looks.update(look=0, examine=[], read=[])
    sweep(specs[:1], tmp_path, own_runs_only=True).run()
    assert set(looks["examine"]) == {specs[0].run_id}


def test_a_plan_needs_no_torch_before_the_machine_is_asked():
    """So a mistake is told at once, and a pool loads torch while this process plans."""
    program = "import sys, bnbench.execution.sweep, bnbench.execution.slurm.executor; sys.exit('torch' in sys.modules)"
    assert os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-c", program]) == 0


def test_runs_on_gpus_are_told_to_use_them(specs, tmp_path, monkeypatch):
    """Whatever "auto" would mean where one is not to be seen."""
    from bnbench.execution import executors, pool  # noqa: PLC0415

    told = []
    monkeypatch.setattr(executors, "room_here", lambda options: Room((Place("7"),), "cuda", "a GPU", "a GPU"))
    monkeypatch.setattr(pool.Pool, "run_all", lambda self, specs, stop: told.append((self.options, self.places)) or [])
    LocalPool().run_all(specs, tmp_path, RunOptions(gpus=("7",)), Silent(), lambda: False)
    ((options, places),) = told
    assert (options.device, options.gpus, places) == ("cuda", ("7",), (Place("7"),))


def test_who_trains_follows_from_the_workers():
    assert isinstance(local_executor(HERE), InProcess)
    assert isinstance(local_executor(RunOptions()), LocalPool)
