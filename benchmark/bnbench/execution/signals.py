"""Being asked to stop: by Ctrl-C, by a batch system before it ends a job, by whoever started this process."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

STOP_SIGNALS: tuple[signal.Signals, ...] = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGUSR1", "SIGUSR2", "SIGHUP") if hasattr(signal, name)
)
"""What batch systems send ahead of the end, and terminals when they are closed: a checkpoint is wanted now."""


class StopRequest:
    """Whether this process has been asked to stop; to be called. Once asked, it stays so."""

    def __init__(self) -> None:
        """Nobody has asked yet."""
        self.signal: signal.Signals | None = None
        """The first signal that came, None where it was no signal that asked."""
        self._asked = False

    def __call__(self) -> bool:
        """Whether to stop."""
        return self._asked

    def ask(self) -> None:
        """Ask this process to stop."""
        self._asked = True

    @property
    def exit_code(self) -> int:
        """The exit code of a command that a signal has ended, as shells give it: 130 after Ctrl-C."""
        return 128 + (self.signal or signal.SIGINT)

    def catch(self, number: int, frame: FrameType | None) -> None:
        """The signal handler."""
        if self._asked and number == signal.SIGINT:
            raise KeyboardInterrupt  # the second Ctrl-C: now
        self.signal = self.signal or signal.Signals(number)
        self._asked = True


@contextmanager
def stop_on(signals: Sequence[signal.Signals]) -> Iterator[StopRequest]:
    """A request that these signals make while the block runs; a second Ctrl-C raises KeyboardInterrupt.

    Outside the main thread, where Python hears no signals, only `StopRequest.ask` makes it. A SIGHUP that is ignored
    stays so: that is how nohup lets a command outlive its terminal.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    heard = [each for each in signals if not (each.name == "SIGHUP" and signal.getsignal(each) is signal.SIG_IGN)]
    before = {each: signal.signal(each, request.catch) for each in heard}
    try:
        yield request
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
