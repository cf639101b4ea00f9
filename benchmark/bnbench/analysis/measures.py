"""What one run achieved, in a few numbers: final, best and early values, area, time to target.

On running statistics throughout, as in the founding study. *Final* is the mean over the last tenth of the epochs,
*early* that over the first tenth, epoch 0 (before the first step) excluded; a tenth is rounded down and is at least
one epoch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Unpack, assert_never

import numpy as np
import numpy.typing as npt
import pandas as pd

from bnbench.analysis.frames import IdentityFilters, Results
from bnbench.analysis.records import RunRecord
from bnbench.analysis.settings import problem_targets
from bnbench.measurement import RunIdentity, Split
from bnbench.problem import Metric, Target

STATISTICS = "running"
"""The statistics that BatchNorm is evaluated with wherever a measure is taken."""
TRAINING_SPLIT: Split = "train_eval"

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class TimeToTarget:
    """When a run's curve is first at a target. A miss is infinite, and so is every target of a diverged run."""

    target: Target
    epochs: float
    steps: float


@dataclass(frozen=True)
class CurveMeasures:
    """The measures of one run. None where the run diverged and the measure needs what never was."""

    final_train_loss: float | None
    final_train_accuracy: float | None
    final_valid_accuracy: float | None
    final_test_accuracy: float | None
    best_train_loss: float | None
    """The lowest recorded value, of a diverged run too; None where nothing finite was recorded."""
    best_train_accuracy: float | None
    """The highest recorded value, of a diverged run too."""
    area: float | None
    """Area under the training accuracy from epoch 0 to the last by the trapezoid rule, over the number of epochs:
    a mean height, in [0, 1]."""
    early_train_accuracy: float | None
    """Given for a diverged run too, if the whole first tenth was recorded."""
    times: tuple[TimeToTarget, ...]
    """One per target, in the order of the problem file."""


@dataclass(frozen=True)
class RunMeasures:
    """A run that finished or diverged, and what it achieved."""

    record: RunRecord
    measures: CurveMeasures

    @property
    def run(self) -> RunIdentity:
        """Who it is."""
        return self.record.identity

    @property
    def epochs(self) -> int:
        """As planned, whether it got there or not."""
        return self.record.epochs

    @property
    def diverged(self) -> bool:
        """Whether the training loss stopped being finite."""
        return self.record.diverged_at_step is not None


TargetLookup = Callable[[str, str], tuple[Target, ...]]
"""(problem, size) to its targets; empty where there are none."""


def tenth(epochs: int) -> int:
    """How many epochs the last (or first) tenth has: rounded down, at least one."""
    return max(1, epochs // 10)


def measure_curve(
    curve: pd.DataFrame, *, epochs: int, diverged: bool = False, targets: Sequence[Target] = ()
) -> CurveMeasures:
    """The measures of one run.

    Args:
        curve: the run's rows of the table `curves`, running statistics only: epoch, step, split, loss, accuracy.
        epochs: the planned number of epochs N; a finished run has the epochs 0 to N on every split.
        diverged: whether the run diverged.
        targets: the problem's targets.
    """
    splits = {str(name): _Split.of(rows) for name, rows in curve.groupby("split", observed=True)}
    train = splits.get(TRAINING_SPLIT, _Split.empty())
    count = tenth(epochs)
    early = train.accuracy[(train.epoch >= 1) & (train.epoch <= count)]

    def final(split: str, metric: Metric) -> float | None:
        if diverged or split not in splits:
            return None
        values = splits[split].metric(metric)[splits[split].epoch > epochs - count]
        return float(values.mean()) if len(values) else None

    return CurveMeasures(
        final_train_loss=final(TRAINING_SPLIT, "loss"),
        final_train_accuracy=final(TRAINING_SPLIT, "accuracy"),
        final_valid_accuracy=final("valid", "accuracy"),
        final_test_accuracy=final("test", "accuracy"),
        best_train_loss=_finite_extreme(train.loss, np.min),
        best_train_accuracy=_finite_extreme(train.accuracy, np.max),
        area=None if diverged or len(train.epoch) < 2 else _mean_height(train.epoch, train.accuracy),
        early_train_accuracy=float(early.mean()) if len(early) == count else None,
        times=tuple(_time_to(target, splits.get(target.split), diverged=diverged) for target in targets),
    )


@dataclass(frozen=True)
class _Split:
    """One split's curve as columns, sorted by epoch."""

    epoch: npt.NDArray[np.int64]
    step: npt.NDArray[np.int64]
    loss: Floats
    accuracy: Floats

    @classmethod
    def of(cls, rows: pd.DataFrame) -> _Split:
        ordered = rows.sort_values("epoch")
        return cls(
            ordered["epoch"].to_numpy(np.int64),
            ordered["step"].to_numpy(np.int64),
            ordered["loss"].to_numpy(np.float64),
            ordered["accuracy"].to_numpy(np.float64),
        )

    @classmethod
    def empty(cls) -> _Split:
        whole, real = np.zeros(0, np.int64), np.zeros(0, np.float64)
        return cls(whole, whole, real, real)

    def metric(self, name: Metric) -> Floats:
        match name:
            case "loss":
                return self.loss
            case "accuracy":
                return self.accuracy
            case other:
                assert_never(other)


def _time_to(target: Target, split: _Split | None, *, diverged: bool) -> TimeToTarget:
    if split is not None and not diverged:
        for index, value in enumerate(split.metric(target.metric)):
            if target.reached(float(value)):
                return TimeToTarget(target, float(split.epoch[index]), float(split.step[index]))
    return TimeToTarget(target, math.inf, math.inf)


def _mean_height(epoch: npt.NDArray[np.int64], accuracy: Floats) -> float:
    return float(np.trapezoid(accuracy, epoch) / (epoch[-1] - epoch[0]))


def _finite_extreme(values: Floats, extreme: Callable[[Floats], np.float64]) -> float | None:
    finite = values[np.isfinite(values)]
    return float(extreme(finite)) if len(finite) else None


def measure_runs(
    results: Results, *, targets: TargetLookup = problem_targets, **filters: Unpack[IdentityFilters]
) -> list[RunMeasures]:
    """The measures of every run that finished or diverged, sorted by run id.

    Args:
        results: an opened results folder.
        targets: where a problem's targets come from. Runs of one setting that go by several names get the targets
            of all of them.
        **filters: a value, or several, for any identity column.

    Raises:
        UserError: a filter is not an identity column.
    """
    # Read first: a run whose curves turn out to be damaged is among the records no more.
    columns = ["run_id", "epoch", "step", "split", "loss", "accuracy"]
    frame = results.curves(columns=columns, statistics=STATISTICS, **filters)
    records = [record for record in results.select(**filters) if record.readable]
    names = dict.fromkeys((r.identity.setting_id, r.identity.problem, r.identity.size) for r in records)
    of_setting: dict[str, dict[Target, None]] = {}
    for setting, problem, size in names:
        of_setting.setdefault(setting, {}).update(dict.fromkeys(targets(problem, size)))
    curves = {str(run_id): rows for run_id, rows in frame.groupby("run_id", observed=True)}
    return [
        RunMeasures(
            record,
            measure_curve(
                curves.get(record.identity.run_id, frame.iloc[:0]),
                epochs=record.epochs,
                diverged=record.status == "diverged",
                targets=tuple(of_setting[record.identity.setting_id]),
            ),
        )
        for record in records
    ]
