"""A test problem at one size, as a value."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from bnbench.errors import UserError
from bnbench.problem.settings import Augmentation, Evaluation, Probes, Seed, Snapshots, Training
from bnbench.problem.target import Target
from bnbench.strict import Strict, to_tuple

Size = Literal["full", "short", "tiny"]

OVERLAYS: tuple[Size, ...] = ("short", "tiny")
"""The sizes that are tables of a problem file, laid over the rest of it."""


class Problem(Strict):
    """A test problem at one size: dataset × architecture × placements, with its settings, seeds and targets."""

    name: str
    size: Size
    summary: str
    source: str
    """What the problem reproduces: paper and section, or "this suite"."""
    dataset: str
    """A data set of the table; or what a user's own arrays are called, which a problem file names by their file."""
    dataset_file: Annotated[Path | None, Field(exclude=True)] = None
    """Where on this machine such arrays lie, absolute: no part of what a problem is, so never shown."""
    architecture: str
    width: Annotated[float, Field(gt=0, le=16)] = 1.0
    """Multiplies every hidden channel and feature count."""
    placements: Annotated[tuple[str, ...], BeforeValidator(to_tuple), Field(min_length=1)]
    """The placements it is registered with, the default first."""
    seeds: Annotated[tuple[Seed, ...], BeforeValidator(to_tuple), Field(min_length=1)]
    """The seeds of its runs, in the order they are taken."""
    split_seed: Annotated[int, Field(ge=0, lt=2**32)]
    training: Training
    augmentation: Augmentation = Augmentation()
    evaluation: Evaluation = Evaluation()
    snapshots: Snapshots = Snapshots()
    probes: Probes = Probes()
    targets: Annotated[tuple[Target, ...], BeforeValidator(to_tuple)] = ()

    def first_seeds(self, count: int) -> tuple[int, ...]:
        """The first `count` seeds of the problem's list.

        Raises:
            UserError: the list is shorter.
        """
        if not 1 <= count <= len(self.seeds):
            raise UserError(
                f"{self.name} has {len(self.seeds)} seeds, {count} cannot be used",
                hint=f"Ask for 1 to {len(self.seeds)} seeds, or add seeds to the problem file.",
            )
        return self.seeds[:count]
