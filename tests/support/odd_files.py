"""What may lie under a file's name and is no such file; and a guard, so that a reader who hangs fails a test."""

from __future__ import annotations

import os
import resource
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

_SECONDS = 60
"""Far more than any command takes on a busy machine: whoever hangs, hangs for ever."""
_MEMORY = 4 << 30


@dataclass(frozen=True)
class OddFile:
    """How it is made at a path where there is nothing, and what it is called."""

    make: Callable[[Path], object]
    told: str


def _socket(path: Path) -> None:
    # By its bare name: the whole path of a test's folder is too long for a socket.
    here = os.open(".", os.O_RDONLY)
    try:
        os.chdir(path.parent)
        with socket.socket(socket.AF_UNIX) as own:
            own.bind(path.name)
    finally:
        os.fchdir(here)
        os.close(here)


ODD_FILES = {
    "pipe": OddFile(os.mkfifo, "not a regular file, but a named pipe"),
    "socket": OddFile(_socket, "not a regular file, but a socket"),
    "folder": OddFile(Path.mkdir, "not a regular file, but a folder"),
    "endless device": OddFile(lambda path: path.symlink_to("/dev/zero"), "not a regular file, but a device"),
    "dangling link": OddFile(lambda path: path.symlink_to("nowhere"), "a link that leads to no file"),
    "circular link": OddFile(lambda path: path.symlink_to(path.name), "a link that leads to no file"),
}


@contextmanager
def at_once() -> Iterator[None]:
    """Fail where the block waits for something that never comes, or reads something that never ends."""

    def fail(*_: object) -> None:
        raise AssertionError("still waiting")

    before = signal.signal(signal.SIGALRM, fail)
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    with suppress(ValueError, OSError):  # not every system limits it
        resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + _MEMORY, hard))
    signal.alarm(_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def put_in_place_of(path: Path, kind: str) -> None:
    """Replace a file by an odd one."""
    path.unlink(missing_ok=True)
    ODD_FILES[kind].make(path)


def make_sparse(path: Path, size: int) -> None:
    """A file that is far too large, and takes no room."""
    path.unlink(missing_ok=True)
    with path.open("wb") as file:
        file.truncate(size)
