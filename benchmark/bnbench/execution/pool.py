"""Many runs side by side: a fresh process for each, so that none can harm another."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Protocol, cast

from bnbench.errors import UserError
from bnbench.execution.single import Outcome, Resources, execute, record_failure
from bnbench.plan import RunSpec
from bnbench.training.events import EpochEvaluated, Event, StepReached

PROGRESS_SECONDS = 0.1
"""A run says how far it is at most this often, and after every epoch."""

Message = StepReached | EpochEvaluated

_PRELOADED = ("bnbench.execution.single", "sklearn.datasets", "sklearn.model_selection", "torch._dynamo")
"""What takes long to import and every run needs (torch's optimisers import its compiler): loaded once, by the server
that runs are forked from. A module that another version lacks is passed over."""


class Listener(Protocol):
    """Who wants to know how the runs are doing: a progress display, a log, nobody."""

    def started(self, spec: RunSpec) -> None:
        """A run's process was started."""

    def event(self, spec: RunSpec, event: Message) -> None:
        """A run has come further."""

    def ended(self, spec: RunSpec, outcome: Outcome) -> None:
        """A run is over, and recorded."""


@dataclass(frozen=True)
class _Active:
    spec: RunSpec
    process: BaseProcess
    messages: Connection


def default_workers(device: str, threads: int) -> int:
    """How many runs go side by side: on CPUs as many as there are cores for, on a GPU one."""
    return 1 if device.startswith("cuda") else max(1, usable_cores() // threads)


def usable_cores() -> int:
    """The cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def prepare() -> None:
    """Start the server that runs are forked from, so that it loads torch while this process does other things."""
    context = _context()
    if context.get_start_method() == "forkserver":
        context.set_forkserver_preload(list(_PRELOADED))
        forkserver.ensure_running()


def run_all(
    specs: Sequence[RunSpec], store: Path, resources: Resources, workers: int, listener: Listener
) -> list[Outcome]:
    """Run everything, at most `workers` at a time, each run in a process of its own.

    A run that raises, or whose process dies, is recorded as failed and stops no other.

    Returns:
        How each run ended, in the order in which they did.

    Raises:
        KeyboardInterrupt: passed on, after the running runs were stopped; what is finished stays.
    """
    prepare()
    # Runs start in the folder that this process started in, which it may have left since.
    store = store.absolute()
    waiting = deque(specs)
    active: dict[Connection, _Active] = {}
    outcomes: list[Outcome] = []
    try:
        while waiting or active:
            while waiting and len(active) < workers:
                run = _start(waiting.popleft(), store, resources)
                active[run.messages] = run
                listener.started(run.spec)
            for connection in wait(list(active)):
                run = active[cast(Connection, connection)]
                message = _receive(run, store, resources)
                if isinstance(message, Outcome):
                    del active[run.messages]
                    outcomes.append(message)
                    listener.ended(run.spec, message)
                else:
                    listener.event(run.spec, message)
    finally:
        for run in active.values():
            run.process.terminate()
        for run in active.values():
            run.process.join()
    return outcomes


def _context() -> SpawnContext | ForkServerContext:
    # A forked server imports torch once; each run is then a fresh process forked from it in milliseconds. (Forking
    # this process instead would copy its threads' locks.)
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    return cast(SpawnContext | ForkServerContext, multiprocessing.get_context(method))


def _start(spec: RunSpec, store: Path, resources: Resources) -> _Active:
    context = _context()
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(spec, store, resources, theirs), daemon=True)
    process.start()
    theirs.close()
    return _Active(spec, process, ours)


def _receive(run: _Active, store: Path, resources: Resources) -> Message | Outcome:
    """The next message of a run; what became of it, if it is over."""
    try:
        message: Message | Outcome = run.messages.recv()
        if not isinstance(message, Outcome):
            return message
    except EOFError:
        run.process.join()
        message = record_failure(run.spec, store, resources, _death(run.process.exitcode))
    run.process.join()
    run.messages.close()
    return message


def _death(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        name = signal.Signals(-exit_code).name
        return f"the run's process was ended by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
    return f"the run's process ended with exit code {exit_code} and no result"


def _work(spec: RunSpec, store: Path, resources: Resources, messages: Connection) -> None:
    """What a run's process does."""
    # Ctrl-C reaches every process of the terminal; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    told = 0.0

    def tell(event: Event) -> None:
        nonlocal told
        now = time.monotonic()
        if isinstance(event, EpochEvaluated) or (isinstance(event, StepReached) and now - told > PROGRESS_SECONDS):
            told = now
            _send(messages, event)

    try:
        outcome = execute(spec, store, resources, tell)
    except UserError as error:
        # On one line: what reports a failure shows the last line of a traceback.
        outcome = Outcome(spec.run_id, "failed", error=" ".join(str(error).splitlines()))
    _send(messages, outcome)


def _send(messages: Connection, message: Message | Outcome) -> None:
    try:
        messages.send(message)
    except BrokenPipeError:
        # Nobody is listening any more: the parent was killed. That is not a failure of this run.
        sys.exit("the process that started this run is gone")
