"""Results that were never on disk: what decides claims is tested on hundreds of runs in no time.

A run is a specification and what it measured: two levels of its training curve, and how its γ and β went. That such
results say what a real results folder with the same numbers says is a test of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np
import pandas as pd

from bnbench.analysis.frames import Results, Trajectory
from bnbench.analysis.measures import tenth
from bnbench.analysis.records import RunRecord
from bnbench.analysis.settings import overrides
from bnbench.components.architectures import slot_places
from bnbench.identity import canonical_json
from bnbench.measurement import RunIdentity
from bnbench.plan import RunSpec
from bnbench.specification import Specification
from bnbench.storage.third_parties import ThirdPartyRow

SNAPSHOTS = 101
"""Of a made-up trajectory, at the steps 0, 10, …, 1000."""


@dataclass(frozen=True)
class Curve:
    """A training curve in two levels; `final` None is a run that diverged after its first tenth."""

    final: float | None = 0.5
    early: float | None = 0.3
    loss: float = 1.0


@dataclass(frozen=True)
class MadeUpRun:
    """A run and what it measured."""

    spec: RunSpec
    curve: Curve = Curve()
    parameters: Mapping[str, Sequence[Sequence[float]]] = field(default_factory=dict)
    """ "gamma" or "beta" to the values at the end, an array of channels for each slot with a BatchNorm."""
    shape: Callable[[np.ndarray], np.ndarray] = np.square
    """How a parameter goes from neutral (0) to its end (1), as a function of the share of the steps done."""
    name: str | None = None
    """What the problem was called when it was run; its own name if None."""
    device: str = "cpu"
    failed: bool = False
    tables: Mapping[str, Sequence[Mapping[str, object]]] = field(default_factory=dict)
    """Rows of probes' tables."""
    third_parties: tuple[ThirdPartyRow, ...] = ()

    @property
    def diverged(self) -> bool:
        return self.curve.final is None

    def record(self) -> RunRecord:
        identity = _known(self.spec)
        if self.name is not None:
            identity = replace(identity, problem=self.name)
        return RunRecord(
            identity=identity,
            status="failed" if self.failed else "diverged" if self.diverged else "finished",
            diverged_at_step=7 if self.diverged else None,
            error="Traceback" if self.failed else None,
            readable=not self.failed,
            tables=("curves", "steps", "affine", "timing"),
            dataset=self.spec.data.name,
            fingerprint=self.spec.data.fingerprint,
            data_origin=self.spec.data.origin,
            data_split=self.spec.data.split,
            architecture=self.spec.architecture,
            width=self.spec.width,
            places=slot_places(self.spec.layers()),
            epochs=self.spec.training.epochs,
            batch_size=self.spec.training.batch_size,
            precision=self.spec.precision,
            device=self.device,
            variant_row=canonical_json(self.spec.resolved()["variant"]),
            overrides=_overrides(self.spec, self.name or self.spec.problem),
            third_parties=self.third_parties,
        )

    def accuracy(self) -> dict[int, float]:
        """Epoch to accuracy on `train_eval`, of the epochs that any measure looks at."""
        epochs = self.spec.training.epochs
        count = tenth(epochs)
        curve = {0: 0.0}
        if self.curve.early is not None:
            curve |= dict.fromkeys(range(1, count + 1), self.curve.early)
        if self.curve.final is not None:
            curve |= dict.fromkeys(range(epochs - count + 1, epochs + 1), self.curve.final)
        return curve

    def trajectory(self, slot: int, parameter: str) -> Trajectory:
        neutral = 1.0 if parameter == "gamma" else 0.0
        end = np.asarray(self.parameters[parameter][slot])
        way = self.shape(np.linspace(0.0, 1.0, SNAPSHOTS))
        values = neutral + way[:, None] * (end - neutral)[None, :]
        return Trajectory(np.arange(SNAPSHOTS, dtype=np.int64) * 10, values.astype(np.float32))


# Computed once for each of hundreds of specifications, which every test uses again.


@cache
def _known(spec: RunSpec) -> RunIdentity:
    return spec.identity


@cache
def _overrides(spec: RunSpec, problem: str) -> tuple[str, ...] | None:
    return overrides(problem, spec.size, Specification.model_validate(spec.resolved()))


class MadeUpResults(Results):
    """Answers what the decision of claims asks of a results folder."""

    def __init__(self, runs: Sequence[MadeUpRun]) -> None:
        self.records = tuple(sorted((run.record() for run in runs), key=lambda record: record.identity.run_id))
        self._runs = {_known(run.spec).run_id: run for run in runs}
        self.read: list[str] = []

    warnings = ()
    damaged = ()

    def sound(self, records, *tables):
        return iter(records)

    def disagreement(self, record):
        return None

    def curves(self, *, columns=None, **filters):
        split = filters.pop("split")
        assert split in {"train_eval", "test"}
        assert filters.pop("statistics") == "running"
        run = self._runs[filters.pop("run_id")]
        assert not filters
        self.read.append(run.spec.run_id)
        accuracy = run.accuracy()
        frame = pd.DataFrame({"epoch": list(accuracy), "accuracy": list(accuracy.values())})
        return frame.assign(step=frame["epoch"] * 10, split=split, loss=run.curve.loss)[list(columns)]

    def table(self, name, *, columns=None, **filters):
        run = self._runs[filters.pop("run_id")]
        assert not filters
        return pd.DataFrame(list(run.tables.get(name, ())), columns=list(columns))

    def affine(self, *, columns=None, **filters):
        trajectory = self.trajectory(filters.pop("run_id"), filters.pop("slot"), filters.pop("parameter"))
        frame = pd.DataFrame({"step": trajectory.steps, "values": list(trajectory.values)})
        wanted = filters.pop("step", None)
        assert not filters
        return frame[frame["step"].isin(wanted) if wanted else slice(None)][list(columns)]

    def trajectory(self, run_id, slot, parameter):
        run = self._runs[run_id]
        layers = [layer.name for layer in run.spec.layers() if hasattr(layer, "activation")]
        carrying = [name for name, digit in zip(layers, run.spec.mask, strict=True) if digit == "1"]
        return run.trajectory(carrying.index(slot), parameter)
