"""Checkpoints on disk: bytes that training made, in an envelope that says whose they are and whether they are whole.

A file is a line with the SHA-256 of everything behind it, a line of JSON (the header), and the bytes. It relies on the
parts below the number in its header: together they are the run's last good state. The newest two are kept, so that a
damaged one costs one interval.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, BinaryIO

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from bnbench.disk import UnfitFileError, open_regular, parse_json, read_regular
from bnbench.measurement import RunIdentity
from bnbench.storage.files import atomic_file, sync_folder
from bnbench.storage.parts import DamagedPartError, check_parts, set_part_aside
from bnbench.storage.schema import SCHEMA_VERSION
from bnbench.storage.set_aside import set_aside
from bnbench.storage.workspace import Workspace, kept_files

KEPT = 2

_NAME = re.compile(r"step-([0-9]{9,})\.checkpoint")
_HEADER_LIMIT = 1 << 20
_LIMIT = 4 << 30
"""Bytes of a checkpoint, which is read into memory: half a milliard weights with their momentum."""

Warn = Callable[[str], None]


class CheckpointHeader(BaseModel):
    """What is known of a checkpoint without its bytes."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    schema_version: Annotated[int, Field(alias="schema", ge=1)]
    run_id: str
    step: Annotated[int, Field(ge=1)]
    """Updates done."""
    total_steps: Annotated[int, Field(ge=1)]
    epoch: Annotated[int, Field(ge=0)]
    """Epochs done, whole ones."""
    epochs: Annotated[int, Field(ge=1)]
    next_part: Annotated[int, Field(ge=0)]
    """The parts below this number hold everything recorded up to `step`."""
    stretches: list[dict[str, JsonValue]]
    """Where the run was trained so far: a record for each process, with the step it began at."""


@dataclass(frozen=True)
class SavedCheckpoint:
    """A checkpoint that was read and found whole."""

    path: Path
    header: CheckpointHeader
    payload: bytes


class DamagedCheckpointError(Exception):
    """A file that is no whole checkpoint of this run; the message says why."""


def save_checkpoint(workspace: Workspace, header: CheckpointHeader, payload: bytes) -> Path:
    """Put a checkpoint on disk, then remove all but the newest two.

    Raises:
        OSError: it cannot be written; the ones before it are still there.
    """
    told = json.dumps(header.model_dump(mode="json", by_alias=True), sort_keys=True, allow_nan=False)
    body = told.encode() + b"\n" + payload
    path = workspace.path / f"step-{header.step:09}.checkpoint"
    with atomic_file(path) as file:
        file.write(hashlib.sha256(body).hexdigest().encode() + b"\n")
        file.write(body)
    sync_folder(workspace.path)
    for older in _newest_first(workspace.path.iterdir())[KEPT:]:
        older.unlink(missing_ok=True)
    return path


def checkpoint_paths(run_folder: Path) -> list[Path]:
    """The checkpoints of a run by step, the newest first, whoever writes it; none of them has been looked at."""
    return _newest_first(kept_files(run_folder))


def load_checkpoint(path: Path, run_id: str) -> SavedCheckpoint:
    """Read a checkpoint and make sure that it is whole and this run's.

    Raises:
        DamagedCheckpointError: it is not.
        OSError: it cannot be read.
    """
    try:
        digest, _, body = read_regular(path, _LIMIT).partition(b"\n")
    except UnfitFileError as error:
        raise DamagedCheckpointError(f"it is {error.strerror}") from error
    if hashlib.sha256(body).hexdigest().encode() != digest:
        raise DamagedCheckpointError("its contents are not those that were written")
    told, _, payload = body.partition(b"\n")
    header = _header(told)
    if header.run_id != run_id:
        raise DamagedCheckpointError(f"it belongs to the run {header.run_id}")
    return SavedCheckpoint(path, header, payload)


def newest_header(run_folder: Path) -> CheckpointHeader | None:
    """How far a run is by its newest checkpoint that can be read; its bytes are not checked.

    Raises:
        OSError: the folder cannot be read.
    """
    for path in checkpoint_paths(run_folder):
        try:
            with open_regular(path) as file:
                return _peek(file)
        except (DamagedCheckpointError, UnfitFileError, FileNotFoundError):  # the last: pruned while we looked
            continue
    return None


def resume_points(workspace: Workspace, identity: RunIdentity, warn: Warn) -> Iterator[SavedCheckpoint]:
    """The states that a run can go on from, the newest first, each checked with the parts it relies on.

    What is damaged or foreign is set aside with a warning. Ask for the next one only when the last turned out to be
    of no use.

    Raises:
        OSError: something cannot be read or set aside.
    """
    for path in _newest_first(workspace.path.iterdir()):
        try:
            saved = load_checkpoint(path, identity.run_id)
        except DamagedCheckpointError as error:
            warn(f"the checkpoint {path.name} is damaged or foreign ({error}); {set_aside(workspace, path)}")
            continue
        try:
            check_parts(workspace, identity, saved.header.next_part)
        except DamagedPartError as error:
            warn(f"{error}; {set_part_aside(workspace, error)}")
            # Whole, but of no use without the part.
            path.unlink()
            continue
        yield saved


def drop_checkpoints(workspace: Workspace) -> None:
    """Remove all checkpoints, the newest first.

    Raises:
        OSError: one cannot be removed.
    """
    for path in _newest_first(workspace.path.iterdir()):
        path.unlink(missing_ok=True)


def _newest_first(paths: Iterable[Path]) -> list[Path]:
    found = [(int(match[1]), path) for path in paths if (match := _NAME.fullmatch(path.name))]
    return [path for _, path in sorted(found, reverse=True)]


def _peek(file: BinaryIO) -> CheckpointHeader:
    file.readline(_HEADER_LIMIT)
    return _header(file.readline(_HEADER_LIMIT))


def _header(told: bytes) -> CheckpointHeader:
    try:
        header = CheckpointHeader.model_validate(parse_json(told))
    except (ValidationError, ValueError) as error:
        raise DamagedCheckpointError("it has no header") from error
    if header.schema_version != SCHEMA_VERSION:
        raise DamagedCheckpointError(f"it is of schema version {header.schema_version}")
    return header
