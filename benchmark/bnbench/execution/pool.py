"""Many runs side by side: a fresh process for each, so that none can harm another."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Protocol, cast

from bnbench.errors import UserError
from bnbench.execution.fork_server import forget_safe_path, prepare, process_context, start
from bnbench.execution.signals import STOP_SIGNALS, StopRequest, stop_on
from bnbench.execution.single import (
    CHECKPOINT_SECONDS,
    Notice,
    Outcome,
    Resources,
    execute,
    never,
    record_failure,
    recorded_outcome,
)
from bnbench.execution.streams import outlive_readers
from bnbench.plan import RunSpec
from bnbench.resources import usable_cores
from bnbench.storage.lock import LockView, LockWatch, look_at_lock
from bnbench.training.events import EpochEvaluated, Event, StepReached

PROGRESS_SECONDS = 0.1
"""A run says how far it is at most this often, and after every epoch."""

LOOK_SECONDS = 2.0
"""How often runs that other processes are training are looked at."""

POLL_SECONDS = 0.2
"""How soon a request to stop, or a run that is out of time, is noticed."""

GRACE_SECONDS = 10.0
"""What a run that is out of time has to leave a checkpoint in before it is killed."""

STOP_SECONDS = 300.0
"""What a run has for that when the sweep is asked to stop; an evaluation under way is finished first."""

Message = StepReached | EpochEvaluated | Notice

_LOG = logging.getLogger(__name__)


class Listener(Protocol):
    """Who wants to know how the runs are doing: a progress display, a log, nobody."""

    def started(self, spec: RunSpec) -> None:
        """A run's process was started."""

    def event(self, spec: RunSpec, event: Message) -> None:
        """A run has come further, or has something to say."""

    def deferred(self, spec: RunSpec) -> None:
        """Another process is training this run; it is looked at again later."""

    def ended(self, spec: RunSpec, outcome: Outcome) -> None:
        """A run is over, and recorded; or it was paused. Perhaps it was never started here."""


class _Bearing:
    """Passes everything on to a listener, and bears with one that raises: runs do not end because of who listens.

    The first failure of each of its methods is logged, with its traceback.
    """

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._failed: set[str] = set()

    def started(self, spec: RunSpec) -> None:
        self._tell("started", spec)

    def event(self, spec: RunSpec, event: Message) -> None:
        self._tell("event", spec, event)

    def deferred(self, spec: RunSpec) -> None:
        self._tell("deferred", spec)

    def ended(self, spec: RunSpec, outcome: Outcome) -> None:
        self._tell("ended", spec, outcome)

    def _tell(self, what: str, *facts: object) -> None:
        try:
            getattr(self._listener, what)(*facts)
        except Exception:  # noqa: BLE001 -- whatever it raises is its own trouble; Ctrl-C and sys.exit are no Exception
            if what not in self._failed:
                self._failed.add(what)
                with suppress(Exception):  # the log may be what cannot be written
                    _LOG.warning("who follows the runs failed in '%s'; the runs go on", what, exc_info=True)


@dataclass(frozen=True)
class Slot:
    """Room for one run at a time."""

    gpu: str | None = None
    """The one GPU that a run here sees (an entry of CUDA_VISIBLE_DEVICES); None changes nothing."""


@dataclass
class _Active:
    spec: RunSpec
    slot: Slot
    process: BaseProcess
    messages: Connection
    started: float
    asked: float | None = None
    """When its process was asked to leave a checkpoint and end."""
    overdue: bool = False
    """Whether it was asked because it is out of time."""


def cpu_slots(workers: int) -> tuple[Slot, ...]:
    """Room for so many runs at a time, on whatever device they choose."""
    return (Slot(),) * workers


def gpu_slots(gpus: Sequence[str], runs_per_gpu: int = 1) -> tuple[Slot, ...]:
    """Room on these GPUs; the first run of each comes before the second of any.

    Args:
        gpus: numbers, counted from 0 among the GPUs that this process sees, or other names that CUDA knows them by.
        runs_per_gpu: how many runs share one.

    Raises:
        UserError: there is no such GPU among those that CUDA_VISIBLE_DEVICES leaves.
    """
    return tuple(Slot(_visible(gpu)) for _ in range(runs_per_gpu) for gpu in gpus)


