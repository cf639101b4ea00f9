"""What the engine says, and to whom. It prints nothing and ends no process: who listens does, in words of its own."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal, Protocol, cast

from bnbench.plan import RunSpec
from bnbench.storage.document import Status
from bnbench.training.events import EpochEvaluated, Event, StepReached

if TYPE_CHECKING:
    from bnbench.execution.planning import SweepPlan

PROGRESS_SECONDS = 0.1
"""A run says how far it is at most this often, and after every epoch."""

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Notice:
    """Something about a run, or a sweep, that its user should know and that stops nothing."""

    text: str
    warning: bool = False
    """Whether something is not as it should be."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended, or what became of the attempt to run it."""

    run_id: str
    status: Status | Literal["paused", "busy", "submitted"]
    """As recorded in `run.json`. The others are not recorded: the run was asked to stop and goes on from its checkpoint
    another time, another process is training it, or a cluster's job is to."""
    diverged_at_step: int | None = None
    error: str | None = None
    """The traceback of a failed run."""
    elsewhere: bool = False
    """Whether another process had brought the run to its end before this one could."""


Message = StepReached | EpochEvaluated | Notice


class RunListener(Protocol):
    """Who wants to know how single runs are doing."""

    def started(self, spec: RunSpec) -> None:
        """A run was begun, or goes on."""

    def event(self, spec: RunSpec, event: Message) -> None:
        """A run has come further, or has something to say."""

    def deferred(self, spec: RunSpec) -> None:
        """Another process is training this run; it is looked at again later."""

    def ended(self, spec: RunSpec, outcome: Outcome) -> None:
        """A run is over, and recorded; or it was paused. Perhaps it was never started here."""

    def notice(self, notice: Notice) -> None:
        """Something about the runs as a whole."""


class Listener(RunListener, Protocol):
    """Who wants to know what becomes of a sweep: a progress display, a log, nobody."""

    def planned(self, plan: SweepPlan) -> None:
        """The store was looked at; nothing was written yet."""

    def begins(self, specs: Sequence[RunSpec]) -> None:
        """From now on these runs are trained."""

    def ends(self) -> None:
        """Nothing is trained any more. Follows every `begins`, whatever happens between."""


class Silent:
    """A listener to whom it is all one."""

    def planned(self, plan: SweepPlan) -> None:
        """As the protocol."""

    def notice(self, notice: Notice) -> None:
        """As the protocol."""

    def begins(self, specs: Sequence[RunSpec]) -> None:
        """As the protocol."""

    def ends(self) -> None:
        """As the protocol."""

    def started(self, spec: RunSpec) -> None:
        """As the protocol."""

    def event(self, spec: RunSpec, event: Message) -> None:
        """As the protocol."""

    def deferred(self, spec: RunSpec) -> None:
        """As the protocol."""

    def ended(self, spec: RunSpec, outcome: Outcome) -> None:
        """As the protocol."""


def bearing(listener: RunListener) -> Listener:
    """Passes everything on to a listener, and bears with one that raises: runs do not end because of who listens.

    The first failure of each of its methods is logged, with its traceback.
    """
    return cast(Listener, _Bearing(listener))


class _Bearing:
    def __init__(self, listener: RunListener) -> None:
        self._listener = listener
        self._failed: set[str] = set()

    def __getattr__(self, what: str) -> Callable[..., None]:
        if what not in vars(Silent):
            raise AttributeError(what)
        return partial(self._tell, what)

    def _tell(self, what: str, *facts: object) -> None:
        try:
            getattr(self._listener, what)(*facts)
        except Exception:  # noqa: BLE001 -- whatever it raises is its own trouble; Ctrl-C and sys.exit are no Exception
            if what not in self._failed:
                self._failed.add(what)
                with suppress(Exception):  # the log may be what cannot be written
                    _LOG.warning("who follows the runs failed in '%s'; the runs go on", what, exc_info=True)


def now_and_then(say: Callable[[Message], None]) -> Callable[[Event | Notice], None]:
    """Of all that a run says, what its listener is told: every epoch, every notice, and now and then how far it is."""
    told = 0.0

    def listen(event: Event | Notice) -> None:
        nonlocal told
        now = time.monotonic()
        if isinstance(event, EpochEvaluated | Notice) or (
            isinstance(event, StepReached) and now - told > PROGRESS_SECONDS
        ):
            told = now
            say(event)

    return listen
