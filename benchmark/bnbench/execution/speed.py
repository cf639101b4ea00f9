"""How fast this machine is: a few steps and an evaluation, made as a run makes them, by the clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from bnbench.data.augmentation import AugmentationParameters
from bnbench.data.pipeline import ImagePipeline
from bnbench.data.store import data_home
from bnbench.execution.devices import machine_name
from bnbench.execution.options import RunOptions
from bnbench.execution.pipeline import load_pipeline
from bnbench.execution.selection import require_data
from bnbench.measurement import Split
from bnbench.plan import RunSpec
from bnbench.storage.speeds import SPEEDS, Speed, add_speed
from bnbench.training.events import EpochEvaluated
from bnbench.training.loop import Trainer
from bnbench.training.memory import keep_freed_memory
from bnbench.training.numerics import check_precision, choose_device, numerics
from bnbench.training.update import RECORDED_AFTER

WARM_UP = 3
"""Steps before the clock starts: the first ones pay for memory and for what a device sets up once. A GPU has to record
one besides (`bnbench.training.update`)."""

STEPS = 20
"""Steps on the clock, where they are fast."""
FEWEST_STEPS = 2
STEP_SECONDS = 4.0
"""So long steps are measured where they are slow; for as long the machine is warmed up, by one step at least."""
EVALUATION_SECONDS = 1.0
"""So long an evaluation looks at each split, in seconds of the CPU."""
_PATIENCE = 3
"""And so many times as long where other work has most of it."""
_SHORTEST = 1e-9

BUSY = 0.9
"""Below this share of the time that passed, the CPU has done other things too."""
BUSY_WITH_THREADS = 0.75


@dataclass(frozen=True)
class Measurement:
    """A speed, and how it was found."""

    speed: Speed
    steps: int
    """Steps on the clock."""
    cpu_s: float
    """CPU seconds of the thread that trains."""
    wall_s: float
    """Seconds that passed meanwhile."""


def measure_speed(spec: RunSpec, device: torch.device, threads: int) -> Measurement:
    """Evaluate a run's network once and train it for a few steps; nothing is recorded.

    Neither takes much longer than `EVALUATION_SECONDS` a split and `STEP_SECONDS`, however large the network: on a CPU
    an evaluation is cut off, and its rest reckoned. What the CPU did meanwhile is compared with the time that passed:
    where other work had a part of it, the speed is what it would have been without.

    Raises:
        UserError: the data are missing, or do not fit the run.
    """
    keep_freed_memory()
    with numerics(spec.precision, device, threads):
        whole = load_pipeline(spec, device)
        # A GPU is fast enough for all of it, and says late when it is done.
        cut = _CutPipeline(whole) if device.type == "cpu" else None
        trainer = Trainer(spec, whole if cut is None else cast(ImagePipeline, cut), device)
        watch = _Watch(trainer, device)
        evaluation: EpochEvaluated | None = None
        left_out = (0.0, 0.0)
        began, cpu_began = time.perf_counter(), time.thread_time()
        for event in trainer.events(watch.enough):
            if isinstance(event, EpochEvaluated):
                if event.epoch > 0:
                    break
                evaluation = event
                watch.begin()
                left_out = (cut.left_out_s, cut.left_out_cpu_s) if cut is not None else (0.0, 0.0)
                cpu_s, wall_s = time.thread_time() - cpu_began, time.perf_counter() - began
        if device.type == "cuda":  # whose first evaluation is no measure
            evaluation = next(
                event for event in Trainer(spec, whole, device).events() if isinstance(event, EpochEvaluated)
            )
    assert evaluation is not None, "a run begins with an evaluation"
    steps, cpu_of_steps, wall_of_steps = watch.result()
    eval_s, step_s = evaluation.eval_s, wall_of_steps / steps
    share = min(1.0, (cpu_s + cpu_of_steps) / (wall_s + wall_of_steps)) if device.type == "cpu" else 1.0
    # With several threads this one waits for the others now and then, though it has the machine to itself.
    busy = share < (BUSY if threads == 1 else BUSY_WITH_THREADS)
    if busy:
        eval_s, step_s = cpu_s, cpu_of_steps / steps
    eval_s += left_out[1] if busy else left_out[0]
    speed = Speed(
        step_s=max(step_s, _SHORTEST),
        eval_s=eval_s,
        steps_per_epoch=trainer.steps_per_epoch,
        cpu_share=share if busy else 1.0,
    )
    return Measurement(speed, steps, cpu_s + cpu_of_steps, wall_s + wall_of_steps)


class _Watch:
    """Says when enough steps were measured, and what they took."""

    def __init__(self, trainer: Trainer, device: torch.device) -> None:
        self._trainer = trainer
        self._device = device
        self._stamps: list[tuple[int, float, float]] = []
        self._warm_up = WARM_UP + (RECORDED_AFTER if device.type == "cuda" else 0)
        self._began = time.perf_counter()

    def begin(self) -> None:
        """The first step comes now."""
        self._began = time.perf_counter()

    def enough(self) -> bool:
        """Asked after every step but the last of an epoch."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        now = time.perf_counter()
        self._stamps.append((self._trainer.step, now, time.thread_time()))
        warm = self._warm()
        measured = len(self._stamps) - 1 - warm
        return measured >= STEPS or (measured >= FEWEST_STEPS and now - self._stamps[warm][1] >= STEP_SECONDS)

    def result(self) -> tuple[int, float, float]:
        """Steps measured, and the CPU and wall seconds that they took together."""
        warm = self._warm()
        if len(self._stamps) - warm < 2:  # an epoch of so few steps: by all of it
            warm = 0
        if len(self._stamps) < 2:
            seconds = self._trainer.train_s or time.perf_counter() - self._began
            return max(1, self._trainer.step), seconds, seconds
        (first, wall_began, cpu_began), (last, wall_ended, cpu_ended) = self._stamps[warm], self._stamps[-1]
        return last - first, cpu_ended - cpu_began, wall_ended - wall_began

    def _warm(self) -> int:
        """The first stamp that counts: after the warm-up, or after a step that is long enough by itself."""
        long = (index for index, (_, now, _) in enumerate(self._stamps) if now - self._began >= STEP_SECONDS)
        return min(self._warm_up - 1, next(long, self._warm_up - 1))


