"""How a sweep looks while it runs: bars on a terminal, plain lines anywhere else, a notebook too. Always on stderr."""

from __future__ import annotations

import sys
import time
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import assert_never

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from bnbench.analysis.naming import named_with_size
from bnbench.execution.listening import Message, Notice, Outcome
from bnbench.execution.planning import SweepPlan
from bnbench.plan import RunSpec
from bnbench.training.events import EpochEvaluated

QUIET_SECONDS = 10.0
"""A run says at most this often how far it is, where every line stays."""


def title(spec: RunSpec) -> str:
    """A run in a few words: problem, with size and data where they must be said, variant, placement, rate, seed."""
    problem = named_with_size([spec.problem], [spec.size], spec.data.name)
    where = "" if spec.placement == "none" else f" {spec.placement}"
    rate = f"{spec.training.learning_rate:.3g}"
    return f"{problem} {spec.variant.name}{where} lr {rate} seed {spec.seed}"


def accuracies(event: EpochEvaluated) -> str:
    """Loss and accuracy on the training data, and the validation accuracy."""
    by_split = {each.split: each for each in event.evaluations if each.statistics == "running"}
    train, valid = by_split["train_eval"], by_split["valid"]
    return f"loss {train.loss:.4f}, accuracy {train.accuracy:.3f} (validation {valid.accuracy:.3f})"


def verdict(outcome: Outcome, last: EpochEvaluated | None) -> str:
    """How a run ended, in words."""
    match outcome.status:
        case "failed":
            reason = (outcome.error or "no reason known").strip().splitlines()[-1]
            return f"FAILED: {reason}"
        case "paused":
            return "paused, goes on from its checkpoint another time"
        case "busy":
            return "another process is training it"
        case "diverged":
            return f"diverged at step {outcome.diverged_at_step}"
        case "finished":
            return "finished" if last is None else f"finished, {accuracies(last)}"
        case "submitted":
            return "submitted to the cluster"
        case other:
            assert_never(other)


class SweepProgress:
    """Follows a sweep: a listener that keeps count, and a display that a subclass draws."""

    def __init__(self, tell_plan: Callable[[SweepPlan], None] | None = None) -> None:
        """A display that is drawn once there is something to train.

        Args:
            tell_plan: called with the plan, before anything is trained.
        """
        self._tell_plan = tell_plan
        self._runs = 0
        self._epochs = 0
        self._ended = 0
        self._began: dict[str, float] = {}
        self._last: dict[str, EpochEvaluated] = {}

    def planned(self, plan: SweepPlan) -> None:
        """The store was looked at."""
        for warning in plan.warnings:
            self.notice(Notice(warning, warning=True))
        if self._tell_plan is not None:
            self._tell_plan(plan)

    def notice(self, notice: Notice) -> None:
        """Something about the sweep as a whole."""
        self.say(f"Warning: {notice.text}" if notice.warning else notice.text)

    def begins(self, specs: Sequence[RunSpec]) -> None:
        """These runs are trained."""
        self._runs = len(specs)
        self._epochs = sum(spec.training.epochs for spec in specs)

    def ends(self) -> None:
        """Nothing is trained any more."""

    def started(self, spec: RunSpec) -> None:
        """A run's process was started."""
        self._began[spec.run_id] = time.monotonic()

    def event(self, spec: RunSpec, event: Message) -> None:
        """A run has come further."""
        if isinstance(event, EpochEvaluated):
            self._last[spec.run_id] = event
        if isinstance(event, Notice):
            self.say(f"  {title(spec)}: {event.text}")

    def deferred(self, spec: RunSpec) -> None:
        """Another process is training this run."""
        self.say(f"  {title(spec)}: another process is training it; it is looked at again at the end")

    def ended(self, spec: RunSpec, outcome: Outcome) -> None:
        """A run is over: a line that stays."""
        self._ended += 1
        end = verdict(outcome, self._last.get(spec.run_id))
        seconds = time.monotonic() - self._began.get(spec.run_id, time.monotonic())
        how = "by another process" if outcome.elsewhere else f"{seconds:.0f} s"
        self.say(f"[{self._ended}/{self._runs}] {title(spec)}: {end} ({how})")

    @abstractmethod
    def say(self, line: str) -> None:
        """Print a line that stays."""


