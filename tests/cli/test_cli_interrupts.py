"""Ctrl-C at any moment of the start: one line, the exit code that shells know, no traceback, nothing lost."""

from __future__ import annotations

import os
import signal
import time

import pytest

from support.command_line import start


@pytest.fixture(autouse=True)
def interruptible():
    """A suite that a shell put into the background ignores SIGINT, and so would everything it starts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


RUN = ("run", "digits_mlp", "--size", "tiny", "--epochs", "200", "--variant", "bn", "--variant", "vanilla")


@pytest.mark.parametrize("at", ["Loading torch", "2 runs to train", "after a moment"])
def test_ctrl_c_while_it_starts_prints_no_traceback(at, tmp_path):
    """As a terminal sends it: to every process of the group, those that load torch among them."""
    process = start(*RUN, "--workers", "2", "--results", tmp_path / "results")
    assert process.stderr is not None
    until = at if at != "after a moment" else "2 runs to train"
    before = []
    for line in process.stderr:
        before.append(line)
        if line.startswith(until):
            break
    if at == "after a moment":
        time.sleep(0.5)  # the server that runs are forked from is still importing torch, or has just begun the first
    os.killpg(process.pid, signal.SIGINT)
    _, after = process.communicate(timeout=120)
    told = "".join([*before, after])
    assert "Traceback" not in told, told
    assert "KeyboardInterrupt" not in told, told
    assert process.returncode == 130, told
    assert "Interrupted" in after.splitlines()[-1], told
