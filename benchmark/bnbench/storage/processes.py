"""Processes by name, so that another one that reads the name later can tell whether it still runs."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict


class Process(BaseModel):
    """A process, told apart from any other on any machine; it says nothing of a host by name."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)

    machine: str | None
    """A hash of what tells process tables apart (boot and process namespace); None where the system does not say."""
    process: int
    started: str | None
    """When the process started, so that another with its number is not taken for it; None where unknown."""


def this_process() -> Process:
    """The process that calls."""
    return Process(machine=_machine(), process=os.getpid(), started=_life_of(os.getpid())[0])


def process_is_gone(who: Process) -> bool:
    """Whether the process table of this machine knows that a process no longer runs; False where it cannot know."""
    if who.machine is None or who.machine != _machine():
        return False
    try:
        os.kill(who.process, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass  # another user's, and it is there
    started, ended = _life_of(who.process)
    return ended or (started is not None and started != who.started)


def process_is_here(who: Process) -> bool:
    """Whether a process runs on this machine; False where this machine cannot know."""
    return who.machine is not None and who.machine == _machine() and not process_is_gone(who)


def _machine() -> str | None:
    """What two processes share exactly if they share a process table: this boot, and the process namespace."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        namespace = Path("/proc/self/ns/pid").readlink()
    except OSError:
        return None
    return hashlib.sha256(f"{boot} {namespace}".encode()).hexdigest()[:16]


def _life_of(process: int) -> tuple[str | None, bool]:
    """When a process started, in ticks since the boot (None where that is not told), and whether it is a corpse."""
    try:
        text = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None, False
    # The name, in brackets, may hold anything; the state follows, and the start is the 22nd field of all.
    fields = text.rpartition(")")[2].split()
    return fields[19], fields[0] in {"Z", "X"}
