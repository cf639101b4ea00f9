"""The server that runs are forked from. Starting it imports nothing heavy here, so it can be done early."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import forkserver, resource_tracker
from multiprocessing.context import ForkServerContext, ForkServerProcess, SpawnContext
from multiprocessing.process import BaseProcess
from typing import cast

from bnbench.execution.sockets import can_bind

_PRELOADED = ("bnbench.execution.run", "sklearn.datasets", "sklearn.model_selection", "torch._dynamo")
"""What takes long to import and every run needs (torch's optimisers import its compiler): loaded once, by the server
that runs are forked from. A module that another version lacks is passed over."""

_SAFE_PATH = "PYTHONSAFEPATH"
_OURS = "bnbench"
"""The value by which it is known that nobody else has set the variable; Python asks only whether there is one."""

_CAN_BLOCK = hasattr(signal, "pthread_sigmask")

_LOCK = threading.Lock()


def prepare() -> None:
    """Start the server, so that it loads torch while this process does other things."""
    if process_context().get_start_method() == "forkserver":
        with _safe_path():
            _ensure_running()


def process_context() -> SpawnContext | ForkServerContext:
    """How the processes of runs are made; `start` starts them."""
    # A forked server imports torch once; each run is then a fresh process forked from it in milliseconds. (Forking
    # this process instead would copy its threads' locks.) It is spoken to through a socket.
    forked = "forkserver" in multiprocessing.get_all_start_methods() and can_bind()
    return cast(SpawnContext | ForkServerContext, multiprocessing.get_context("forkserver" if forked else "spawn"))


def start(process: BaseProcess) -> None:
    """Start a process of the context, and the server, should it have died."""
    with _safe_path():
        if isinstance(process, ForkServerProcess):
            _ensure_running()
            process.start()  # waits for the server, which may be loading torch: Ctrl-C is heard meanwhile
        else:
            with _born_deaf_to_interrupts():
                process.start()


def forget_safe_path() -> None:
    """In a process that `start` started: give it the environment of the one that started it."""
    if os.environ.get(_SAFE_PATH) == _OURS:
        del os.environ[_SAFE_PATH]


def ignore_interrupts() -> None:
    """In a process that `start` started: Ctrl-C reaches every process of the terminal; the parent decides about it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if _CAN_BLOCK:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _ensure_running() -> None:
    process_context().set_forkserver_preload(list(_PRELOADED))
    with _born_deaf_to_interrupts():
        forkserver.ensure_running()


@contextmanager
def _born_deaf_to_interrupts() -> Iterator[None]:
    """Start interpreters that Ctrl-C does not interrupt.

    They load torch for seconds before anything in them could say that it is none of their business, and would end in a
    traceback. So they are born with it blocked. In this process it is held back for the moment, and not lost.
    """
    if not _CAN_BLOCK:
        yield
        return
    resource_tracker.ensure_running()  # which unblocks what it finds blocked, and is started by what is started here
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _safe_path() -> Iterator[None]:
    """Start interpreters that look for no modules in the working directory.

    multiprocessing starts them with -c, which puts that directory first on the path: a torch.py or queue.py of the
    user's would be executed in place of the module that is meant. What PYTHONPATH names stays on the path.
    """
    with _LOCK:
        before = os.environ.get(_SAFE_PATH)
        os.environ[_SAFE_PATH] = before or _OURS
        try:
            yield
        finally:
            if before is None:
                del os.environ[_SAFE_PATH]
            else:
                os.environ[_SAFE_PATH] = before
