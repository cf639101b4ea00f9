"""How far a sweep is, counted from what a listener hears; and the one answer to how long the rest takes."""

from __future__ import annotations

import time

import pytest

from bnbench import progress
from bnbench.execution import pace
from bnbench.execution.estimate import Recorded, run_seconds, sweep_seconds
from bnbench.execution.executors import local_executor
from bnbench.execution.listening import Outcome, Silent
from bnbench.execution.options import RunOptions
from bnbench.execution.pace import Pace
from bnbench.execution.sweep import Sweep
from bnbench.execution.tally import Tally
from bnbench.progress import rows_of, so_far
from bnbench.storage import lock as locks
from bnbench.storage.lock import acquire_lock
from bnbench.storage.states import RunState, survey
from bnbench.training.events import EpochEvaluated, Evaluation, StepReached
from execution.test_resume import make_spec

STEPS = 132
"""Of a run of three epochs."""


class Clock:
    """Seconds that pass when a test says so."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(pace.Pace.__init__, "__defaults__", (clock,))
    return clock


@pytest.fixture
def specs():
    return [make_spec(variant=name) for name in ("bn", "vanilla")]


@pytest.fixture
def plan(specs, tmp_path):
    options = RunOptions("cpu", workers=2)
    return Sweep(specs, tmp_path / "results", options, local_executor(options), Silent()).plan()


@pytest.fixture
def tally(plan, specs, clock):
    tally = Tally()
    tally.planned(plan)
    tally.begins(specs)
    for spec in specs:
        tally.started(spec)
    return tally


def evaluated(epoch: int) -> EpochEvaluated:
    evaluations = tuple(Evaluation(split, "running", 0.5, 0.9) for split in ("train_eval", "valid", "test"))
    return EpochEvaluated(epoch, epoch * 44, evaluations, 10.0 if epoch else 0.0, 1.0, 440)


def test_only_what_has_ended_counts_as_ended(tally, specs):
    for spec in specs:
        tally.event(spec, StepReached(66, STEPS, 2, 0.5, 0.9))
    assert (tally.ended, tally.total, tally.share) == (0, 2, pytest.approx(0.5))
    tally.over(specs[0], Outcome(specs[0].run_id, "paused"))
    assert (tally.ended, tally.share) == (0, pytest.approx(0.5)), "Ctrl-C makes no run whole"
    tally.over(specs[1], Outcome(specs[1].run_id, "failed", error="x"))
    assert (tally.ended, tally.share) == (1, pytest.approx(0.75)), "no more work is in one that failed"
    (overall,) = rows_of(tally)
    assert overall.counts == ("1/2 runs",)


def test_bars_and_status_say_the_same_of_the_same_run(tally, plan, specs, clock, tmp_path, monkeypatch):
    """One is told by the run's messages, the other by its lock."""
    monkeypatch.setattr(locks, "BEAT_SECONDS", 0.01)
    folder = tmp_path / "results" / specs[0].run_id
    own = Pace()
    with acquire_lock(folder, beat_seconds=0.01) as lock:
        for step, epoch in ((0, 1), (33, 1), (66, 2)):
            clock.now = step * 0.5
            tally.event(specs[0], StepReached(step, STEPS, epoch, 0.5, 0.9))
            lock.progress(step, STEPS, epoch - 1, 3, own.at(step))
        until = time.monotonic() + 20
        while (states := survey({specs[0].run_id: folder}))[specs[0].run_id].step != 66:
            assert time.monotonic() < until
            time.sleep(0.02)
    assert states[specs[0].run_id].step_s == 0.5
    # 66 steps to go; the other, which is as long and not known better, 132.
    assert sweep_seconds(plan.swept, 2, states, Recorded({})) == pytest.approx(66)
    assert tally.seconds_left == pytest.approx(66)


def test_how_long_a_run_takes_by_what_is_known_best(plan):
    run = plan.swept[0]
    nothing, taken = Recorded({}), Recorded({(run.setting_id, "bn"): 100.0})
    assert run_seconds(run, RunState("new"), nothing) is None
    assert run_seconds(run, RunState("new"), taken) == 100
    assert run_seconds(run, RunState("running", 1, 100, step_s=9.0), taken) == 99, "one step says little"
    assert run_seconds(run, RunState("running", 50, 100, step_s=9.0), taken) == 450
    assert run_seconds(run, RunState("running", 1, 100, step_s=9.0), nothing) == 891
    others = Recorded({(run.setting_id, "vanilla"): 40.0})
    assert run_seconds(run, RunState("new"), nothing, others) == 40
    expected = run.model_copy(update={"seconds": 7.0})
    assert run_seconds(expected, RunState("new"), nothing) == 7
    assert run_seconds(expected, RunState("new"), nothing, others) == 40


def test_a_run_that_finished_here_says_how_long_the_others_take(tally, specs):
    for epoch in range(4):
        tally.event(specs[0], evaluated(epoch))
    tally.over(specs[0], Outcome(specs[0].run_id, "finished"))
    assert tally.seconds_left is None, "another variant's time is not taken for its own"
    assert tally.ended == 1


def test_a_line_says_how_far_everything_is(tally, specs, clock):
    tally.event(specs[0], evaluated(0))
    clock.now = 44.0
    tally.event(specs[0], evaluated(1))
    line = so_far(tally, 60)
    seed = specs[0].seed
    assert line.startswith("after 60 s: 16 %, 0 of 2 runs ended, about ")
    assert " left; " in line
    assert f"bn seed {seed}: epoch 1/3, validation 0.900" in line
    assert f"vanilla seed {seed}: starting" in line


def test_without_a_terminal_a_line_comes_though_nothing_is_heard(plan, specs, monkeypatch, capsys):
    monkeypatch.setattr(progress, "FIRST_SECONDS", 0.01)
    monkeypatch.setattr(progress, "QUIET_SECONDS", 0.01)
    display = progress._Lines()
    display.planned(plan)
    display.begins(specs)
    said = ""
    until = time.monotonic() + 20
    while said.count("after 0 s: 0 %, 0 of 2 runs ended") < 2 and time.monotonic() < until:
        time.sleep(0.02)
        said += capsys.readouterr().err
    display.ends()
    assert said.count("after 0 s: 0 %, 0 of 2 runs ended") >= 2
