"""The states of single runs: ended, damaged, being trained right now, begun, or not there. Looking never writes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bnbench.errors import UserError
from bnbench.storage.checkpoints import newest_header
from bnbench.storage.document import (
    RunDocument,
)
from bnbench.storage.examine import examine
from bnbench.storage.files import reported
from bnbench.storage.lock import (
    BEAT_SECONDS,
    STALE_SECONDS,
    LockView,
    lock_age,
    look_at_lock,
)
from bnbench.storage.processes import process_is_here
from bnbench.storage.store import StoreContents
from bnbench.storage.workspace import workspaces

StateName = Literal["finished", "diverged", "failed", "damaged", "running", "resumable", "new"]
"""`damaged`: it has ended, and its record or a table is not what was written; it is trained again like a new one.
`resumable`: begun, and goes on from its checkpoint. `new`: nothing is there that would spare it a step."""

STATES: tuple[StateName, ...] = ("finished", "diverged", "failed", "damaged", "running", "resumable", "new")


@dataclass(frozen=True)
class RunState:
    """The state of one run."""

    name: StateName
    step: int = 0
    """Updates done, as far as is known: of a resumable run those that it need not do again."""
    total_steps: int = 0
    """0 where unknown."""
    epoch: int = 0
    """Epochs done."""
    epochs: int = 0
    """0 where unknown."""
    step_s: float = 0.0
    """Seconds a step, evaluations included, of a run that is being trained; 0 where unknown."""
    diverged_at_step: int | None = None
    error: str | None = None


def survey(
    folders: Mapping[str, Path],
    sleep: Callable[[float], None] = time.sleep,
    ended: Mapping[str, RunState] | None = None,
) -> dict[str, RunState]:
    """The states of runs. Takes longer only where a process elsewhere seems silent: it is watched for a while.

    Args:
        folders: the runs' folders by run id; they need not exist.
        sleep: waits for so many seconds.
        ended: runs that a look at the store has found ended; they are not looked at again.

    Raises:
        UserError: a folder cannot be read, or holds a run of another version of the schema.
    """
    states: dict[str, RunState] = {}
    doubtful: dict[str, LockView] = {}
    known = ended or {}
    for run_id, folder in folders.items():
        found = known.get(run_id) or _outside_of_work(folder)
        view = None if found.name in _ENDED else look_at_lock(folder)
        alive = None if view is None else _is_alive(folder, view)
        if view is not None and alive is None:
            doubtful[run_id] = view
        states[run_id] = found if found.name in _ENDED else _under_way(folder, view if alive else None, found)
    if doubtful:
        sleep(2 * BEAT_SECONDS)
        for run_id, before in doubtful.items():
            after = look_at_lock(folders[run_id])
            if after != before:
                found = _outside_of_work(folders[run_id])
                ended_now = found.name in _ENDED
                states[run_id] = found if ended_now else _under_way(folders[run_id], after, found)
    return states


def ended_runs(contents: StoreContents) -> dict[str, RunState]:
    """The states of the runs that a look at a store has found ended and usable, by run id."""
    damaged = set(contents.damaged)
    return {
        document.run_id: _recorded_state(document) for document in contents.documents if document.run_id not in damaged
    }


def begun_runs(results: Path) -> list[str]:
    """The folders below a results folder in which a run was begun, or is locked, or has ended.

    Raises:
        UserError: the folder cannot be read.
    """
    with reported(results, "read"):
        names = sorted(path.name for path in results.iterdir() if path.is_dir()) if results.is_dir() else []
    return [name for name in names if _is_begun(results / name)]


def _is_begun(folder: Path) -> bool:
    with reported(folder, "read"):
        return bool(workspaces(folder)) or look_at_lock(folder) is not None


def ended_document(folder: Path) -> RunDocument | None:
    """The record of a run that has ended; None where it has not, or its record or a table is damaged.

    Raises:
        UserError: the folder cannot be read, or holds a run of another version of the schema.
    """
    found = examine(folder)
    if found.foreign_version is not None:
        raise UserError(f"{folder} holds a run of schema version {found.foreign_version}")
    return found.document if found.kind in {"result", "failed"} else None


_ENDED: tuple[StateName, ...] = ("finished", "diverged", "failed")


def _outside_of_work(folder: Path) -> RunState:
    """The state of a run if nobody works on it and nobody has begun it: ended, damaged or new."""
    found = examine(folder)
    if found.document is not None and found.kind in {"result", "failed"}:
        return _recorded_state(found.document)
    return RunState("damaged" if found.kind == "damaged" else "new")


def _recorded_state(document: RunDocument) -> RunState:
    return RunState(document.status, diverged_at_step=document.diverged_at_step, error=document.error)


def _under_way(folder: Path, lock: LockView | None, found: RunState) -> RunState:
    """A run that has not ended, with its lock if its owner is alive; its state without all that."""
    if lock is not None:
        owner = lock.owner
        if owner is None:
            return RunState("running")
        return RunState("running", owner.step, owner.total_steps, owner.epoch, owner.epochs, owner.step_s)
    with reported(folder, "read"):
        header = newest_header(folder)
    if header is None:
        return found
    name: StateName = "damaged" if found.name == "damaged" else "resumable"
    return RunState(name, header.step, header.total_steps, header.epoch, header.epochs)


def _is_alive(folder: Path, view: LockView) -> bool | None:
    """Whether the owner of a lock lives; None where that takes watching it."""
    if view.is_nobodys():
        return False
    if view.owner is not None and process_is_here(view.owner):
        return True
    age = lock_age(folder, view)
    return True if age is not None and abs(age) < STALE_SECONDS else None


def count(states: Iterable[RunState]) -> dict[StateName, int]:
    """How many runs are in each state; states that none is in are left out."""
    found = [state.name for state in states]
    return {name: found.count(name) for name in STATES if name in found}
