"""How long runs will take: the one answer to that question, for a plan, a study, a sweep under way, a notebook.

What counts is what such runs took: of the same setting and variant, in the same results folder, on the same kind of
device. Where none has finished yet, it is the speed that `bnbench estimate` measured with a run alone on this machine.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import pyarrow.compute as pc

from bnbench.plan import RunSpec
from bnbench.storage.document import RunDocument
from bnbench.storage.files import StorageError
from bnbench.storage.speeds import Speed, Speeds
from bnbench.storage.states import RunState
from bnbench.storage.store import ResultStore
from bnbench.storage.sweeps import SweepRun

Source = Literal["recorded", "measured"]

_WELL_ON = 0.1
"""From this share of its steps on, a run's own pace says best what the rest will take."""

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
    beside_others: bool = False
    """Whether it was measured while the machine did other things too; it is what it would be without them."""


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
    whole = _measured(spec, RunState("new"), speed)
    return RunTime(_measured(spec, state, speed), whole, "measured", speed.cpu_share < 1)


def sweep_seconds(
    left: Sequence[SweepRun], side_by_side: int, states: Mapping[str, RunState], recorded: Recorded
) -> float | None:
    """How long a sweep that is under way will take; None where that cannot be known.

    This is what the bars and `bnbench status` show, from the same facts.

    Args:
        left: the runs that have not ended; what was expected of each when the sweep began serves where nothing better
            is known.
        side_by_side: how many are trained at a time.
        states: of the runs that were begun, by run id.
        recorded: what runs of this folder took.
    """
    paces = _paces(left, states)
    under_way: list[float] = []
    to_come: list[float] = []
    for run in left:
        state = states.get(run.run_id, RunState("new"))
        seconds = run_seconds(run, state, recorded, paces)
        if seconds is None:
            return None
        (under_way if state.name == "running" else to_come).append(seconds)
    return schedule_seconds([*under_way, *to_come], side_by_side)


def run_seconds(run: SweepRun, state: RunState, recorded: Recorded, others: Recorded | None = None) -> float | None:
    """How long a run of a sweep that is under way will take to its end; None where that cannot be known.

    What it takes itself counts once it is well on its way; then what such runs took; then what it, or others like it,
    seem to take so far; then what was expected when the sweep began.

    Args:
        run: the run.
        state: its.
        recorded: what runs of this folder took.
        others: what whole runs seem to take, of those that are being trained.
    """
    own = state.step_s * max(0, state.total_steps - state.step) if state.step_s else None
    if own is not None and state.step >= _WELL_ON * state.total_steps:
        return own
    taken = recorded.of(run.setting_id, run.variant)
    if taken is not None:
        return _rest(taken, state)
    if own is not None:
        return own
    alike = None if others is None else others.of(run.setting_id, run.variant) or others.of(run.setting_id, None)
    whole = run.seconds if alike is None else alike
    return None if whole is None else _rest(whole, state)


def _paces(runs: Iterable[SweepRun], states: Mapping[str, RunState]) -> Recorded:
    """What whole runs seem to take, of those that are being trained."""
    found: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for run in runs:
        state = states.get(run.run_id)
        if state is not None and state.step_s and state.total_steps:
            found[run.setting_id, run.variant or ""].append(state.step_s * state.total_steps)
    return Recorded({key: sum(seconds) / len(seconds) for key, seconds in found.items()})


def schedule_seconds(runs: Sequence[float], side_by_side: int) -> float:
    """When the last of several runs ends, if each starts as soon as there is room, in order."""
    free = [0.0] * max(1, side_by_side)
    for seconds in runs:
        first = min(range(len(free)), key=free.__getitem__)
        free[first] += seconds
    return max(free)


def _rest(whole: float, state: RunState) -> float:
    done = state.step / state.total_steps if state.total_steps else 0.0
    return whole * (1 - done)


def _measured(spec: RunSpec, state: RunState, speed: Speed) -> float:
    epochs = spec.training.epochs
    steps = speed.steps_per_epoch * epochs - state.step
    # The evaluation before the first step is one more.
    evaluations = epochs - state.epoch + (1 if state.step == 0 else 0)
    return max(0, steps) * speed.step_s + evaluations * speed.eval_s