def default_workers(device: str, threads: int) -> int:
    """How many runs go side by side: on CPUs as many as there are cores for, on a GPU one."""
    return 1 if device.startswith("cuda") else max(1, usable_cores() // threads)


def run_all(
    specs: Sequence[RunSpec],
    store: Path,
    resources: Resources,
    slots: Sequence[Slot],
    listener: Listener,
    *,
    stop: Callable[[], bool] = never,
    run_timeout: float | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> list[Outcome]:
    """Run everything that has not ended, one run a slot at a time, each in a process of its own.

    A run that raises, whose process dies, or that is out of time is recorded as failed and stops no other. A run that
    another process is training is left to it, and waited for at the end: it is taken over if that process dies.

    Args:
        specs: what to run.
        store: the results folder.
        resources: of each run.
        slots: where runs go; how many go side by side.
        listener: told what happens; whatever it raises, the runs go on.
        stop: asked several times a second; once it says yes, nothing more is started, and what is running leaves a
            checkpoint and ends as "paused".
        run_timeout: seconds after which a run's process is ended; None is no limit.
        checkpoint_seconds: how often a run leaves a checkpoint.

    Returns:
        How each run ended, in the order in which they did. When it was stopped, runs are missing.

    Raises:
        KeyboardInterrupt: passed on, after the running runs were killed; their checkpoints stay.
    """
    prepare()
    # Runs start in the folder that this process started in, which it may have left since.
    pool = _Pool(store.absolute(), resources, slots, _Bearing(listener), run_timeout, checkpoint_seconds)
    return pool.run(specs, stop)


@dataclass
class _Pool:
    store: Path
    resources: Resources
    slots: Sequence[Slot]
    listener: Listener
    run_timeout: float | None
    checkpoint_seconds: float
    waiting: deque[RunSpec] = field(default_factory=deque)
    active: dict[Connection, _Active] = field(default_factory=dict)
    taken: dict[str, RunSpec] = field(default_factory=dict)
    """What other processes are training, by run id."""
    outcomes: list[Outcome] = field(default_factory=list)
    stopped: bool = False
    watch: LockWatch = field(default_factory=LockWatch)
    looked: float = 0.0

    def run(self, specs: Sequence[RunSpec], stop: Callable[[], bool]) -> list[Outcome]:
        self.waiting.extend(specs)
        try:
            while self.waiting or self.active or self.taken:
                if stop() and not self.stopped:
                    self._stop()
                self._fill_slots()
                for connection in wait(list(self.active), POLL_SECONDS):
                    self._receive(self.active[cast(Connection, connection)])
                self._end_overdue()
                if self.taken and time.monotonic() - self.looked >= LOOK_SECONDS:
                    self._look_at_taken()
        finally:
            for run in self.active.values():
                _send_signal(run.process, signal.SIGKILL)
            for run in self.active.values():
                run.process.join()
        return self.outcomes

    def _stop(self) -> None:
        self.stopped = True
        self.waiting.clear()
        self.taken.clear()
        for run in self.active.values():
            _ask_to_end(run)

    def _fill_slots(self) -> None:
        while self.waiting:
            free = _free_slot(self.slots, [run.slot for run in self.active.values()])
            if free is None:
                return
            spec = self.waiting.popleft()
            try:
                self._begin(spec, free)
            except UserError as error:  # its folder cannot be read: that is this run's trouble alone
                self._over(spec, Outcome(spec.run_id, "failed", error=_in_one_line(error)))

    def _begin(self, spec: RunSpec, slot: Slot) -> None:
        ended = recorded_outcome(spec, self.store)
        if ended is not None:
            self._over(spec, ended)
            return
        view = look_at_lock(self.store / spec.run_id)
        if view is not None and not self.watch.is_dead(self.store / spec.run_id, view):
            self._defer(spec)
        else:
            self._start(spec, slot, view)

    def _start(self, spec: RunSpec, slot: Slot, given_up: LockView | None) -> None:
        context = process_context()
        ours, theirs = context.Pipe(duplex=False)
        arguments = (spec, self.store, self.resources, slot, self.checkpoint_seconds, given_up, theirs)
        process = context.Process(target=_work, args=arguments, daemon=True)
        start(process)
        theirs.close()
        self.active[ours] = _Active(spec, slot, process, ours, time.monotonic())
        self.listener.started(spec)

    def _receive(self, run: _Active) -> None:
        """Take the next message of a run; look into what became of it, if it is over."""
        try:
            message: Message | Outcome = run.messages.recv()
        except (EOFError, OSError):  # OSError: in the middle of a message
            run.process.join()
            self._remove(run)
            self._over(run.spec, self._death(run))
            return
        if not isinstance(message, Outcome):
            self.listener.event(run.spec, message)
            return
        run.process.join(GRACE_SECONDS)
        _send_signal(run.process, signal.SIGKILL)  # one that cannot end, with everything done
        run.process.join()
        self._remove(run)
        if message.status == "paused" and run.overdue:
            message = self._record_failure(run.spec, self._overdue_reason())
        if message.status == "busy":
            self._defer(run.spec)
        else:
            self._over(run.spec, message)

    def _remove(self, run: _Active) -> None:
        del self.active[run.messages]
        run.messages.close()

    def _over(self, spec: RunSpec, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        self.listener.ended(spec, outcome)

    def _defer(self, spec: RunSpec) -> None:
        if not self.stopped:
            self.taken[spec.run_id] = spec
            self.listener.deferred(spec)

    def _death(self, run: _Active) -> Outcome:
        if run.overdue:
            return self._record_failure(run.spec, self._overdue_reason())
        if self.stopped or -(run.process.exitcode or 0) in STOP_SIGNALS:
            # It may have died of the very signal that asked for a checkpoint, before it could hear it. A batch system
            # signals every process of a job, so that may be known here before the request is.
            return Outcome(run.spec.run_id, "paused")
        return self._record_failure(run.spec, _cause_of_death(run.process.exitcode))

    def _record_failure(self, spec: RunSpec, reason: str) -> Outcome:
        try:
            return record_failure(spec, self.store, self.resources, reason)
        except UserError as error:
            return Outcome(spec.run_id, "failed", error=f"{reason}; it could not be recorded: {_in_one_line(error)}")

    def _overdue_reason(self) -> str:
        return f"the run was ended because it took longer than {self.run_timeout:g} s (--run-timeout)"

    def _end_overdue(self) -> None:
        now = time.monotonic()
        for run in self.active.values():
            if run.asked is None:
                if self.run_timeout is not None and now - run.started >= self.run_timeout:
                    run.overdue = True
                    _ask_to_end(run)
            elif now - run.asked >= (GRACE_SECONDS if run.overdue else STOP_SECONDS):
                _send_signal(run.process, signal.SIGKILL)

    def _look_at_taken(self) -> None:
        """Runs that other processes were training: those that have ended, and those that nobody trains any more."""
        self.looked = time.monotonic()
        for spec in list(self.taken.values()):
            folder = self.store / spec.run_id
            try:
                ended = recorded_outcome(spec, self.store)
                view = look_at_lock(folder)
            except UserError as error:
                ended, view = Outcome(spec.run_id, "failed", error=_in_one_line(error)), None
            if ended is not None:
                del self.taken[spec.run_id]
                self._over(spec, ended)
            elif view is None or self.watch.is_dead(folder, view):
                del self.taken[spec.run_id]
                self.waiting.append(spec)


def _visible(gpu: str) -> str:
    seen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if seen is None or not gpu.isdigit():
        return gpu
    names = [name.strip() for name in seen.split(",") if name.strip()]
    if int(gpu) >= len(names):
        raise UserError(f"no GPU {gpu}: CUDA_VISIBLE_DEVICES is '{seen}'", hint="GPUs are counted from 0 among those.")
    return names[int(gpu)]


def _free_slot(slots: Sequence[Slot], used: Sequence[Slot]) -> Slot | None:
    """The first slot that is not in use; equal slots count separately."""
    left = list(used)
    for slot in slots:
        if slot in left:
            left.remove(slot)
        else:
            return slot
    return None


def _ask_to_end(run: _Active) -> None:
    run.asked = time.monotonic()
    _send_signal(run.process, signal.SIGTERM)


def _send_signal(process: BaseProcess, number: signal.Signals) -> None:
    if process.pid is not None and process.exitcode is None:
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)


def _cause_of_death(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        name = signal.Signals(-exit_code).name
        return f"the run's process was ended by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
    return f"the run's process ended with exit code {exit_code} and no result"


def _work(
    spec: RunSpec,
    store: Path,
    resources: Resources,
    slot: Slot,
    checkpoint_seconds: float,
    given_up: LockView | None,
    messages: Connection,
) -> None:
    """What a run's process does."""
    forget_safe_path()
    outlive_readers()  # a component that prints must not fail for it
    # Ctrl-C reaches every process of the terminal; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if slot.gpu is not None:
        # Before this process first asks for a device: CUDA reads it then, and never again.
        os.environ["CUDA_VISIBLE_DEVICES"] = slot.gpu
    told = 0.0

    def tell(event: Event | Notice) -> None:
        nonlocal told
        now = time.monotonic()
        if isinstance(event, EpochEvaluated | Notice) or (
            isinstance(event, StepReached) and now - told > PROGRESS_SECONDS
        ):
            told = now
            _send(messages, event, request)

    with stop_on(STOP_SIGNALS) as request:
        try:
            outcome = execute(
                spec,
                store,
                resources,
                tell,
                stop=request,
                checkpoint_seconds=checkpoint_seconds,
                given_up=given_up,
            )
        except UserError as error:
            outcome = Outcome(spec.run_id, "failed", error=_in_one_line(error))
        _send(messages, outcome, request)


def _send(messages: Connection, message: Message | Outcome, request: StopRequest) -> None:
    try:
        messages.send(message)
    except BrokenPipeError:
        # Nobody is listening any more: the parent was killed. What is done is kept, for whoever goes on.
        request.ask()


def _in_one_line(error: UserError) -> str:
    """For what reports a failure by the last line of a traceback."""
    return " ".join(str(error).splitlines())
