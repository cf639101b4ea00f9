"""What a run hands over to be recorded: rows and blocks of columns, in numpy. Wrong types are refused at once."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from bnbench.problem import Split

Statistics = Literal["running", "population"]
"""Which statistics BatchNorm used in an evaluation: the exponential average, or those of the whole `train_eval`."""

Parameter = Literal["beta", "bias", "gamma"]

SPLITS: tuple[Split, ...] = get_args(Split)
STATISTICS: tuple[Statistics, ...] = get_args(Statistics)
PARAMETERS: tuple[Parameter, ...] = get_args(Parameter)


@dataclass(frozen=True)
class CurveRow:
    """One evaluation of one split; a row of `curves`.

    Raises:
        TypeError: a value has another type.
        ValueError: the split or the statistics are not known, the epoch or the step is negative.
    """

    epoch: int
    """Epochs done; 0 is before the first step."""
    step: int
    """Updates done."""
    split: Split
    statistics: Statistics
    loss: float
    """Cross-entropy, mean over the split's images, in nats; NaN and infinity are recorded as they are."""
    accuracy: float
    """Share of images classified correctly, 0 to 1."""

    def __post_init__(self) -> None:
        _check_scalars(self, {"epoch": int, "step": int, "split": str, "statistics": str})
        _check_scalars(self, {"loss": float, "accuracy": float})
        _check_known("split", self.split, SPLITS)
        _check_known("statistics", self.statistics, STATISTICS)
        _check_counts(epoch=self.epoch, step=self.step)


@dataclass(frozen=True)
class TimingRow:
    """How long an epoch took; a row of `timing`, the one table that differs from run to run.

    Raises:
        TypeError: a value has another type.
        ValueError: the epoch is negative.
    """

    epoch: int
    train_s: float
    """Seconds of training."""
    eval_s: float
    """Seconds of evaluation at the end of the epoch."""
    samples_per_s: float
    """Training images a second, evaluation apart."""

    def __post_init__(self) -> None:
        _check_scalars(self, {"epoch": int, "train_s": float, "eval_s": float, "samples_per_s": float})
        _check_counts(epoch=self.epoch)


@dataclass(frozen=True)
class SparsityRow:
    """What the ReLU after one slot zeroed at one evaluation; a row of `sparsity`.

    Raises:
        TypeError: a value has another type.
        ValueError: the share is none, the epoch or the step is negative.
    """

    epoch: int
    """Epochs done; 0 is before the first step."""
    step: int
    """Updates done."""
    slot: str
    zeroed: float
    """Share of the slot's activations, 0 to 1."""

    def __post_init__(self) -> None:
        _check_scalars(self, {"epoch": int, "step": int, "slot": str, "zeroed": float})
        _check_counts(epoch=self.epoch, step=self.step)
        if not 0 <= self.zeroed <= 1:
            raise ValueError(f"zeroed {self.zeroed} is not between 0 and 1")


@dataclass(frozen=True, eq=False)
class StepBlock:
    """Consecutive training steps, seen in training mode; n rows of `steps`.

    Raises:
        TypeError: a column is no numpy array of its type.
        ValueError: a column is not one-dimensional or has another length than the others.
    """

    step: npt.NDArray[np.int64]
    """[n] updates done before this one."""
    epoch: npt.NDArray[np.int64]
    """[n] the epoch the step belongs to, counted from 1."""
    batch_loss: npt.NDArray[np.float32]
    """[n] cross-entropy of the batch before the update, as it was computed."""
    batch_accuracy: npt.NDArray[np.float32]
    """[n] share of the batch classified correctly before the update."""
    learning_rate: npt.NDArray[np.float64]
    """[n] the rate the update was made with."""

    def __post_init__(self) -> None:
        for name in ("step", "epoch"):
            _check_array(name, getattr(self, name), np.int64, 1)
        for name in ("batch_loss", "batch_accuracy"):
            _check_array(name, getattr(self, name), np.float32, 1)
        _check_array("learning_rate", self.learning_rate, np.float64, 1)
        lengths = {field.name: len(getattr(self, field.name)) for field in fields(self)}
        if len(set(lengths.values())) != 1:
            raise ValueError(f"the columns of a block of steps differ in length: {lengths}")


@dataclass(frozen=True, eq=False)
class AffineBlock:
    """Snapshots of one affine parameter of one slot; n rows of `affine`.

    Raises:
        TypeError: a column is no numpy array of its type, or a name no string.
        ValueError: the parameter is not known, the shapes do not fit.
    """

    step: npt.NDArray[np.int64]
    """[n] updates done."""
    slot: str
    parameter: Parameter
    values: npt.NDArray[np.float32]
    """[n, channels]"""

    def __post_init__(self) -> None:
        _check_scalars(self, {"slot": str, "parameter": str})
        _check_known("parameter", self.parameter, PARAMETERS)
        _check_array("step", self.step, np.int64, 1)
        _check_array("values", self.values, np.float32, 2)
        if len(self.step) != len(self.values):
            raise ValueError(f"{len(self.step)} steps for {len(self.values)} snapshots")


def _check_scalars(row: object, types: dict[str, type]) -> None:
    for name, wanted in types.items():
        value = getattr(row, name)
        # bool is an int to Python, and never what is meant here
        if not isinstance(value, wanted) or isinstance(value, bool):
            raise TypeError(f"{name} = {value!r} is a {type(value).__name__}, not a {wanted.__name__}")


def _check_known(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{name} '{value}' is none of {', '.join(known)}")


def _check_counts(**counts: int) -> None:
    for name, value in counts.items():
        if value < 0:
            raise ValueError(f"{name} {value} is negative")


def _check_array(name: str, value: object, dtype: type[np.generic], dimensions: int) -> None:
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{name} is a {type(value).__name__}, not a numpy array")
    if value.dtype != np.dtype(dtype):
        raise TypeError(f"{name} is of {value.dtype}, not of {np.dtype(dtype)}")
    if value.ndim != dimensions:
        raise ValueError(f"{name} has shape {value.shape}, but {dimensions} dimension(s) are needed")
