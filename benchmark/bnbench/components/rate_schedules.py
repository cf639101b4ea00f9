"""The table of rate schedules: learning rates as pure functions of the step (torch-free).

Step s is update s + 1, so a run of T updates has the steps 0 … T − 1. No state is kept: a resumed run computes the
rate that an uninterrupted one would have had. A parameter's own learning-rate factor multiplies what comes out here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from bnbench.options import Described
from bnbench.registry import Registry
from bnbench.row import Count, Name, Row, Text

ScheduleSetting = Literal["milestones", "factor", "floor", "anneal"]
"""The keys of [training] that are options of some rate schedules and of others not."""
SCHEDULE_SETTINGS: tuple[ScheduleSetting, ...] = get_args(ScheduleSetting)


@dataclass(frozen=True)
class Course:
    """What a schedule knows of a run."""

    learning_rate: float
    """The run's own: what the schedule starts from."""
    epochs: int
    steps_per_epoch: int

    @property
    def steps(self) -> int:
        """Updates of the whole run."""
        return self.epochs * self.steps_per_epoch


@dataclass(frozen=True)
class RateSchedule(Row):
    """One row.

    Raises:
        UserError: a field has another type, or a value that cannot be.
    """

    kind: ClassVar[str] = "rate schedule"

    name: Name
    title: Text
    formula: Text
    """In a line: η₀ is the run's learning rate, e the epochs done, E all of them."""
    source: Text
    rate: Callable[..., float]
    """(step, course, every setting and option by its name) to the learning rate of that update, at least 0. It must
    depend on nothing else: the same arguments, the same rate."""
    settings: tuple[ScheduleSetting, ...] = ()
    """The keys of [training] that are options of it."""
    options: Described = ()
    """What else it can be told, in the table [training.schedule_options]."""
    revision: Count = 1
    """Raised by its author whenever the same settings come to mean other rates."""


RATE_SCHEDULES: Registry[RateSchedule] = Registry("rate schedule", RateSchedule, "bnbench.rate_schedules")

CONSTANT = "constant"


def constant(step: int, course: Course) -> float:
    """η₀ throughout."""
    return course.learning_rate


def steps(step: int, course: Course, *, milestones: Sequence[int], factor: float) -> float:
    """η₀ times `factor` for each milestone (epochs done) that has been reached."""
    epochs_done = step // course.steps_per_epoch
    return float(course.learning_rate * factor ** sum(milestone <= epochs_done for milestone in milestones))


def cosine(step: int, course: Course, *, floor: float, anneal: Literal["step", "epoch"]) -> float:
    """Half a cosine from η₀ down to `floor`, which the end of the run would reach."""
    done = step / course.steps if anneal == "step" else step // course.steps_per_epoch / course.epochs
    share = (1 + math.cos(math.pi * done)) / 2
    return course.learning_rate * share + floor * (1 - share)


for _row in (
    RateSchedule(CONSTANT, "constant", "η₀", "plain SGD, as the founding study", constant),
    RateSchedule(
        "steps",
        "steps",
        "η₀ · factorⁿ, n the number of milestones ≤ e",
        "He et al. 2016; as PyTorch's MultiStepLR",
        steps,
        settings=("milestones", "factor"),
    ),
    RateSchedule(
        "cosine",
        "cosine",
        "floor + (η₀ − floor) · (1 + cos(π·e/E)) / 2, e in whole epochs or in steps",
        "Loshchilov & Hutter 2017, one period; as PyTorch's CosineAnnealingLR",
        cosine,
        settings=("floor", "anneal"),
    ),
):
    RATE_SCHEDULES.register(_row.name, _row)


def warm_up(step: int, warmup_steps: float) -> float:
    """What the schedule's rate is multiplied by at the start: (step + 1) / warmup_steps, 1 from there on.

    The first update moves already, and update `warmup_steps` is the first at the schedule's own rate.
    """
    return min(1.0, (step + 1) / warmup_steps) if warmup_steps > 0 else 1.0
