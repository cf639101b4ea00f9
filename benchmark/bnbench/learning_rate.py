"""The learning rate of a run as a function of the step: its rate schedule, told its settings, and its warm-up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bnbench.components.rate_schedules import CONSTANT, RATE_SCHEDULES, Course, warm_up
from bnbench.options import complete
from bnbench.problem import Training


def rate_function(training: Training, steps_per_epoch: int) -> Callable[[int], float]:
    """The learning rate of a run as a function of the step, warm-up included.

    Args:
        training: the run's settings.
        steps_per_epoch: updates an epoch.

    Raises:
        UserError: there is no such rate schedule, or it cannot be told its options.
    """
    row = RATE_SCHEDULES.get(training.schedule)
    course = Course(training.learning_rate, training.epochs, steps_per_epoch)
    told: dict[str, Any] = {name: getattr(training, name) for name in row.settings}
    told |= complete(f"rate schedule '{row.name}'", row.options, training.schedule_options)
    warmup_steps = training.warmup_epochs * steps_per_epoch

    def rate(step: int) -> float:
        return warm_up(step, warmup_steps) * float(row.rate(step, course, **told))

    return rate


def is_constant(training: Training) -> bool:
    """Whether every update of the run has the same rate, so that none has to be computed."""
    return training.schedule == CONSTANT and training.warmup_epochs == 0
