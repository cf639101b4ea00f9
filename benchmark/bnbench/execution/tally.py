"""How far a sweep is: what a listener hears, added up. Whoever shows it, and wherever, shows the same."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bnbench.execution.estimate import Recorded, run_seconds, sweep_seconds
from bnbench.execution.listening import Message, Notice, Outcome
from bnbench.execution.pace import Pace
from bnbench.execution.planning import SweepPlan
from bnbench.plan import RunSpec
from bnbench.storage.states import RunState
from bnbench.storage.sweeps import SweepRun
from bnbench.training.events import EpochEvaluated, StepReached

_ENDED = ("finished", "diverged", "failed")


@dataclass
class Underway:
    """A run that is being trained here."""

    spec: RunSpec
    state: RunState
    pace: Pace
    evaluated: EpochEvaluated | None = None
    """Its newest evaluation, if it had one here."""
    images_per_s: float = 0.0
    """In its newest epoch; 0 before there was one."""
    seconds: float = 0.0
    """What its epochs have taken, evaluations included."""
    whole: bool = True
    """Whether it was begun here, so that these are all its epochs."""

    @property
    def share(self) -> float:
        """How much of it is done, from 0 to 1."""
        return self.state.step / self.state.total_steps if self.state.total_steps else 0.0


class Tally:
    """Keeps count of a sweep. Its methods are those of a listener; it says nothing."""

    def __init__(self) -> None:
        """Nothing is known of the sweep yet."""
        self.ended = 0
        """Runs that came to an end: finished, diverged or failed."""
        self.total = 0
        """Runs that are to be trained."""
        self.underway: dict[str, Underway] = {}
        """By run id, in the order in which they were started."""
        self._specs: dict[str, RunSpec] = {}
        self._left: dict[str, SweepRun] = {}
        self._states: dict[str, RunState] = {}
        self._side_by_side = 1
        self._taken: defaultdict[tuple[str, str], list[float]] = defaultdict(list)

    def planned(self, plan: SweepPlan) -> None:
        """The store was looked at."""
        self._side_by_side = plan.side_by_side
        self._left = {run.run_id: run for run in plan.swept}
        self._states = {run.spec.run_id: run.state for run in plan.training if run.state is not None}

    def begins(self, specs: Sequence[RunSpec]) -> None:
        """These runs are trained."""
        self._specs = {spec.run_id: spec for spec in specs}
        self._left = {run_id: run for run_id, run in self._left.items() if run_id in self._specs}
        self.total = len(specs)

    def started(self, spec: RunSpec) -> None:
        """A run's process was started."""
        before = self._states.get(spec.run_id, RunState("new"))
        self.underway[spec.run_id] = Underway(spec, replace(before, name="running", step_s=0.0), Pace())

    def deferred(self, spec: RunSpec) -> None:
        """Another process is training this run."""
        self.underway.pop(spec.run_id, None)

    def event(self, spec: RunSpec, event: Message) -> None:
        """A run has come further."""
        run = self.underway.get(spec.run_id)
        if run is None or isinstance(event, Notice):
            return
        epochs = spec.training.epochs
        if isinstance(event, StepReached):
            epoch, total_steps = event.epoch - 1, event.total_steps
        else:
            epoch = event.epoch
            total_steps = event.step // epoch * epochs if epoch else run.state.total_steps
            self._evaluated(run, event)
        step_s = run.pace.at(event.step)
        run.state = RunState("running", event.step, total_steps, epoch, epochs, step_s)

    def over(self, spec: RunSpec, outcome: Outcome) -> None:
        """A run is over, or was paused."""
        run = self.underway.pop(spec.run_id, None)
        if outcome.status not in _ENDED:
            if run is not None:
                self._states[spec.run_id] = replace(run.state, name="resumable", step_s=0.0)
            return
        self.ended += 1
        self._states.pop(spec.run_id, None)
        swept = self._left.pop(spec.run_id, None)
        if swept is not None and run is not None and run.whole and outcome.status == "finished" and run.seconds:
            self._taken[swept.setting_id, swept.variant or ""].append(run.seconds)

    @property
    def share(self) -> float:
        """How much of the sweep is done, from 0 to 1, by epochs. A run that ends early has no more work in it."""
        whole = sum(spec.training.epochs for spec in self._specs.values())
        left = sum(
            spec.training.epochs * (1 - self._share_of(run_id))
            for run_id, spec in self._specs.items()
            if run_id in self._left
        )
        return 1 - left / whole if whole else 0.0

    @property
    def seconds_left(self) -> float | None:
        """To the end of the last run; None where that cannot be known."""
        states = {**self._states, **{run_id: run.state for run_id, run in self.underway.items()}}
        return sweep_seconds(list(self._left.values()), self._side_by_side, states, self._recorded)

    def seconds_of(self, run: Underway) -> float | None:
        """To the end of a run under way; None where that cannot be known."""
        swept = self._left.get(run.spec.run_id)
        return None if swept is None else run_seconds(swept, run.state, self._recorded)

    @property
    def images_per_s(self) -> float:
        """Of all runs under way together."""
        return sum(run.images_per_s for run in self.underway.values())

    @property
    def _recorded(self) -> Recorded:
        return Recorded({kind: sum(seconds) / len(seconds) for kind, seconds in self._taken.items()})

    def _share_of(self, run_id: str) -> float:
        if run_id in self.underway:
            return self.underway[run_id].share
        state = self._states.get(run_id)
        return state.step / state.total_steps if state is not None and state.total_steps else 0.0

    @staticmethod
    def _evaluated(run: Underway, event: EpochEvaluated) -> None:
        if run.evaluated is None and event.epoch > 1:
            run.whole = False
        run.evaluated = event
        if event.epoch > 0:
            run.images_per_s = event.images / event.train_s
            run.seconds += event.train_s + event.eval_s
