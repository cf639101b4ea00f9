"""What a sweep set out to train: a small record in the results folder, so that `bnbench status` knows what is to come.

A run leaves no trace before it begins, so without the record nobody but the sweep itself could tell how much is left.
The record decides nothing: what has ended the runs' own folders say. It goes when the last of its runs has ended; that
of a sweep that was killed stays, and tells which command goes on with it.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bnbench.disk import read_regular
from bnbench.storage.files import atomic_file, reported, sync_folder
from bnbench.storage.processes import Process, process_is_gone, process_is_here
from bnbench.storage.states import RunState

SWEEPS_FOLDER = ".sweeps"
"""Inside the results folder."""
_LIMIT = 64 << 20
"""Bytes of a record: enough for a quarter of a million runs."""


class SweepRun(BaseModel):
    """One run of a sweep."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    run_id: str
    setting_id: str
    variant: str | None = None
    seconds: Annotated[float, Field(ge=0)] | None = None
    """The whole run, as was to be expected when the sweep began; None where nothing was known."""


class SweepRecord(BaseModel):
    """One sweep: what it set out to train, and who trains it."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    record: Literal[1] = 1
    """The version of this record."""
    command: str
    """What goes on with it, typed where it was typed."""
    process: Process
    side_by_side: Annotated[int, Field(ge=1)]
    runs: Annotated[tuple[SweepRun, ...], Field(min_length=1)]
    """In the order in which they are trained."""

    def left(self, ended: Collection[str]) -> list[SweepRun]:
        """The runs that have not ended."""
        return [run for run in self.runs if run.run_id not in ended]


def write_sweep(store: Path, record: SweepRecord) -> Path:
    """Put a sweep on record.

    Returns:
        The file.

    Raises:
        StorageError: it cannot be written.
    """
    folder = store / SWEEPS_FOLDER
    with reported(folder):
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{secrets.token_hex(8)}.json"
        with atomic_file(path) as file:
            file.write((record.model_dump_json(indent=1) + "\n").encode())
        sync_folder(folder)
    return path


def tidy_sweeps(store: Path, ended: Collection[str], superseding: Collection[str] = ()) -> None:
    """Remove the records of sweeps that have nothing left, or that stopped and a newer sweep has taken on their rest.

    Args:
        store: the results folder.
        ended: the ids of its runs that have ended.
        superseding: the ids of the runs that a new sweep is about to be put on record for.

    Raises:
        StorageError: the folder cannot be written.
    """
    folder = store / SWEEPS_FOLDER
    with reported(folder):
        for path, record in _records(folder).items():
            if record is None:
                continue
            # Two sweeps may share the work on one folder: one that still runs is not replaced.
            replaced = () if process_is_here(record.process) else superseding
            if not record.left({*ended, *replaced}):
                path.unlink(missing_ok=True)


def read_sweeps(store: Path) -> tuple[dict[Path, SweepRecord], list[str]]:
    """Every sweep on record by its file, sorted by command, and a sentence for each record that cannot be read.

    Raises:
        StorageError: the folder cannot be listed.
    """
    folder = store / SWEEPS_FOLDER
    with reported(folder, "read"):
        found = _records(folder)
    unreadable = [path for path, record in found.items() if record is None]
    warnings = [f"{path} is no record of a sweep; what it was to train is not shown" for path in unreadable]
    readable = {path: record for path, record in found.items() if record is not None}
    return dict(sorted(readable.items(), key=lambda item: item[1].command)), warnings


def is_under_way(record: SweepRecord, states: Mapping[str, RunState]) -> bool | None:
    """Whether somebody works on a sweep; None where that cannot be told from here.

    Args:
        record: the sweep.
        states: of the runs that were begun, by run id.
    """
    begun = [states[run.run_id] for run in record.runs if run.run_id in states]
    if process_is_here(record.process) or any(state.name == "running" for state in begun):
        return True
    return False if process_is_gone(record.process) else None


def _records(folder: Path) -> dict[Path, SweepRecord | None]:
    """None for what cannot be read. One that goes meanwhile is left out."""
    found: dict[Path, SweepRecord | None] = {}
    if not folder.is_dir():
        return found
    for path in sorted(folder.glob("*.json")):
        try:
            found[path] = SweepRecord.model_validate_json(read_regular(path, _LIMIT))
        except FileNotFoundError:
            continue
        except (OSError, ValidationError):
            found[path] = None
    return found
