"""How a sweep looks while it runs: bars on a terminal, plain lines anywhere else, a notebook too. Always on stderr."""

from __future__ import annotations

import sys
import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import assert_never

from rich.console import Console, RenderableType
from rich.live import Live

from bnbench.analysis.naming import named_with_size
from bnbench.bars import Row, drawn
from bnbench.execution.listening import Message, Notice, Outcome
from bnbench.execution.planning import SweepPlan
from bnbench.execution.tally import Tally, Underway
from bnbench.plan import RunSpec
from bnbench.printable import printable
from bnbench.training.events import EpochEvaluated
from bnbench.words import counted, duration

FIRST_SECONDS = 10.0
QUIET_SECONDS = 60.0
"""Where every line stays, one says so often how far the sweep is; the first comes sooner."""


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
    """Follows a sweep: a listener that says what happens, and a display that a subclass draws."""

    def __init__(self, tell_plan: Callable[[SweepPlan], None] | None = None) -> None:
        """A display that is drawn once there is something to train.

        Args:
            tell_plan: called with the plan, before anything is trained.
        """
        self._tell_plan = tell_plan
        self._tally = Tally()
        self._guard = threading.RLock()
        """Of the tally: it is drawn by a thread of its own."""
        self._began: dict[str, float] = {}
        self._last: dict[str, EpochEvaluated] = {}

    def planned(self, plan: SweepPlan) -> None:
        """The store was looked at."""
        for warning in plan.warnings:
            self.notice(Notice(warning, warning=True))
        if self._tell_plan is not None:
            self._tell_plan(plan)
        with self._guard:
            self._tally.planned(plan)

    def notice(self, notice: Notice) -> None:
        """Something about the sweep as a whole."""
        self.say(f"Warning: {notice.text}" if notice.warning else notice.text)

    def begins(self, specs: Sequence[RunSpec]) -> None:
        """These runs are trained."""
        with self._guard:
            self._tally.begins(specs)

    def ends(self) -> None:
        """Nothing is trained any more."""

    def started(self, spec: RunSpec) -> None:
        """A run's process was started."""
        self._began[spec.run_id] = time.monotonic()
        with self._guard:
            self._tally.started(spec)

    def event(self, spec: RunSpec, event: Message) -> None:
        """A run has come further."""
        if isinstance(event, EpochEvaluated):
            self._last[spec.run_id] = event
        with self._guard:
            self._tally.event(spec, event)
        if isinstance(event, Notice):
            self.say(f"  {title(spec)}: {event.text}")

    def deferred(self, spec: RunSpec) -> None:
        """Another process is training this run."""
        with self._guard:
            self._tally.deferred(spec)
        self.say(f"  {title(spec)}: another process is training it; it is looked at again at the end")

    def ended(self, spec: RunSpec, outcome: Outcome) -> None:
        """A run is over: a line that stays."""
        before = self._tally.ended
        with self._guard:
            self._tally.over(spec, outcome)
        number = f"[{self._tally.ended}/{self._tally.total}]" if self._tally.ended > before else " "
        end = verdict(outcome, self._last.get(spec.run_id))
        seconds = time.monotonic() - self._began.get(spec.run_id, time.monotonic())
        how = "by another process" if outcome.elsewhere else f"{seconds:.0f} s"
        self.say(f"{number} {title(spec)}: {end} ({how})")

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
    """Print a line on standard error, whatever it quotes of a disk as escapes."""
    print(printable(line), file=sys.stderr, flush=True)  # noqa: T201 -- printing lines is what this module is for


