"""Results folders with made-up numbers, written by the real recorder: what an analysis can be tested on.

build_store(folder, [SyntheticRun("digits_3c3d", "bn", seed=42, accuracy=[0.1, 0.5, 0.9])])
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bnbench.components.variants import VARIANTS, Variant
from bnbench.measurement import Parameter, Split, Values
from bnbench.plan import DataFacts, Origin, RunSpec, expand_grid
from bnbench.problem import Problem, find_problem
from bnbench.storage.recorder import RunRecorder
from support.rows import affine, columns

_CLASSES_AND_CHANNELS = {"digits": (10, 1), "cifar10": (10, 3), "cifar100": (100, 3)}


@dataclass(frozen=True)
class SyntheticRun:
    """One run: who it is, and what it is to have recorded."""

    problem: str | Problem
    """A shipped problem's name, or a problem of your own (the fields below are then laid over it)."""
    variant: str | Variant
    seed: int
    accuracy: Sequence[float]
    """On `train_eval`, running statistics: a value per epoch, epoch 0 first."""
    placement: str = "hidden"
    lr_factor: float = 1.0
    size: str = "full"
    loss: Sequence[float] | None = None
    """On `train_eval`; 1 - accuracy if None."""
    valid_accuracy: Sequence[float] | None = None
    """As on `train_eval` if None; so for the next."""
    test_accuracy: Sequence[float] | None = None
    population_accuracy: Sequence[float] | None = None
    """On `train_eval` with population statistics; not recorded if None."""
    epochs: int | None = None
    """As planned: one less than there are accuracies, unless the run diverged before. The problem's own number makes a
    run at the problem's own settings, any other an overridden one."""
    steps_per_epoch: int = 10
    affine: Mapping[tuple[str, Parameter], tuple[Sequence[int], Sequence[Sequence[float]]]] = field(
        default_factory=dict
    )
    """(slot, parameter) to snapshot steps and values [snapshots, channels]."""
    zeroed: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """Slot to the share that its ReLU zeroes, a value per epoch. For problems with the sparsity probe."""
    probed: Mapping[str, Iterable[Sequence[object]]] = field(default_factory=dict)
    """Table of a probe to its rows, each in the order of the table's columns. For problems with these probes."""
    diverged_at_step: int | None = None
    error: str | None = None
    """Makes it a failed run, which records nothing."""
    device: str = "cpu"
    fingerprint: str | None = None
    """Of the data; one per data set if None."""
    origin: Origin = "official archive"
    """Of the data; those of digits are always embedded."""
    overrides: Mapping[str, object] = field(default_factory=dict)
    """As with --set."""

    def spec(self) -> RunSpec:
        """The run as it would have been planned."""
        epochs = len(self.accuracy) - 1 if self.epochs is None else self.epochs
        changes = {"training.epochs": epochs, **self.overrides}
        if isinstance(self.problem, Problem):
            training = self.problem.training.model_copy(update={"epochs": epochs})
            problem = self.problem.model_copy(update={"training": training})
        else:
            problem = find_problem(self.problem).problem(self.size, changes)
        variant = VARIANTS.get(self.variant) if isinstance(self.variant, str) else self.variant
        (spec,) = expand_grid(
            problem,
            self._data(problem.dataset),
            [variant],
            placements=[self.placement],
            lr_factors=[self.lr_factor],
            seeds=[self.seed],
        )
        return spec

    def _data(self, dataset: str) -> DataFacts:
        classes, channels = _CLASSES_AND_CHANNELS[dataset]
        fingerprint = self.fingerprint or f"{sorted(_CLASSES_AND_CHANNELS).index(dataset) + 10:064x}"
        return DataFacts(dataset, classes, channels, fingerprint, "embedded" if dataset == "digits" else self.origin)


def build_store(path: Path, runs: Iterable[SyntheticRun]) -> Path:
    """Record the runs; returns the results folder."""
    for run in runs:
        _record(path, run)
    return path


def grid(
    problems: Sequence[str],
    variants: Sequence[str],
    seeds: Sequence[int],
    accuracy,
    **fields,
) -> list[SyntheticRun]:
    """A run per problem × variant × seed; `accuracy(problem, variant, seed)` gives its curve."""
    return [
        SyntheticRun(problem, variant, seed, accuracy(problem, variant, seed), **fields)
        for problem, variant, seed in itertools.product(problems, variants, seeds)
    ]


def _record(path: Path, run: SyntheticRun) -> None:
    spec = run.spec()
    recorder = RunRecorder.open(path, spec.identity)
    facts = {
        **spec.document(),
        "provenance": {"device": run.device, "data": {"fingerprint": spec.data.fingerprint}},
    }
    if run.error is not None:
        recorder.fail({**facts, "error": run.error})
        return
    recorder.add("curves", columns("curves", _curve_rows(run)))
    recorder.add("steps", _step_columns(run, spec.training.learning_rate))
    for (slot, parameter), (steps, values) in run.affine.items():
        recorder.add("affine", affine(steps, slot, parameter, np.asarray(values, np.float32)))
    for epoch in range(len(run.accuracy)):
        step = epoch * run.steps_per_epoch
        rows = [(epoch, step, slot, shares[epoch]) for slot, shares in run.zeroed.items()]
        recorder.add("sparsity", columns("sparsity", rows))
    for table, taken in run.probed.items():
        recorder.add(table, columns(table, taken))
    for epoch in range(1, len(run.accuracy)):
        recorder.add("timing", columns("timing", [(epoch, 1.0, 0.1, 100.0)]))
    if run.diverged_at_step is None:
        recorder.finish({**facts, "status": "finished"})
    else:
        recorder.finish({**facts, "status": "diverged", "diverged_at_step": run.diverged_at_step})


def _curve_rows(run: SyntheticRun) -> list[tuple[object, ...]]:
    loss = [1.0 - value for value in run.accuracy] if run.loss is None else run.loss
    splits: dict[Split, Sequence[float]] = {
        "train_eval": run.accuracy,
        "valid": run.accuracy if run.valid_accuracy is None else run.valid_accuracy,
        "test": run.accuracy if run.test_accuracy is None else run.test_accuracy,
    }
    rows: list[tuple[object, ...]] = []
    for epoch in range(len(run.accuracy)):
        step = epoch * run.steps_per_epoch
        for split, accuracy in splits.items():
            rows.append((epoch, step, split, "running", loss[epoch], accuracy[epoch]))
        if run.population_accuracy is not None:
            value = float(run.population_accuracy[epoch])
            rows.append((epoch, step, "train_eval", "population", 1.0 - value, value))
    return rows


def _step_columns(run: SyntheticRun, learning_rate: float) -> dict[str, Values]:
    count = run.steps_per_epoch * (len(run.accuracy) - 1)
    step = np.arange(count, dtype=np.int64)
    return {
        "step": step,
        "epoch": step // run.steps_per_epoch + 1,
        "batch_loss": np.linspace(1.0, 0.5, count, dtype=np.float32),
        "batch_accuracy": np.linspace(0.1, 0.9, count, dtype=np.float32),
        "learning_rate": np.full(count, learning_rate),
    }