class _CutPipeline:
    """A pipeline whose evaluation of a split ends after a while; what is left out is reckoned."""

    def __init__(self, whole: ImagePipeline) -> None:
        self._whole = whole
        self.left_out_s = 0.0
        """Seconds that the images would have taken that were left out."""
        self.left_out_cpu_s = 0.0
        """The same, in seconds of the CPU."""

    @property
    def train_size(self) -> int:
        return self._whole.train_size

    def split_size(self, split: Split) -> int:
        return self._whole.split_size(split)

    def training_batch(self, indices: Tensor, parameters: AugmentationParameters) -> tuple[Tensor, Tensor]:
        return self._whole.training_batch(indices, parameters)

    def training_batches(
        self, order: Tensor, parameters: AugmentationParameters, batch_size: int, first: int = 0
    ) -> Iterator[tuple[Tensor, Tensor]]:
        return self._whole.training_batches(order, parameters, batch_size, first)

    def evaluation_batches(self, split: Split, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        size, seen = self._whole.split_size(split), 0
        began = after_first = _both_clocks()
        first = 0
        for images, labels in self._whole.evaluation_batches(split, batch_size):
            yield images, labels
            seen += len(labels)
            now = _both_clocks()
            if not first:  # it pays for what is set up once
                after_first, first = now, seen
            elif now[1] - began[1] >= EVALUATION_SECONDS or now[0] - began[0] >= _PATIENCE * EVALUATION_SECONDS:
                self.left_out_s += (now[0] - after_first[0]) / (seen - first) * (size - seen)
                self.left_out_cpu_s += (now[1] - after_first[1]) / (seen - first) * (size - seen)
                return


def _both_clocks() -> tuple[float, float]:
    """Seconds that have passed, and those of the CPU that this thread has had."""
    return time.perf_counter(), time.thread_time()


def measure_speeds(
    specs: Iterable[RunSpec], options: RunOptions, begins: Callable[[RunSpec, int, int], None]
) -> Iterator[tuple[RunSpec, Measurement]]:
    """Measure each kind of run once, keep the speed for estimates, and say it.

    Args:
        specs: the runs.
        options: how they are carried out.
        begins: told what is measured next: its run, its number from 1, and how many there are.

    Yields:
        The first run of each problem, size, variant and placement, and its speed.

    Raises:
        UserError: the device or a precision does not exist, data are missing, or the speeds cannot be kept.
    """
    wanted = list(specs)
    device = choose_device("cuda" if options.gpus else options.device)
    for spec in wanted:
        check_precision(spec.precision, device)
    require_data(wanted)
    path, machine = data_home() / SPEEDS, machine_name(device, options.threads)
    kinds = {(spec.problem, spec.size, spec.variant.name, spec.placement): spec for spec in reversed(wanted)}
    chosen = [spec for spec in wanted if any(spec is first for first in kinds.values())]
    for number, spec in enumerate(chosen, 1):
        begins(spec, number, len(chosen))
        found = measure_speed(spec, device, options.threads)
        add_speed(path, machine, spec, found.speed)
        yield spec, found