class _Lines(SweepProgress):
    """A line when a run ends, and one a minute between, however long nothing is heard of the runs."""

    def __init__(self, tell_plan: Callable[[SweepPlan], None] | None = None) -> None:
        super().__init__(tell_plan)
        self._over = threading.Event()
        self._since = 0.0

    def begins(self, specs: Sequence[RunSpec]) -> None:
        super().begins(specs)
        self._since = time.monotonic()
        threading.Thread(target=self._now_and_then, name="progress", daemon=True).start()

    def ends(self) -> None:
        self._over.set()

    def say(self, line: str) -> None:
        print_line(line)

    def _now_and_then(self) -> None:
        wait = FIRST_SECONDS
        while not self._over.wait(wait):
            with self._guard:
                line = so_far(self._tally, time.monotonic() - self._since)
            self.say(line)
            wait = QUIET_SECONDS


def so_far(tally: Tally, seconds: float) -> str:
    """How far a sweep is, in a line.

    Args:
        tally: its count.
        seconds: since it began.
    """
    told = f"after {duration(seconds)}: {_percent(tally.share)}, {tally.ended} of {counted(tally.total, 'run')} ended"
    left = tally.seconds_left
    told += "" if left is None else f", about {duration(left)} left"
    return "; ".join([told, *(_run_so_far(run) for run in tally.underway.values())])


def _run_so_far(run: Underway) -> str:
    at = f"epoch {run.state.epoch}/{run.state.epochs}" if run.state.epochs else "starting"
    accuracy = "" if run.evaluated is None else f", {_accuracy(run.evaluated)}"
    return f"{_name(run.spec)}: {at}{accuracy}"


class _Bars(SweepProgress):
    """A bar for all runs, with the time left, and one for each run under way."""

    def __init__(self, tell_plan: Callable[[SweepPlan], None] | None = None) -> None:
        super().__init__(tell_plan)
        self._console = Console(stderr=True, highlight=False)
        self._live = Live(console=self._console, get_renderable=self._draw, refresh_per_second=4)
        self._drawn = False

    def begins(self, specs: Sequence[RunSpec]) -> None:
        super().begins(specs)
        self._live.start()
        self._drawn = True

    def ends(self) -> None:
        self._live.stop()
        self._drawn = False

    def say(self, line: str) -> None:
        if self._drawn:
            self._console.print(printable(line), markup=False)
        else:
            print_line(line)

    def _draw(self) -> RenderableType:
        with self._guard:
            rows = rows_of(self._tally)
        return drawn(rows, self._console.width)


def rows_of(tally: Tally) -> list[Row]:
    """The bars of a sweep: that of all runs, then one for each run under way."""
    speed = f"{tally.images_per_s:,.0f} samples/s" if tally.images_per_s else ""
    left = _left(tally.seconds_left) if tally.underway or tally.share > 0 else ("starting",)
    everything = Row(("all runs",), tally.share, (f"{tally.ended}/{tally.total} runs",), left, (speed,))
    return [everything, *(_row(run, tally.seconds_of(run)) for run in tally.underway.values())]


def _row(run: Underway, seconds: float | None) -> Row:
    spec, state = run.spec, run.state
    counts = (f"epoch {state.epoch}/{state.epochs}", f"{state.epoch}/{state.epochs}") if state.epochs else ("starting",)
    details = (accuracies(run.evaluated), _accuracy(run.evaluated)) if run.evaluated is not None else ("",)
    names = (f"  {_name(spec)}", f"  {spec.variant.name} {spec.seed}")
    return Row(names, run.share, counts, _left(seconds), details)


def _name(spec: RunSpec) -> str:
    """A run among those of its sweep."""
    return f"{spec.variant.name} seed {spec.seed}"


def _accuracy(event: EpochEvaluated) -> str:
    (accuracy,) = (each.accuracy for each in event.evaluations if (each.split, each.statistics) == ("valid", "running"))
    return f"validation {accuracy:.3f}"


def _left(seconds: float | None) -> tuple[str, ...]:
    return ("",) if seconds is None else (f"{duration(seconds)} left", duration(seconds))


def _percent(share: float) -> str:
    """Rounded down: 100 % is said of nothing that is not over."""
    return f"{int(100 * share)} %"
