"""How fast this machine is: a few steps and an evaluation, measured as a run would make them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch

from bnbench.data.store import data_home
from bnbench.execution.options import RunOptions
from bnbench.execution.run import describe_device, load_pipeline
from bnbench.execution.selection import require_data
from bnbench.plan import RunSpec
from bnbench.storage.provenance import processor_model
from bnbench.storage.speeds import SPEEDS, Speed, add_speed
from bnbench.training.events import EpochEvaluated
from bnbench.training.loop import Trainer
from bnbench.training.memory import keep_freed_memory
from bnbench.training.numerics import check_precision, choose_device, numerics

WARM_UP = 3
"""Steps before the clock starts: the first ones pay for memory and for what a device sets up once."""

STEPS = 10
"""Steps on the clock."""


def machine_name(device: torch.device, threads: int) -> str:
    """What a speed was measured on: the model of the GPU; or that of the processor, and the threads of a run."""
    if device.type == "cuda":
        return describe_device(device)
    return f"{processor_model() or 'unknown processor'}, {threads} thread(s)"


def measure_speed(spec: RunSpec, device: torch.device, threads: int) -> Speed:
    """Evaluate a run's network once and train it for a few steps; nothing is recorded.

    Raises:
        UserError: the data are missing, or do not fit the run.
    """
    keep_freed_memory()
    with numerics(spec.precision, device, threads):
        pipeline = load_pipeline(spec, device)
        trainer = Trainer(spec, pipeline, device)
        eval_s = _run_to(trainer, WARM_UP)
        before = trainer.train_s
        whole_epoch = _run_to(trainer, WARM_UP + STEPS)
        if whole_epoch is not None or trainer.step <= WARM_UP:  # an epoch is too short to be measured in part
            return _measure_epoch(Trainer(spec, pipeline, device))
        step_s = (trainer.train_s - before) / (trainer.step - WARM_UP)
        if device.type == "cuda":  # whose first evaluation is no measure
            eval_s = _run_to(Trainer(spec, pipeline, device), 1)
    assert eval_s is not None, "a run begins with an evaluation"
    return Speed(step_s=step_s, eval_s=eval_s, steps_per_epoch=trainer.steps_per_epoch)


def _run_to(trainer: Trainer, step: int) -> float | None:
    """Train up to a step; the seconds of the last evaluation on the way, None if there was none."""
    eval_s = None
    for event in trainer.events(lambda: trainer.step >= step):
        if isinstance(event, EpochEvaluated):
            eval_s = event.eval_s
            if event.step >= step:
                break
    return eval_s


def _measure_epoch(trainer: Trainer) -> Speed:
    """By a whole epoch, where it is too short for anything else; by what there is of it if the run diverges."""
    train_s, eval_s = 0.0, 0.0
    for event in trainer.events():
        if isinstance(event, EpochEvaluated):
            train_s, eval_s = event.train_s, event.eval_s
            if event.epoch == 1:
                break
    seconds = train_s or trainer.train_s
    return Speed(step_s=seconds / trainer.step, eval_s=eval_s, steps_per_epoch=trainer.steps_per_epoch)


def measure_speeds(specs: Iterable[RunSpec], options: RunOptions) -> Iterator[tuple[RunSpec, Speed]]:
    """Measure each kind of run once, keep the speed for estimates, and say it.

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
    seen: set[tuple[str, str, str, str]] = set()
    for spec in wanted:
        kind = (spec.problem, spec.size, spec.variant.name, spec.placement)
        if kind in seen:
            continue
        seen.add(kind)
        speed = measure_speed(spec, device, options.threads)
        add_speed(path, machine, spec, speed)
        yield spec, speed
