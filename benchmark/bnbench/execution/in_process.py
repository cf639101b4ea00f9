"""Runs in this process, one after another: for debuggers, notebooks, and components that exist in this session only."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import torch

from bnbench.errors import UserError
from bnbench.execution import pool
from bnbench.execution.listening import Outcome, RunListener, now_and_then
from bnbench.execution.options import RunOptions
from bnbench.execution.run import execute, in_one_line, record_failure, recorded_outcome
from bnbench.plan import RunSpec
from bnbench.storage.lock import LockWatch, look_at_lock
from bnbench.storage.rename_watch import RenameWatch


def run_all(
    specs: Sequence[RunSpec], store: Path, options: RunOptions, listener: RunListener, stop: Callable[[], bool]
) -> list[Outcome]:
    """Train runs here; those that another process trains come last; see `InProcess`.

    Raises:
        StorageError: the results folder is no more where it was.
    """
    watch, taken, outcomes = LockWatch(), list[RunSpec](), list[Outcome]()
    waiting = list(specs)
    with RenameWatch(store) as folder:
        while waiting and not stop():
            for spec in waiting:
                if stop():
                    break
                outcome = _attempt(spec, store, options, listener, stop, watch)
                folder.check()  # a run that lost its folder says that another process has taken it
                if outcome.status != "busy":
                    outcomes.append(outcome)
                    listener.ended(spec, outcome)
                elif spec not in taken:
                    taken.append(spec)
                    listener.deferred(spec)
            over = {outcome.run_id for outcome in outcomes}
            waiting = [spec for spec in taken if spec.run_id not in over]
            if waiting:
                _wait(pool.LOOK_SECONDS, stop)
                folder.check()
    return outcomes


def _attempt(
    spec: RunSpec,
    store: Path,
    options: RunOptions,
    listener: RunListener,
    stop: Callable[[], bool],
    watch: LockWatch,
) -> Outcome:
    began = time.monotonic()
    overdue = False

    def wanted() -> bool:
        nonlocal overdue
        overdue = overdue or (options.run_timeout is not None and time.monotonic() - began >= options.run_timeout)
        return overdue or stop()

    try:
        ended = recorded_outcome(spec, store)
        if ended is not None:
            return ended
        view = look_at_lock(store / spec.run_id)
        if view is not None and not watch.is_dead(store / spec.run_id, view):
            return Outcome(spec.run_id, "busy")
        listener.started(spec)
        with as_in_a_process_of_its_own():
            outcome = execute(
                spec,
                store,
                options,
                now_and_then(partial(listener.event, spec)),
                stop=wanted,
                given_up=view,
                store_is_there=True,
            )
        if outcome.status == "paused" and overdue:
            outcome = record_failure(spec, store, options, pool.out_of_time(options))
    except UserError as error:  # its folder cannot be read or written: that is this run's trouble alone
        outcome = Outcome(spec.run_id, "failed", error=in_one_line(error))
    return outcome


@contextlib.contextmanager
def as_in_a_process_of_its_own() -> Iterator[None]:
    """Have torch as it is when it was just imported, whatever the program around has set."""
    dtype, device = torch.get_default_dtype(), torch.get_default_device()
    torch.set_default_dtype(torch.float32)
    torch.set_default_device(None)
    try:
        with (
            torch.inference_mode(False),
            torch.enable_grad(),
            torch.autocast("cpu", enabled=False),
            torch.autocast("cuda", enabled=False) if torch.cuda.is_available() else contextlib.nullcontext(),
        ):
            yield
    finally:
        torch.set_default_dtype(dtype)
        torch.set_default_device(None if device == torch.device("cpu") else device)


def _wait(seconds: float, stop: Callable[[], bool]) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until and not stop():
        time.sleep(min(pool.POLL_SECONDS, seconds))
