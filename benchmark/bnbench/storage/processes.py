"""Processes by name, so that another one that reads the name later can tell whether it still runs.

A process is named by its number and by when it started, because numbers are used again; and by where its number
counts: on one machine from boot to shutdown, and among containers with process tables of their own in one of these.
Setting the clock changes none of the three, or a process that lives would be taken for one that is gone. Where one of
them is not told, nothing is known, and who asks goes by the heartbeat.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import sys
from functools import cache
from pathlib import Path
from typing import Annotated

import psutil
from pydantic import BaseModel, ConfigDict, Field

_NOT_TOLD = (psutil.Error, OSError, RuntimeError)
"""What psutil raises where it does not see a process, or the system does not tell when it booted."""
try:
    _BOOTED: float | None = psutil.boot_time()
except _NOT_TOLD:
    _BOOTED = None
"""When the machine booted, as the clock had it when psutil was imported."""


class Process(BaseModel):
    """A process, told apart from any other on any machine; it says nothing of a host by name."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)

    machine: str | None
    """A hash of what tells process tables apart (boot and process namespace); None where the system does not say."""
    process: Annotated[int, Field(ge=1, lt=2**31)]
    started: str | None
    """When the process started, so that another with its number is not taken for it; None where unknown."""


def this_process() -> Process:
    """The process that calls."""
    own = os.getpid()
    try:
        started = _start_of(own)
    except _NOT_TOLD:
        started = None
    return Process(machine=_machine(), process=own, started=started)


def process_is_gone(who: Process) -> bool:
    """Whether the process table of this machine knows that a process no longer runs; False where it cannot know."""
    if who.machine is None or who.machine != _machine():
        return False
    # Not by psutil, which takes a process that may not be looked at (`hidepid`) for one that is not there.
    try:
        os.kill(who.process, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass  # another user's, and it is there
    try:
        if psutil.Process(who.process).status() in {psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD}:
            return True  # a corpse that nobody has buried
        started = _start_of(who.process)
    except psutil.ZombieProcess:
        return True
    except _NOT_TOLD:
        return False  # not to be looked at, or gone this moment: the next look says so
    return None not in {started, who.started} and started != who.started


def process_is_here(who: Process) -> bool:
    """Whether a process runs on this machine; False where this machine cannot know."""
    return who.machine is not None and who.machine == _machine() and not process_is_gone(who)


def _machine() -> str | None:
    """What two processes share exactly if they share a process table: this boot, and the process namespace."""
    told = _boot_session() if sys.platform == "darwin" else _boot_and_namespace()
    return None if told is None else hashlib.sha256(told.encode()).hexdigest()[:16]


def _boot_and_namespace() -> str | None:
    """Linux's word for both; psutil has none."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return None


@cache
def _boot_session() -> str | None:
    """What macOS draws at each boot, since the time of the boot moves with the clock; it has one process table."""
    told, size = ctypes.create_string_buffer(64), ctypes.c_size_t(64)
    ask = getattr(ctypes.CDLL(None), "sysctlbyname", None)
    if ask is None or ask(b"kern.bootsessionuuid", told, ctypes.byref(size), None, ctypes.c_size_t(0)) != 0:
        return None
    return told.value.decode("ascii", "replace") or None


def _start_of(process: int) -> str | None:
    """When a process started, in words that stay the same when the clock is set; None where there are none now.

    Only psutil's public words are used, which are times of the clock: what it reads beneath them has none.

    Raises:
        psutil.Error: the process is gone, or not to be looked at.
        OSError: the system does not tell when it booted; so RuntimeError.
    """
    booted = psutil.boot_time()
    # Made here, after the boot was asked for: psutil before 7.1 remembers the boot from the last time.
    created = psutil.Process(process).create_time()
    if psutil.boot_time() != booted:
        return None  # the clock was set while we looked
    if sys.platform == "darwin":
        # The kernel keeps what the clock said; psutil shifts that once the clock was set after psutil's import.
        return str(created) if booted == _BOOTED else None
    # The kernel keeps ticks since the boot; psutil adds when that was, which moves with the clock.
    return str(round((created - booted) * os.sysconf("SC_CLK_TCK")))
