"""The pool: a process a run; what kills, hangs or stops one costs no other anything."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from bnbench.errors import UserError
from bnbench.execution import fork_server, pool
from bnbench.execution.executors import LocalPool
from bnbench.execution.options import RunOptions
from bnbench.execution.places import Place, cpu_places, gpu_places
from bnbench.execution.run import Notice
from bnbench.storage.checkpoints import checkpoint_paths
from bnbench.storage.lock import acquire_lock, look_at_lock
from bnbench.storage.repeating import forget_failure
from execution.test_resume import make_spec
from support.command_line import table_bytes

CPU = RunOptions("cpu")


def run_all(specs, store, options, places, listener, stop=lambda: False):
    return LocalPool(places).run_all(specs, store, options, listener, stop)


class Log:
    """A listener that remembers, and does something when a run has come so far."""

    def __init__(self, then=None):
        self.lines = []
        self.notices = []
        self.then = then

    def started(self, spec):
        self.lines.append(("started", spec.variant.name))

    def event(self, spec, event):
        if isinstance(event, Notice):
            self.notices.append((spec.variant.name, event.text))
        elif self.then is not None and event.step > 0:
            self.then(spec, event)

    def deferred(self, spec):
        self.lines.append(("deferred", spec.variant.name))

    def ended(self, spec, outcome):
        self.lines.append((outcome.status, spec.variant.name))


@pytest.fixture(scope="module")
def specs():
    # Long enough that a run is still there when its first words have been heard and acted on.
    return [make_spec(variant=name, epochs=15) for name in ("vanilla", "bn", "bn_gamma")]


@pytest.fixture(scope="module")
def whole(specs, tmp_path_factory):
    store = tmp_path_factory.mktemp("whole")
    log = Log()
    outcomes = run_all(specs, store, CPU, cpu_places(1), log)
    assert [outcome.status for outcome in outcomes] == ["finished"] * 3
    assert log.lines == [
        line for name in ("vanilla", "bn", "bn_gamma") for line in (("started", name), ("finished", name))
    ]
    return table_bytes(store)


def owner_of(store, spec):
    return look_at_lock(store / spec.run_id).owner.process


def test_a_killed_run_is_recorded_and_the_others_go_on(specs, whole, tmp_path):
    killed = []

    def kill(spec, event):
        if spec.variant.name == "bn" and not killed:
            killed.append(spec)
            os.kill(owner_of(tmp_path, spec), signal.SIGKILL)

    outcomes = run_all(specs, tmp_path, CPU, cpu_places(2), Log(kill))
    by_name = {outcome.run_id.split("-")[1]: outcome for outcome in outcomes}
    assert {name: outcome.status for name, outcome in by_name.items()} == {
        "vanilla": "finished", "bn": "failed", "bn_gamma": "finished",
    }  # fmt: skip
    assert "SIGKILL" in by_name["bn"].error
    assert forget_failure(tmp_path / by_name["bn"].run_id)
    assert [outcome.status for outcome in run_all(specs, tmp_path, CPU, cpu_places(1), Log())] == ["finished"] * 3
    assert table_bytes(tmp_path) == whole


def test_a_sweep_that_is_stopped_goes_on_where_it_was(specs, whole, tmp_path):
    stopped = threading.Event()
    log = Log(lambda spec, event: stopped.set())
    outcomes = run_all(specs, tmp_path, CPU, cpu_places(1), log, stop=stopped.is_set)
    # Usually the first is paused; on a machine with no time for this process it may get to its end before.
    assert [outcome.status for outcome in outcomes] == ["finished"] * (len(outcomes) - 1) + ["paused"]
    assert len(log.lines) == 2 * len(outcomes), "nothing more was started"
    log = Log()
    rest = run_all(specs, tmp_path, CPU, cpu_places(2), log)
    assert [outcome.status for outcome in rest] == ["finished"] * 3
    assert any(text.startswith("goes on from step") for _, text in log.notices)
    assert table_bytes(tmp_path) == whole


class Broken:
    """A listener whose every method raises."""

    def started(self, spec):
        raise RuntimeError("cannot be told")

    event = deferred = ended = started


def test_a_listener_that_raises_ends_no_run(specs, whole, tmp_path, caplog):
    def fail(spec, event):
        raise UserError("cannot be told")

    log = Log(fail)
    assert [each.status for each in run_all(specs[:1], tmp_path, CPU, cpu_places(1), log)] == ["finished"]
    assert [line[0] for line in log.lines] == ["started", "finished"], "its other methods are called"
    assert table_bytes(tmp_path).items() <= whole.items()
    assert [record.message for record in caplog.records] == ["who follows the runs failed in 'event'; the runs go on"]
    caplog.clear()
    assert [each.status for each in run_all(specs[:1], tmp_path, CPU, cpu_places(1), Broken())] == ["finished"]
    assert len(caplog.records) == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_a_listener_may_end_the_sweep_on_purpose(specs, tmp_path, error):
    def leave(spec, event):
        raise error

    with pytest.raises(error):
        run_all(specs[:1], tmp_path, CPU, cpu_places(1), Log(leave))


def test_a_hung_run_ends_at_its_time_limit(specs, whole, tmp_path, monkeypatch):
    """One that hears no signal is killed; one that is merely slow leaves a checkpoint, and both are failures."""
    monkeypatch.setattr(pool, "GRACE_SECONDS", 0.5)
    hung = []

    def hang(spec, event):
        if spec.variant.name == "vanilla" and not hung:
            hung.append(owner_of(tmp_path, spec))
            os.kill(hung[0], signal.SIGSTOP)

    began = time.monotonic()
    outcomes = run_all(specs[:1], tmp_path, RunOptions("cpu", run_timeout=5.0), cpu_places(1), Log(hang))
    assert time.monotonic() - began < 40
    assert [outcome.status for outcome in outcomes] == ["failed"]
    assert "took longer than 5 s (--run-timeout)" in outcomes[0].error
    with pytest.raises(ProcessLookupError):
        os.kill(hung[0], 0)


def test_a_slow_run_is_a_failure_at_its_time_limit_and_keeps_a_checkpoint(tmp_path):
    slow = make_spec(epochs=500)
    (outcome,) = run_all([slow], tmp_path, RunOptions("cpu", run_timeout=4.0), cpu_places(1), Log())
    assert outcome.status == "failed"
    assert "--run-timeout" in outcome.error
    assert checkpoint_paths(tmp_path / slow.run_id)


def test_a_run_that_another_process_trains_comes_last_and_is_taken_over_when_that_dies(
    specs, whole, tmp_path, monkeypatch
):
    monkeypatch.setattr(pool, "LOOK_SECONDS", 0.05)
    lock = acquire_lock(tmp_path / specs[0].run_id)

    class Releasing(Log):
        def ended(self, spec, outcome):
            super().ended(spec, outcome)
            if spec.variant.name == "bn_gamma":  # nothing else is left to do
                threading.Timer(0.5, lock.release).start()

    log = Releasing()
    outcomes = run_all(specs, tmp_path, CPU, cpu_places(1), log)
    assert [outcome.status for outcome in outcomes] == ["finished"] * 3
    assert log.lines[0] == ("deferred", "vanilla")
    assert log.lines[-2:] == [("started", "vanilla"), ("finished", "vanilla")]
    assert table_bytes(tmp_path) == whole


def test_what_another_process_finishes_meanwhile_is_not_trained_again(specs, whole, tmp_path, monkeypatch):
    monkeypatch.setattr(pool, "LOOK_SECONDS", 0.05)
    other = threading.Thread(target=run_all, args=(specs[:2], tmp_path, CPU, cpu_places(2), Log()))
    other.start()
    log = Log()
    outcomes = run_all(specs, tmp_path, CPU, cpu_places(1), log)
    other.join()
    assert sorted(outcome.run_id for outcome in outcomes) == sorted(spec.run_id for spec in specs)
    assert {outcome.status for outcome in outcomes} == {"finished"}
    assert sum(outcome.elsewhere for outcome in outcomes) >= 1
    assert table_bytes(tmp_path) == whole


def test_a_run_whose_sweep_was_killed_leaves_a_checkpoint_by_itself(tmp_path):
    """Its messages reach nobody any more: it stops, instead of going on unseen."""
    spec = make_spec(epochs=500)
    log = Log()
    state = {}

    def abandon(*_):
        if not state:
            state["owner"] = owner_of(tmp_path, spec)
            for connection in list(running.active):
                connection.close()
            raise InterruptedError("as if killed")

    log.then = abandon
    running = pool.Pool(tmp_path, CPU, cpu_places(1), log)
    fork_server.prepare()
    sent = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool, "_send_signal", lambda process, number: sent.append(number))
        with pytest.raises(InterruptedError):
            running.run_all([spec], lambda: False)
    # It was not killed, and has come to its end all the same, with a checkpoint.
    assert sent
    assert look_at_lock(tmp_path / spec.run_id) is None
    assert checkpoint_paths(tmp_path / spec.run_id)


def test_places_on_gpus_are_those_that_are_visible(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert gpu_places(("0", "1"), 2) == (Place("0"), Place("1"), Place("0"), Place("1"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-abc")
    assert gpu_places(("0", "1")) == (Place("3"), Place("GPU-abc"))
    with pytest.raises(UserError, match="no GPU 2: CUDA_VISIBLE_DEVICES is '3,GPU-abc'"):
        gpu_places(("2",))


def test_runs_are_spread_over_the_places_that_are_free(specs, tmp_path, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    used = []
    real = pool.Pool._start

    def start(self, spec, place, given_up):
        used.append((place.gpu, [run.place.gpu for run in self.active.values()]))
        real(self, spec, place, given_up)

    monkeypatch.setattr(pool.Pool, "_start", start)
    outcomes = run_all(specs, tmp_path, CPU, (Place("7"), Place("8")), Log())
    assert [outcome.status for outcome in outcomes] == ["finished"] * 3
    assert {gpu for gpu, _ in used} == {"7", "8"}
    assert all(gpu not in others for gpu, others in used)
