"""Many runs side by side: a fresh process for each, so that none can harm another."""

from __future__ import annotations

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
from typing import cast

from bnbench.errors import UserError
from bnbench.execution.fork_server import forget_safe_path, ignore_interrupts, process_context, start
from bnbench.execution.listening import Message, Notice, Outcome, RunListener, now_and_then
from bnbench.execution.options import RunOptions
from bnbench.execution.places import Place, free_place
from bnbench.execution.run import execute, in_one_line, record_failure, recorded_outcome
from bnbench.execution.signals import STOP_SIGNALS, StopRequest, stop_on
from bnbench.execution.streams import outlive_readers
from bnbench.plan import RunSpec
from bnbench.plugins import load_again
from bnbench.storage.lock import LockView, LockWatch, look_at_lock
from bnbench.storage.rename_watch import RenameWatch
from bnbench.words import counted

LOOK_SECONDS = 2.0
"""How often runs that other processes are training are looked at."""

POLL_SECONDS = 0.2
"""How soon a request to stop, or a run that is out of time, is noticed."""

GRACE_SECONDS = 10.0
"""What a run that is out of time has to leave a checkpoint in before it is killed."""

STOP_SECONDS = 300.0
"""What a run has for that when the sweep is asked to stop; an evaluation under way is finished first."""


@dataclass
class _Active:
    spec: RunSpec
    place: Place
    process: BaseProcess
    messages: Connection
    started: float
    asked: float | None = None
    """When its process was asked to leave a checkpoint and end."""
    overdue: bool = False
    """Whether it was asked because it is out of time."""


@dataclass
class Pool:
    """Runs that are trained side by side, each in a process of its own, and those still to come."""

    store: Path
    options: RunOptions
    places: Sequence[Place]
    listener: RunListener
    waiting: deque[RunSpec] = field(default_factory=deque)
    active: dict[Connection, _Active] = field(default_factory=dict)
    taken: dict[str, RunSpec] = field(default_factory=dict)
    """What other processes are training, by run id."""
    outcomes: list[Outcome] = field(default_factory=list)
    stopped: bool = False
    watch: LockWatch = field(default_factory=LockWatch)
    looked: float = 0.0

    def run_all(self, specs: Sequence[RunSpec], stop: Callable[[], bool]) -> list[Outcome]:
        """Start runs as there is room and look after them; see `LocalPool`.

        Raises:
            StorageError: the results folder is no more where it was; the runs were ended.
        """
        self.waiting.extend(specs)
        with RenameWatch(self.store) as folder:
            try:
                while self.waiting or self.active or self.taken:
                    folder.check()
                    if stop() and not self.stopped:
                        self._stop()
                    self._fill_places()
                    for connection in wait(list(self.active), POLL_SECONDS):
                        folder.check()  # a run that lost its folder says that another process has taken it
                        self._receive(self.active[cast(Connection, connection)])
                    self._end_overdue()
                    if self.taken and time.monotonic() - self.looked >= LOOK_SECONDS:
                        self._look_at_taken()
                folder.check()
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
        if self.active:
            number = counted(len(self.active), "run")
            text = f"Asked to stop: {number} under way to leave a checkpoint and end. Ctrl-C once more ends at once."
            self.listener.notice(Notice(text))
        for run in self.active.values():
            _ask_to_end(run)

    def _fill_places(self) -> None:
        while self.waiting:
            free = free_place(self.places, [run.place for run in self.active.values()])
            if free is None:
                return
            spec = self.waiting.popleft()
            try:
                self._begin(spec, free)
            except UserError as error:  # its folder cannot be read: that is this run's trouble alone
                self._over(spec, Outcome(spec.run_id, "failed", error=in_one_line(error)))

    def _begin(self, spec: RunSpec, place: Place) -> None:
        ended = recorded_outcome(spec, self.store)
        if ended is not None:
            self._over(spec, ended)
            return
        view = look_at_lock(self.store / spec.run_id)
        if view is not None and not self.watch.is_dead(self.store / spec.run_id, view):
            self._defer(spec)
        else:
            self._start(spec, place, view)

    def _start(self, spec: RunSpec, place: Place, given_up: LockView | None) -> None:
        context = process_context()
        ours, theirs = context.Pipe(duplex=False)
        arguments = (spec, spec.run_id, self.store, self.options, place, given_up, theirs)
        process = context.Process(target=_in_a_process, args=arguments, daemon=True)
        start(process)
        theirs.close()
        self.active[ours] = _Active(spec, place, process, ours, time.monotonic())
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
            message = self._record_failure(run.spec, out_of_time(self.options))
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
            return self._record_failure(run.spec, out_of_time(self.options))
        if self.stopped or -(run.process.exitcode or 0) in STOP_SIGNALS:
            # It may have died of the very signal that asked for a checkpoint, before it could hear it. A batch system
            # signals every process of a job, so that may be known here before the request is.
            return Outcome(run.spec.run_id, "paused")
        return self._record_failure(run.spec, _cause_of_death(run.process.exitcode))

    def _record_failure(self, spec: RunSpec, reason: str) -> Outcome:
        try:
            return record_failure(spec, self.store, self.options, reason)
        except UserError as error:
            return Outcome(spec.run_id, "failed", error=f"{reason}; it could not be recorded: {in_one_line(error)}")

    def _end_overdue(self) -> None:
        now = time.monotonic()
        for run in self.active.values():
            if run.asked is None:
                limit = self.options.run_timeout
                if limit is not None and now - run.started >= limit:
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
                ended, view = Outcome(spec.run_id, "failed", error=in_one_line(error)), None
            if ended is not None:
                del self.taken[spec.run_id]
                self._over(spec, ended)
            elif view is None or self.watch.is_dead(folder, view):
                del self.taken[spec.run_id]
                self.waiting.append(spec)


def out_of_time(options: RunOptions) -> str:
    """Why a run that reached its time limit has failed."""
    return f"the run was ended because it took longer than {options.run_timeout:g} s (--run-timeout)"


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


def _in_a_process(
    spec: RunSpec,
    run_id: str,
    store: Path,
    options: RunOptions,
    place: Place,
    given_up: LockView | None,
    messages: Connection,
) -> None:
    """What a run's process does."""
    forget_safe_path()
    ignore_interrupts()
    outlive_readers()  # a component that prints must not fail for it
    if place.gpu is not None:
        # Before this process first asks for a device: CUDA reads it then, and never again.
        os.environ["CUDA_VISIBLE_DEVICES"] = place.gpu
    with stop_on(STOP_SIGNALS) as request:
        try:
            load_again(options.plugins)  # before anything is asked of the run, whose rows they may have
            told = now_and_then(lambda message: _send(messages, message, request))
            outcome = execute(spec, store, options, told, stop=request, given_up=given_up, store_is_there=True)
        except UserError as error:
            outcome = Outcome(run_id, "failed", error=in_one_line(error))
        _send(messages, outcome, request)


def _send(messages: Connection, message: Message | Outcome, request: StopRequest) -> None:
    try:
        messages.send(message)
    except BrokenPipeError:
        # Nobody is listening any more: the parent was killed. What is done is kept, for whoever goes on.
        request.ask()
