"""Standard output and standard error of a process that outlives whoever reads them.

The reader of a pipe goes away, the disk with the log is full, the terminal is closed: none of it is a reason to stop
training. What is wrapped here is the lowest layer of a stream, so that everything above it (click, rich and its thread,
warnings, tracebacks, the flush at the end of the interpreter) meets a stream that can be written.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class OutputError(Exception):
    """Standard output takes nothing more. No OSError, which libraries would make something of on the way."""


class _Endless(io.RawIOBase):
    """A stream's lowest layer: what cannot be written is dropped."""

    def __init__(self, raw: io.RawIOBase, *, patient: bool) -> None:
        super().__init__()
        self._raw = raw
        self.patient = patient
        """Whether even the first failure is borne; if not, it raises. Either way the stream takes everything then."""
        self.failure: OSError | None = None
        """Why something was dropped, the first time."""
        self.name = getattr(raw, "name", None)

    def write(self, data: ReadableBuffer, /) -> int | None:
        if not memoryview(data).nbytes:
            return 0  # a question whether it can be written (click asks so) is no output that is lost
        try:
            return self._raw.write(data)
        except OSError as error:
            self.failure = self.failure or error
            if self.patient:
                return memoryview(data).nbytes
            self.patient = True  # what the layers above still hold must not raise a second time, at the very end
            raise OutputError(error.strerror or str(error)) from error

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._raw.fileno()

    def isatty(self) -> bool:
        return self._raw.isatty()


def guard_streams() -> None:
    """Let messages on standard error be dropped where they cannot be written, and standard output raise OutputError.

    Only the process's own streams are guarded, not what something else has put in their place.
    """
    _reserve_descriptors()
    if sys.stderr is None:  # closed by who started this process: print() would take standard output instead
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123 -- open to the end
    _guard("stdout", patient=False)
    _guard("stderr", patient=True)


def outlive_readers() -> None:
    """From here on, drop what cannot be written, on standard output too."""
    guard_streams()
    stdout = _guard("stdout", patient=True)
    if stdout is not None:
        stdout.patient = True


def lost_output() -> str | None:
    """Why some of standard output was lost; None where nothing was, or its reader wanted no more."""
    stdout = _guarded("stdout")
    if stdout is None or stdout.failure is None or stdout.failure.errno == errno.EPIPE:
        return None
    return stdout.failure.strerror or str(stdout.failure)


def _guard(name: Literal["stdout", "stderr"], *, patient: bool) -> _Endless | None:
    stream = getattr(sys, name)
    if _guarded(name) is None and stream is getattr(sys, f"__{name}__") and isinstance(stream, io.TextIOWrapper):
        unbuffered = isinstance(stream.buffer, io.RawIOBase)  # python -u
        raw = _Endless(stream.buffer if unbuffered else stream.buffer.raw, patient=patient)
        wrapped = io.TextIOWrapper(
            raw if unbuffered else io.BufferedWriter(raw),
            encoding=stream.encoding,
            errors=stream.errors,
            line_buffering=stream.line_buffering,
            write_through=stream.write_through,
        )
        setattr(sys, name, wrapped)
    return _guarded(name)


def _guarded(name: Literal["stdout", "stderr"]) -> _Endless | None:
    buffer = getattr(getattr(sys, name), "buffer", None)
    raw = getattr(buffer, "raw", buffer)
    return raw if isinstance(raw, _Endless) else None


def _reserve_descriptors() -> None:
    """Open closed ones of the first three to nothing, or the next file would get their number and others' messages."""
    if os.name != "posix":
        return
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest number that is free: this one
