"""The server that runs are forked from. Starting it imports nothing heavy here, so it can be done early."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess
from typing import cast

from bnbench.execution.sockets import can_bind

_PRELOADED = ("bnbench.execution.run", "sklearn.datasets", "sklearn.model_selection", "torch._dynamo")
"""What takes long to import and every run needs (torch's optimisers import its compiler): loaded once, by the server
that runs are forked from. A module that another version lacks is passed over.

From 3.12 on Python warns where a process forks that has more than one thread, and the server has some (`-W default`
shows it). None of them is Python's: they are the pools of the OpenBLAS copies of NumPy and SciPy, which end before a
fork and are made anew when they are next needed, and the background thread of Arrow's allocator, which takes its locks
around a fork. Both have asked the system for that (pthread_atfork), and nothing is computed in the server. A module
that starts a Python thread when it is imported must not be named here."""

_SAFE_PATH = "PYTHONSAFEPATH"
_OURS = "bnbench"
"""The value by which it is known that nobody else has set the variable; Python asks only whether there is one."""

_LOCK = threading.Lock()


def prepare() -> None:
    """Start the server, so that it loads torch while this process does other things."""
    context = process_context()
    if context.get_start_method() == "forkserver":
        context.set_forkserver_preload(list(_PRELOADED))
        with _safe_path():
            forkserver.ensure_running()


def process_context() -> SpawnContext | ForkServerContext:
    """How the processes of runs are made; `start` starts them."""
    # A forked server imports torch once; each run is then a fresh process forked from it in milliseconds. (Forking
    # this process instead would copy its threads' locks.) It is spoken to through a socket.
    forked = "forkserver" in multiprocessing.get_all_start_methods() and can_bind()
    return cast(SpawnContext | ForkServerContext, multiprocessing.get_context("forkserver" if forked else "spawn"))


def start(process: BaseProcess) -> None:
    """Start a process of the context, and the server, should it have died."""
    with _safe_path():
        process.start()


def forget_safe_path() -> None:
    """In a process that `start` started: give it the environment of the one that started it."""
    if os.environ.get(_SAFE_PATH) == _OURS:
        del os.environ[_SAFE_PATH]


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
