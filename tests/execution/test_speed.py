"""`estimate` measures for as long as a clock says, and notices what other work takes of the CPU."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from bnbench.execution import speed
from bnbench.execution.speed import measure_speed
from execution.test_resume import make_spec

CPU = torch.device("cpu")


def with_clocks(monkeypatch, share: float) -> None:
    """A CPU of which this process has a share; time goes by a hundredth of a second with each look at the clock."""
    now = 0.0

    def look() -> float:
        nonlocal now
        now += 0.01
        return now

    clocks = SimpleNamespace(perf_counter=look, thread_time=lambda: share * now)
    monkeypatch.setattr(speed, "time", clocks)


def test_what_other_work_takes_of_the_cpu_is_reckoned_out(monkeypatch):
    with_clocks(monkeypatch, 1.0)
    alone = measure_speed(make_spec(), CPU, 1)
    assert alone.speed.cpu_share == 1
    with_clocks(monkeypatch, 0.5)
    beside = measure_speed(make_spec(), CPU, 1)
    assert beside.speed.cpu_share == pytest.approx(0.5, abs=0.02)
    assert beside.cpu_s == pytest.approx(beside.wall_s / 2, rel=0.05)
    assert beside.speed.step_s == pytest.approx(alone.speed.step_s / 2, rel=0.05)
    assert (alone.steps, beside.steps) == (speed.STEPS, speed.STEPS)


def test_slow_steps_are_measured_for_as_long_as_the_clock_says(monkeypatch):
    monkeypatch.setattr(speed, "STEP_SECONDS", 0.0)
    assert measure_speed(make_spec(), CPU, 1).steps == speed.FEWEST_STEPS


def test_an_evaluation_that_takes_long_is_cut_off_and_its_rest_reckoned(monkeypatch):
    """Each batch takes a second of the CPU."""
    seen: dict[str, int] = {}
    size = {"train_eval": 1000, "valid": 125}

    class Whole:
        def split_size(self, split):
            return size[split]

        def evaluation_batches(self, split, batch_size):
            for _ in range(0, size[split], batch_size):
                seen[split] = seen.get(split, 0) + batch_size
                yield torch.zeros(batch_size), torch.zeros(batch_size)

    looks, cpu_looks = iter(range(1000)), iter(range(1000))

    def cpu() -> float:
        return float(next(cpu_looks))

    monkeypatch.setattr(speed, "time", SimpleNamespace(perf_counter=lambda: 2.0 * next(looks), thread_time=cpu))
    monkeypatch.setattr(speed, "EVALUATION_SECONDS", 3.0)
    cut = speed._CutPipeline(Whole())
    assert sum(len(labels) for _, labels in cut.evaluation_batches("train_eval", 125)) == 375
    assert seen == {"train_eval": 375}
    assert cut.left_out_cpu_s == pytest.approx(5), "five batches more, of a second each"
    assert cut.left_out_s == pytest.approx(10), "with half of the CPU"
    assert sum(len(labels) for _, labels in cut.evaluation_batches("valid", 125)) == 125
    assert cut.left_out_s == pytest.approx(10)


@pytest.mark.parametrize("batch", [1000, 500])
def test_an_epoch_of_one_or_two_steps_is_measured_whole(batch):
    spec = make_spec()
    found = measure_speed(replace(spec, training=spec.training.model_copy(update={"batch_size": batch})), CPU, 1)
    assert found.speed.steps_per_epoch == 1078 // batch
    assert found.steps == found.speed.steps_per_epoch
    assert found.speed.step_s > 1e-6


@pytest.mark.parametrize(("device", "left_out"), [("cpu", 3), ("cuda", 6)])
def test_the_first_steps_are_not_on_the_clock_nor_the_one_that_a_gpu_records(device, left_out, monkeypatch):
    trainer, seconds = SimpleNamespace(step=0), iter(range(1000))
    monkeypatch.setattr(
        speed, "time", SimpleNamespace(perf_counter=lambda: next(seconds) / 100, thread_time=lambda: 0.0)
    )
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    watch = speed._Watch(trainer, torch.device(device))
    watch.begin()
    while not watch.enough():
        trainer.step += 1
    steps, _, wall_s = watch.result()
    assert (steps, trainer.step) == (speed.STEPS, left_out - 1 + speed.STEPS)
    assert wall_s == pytest.approx(speed.STEPS / 100)
