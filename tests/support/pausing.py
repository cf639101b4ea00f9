"""Processes that fall asleep, or whose disk fails, at the n-th thing that they ask of the file system.

A process is forked; in it the functions of `os` and `io` by which the program changes files are replaced by ones that
count, so the program has no hooks for it. At the chosen one the process stops itself with SIGSTOP, before or after the
call, or the call fails. Nothing of the parent is touched.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import pickle
import signal
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

BY_NAME = ("fsync", "rename", "replace", "link", "unlink", "mkdir", "rmdir")
"""Functions of `os`: any call of them counts. `open` and `write` count too, where they are for writing."""

Moment = Literal["before", "after"]
Fault = Literal["EIO", "ENOSPC", "short"]


@dataclass(frozen=True)
class Pause:
    """Stop at the n-th call, counted from 0."""

    number: int
    moment: Moment


@dataclass(frozen=True)
class Failure:
    """Let the n-th call fail: with an error, after half of the bytes where it writes; or by writing half of them."""

    number: int
    fault: Fault


@dataclass(frozen=True)
class Ended:
    """What a process made of what it was to do."""

    value: Any
    """What it returned; None if it raised an error."""
    error: str | None
    """The error, with its type."""
    calls: tuple[str, ...]
    """The kinds of what it asked of the file system, in order."""


class Child:
    """A forked process that does one thing."""

    def __init__(self, action: Callable[[], Any], trouble: Pause | Failure | None = None) -> None:
        """Fork; it is at work from now on.

        Args:
            action: what it does.
            trouble: what happens to it; None is nothing.
        """
        descriptor, name = tempfile.mkstemp()
        os.close(descriptor)
        self._told = Path(name)
        self._pid = os.fork()
        if self._pid == 0:
            _do(action, trouble, self._told)

    def stopped(self) -> bool:
        """Wait until it sleeps; False where it came to its end instead."""
        return os.WIFSTOPPED(os.waitpid(self._pid, os.WUNTRACED)[1])

    def wake(self) -> None:
        """Let it go on."""
        os.kill(self._pid, signal.SIGCONT)

    def ended(self, *, waited: bool = False) -> Ended:
        """Wait for its end.

        Args:
            waited: whether `stopped` has seen it end already.
        """
        if not waited:
            os.waitpid(self._pid, 0)
        data = self._told.read_bytes()
        self._told.unlink()
        assert data, "the process died"
        ended: Ended = pickle.loads(data)
        return ended


def alone(action: Callable[[], Any], trouble: Pause | Failure | None = None) -> Ended:
    """Do something in a process of its own, and wait for its end."""
    return Child(action, trouble).ended()


def _do(action: Callable[[], Any], trouble: Pause | Failure | None, told: Path) -> None:
    """The forked process, which never returns."""
    try:
        calls = _Calls(trouble)
        calls.watch()
        value, error = None, None
        try:
            value = action()
        except Exception as raised:  # noqa: BLE001 -- the parent judges
            error = f"{type(raised).__name__}: {raised}"
        calls.armed = False
        with open(told, "wb") as file:  # noqa: PTH123
            pickle.dump(Ended(value, error, tuple(calls.kinds)), file)
    except BaseException as raised:  # noqa: BLE001 -- it must not go on as the parent
        sys.stderr.write(f"{type(raised).__name__}: {raised}\n")
    finally:
        os._exit(0)


class _Calls:
    """Counts what the main thread asks of the file system, and is the trouble with it."""

    def __init__(self, trouble: Pause | Failure | None) -> None:
        self.trouble = trouble
        self.kinds: list[str] = []
        self.armed = True

    def watch(self) -> None:
        for name in BY_NAME:
            setattr(os, name, self._counted(name, getattr(os, name)))
        os.open = self._opening(os.open)  # type: ignore[assignment]
        os.write = self._writing(os.write)  # type: ignore[assignment]
        os.sendfile = self._counted("write", os.sendfile)
        io.open = builtins.open = self._opening_file(io.open)  # type: ignore[assignment]

    def at(self, kind: str, call: Callable[[], Any], half: Callable[[], Any] | None = None) -> Any:
        """One call, or what becomes of it.

        Args:
            kind: what it is.
            call: does it.
            half: does half of it, where it writes.
        """
        if not self.armed or threading.current_thread() is not threading.main_thread():
            return call()
        self.kinds.append(kind)
        trouble = self.trouble
        if trouble is None or trouble.number != len(self.kinds) - 1:
            return call()
        if isinstance(trouble, Failure):
            if trouble.fault == "short":
                return call() if half is None else half()
            if half is not None:
                half()
            code = getattr(errno, trouble.fault)
            raise OSError(code, os.strerror(code))
        if trouble.moment == "before":
            os.kill(os.getpid(), signal.SIGSTOP)
        try:
            return call()
        finally:  # a call that found nothing to do has an instant after it too
            if trouble.moment == "after":
                os.kill(os.getpid(), signal.SIGSTOP)

    def _counted(self, kind: str, function: Callable[..., Any]) -> Callable[..., Any]:
        kind = "rename" if kind == "replace" else kind
        return lambda *arguments, **options: self.at(kind, lambda: function(*arguments, **options))

    def _opening(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def opening(path: Any, flags: int, *arguments: Any, **options: Any) -> Any:
            if not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                return function(path, flags, *arguments, **options)
            return self.at("open", lambda: function(path, flags, *arguments, **options))

        return opening

    def _writing(self, function: Callable[[int, Any], int]) -> Callable[[int, Any], int]:
        def writing(descriptor: int, data: Any) -> int:
            length = max(1, len(data) // 2)
            return self.at("write", lambda: function(descriptor, data), lambda: function(descriptor, data[:length]))

        return writing

    def _opening_file(self, function: Callable[..., Any]) -> Callable[..., Any]:
        calls = self

        class Raw(io.FileIO):
            def write(self, data: Any) -> int:
                length = max(1, len(data) // 2)
                return calls.at(
                    "write", lambda: super(Raw, self).write(data), lambda: super(Raw, self).write(data[:length])
                )

        def opening(file: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
            if not set(mode) & set("wxa+") or isinstance(file, int):
                return function(file, mode, *arguments, **options)
            if mode in {"xb", "wb"}:
                return self.at("open", lambda: io.BufferedWriter(Raw(file, mode)))
            return self.at("open", lambda: function(file, mode, *arguments, **options))

        return opening
