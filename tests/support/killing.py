"""Killing runs for real: at named points of the program, by traps that live here, and at random instants.

A run is carried out by `execute` in a process of its own. Traps are functions of the program that the process replaces
in itself before it starts, so that the program has no hooks for them; the process then ends itself with SIGKILL.
Whatever it is doing, it says so in a byte of shared memory that outlives it.
"""

from __future__ import annotations

import functools
import itertools
import mmap
import os
import random
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from bnbench.components.variants import STUDIED, VARIANTS
from bnbench.data.dataset import DATASETS
from bnbench.execution import fork_server
from bnbench.execution import run as run_module
from bnbench.execution.options import RunOptions
from bnbench.execution.run import Notice, Outcome, execute
from bnbench.plan import RunSpec, expand_grid
from bnbench.problem import find_problem
from bnbench.storage import files, recorder
from bnbench.storage.checkpoints import newest_header
from bnbench.storage.store import ResultStore
from bnbench.training import loop

PLACES = (
    "before the first step",
    "training",
    "evaluation",
    "writing a part",
    "writing a checkpoint",
    "compaction",
)
ENDED = "after the end"

CHECKPOINT_SECONDS = 0.2
"""So short that a run of two seconds has several checkpoints, and kills find it writing them."""

TABLES = ("curves", "steps", "affine")


@dataclass(frozen=True)
class Trap:
    """Where a process is to end itself: so many operations after it has come to a place so many times."""

    place: str
    visit: int
    operation: int


@dataclass(frozen=True)
class Death:
    """What a killed process was doing, and what it left."""

    place: str
    step: int
    """The step from which a resume goes on, 0 for the first."""


@dataclass(frozen=True)
class Attempt:
    """What a process made of a run."""

    outcome: Outcome | None
    """None if it was killed."""
    place: str
    """What it was doing last."""
    notices: tuple[str, ...]


def tiny_specs(problems: tuple[str, ...], placements: tuple[str, ...], epochs: int = 2) -> list[RunSpec]:
    """The runs of the tiny problems under all variants."""
    specs: list[RunSpec] = []
    for name in problems:
        problem = find_problem(name).problem("tiny", {"training.epochs": epochs})
        specs += expand_grid(
            problem,
            DATASETS.get(problem.dataset).identify(),
            [VARIANTS.get(variant) for variant in STUDIED],
            placements=placements,
            seeds=problem.first_seeds(1),
        )
    return specs


def table_bytes(folder: Path) -> dict[str, bytes]:
    """The tables of a finished run that a repetition gives again byte for byte."""
    return {table: (folder / f"{table}.parquet").read_bytes() for table in TABLES}


class Place:
    """A byte of shared memory: what a process is doing."""

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 1)

    def get(self) -> str:
        return (*PLACES, ENDED)[self._memory[0]]

    def set(self, place: str) -> None:
        self._memory[0] = (*PLACES, ENDED).index(place)


