"""The server that runs are forked from. Starting it imports nothing heavy here, so it can be done early."""

from __future__ import annotations

import multiprocessing
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext, SpawnContext
from typing import cast

_PRELOADED = ("bnbench.execution.single", "sklearn.datasets", "sklearn.model_selection", "torch._dynamo")
"""What takes long to import and every run needs (torch's optimisers import its compiler): loaded once, by the server
that runs are forked from. A module that another version lacks is passed over."""


def prepare() -> None:
    """Start the server, so that it loads torch while this process does other things."""
    context = process_context()
    if context.get_start_method() == "forkserver":
        context.set_forkserver_preload(list(_PRELOADED))
        forkserver.ensure_running()


def process_context() -> SpawnContext | ForkServerContext:
    """How the processes of runs are started."""
    # A forked server imports torch once; each run is then a fresh process forked from it in milliseconds. (Forking
    # this process instead would copy its threads' locks.)
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    return cast(SpawnContext | ForkServerContext, multiprocessing.get_context(method))
