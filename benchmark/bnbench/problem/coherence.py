"""What the types of a problem cannot say: names that must exist, settings that must agree with each other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from bnbench.components.architectures import ARCHITECTURES, slot_places
from bnbench.components.optimisers import OPTIMISER_SETTINGS, OPTIMISERS, Optimiser
from bnbench.components.placements import parse_placement
from bnbench.components.rate_schedules import RATE_SCHEDULES, SCHEDULE_SETTINGS, RateSchedule
from bnbench.errors import UserError
from bnbench.options import complete
from bnbench.problem.model import Problem
from bnbench.problem.settings import Training
from bnbench.registry import Registry


def check_training(training: Training) -> Training:
    """What the types cannot say: the optimiser and the rate schedule must exist and have the options that are set.

    Returns:
        The settings with every option of another package's row written out, so that a run is named by what it had.

    Raises:
        UserError: one does not, or settings contradict each other.
    """
    optimiser = _row("optimiser", OPTIMISERS, training.optimiser)
    _check_owned(training, optimiser, OPTIMISERS, OPTIMISER_SETTINGS)
    options = complete(f"optimiser '{optimiser.name}'", optimiser.options, training.optimiser_options)
    schedule = _row("schedule", RATE_SCHEDULES, training.schedule)
    _check_owned(training, schedule, RATE_SCHEDULES, SCHEDULE_SETTINGS)
    more = complete(f"rate schedule '{schedule.name}'", schedule.options, training.schedule_options)
    if training.nesterov and training.momentum == 0:
        raise UserError("training.nesterov = true: needs a momentum", hint="For example training.momentum = 0.9.")
    milestones = training.milestones
    if "milestones" in schedule.settings and not milestones:
        raise UserError(
            f"rate schedule '{schedule.name}' needs training.milestones: the epochs at which the rate changes",
            hint="For example training.milestones = [80, 120].",
        )
    if list(milestones) != sorted(set(milestones)):
        raise UserError(f"training.milestones = {list(milestones)}: should ascend, each epoch once")
    if "floor" in schedule.settings and training.floor > training.learning_rate:
        raise UserError(
            f"training.floor = {training.floor:g}: lies above the learning rate, {training.learning_rate:g}",
            hint="The schedule comes down from the learning rate to the floor.",
        )
    if training.warmup_epochs > training.epochs:
        raise UserError(
            f"training.warmup_epochs = {training.warmup_epochs:g}: longer than the run, {training.epochs} epochs",
            hint="Train longer, or set a shorter training.warmup_epochs; 0 leaves the warm-up out.",
        )
    return training.model_copy(update={"optimiser_options": options, "schedule_options": more})


_Component = TypeVar("_Component", Optimiser, RateSchedule)


def _row(key: str, registry: Registry[_Component], name: str) -> _Component:
    try:
        return registry.get(name)
    except UserError as error:
        raise UserError(f"training.{key} = {name!r}: {error.problem}", hint=error.hint) from error


def _check_owned(training: Training, row: _Component, registry: Registry[_Component], settings: Iterable[str]) -> None:
    """Refuse a setting that the chosen row does not have and that is not left at its default."""
    for name in settings:
        value, default = getattr(training, name), Training.model_fields[name].default
        if name in row.settings or value == default:
            continue
        own = [registry.get(other) for other in registry if not registry.is_third_party(other)]
        owners = [repr(other.name) for other in own if name in other.settings]
        raise UserError(
            f"training.{name} = {_toml(value)}: {row.kind} '{row.name}' has no {name}; {' and '.join(owners)} has it",
            hint=f"Choose another {row.kind}, or leave training.{name} at {_toml(default)}.",
        )


def _toml(value: object) -> str:
    return (
        str(list(value) if isinstance(value, tuple) else value).lower() if not isinstance(value, str) else repr(value)
    )


def check_references(where: str, problem: Problem) -> Problem:
    """What the types cannot say: names that must exist, placements that must fit, seeds that must differ.

    Returns the problem with its training's options written out.
    """
    try:
        architecture = ARCHITECTURES.get(problem.architecture)
        places = slot_places(architecture.layer_table(2, problem.width))
        masks = [parse_placement(expression, places) for expression in problem.placements]
        training = check_training(problem.training)
    except UserError as error:
        raise UserError(f"{where}: {error.problem}", hint=error.hint) from error
    if len(set(masks)) != len(masks):
        raise UserError(f"{where}: placements: two of {', '.join(problem.placements)} are the same placement")
    if len(set(problem.seeds)) != len(problem.seeds):
        raise UserError(f"{where}: seeds: a seed is listed twice")
    images, batch = training.images, training.batch_size
    if images is not None and images < batch:
        raise UserError(
            f"{where}: training.images = {images}: fewer than one batch of {batch}",
            hint="Train on more images, or with a smaller training.batch_size.",
        )
    return problem.model_copy(update={"training": training})
