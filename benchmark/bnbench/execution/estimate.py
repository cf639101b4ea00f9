"""How long runs will take: the one answer to that question, for a plan, a study, a sweep under way, a notebook.

What counts is what such runs took: of the same setting and variant, in the same results folder, on the same kind of
device. Where none has finished yet, it is the speed that `bnbench estimate` measured with a run alone on this machine.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import pyarrow.compute as pc

from bnbench.plan import RunSpec
from bnbench.storage.document import RunDocument
from bnbench.storage.files import StorageError
from bnbench.storage.speeds import Speed, Speeds
from bnbench.storage.states import RunState
from bnbench.storage.store import ResultStore
from bnbench.storage.sweeps import SweepRecord, SweepRun

Source = Literal["recorded", "measured"]

_ENOUGH = 4
"""So many recorded runs of a kind are read; more would tell no more."""


@dataclass(frozen=True)
class RunTime:
    """How long one run takes with the others beside it, or, if measured, alone on the device."""

    left: float
    """Seconds to its end."""
    whole: float
    """Seconds from its first step on."""
    source: Source


@dataclass(frozen=True)
class Recorded:
    """What whole runs took: seconds by setting and variant."""

    seconds: Mapping[tuple[str, str], float]

    def of(self, setting_id: str, variant: str | None) -> float | None:
        """Seconds of a run; where the variant is not known, the mean over those that are recorded."""
        if variant is not None:
            return self.seconds.get((setting_id, variant))
        alike = [seconds for (setting, _), seconds in self.seconds.items() if setting == setting_id]
        return sum(alike) / len(alike) if alike else None


def recorded_times(store: ResultStore, documents: Iterable[RunDocument]) -> Recorded:
    """What runs took that came to their planned end; a table that cannot be read is passed over.

    Args:
        store: where they lie.
        documents: results, as a look at the store has found them.
    """
    found: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for document in documents:
        taken = found[document.setting_id, document.identity.variant]
        if document.status != "finished" or len(taken) == _ENOUGH:
            continue
        try:
            table = store.read_of(document, "timing", ["train_s", "eval_s"])
        except StorageError:
            continue  # a damaged table is for those to report who need it
        taken.append(sum(pc.sum(table.column(name)).as_py() or 0.0 for name in ("train_s", "eval_s")))
    return Recorded({key: sum(taken) / len(taken) for key, taken in found.items() if taken})


def run_time(spec: RunSpec, state: RunState, recorded: Recorded, speeds: Speeds) -> RunTime | None:
    """How long a run takes; None where nothing like it is recorded or measured."""
    whole = recorded.of(spec.setting_id, spec.variant.name)
    if whole is not None:
        return RunTime(_rest(whole, state), whole, "recorded")
    speed = speeds.of(spec)
    if speed is None:
        return None
    return RunTime(_measured(spec, state, speed), _measured(spec, RunState("new"), speed), "measured")


def sweep_seconds(
    record: SweepRecord, states: Mapping[str, RunState], recorded: Recorded, ended: Collection[str]
) -> float | None:
    """How long a sweep that is under way will take; None where that cannot be known.

    Args:
        record: the sweep; what it expected of each run when it began serves where nothing is recorded.
        states: of the runs that were begun, by run id.
        recorded: what runs of this folder took.
        ended: the ids of runs that have ended.
    """
    under_way: list[float] = []
    to_come: list[float] = []
    for run in record.left(ended):
        whole = _expected(run, recorded)
        if whole is None:
            return None
        state = states.get(run.run_id, RunState("new"))
        (under_way if state.name == "running" else to_come).append(_rest(whole, state))
    return schedule_seconds([*under_way, *to_come], record.side_by_side)


def schedule_seconds(runs: Sequence[float], side_by_side: int) -> float:
    """When the last of several runs ends, if each starts as soon as there is room, in order."""
    free = [0.0] * max(1, side_by_side)
    for seconds in runs:
        first = min(range(len(free)), key=free.__getitem__)
        free[first] += seconds
    return max(free)


def _expected(run: SweepRun, recorded: Recorded) -> float | None:
    taken = recorded.of(run.setting_id, run.variant)
    return run.seconds if taken is None else taken


def _rest(whole: float, state: RunState) -> float:
    done = state.step / state.total_steps if state.total_steps else 0.0
    return whole * (1 - done)


def _measured(spec: RunSpec, state: RunState, speed: Speed) -> float:
    epochs = spec.training.epochs
    steps = speed.steps_per_epoch * epochs - state.step
    # The evaluation before the first step is one more.
    evaluations = epochs - state.epoch + (1 if state.step == 0 else 0)
    return max(0, steps) * speed.step_s + evaluations * speed.eval_s
