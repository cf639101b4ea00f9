"""What the training loop says: rows to be written down, and how far it is. Arrays are NumPy: a listener needs no torch.

`Measured` carries rows of any declared table, a probe's own among them; the other events are for who watches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bnbench.measurement import Split, Statistics, Values


@dataclass(frozen=True)
class StepReached:
    """Training is alive: said at each snapshot step."""

    step: int
    total_steps: int
    """Of the whole run."""
    epoch: int
    """The epoch under way, from 1."""
    batch_loss: float
    batch_accuracy: float


@dataclass(frozen=True, eq=False)
class Measured:
    """Rows of a table, to be written down."""

    table: str
    columns: Mapping[str, Values]
    """All that `bnbench.measurement` declares for the table, by name. Of `affine` the rows of one trajectory."""


@dataclass(frozen=True)
class Evaluation:
    """Mean cross-entropy and accuracy over one whole split."""

    split: Split
    statistics: Statistics
    loss: float
    accuracy: float


@dataclass(frozen=True)
class EpochEvaluated:
    """An epoch is over and evaluated; epoch 0 is before the first step."""

    epoch: int
    step: int
    evaluations: tuple[Evaluation, ...]
    train_s: float
    """Seconds of training, evaluation excluded; 0 for epoch 0."""
    eval_s: float
    images: int
    """Images trained on in this epoch."""


@dataclass(frozen=True)
class Diverged:
    """The training loss is no longer finite; the run ends here, and that is its result."""

    step: int
    """The first step whose batch loss was not finite."""


@dataclass(frozen=True)
class Paused:
    """Training was asked to stop; it can go on from here."""

    step: int


@dataclass(frozen=True)
class Finished:
    """All epochs are done."""

    step: int


Event = StepReached | Measured | EpochEvaluated | Diverged | Paused | Finished