def sweep_progress(tell_plan: Callable[[SweepPlan], None] | None = None) -> SweepProgress:
    """Bars where stderr is a terminal, lines where it is not.

    Args:
        tell_plan: called with the plan, before anything is trained.
    """
    return _Bars(tell_plan) if sys.stderr.isatty() else _Lines(tell_plan)


def print_line(line: str) -> None:
    """Print a line on standard error."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201 -- printing lines is what this module is for


class _Lines(SweepProgress):
    """A line when a run ends, and now and then between."""

    def __init__(self, tell_plan: Callable[[SweepPlan], None] | None = None) -> None:
        super().__init__(tell_plan)
        self._told: dict[str, float] = {}

    def event(self, spec: RunSpec, event: Message) -> None:
        super().event(spec, event)
        now = time.monotonic()
        quiet_since = self._told.get(spec.run_id, self._began[spec.run_id])
        if isinstance(event, EpochEvaluated) and event.epoch > 0 and now - quiet_since >= QUIET_SECONDS:
            self._told[spec.run_id] = now
            speed = event.images / event.train_s
            epoch = f"epoch {event.epoch}/{spec.training.epochs}"
            self.say(f"  {title(spec)}: {epoch}, {accuracies(event)}, {speed:,.0f} samples/s")

    def say(self, line: str) -> None:
        print_line(line)


class _Bars(SweepProgress):
    """An overall bar with the time left, and a bar for each run under way."""

    def __init__(self, tell_plan: Callable[[SweepPlan], None] | None = None) -> None:
        super().__init__(tell_plan)
        self._drawn = False
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TaskProgressColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[state]}"),
            console=Console(stderr=True, highlight=False),
            speed_estimate_period=120,
        )
        self._all = self._progress.add_task("all runs", total=None, state="")
        self._tasks: dict[str, TaskID] = {}
        self._done: dict[str, float] = {}
        self._speeds: dict[str, float] = {}

    def begins(self, specs: Sequence[RunSpec]) -> None:
        super().begins(specs)
        self._progress.update(self._all, total=self._epochs)
        self._progress.start()
        self._drawn = True

    def ends(self) -> None:
        for task in self._tasks.values():
            self._progress.remove_task(task)
        self._progress.stop()
        self._drawn = False

    def started(self, spec: RunSpec) -> None:
        super().started(spec)
        short = f"{spec.variant.name} seed {spec.seed}"
        self._tasks[spec.run_id] = self._progress.add_task(f"  {short}", total=spec.training.epochs, state="starting")

    def deferred(self, spec: RunSpec) -> None:
        super().deferred(spec)
        self._remove(spec)

    def event(self, spec: RunSpec, event: Message) -> None:
        super().event(spec, event)
        if isinstance(event, Notice):
            return
        if isinstance(event, EpochEvaluated):
            epochs = float(event.epoch)
            if event.epoch > 0:
                self._speeds[spec.run_id] = event.images / event.train_s
            state = accuracies(event)
        else:
            epochs = spec.training.epochs * event.step / event.total_steps
            state = f"batch loss {event.batch_loss:.4f}, accuracy {event.batch_accuracy:.3f}"
        self._done[spec.run_id] = epochs
        self._progress.update(self._tasks[spec.run_id], completed=epochs, state=f"epoch {event.epoch}  {state}")
        self._draw_overall()

    def ended(self, spec: RunSpec, outcome: Outcome) -> None:
        super().ended(spec, outcome)
        self._remove(spec)
        # A run that ends early, diverged or failed, has no more work in it.
        self._done[spec.run_id] = spec.training.epochs
        self._speeds.pop(spec.run_id, None)
        self._draw_overall()

    def say(self, line: str) -> None:
        if self._drawn:
            self._progress.console.print(line, markup=False)
        else:
            print_line(line)

    def _remove(self, spec: RunSpec) -> None:
        task = self._tasks.pop(spec.run_id, None)
        if task is not None:
            self._progress.remove_task(task)

    def _draw_overall(self) -> None:
        speed = f"  {sum(self._speeds.values()):,.0f} samples/s" if self._speeds else ""
        state = f"{self._ended}/{self._runs} runs{speed}"
        self._progress.update(self._all, completed=sum(self._done.values()), state=state)
