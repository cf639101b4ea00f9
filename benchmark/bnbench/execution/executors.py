"""Who trains the runs of a sweep: this process, a pool of processes, a cluster.

What needs torch is imported late: a pool loads it beside this process, and a mistake is told before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from bnbench.execution.fork_server import prepare
from bnbench.execution.listening import Listener, Outcome, RunListener, bearing
from bnbench.execution.options import RunOptions
from bnbench.execution.places import Place, Room, room_here
from bnbench.execution.planning import SweepPlan
from bnbench.plan import RunSpec


class Executor(Protocol):
    """Who trains the runs of a sweep: this process, a pool of processes, a cluster."""

    @property
    def sends_away(self) -> bool:
        """Whether runs are only handed over, and end when nobody here looks."""

    @property
    def in_this_process(self) -> bool:
        """Whether what was registered in this process is known where the runs are trained."""

    def room(self, options: RunOptions) -> Room:
        """What it has for the runs.

        Raises:
            UserError: no such device.
        """

    def warm_up(self) -> None:
        """There will be something to train; called before that is planned."""

    def choose(
        self, plan: SweepPlan, room: Room, store: Path, options: RunOptions, listener: Listener
    ) -> list[RunSpec]:
        """The runs of a plan that it takes on. Nothing was written yet.

        Raises:
            UserError: it cannot take them on.
        """

    def run_all(
        self,
        specs: Sequence[RunSpec],
        store: Path,
        options: RunOptions,
        listener: RunListener,
        stop: Callable[[], bool],
    ) -> list[Outcome]:
        """Bring all these runs to their end.

        Args:
            specs: what to run.
            store: the results folder.
            options: how.
            listener: told what happens; whatever it raises, the runs go on.
            stop: asked several times a second; once it says yes, nothing more is started, and what is running leaves
                a checkpoint and ends as "paused".

        Returns:
            How each ended, in the order in which they did. When it was stopped, runs are missing.
        """


def local_executor(options: RunOptions) -> Executor:
    """The executor that trains on this machine: a pool, or this process where no workers are wanted."""
    return InProcess() if options.workers == 0 else LocalPool()


@dataclass(frozen=True)
class LocalPool:
    """Trains on this machine, a run a place at a time, each in a process of its own.

    A run that raises, whose process dies, or that is out of time is recorded as failed and stops no other. A run that
    another process is training is left to it, and waited for at the end: it is taken over if that process dies.
    """

    places: tuple[Place, ...] | None = None
    """Where runs go; None leaves it to the options."""

    sends_away = False
    in_this_process = False

    def room(self, options: RunOptions) -> Room:
        """As the protocol."""
        room = room_here(options)
        return room if self.places is None else replace(room, places=self.places)

    def warm_up(self) -> None:
        """Let the server that runs are forked from load torch while other things are done."""
        prepare()

    def choose(
        self, plan: SweepPlan, room: Room, store: Path, options: RunOptions, listener: Listener
    ) -> list[RunSpec]:
        """As the protocol."""
        return _every_run(plan, room, options)

    def run_all(
        self,
        specs: Sequence[RunSpec],
        store: Path,
        options: RunOptions,
        listener: RunListener,
        stop: Callable[[], bool],
    ) -> list[Outcome]:
        """As the protocol.

        Raises:
            KeyboardInterrupt: passed on, after the running runs were killed; their checkpoints stay.
        """
        prepare()
        from bnbench.execution.pool import Pool  # noqa: PLC0415 -- torch

        room = self.room(options)
        own = replace(options, device=room.device)
        # Runs start in the folder that this process started in, which it may have left since.
        return Pool(store.absolute(), own, room.places, bearing(listener)).run_all(specs, stop)


class InProcess:
    """Trains in this process, one run after another: for debuggers, notebooks, and code that only this session has.

    A run that raises is recorded as failed and stops no other; one that another process is training is left to it, and
    waited for at the end. What kills the process costs a run what it did since its last checkpoint.
    """

    sends_away = False
    in_this_process = True

    def room(self, options: RunOptions) -> Room:
        """As the protocol."""
        return replace(room_here(options), places=(Place(),))

    def warm_up(self) -> None:
        """Nothing can be done ahead."""

    def choose(
        self, plan: SweepPlan, room: Room, store: Path, options: RunOptions, listener: Listener
    ) -> list[RunSpec]:
        """As the protocol."""
        return _every_run(plan, room, options)

    def run_all(
        self,
        specs: Sequence[RunSpec],
        store: Path,
        options: RunOptions,
        listener: RunListener,
        stop: Callable[[], bool],
    ) -> list[Outcome]:
        """As the protocol."""
        from bnbench.execution import in_process  # noqa: PLC0415 -- torch

        own = replace(options, device=self.room(options).device)
        return in_process.run_all(specs, store, own, bearing(listener), stop)


def _every_run(plan: SweepPlan, room: Room, options: RunOptions) -> list[RunSpec]:
    """All that a plan has to train, where this machine can.

    Raises:
        UserError: a precision does not exist on the device.
    """
    from bnbench.training.numerics import check_precision, choose_device  # noqa: PLC0415 -- torch

    if not options.gpus:
        for spec in plan.todo:
            check_precision(spec.precision, choose_device(room.device))
    return plan.todo