def attempt(
    spec: RunSpec,
    store: Path,
    trap: Trap | None = None,
    kill_after: float | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> Attempt:
    """Carry out a run in a process of its own, which may not live to its end.

    Args:
        spec: the run.
        store: the results folder.
        trap: where it ends itself; None is nowhere.
        kill_after: after how many seconds it is killed from outside; None is never.
        checkpoint_seconds: how often it leaves a checkpoint.
    """
    fork_server.prepare()
    context = fork_server.process_context()
    ours, theirs = context.Pipe(duplex=False)
    with tempfile.NamedTemporaryFile() as memory:
        memory.write(b"\0")
        memory.flush()
        process = context.Process(target=_work, args=(spec, store, trap, memory.name, checkpoint_seconds, theirs))
        process.start()
        theirs.close()
        if kill_after is not None:
            ours.poll(30)  # until it is up: its clock starts with its first word
            ours.recv()
            process.join(kill_after)
            if process.is_alive():
                os.kill(process.pid, signal.SIGKILL)
        said: list[Any] = []
        while True:
            try:
                said.append(ours.recv())
            except (EOFError, OSError):
                break
        process.join()
        place = Place(Path(memory.name)).get()
    outcome = next((each for each in said if isinstance(each, Outcome)), None)
    assert process.exitcode == (-signal.SIGKILL if outcome is None else 0), f"exit code {process.exitcode}"
    return Attempt(outcome, place, tuple(each for each in said if isinstance(each, str) and each != "up"))


def _work(
    spec: RunSpec, store: Path, trap: Trap | None, memory: str, checkpoint_seconds: float, say: Connection
) -> None:
    say.send("up")
    place = Place(Path(memory))
    with _watched(place, trap):
        outcome = execute(
            spec,
            store,
            RunOptions("cpu", checkpoint_seconds=checkpoint_seconds),
            lambda event: say.send(event.text) if isinstance(event, Notice) else None,
        )
    place.set(ENDED)
    say.send(outcome)


class _Trapdoor:
    """Counts visits to the trap's place and operations there, and ends the process at the right one."""

    def __init__(self, place: Place, trap: Trap | None) -> None:
        self.place = place
        self.trap = trap
        self.visits = 0
        self.operations = 0
        self.inside = False

    def enter(self, place: str) -> str:
        before = self.place.get()
        self.place.set(place)
        if self.trap is not None and place == self.trap.place and before != place:
            self.visits += 1
            self.operations = 0
            self.inside = self.visits >= self.trap.visit
            self.step_on()
        return before

    def leave(self, before: str) -> None:
        if self.inside and self.trap is not None and before != self.trap.place:
            # A shorter visit than expected: its last instant will do.
            os.kill(os.getpid(), signal.SIGKILL)
        self.place.set(before)

    def step_on(self) -> None:
        if self.inside and self.trap is not None and self.place.get() == self.trap.place:
            if self.operations == self.trap.operation:
                os.kill(os.getpid(), signal.SIGKILL)
            self.operations += 1


@contextmanager
def _watched(place: Place, trap: Trap | None) -> Iterator[None]:
    """Replace functions of the program by ones that tell where they are, and step on the trap."""
    door = _Trapdoor(place, trap)

    def visits(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapped(*arguments: Any, **options: Any) -> Any:
            before = door.enter(name)
            result = function(*arguments, **options)
            door.leave(before)
            return result

        return wrapped

    def operation(function: Callable[..., Any]) -> Callable[..., Any]:
        """One instant before and one after."""

        @functools.wraps(function)
        def wrapped(*arguments: Any, **options: Any) -> Any:
            door.step_on()
            result = function(*arguments, **options)
            door.step_on()
            return result

        return wrapped

    def first_evaluation_apart(function: Callable[..., Any]) -> Callable[..., Any]:
        inside = visits("evaluation", function)

        @functools.wraps(function)
        def wrapped(trainer: Any, epoch: int, *arguments: Any, **options: Any) -> Any:
            return (inside if epoch > 0 else operation(function))(trainer, epoch, *arguments, **options)

        return wrapped

    def training_begins(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapped(*arguments: Any, **options: Any) -> Any:
            before = door.enter("training")
            door.step_on()
            if before == "before the first step" and door.inside and trap and trap.place == before:
                os.kill(os.getpid(), signal.SIGKILL)
            result = function(*arguments, **options)
            door.step_on()
            return result

        return wrapped

    def in_file(function: Callable[..., Any]) -> Callable[..., Any]:
        """A file that is half written when its process ends."""

        @functools.wraps(function)
        @contextmanager
        def wrapped(*arguments: Any) -> Iterator[Any]:
            with function(*arguments) as file:
                door.step_on()
                yield file
                door.step_on()

        return wrapped

    replaced = [
        (loop.Trainer, "_evaluate", first_evaluation_apart(loop.Trainer._evaluate)),
        (loop.Trainer, "__init__", operation(loop.Trainer.__init__)),
        (torch.optim.SGD, "step", training_begins(torch.optim.SGD.step)),
        (run_module, "acquire_lock", operation(run_module.acquire_lock)),
        (run_module, "load_pipeline", operation(run_module.load_pipeline)),
        (run_module.RunRecorder, "open", operation(run_module.RunRecorder.open)),
        (loop, "evaluate_splits", operation(loop.evaluate_splits)),
        (recorder, "write_flush", visits("writing a part", recorder.write_flush)),
        (recorder, "save_checkpoint", visits("writing a checkpoint", recorder.save_checkpoint)),
        (recorder, "compact", visits("compaction", recorder.compact)),
        (recorder, "write_document", visits("compaction", recorder.write_document)),
        (recorder, "remove_progress", visits("compaction", recorder.remove_progress)),
        (os, "fsync", operation(os.fsync)),
        (Path, "replace", operation(Path.replace)),
        (Path, "unlink", operation(Path.unlink)),
    ]
    replaced += [
        (module, "atomic_file", in_file(files.atomic_file))
        for module in (recorder_module("parts"), recorder_module("checkpoints"), recorder_module("document"))
    ]
    originals = [(owner, name, owner.__dict__[name]) for owner, name, _ in replaced]
    for owner, name, function in replaced:
        setattr(owner, name, staticmethod(function) if isinstance(owner.__dict__[name], classmethod) else function)
    if trap is not None and trap.place == "before the first step":
        door.visits, door.inside = 1, True
    try:
        yield
    finally:
        for owner, name, function in originals:
            setattr(owner, name, function)


def recorder_module(name: str) -> Any:
    """A module of the storage room."""
    import importlib  # noqa: PLC0415 -- by name

    return importlib.import_module(f"bnbench.storage.{name}")


def random_trap(place: str, chance: random.Random) -> Trap:
    """A trap at a place: at which visit, and at which of the operations there."""
    operations = {
        "before the first step": 14,
        "training": 60,
        "evaluation": 10,
        "writing a part": 30,
        "writing a checkpoint": 14,
        "compaction": 40,
    }
    visits = {"before the first step": 1, "training": 1, "evaluation": 1, "compaction": 1}
    return Trap(place, chance.randint(1, visits.get(place, 4)), chance.randrange(operations[place]))


def kill_run(
    spec: RunSpec,
    store: Path,
    reference: dict[str, bytes],
    traps: list[Trap | None],
    chance: random.Random,
    latest: float = 3.0,
) -> list[Death]:
    """Kill a run again and again, resuming it each time, then let it come to its end, and compare its tables.

    Args:
        spec: the run.
        store: an empty results folder.
        reference: the tables of the run in one go.
        traps: one kill each; None is a random instant from outside.
        chance: where the randomness comes from.
        latest: random instants are at most so many seconds after a start.

    Raises:
        AssertionError: something was lost, or differs.
    """
    folder = store / spec.run_id
    deaths: list[Death] = []
    for trap in traps:
        kill_after = chance.uniform(0.0, latest) if trap is None else None
        before = newest_header(folder)
        made = attempt(spec, store, trap, kill_after)
        _check_resumed(before.step if before else 0, made)
        assert ResultStore(store).warnings() == []
        if made.outcome is not None:  # at its end before the kill
            return _compare(spec, store, reference, deaths)
        if spec.run_id in ResultStore(store).finished():
            # Killed between its last write and its end: it is a result already.
            deaths.append(Death(made.place, 0))
            return _compare(spec, store, reference, deaths)
        header = newest_header(folder)
        deaths.append(Death(made.place, header.step if header else 0))
    before = newest_header(folder)
    made = attempt(spec, store)
    _check_resumed(before.step if before else 0, made)
    assert made.outcome is not None
    assert made.outcome.status == "finished", made.outcome
    return _compare(spec, store, reference, deaths)


def _check_resumed(step: int, made: Attempt) -> None:
    """It went on from the newest checkpoint there was, with nothing to complain of."""
    wrong = [notice for notice in made.notices if not notice.startswith("goes on from step")]
    assert not wrong, wrong
    if made.outcome is not None or made.notices:
        said = [f"goes on from step {step} of "] if step else []
        assert [notice[: len(said[0])] for notice in made.notices] == said if said else not made.notices, (
            step,
            made.notices,
        )


def _compare(spec: RunSpec, store: Path, reference: dict[str, bytes], deaths: list[Death]) -> list[Death]:
    found = table_bytes(store / spec.run_id)
    different = [table for table in TABLES if found[table] != reference[table]]
    assert not different, f"{spec.run_id}: {different} differ after {deaths}"
    assert ResultStore(store).finished().keys() == {spec.run_id}
    return deaths


def in_one_go(spec: RunSpec, store: Path) -> dict[str, bytes]:
    """The tables of a run that nobody disturbs, by a process of its own."""
    made = attempt(spec, store, checkpoint_seconds=1e9)
    assert made.outcome is not None
    assert made.outcome.status == "finished", made.outcome
    return table_bytes(store / spec.run_id)


def spread(count: int, chance: random.Random) -> list[Trap | None]:
    """Random instants and traps at all places, shuffled; the compaction last."""
    places = list(itertools.islice(itertools.cycle([None, *PLACES[:-1]]), count - 1))
    chance.shuffle(places)
    # The compaction comes last: there is nothing to resume behind it.
    return [None if place is None else random_trap(place, chance) for place in (*places, PLACES[-1])]


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether a condition came true in time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if condition():
            return True
        time.sleep(0.01)
    return False
