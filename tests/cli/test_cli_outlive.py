"""Training goes on whatever becomes of those who read its messages; a command that only prints says that it cannot."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.command_line import command, start

TINY = ("run", "digits_mlp", "--size", "tiny", "--device", "cpu", "--variant", "bn")
FULL = Path("/dev/full")
NO_SPACE = "Error: standard output cannot be written: No space left on device\n"

needs_full = pytest.mark.skipif(not FULL.exists(), reason="needs a device that is always full")


def finished(store: Path) -> int:
    return len(list(store.glob("*/run.json")))


def test_a_sweep_outlives_its_terminal_and_the_reader_of_its_output(tmp_path):
    """The terminal is closed behind a sweep in the background (EIO), and nobody reads its pipe any more (EPIPE)."""
    ours, terminal = pty.openpty()
    read, write = os.pipe()
    process = subprocess.Popen(
        command(*TINY, "--epochs", 1, "--seeds", 2, "--workers", 1, "--results", tmp_path),
        stdin=terminal, stdout=write, stderr=terminal, start_new_session=True,
    )  # fmt: skip
    for descriptor in (terminal, write, read):
        os.close(descriptor)
    assert os.read(ours, 1), "its first words"
    os.close(ours)
    assert process.wait(timeout=100) == 0
    assert finished(tmp_path) == 2


@needs_full
@pytest.mark.long
def test_a_full_log_disk_changes_neither_the_runs_nor_the_verdict(tmp_path):
    asked = command("check", "digits_mlp", "--fresh", "--tier", "start", "--results", tmp_path)
    with FULL.open("w") as full:
        assert subprocess.call(asked, stdout=full, stderr=full) == 0
    assert finished(tmp_path) == 5


@needs_full
def test_the_log_of_a_cluster_job_may_be_unwritable(tmp_path):
    job = (
        "from pathlib import Path; from bnbench.execution.slurm.job import Chunk;"
        "from bnbench.execution.options import RunOptions; Chunk((), Path('runs'), RunOptions('cpu', workers=1))()"
    )
    with FULL.open("w") as full:
        assert subprocess.call([sys.executable, "-c", job], stdout=full, stderr=full, cwd=tmp_path) == 0


def test_a_terminal_that_is_closed_before_its_sweep_ends_leaves_checkpoints(tmp_path):
    """SIGHUP reaches every process of the terminal, the server that runs are forked from too."""
    process = start(*TINY, "--epochs", 500, "--workers", 1, "--results", tmp_path)
    until = time.monotonic() + 60
    while not list(tmp_path.glob("*/work-*")):
        assert time.monotonic() < until
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGHUP)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGHUP, stderr
    assert "Traceback" not in stderr
    assert "the same command does the rest" in stderr
    assert list(tmp_path.glob("*/work-*/*.checkpoint"))
    assert not finished(tmp_path)


@needs_full
@pytest.mark.parametrize("asked", [("list",), ("--help",), ("show", "--help"), ("--version",)])
def test_a_command_whose_output_cannot_be_written_says_so_in_one_line(asked):
    with FULL.open("w") as full:
        done = subprocess.run(command(*asked), stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, NO_SPACE)


@pytest.mark.parametrize("asked", [("list",), ("--help",)])
def test_a_command_whose_reader_has_seen_enough_ends_quietly(asked):
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(command(*asked), stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, "")


def test_closed_streams_are_no_files_of_anybodys(tmp_path):
    """After `2>&-` the next file to be opened would be number 2, and take the messages of libraries."""
    script = (
        "import os, sys; from bnbench.execution.streams import guard_streams; guard_streams();"
        "print('a message', file=sys.stderr); print(os.open('file', os.O_CREAT | os.O_WRONLY))"
    )
    line = f"exec '{sys.executable}' -c \"{script}\" 2>&-"
    done = subprocess.run(["sh", "-c", line], stdout=subprocess.PIPE, text=True, check=True, cwd=tmp_path)
    assert int(done.stdout) > 2, done.stdout
