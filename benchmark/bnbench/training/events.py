"""What the training loop says: a stream of typed events. Arrays are NumPy, so a listener needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bnbench.problem import Split

Statistics = Literal["running", "population"]
"""What BatchNorm normalises with when a network is evaluated: the exponential average of the batch statistics, or
population statistics recomputed for the purpose."""

Parameter = Literal["gamma", "beta", "bias"]


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


@dataclass(frozen=True)
class StepsRecorded:
    """The train-mode view of consecutive steps, a value per step."""

    step: NDArray[np.int64]
    """Updates done before the step."""
    epoch: NDArray[np.int64]
    batch_loss: NDArray[np.float32]
    """Mean cross-entropy of the step's batch, before the update."""
    batch_accuracy: NDArray[np.float32]
    learning_rate: NDArray[np.float64]


@dataclass(frozen=True)
class SnapshotsTaken:
    """Snapshots of one per-channel parameter, a row per snapshot."""

    slot: str
    parameter: Parameter
    step: NDArray[np.int64]
    values: NDArray[np.float32]
    """(snapshots, channels)."""


@dataclass(frozen=True)
class Evaluation:
    """Mean cross-entropy and accuracy over one whole split."""

    split: Split
    statistics: Statistics
    loss: float
    accuracy: float


@dataclass(frozen=True)
class ZeroedShare:
    """What the ReLU after one slot zeroes."""

    slot: str
    share: float
    """Of the activations that it gets, 0 … 1."""


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
    zeroed: tuple[ZeroedShare, ...] = ()
    """A value for each slot with a ReLU, in the network's order; empty unless the run has the sparsity probe."""


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


Event = StepReached | StepsRecorded | SnapshotsTaken | EpochEvaluated | Diverged | Paused | Finished
