"""Parts: the immutable pieces that a running run leaves in its writer's workspace, and what vouches for them.

A flush writes one part per table that has rows, then a record with their sizes and digests. Only what a record names
counts: a flush that was cut off leaves nothing that could be taken for data. A part is compared with its digest
before anything else reads it, because a damaged Parquet footer can end the whole process instead of raising an error.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bnbench.disk import UnfitFileError, open_regular, parse_json, read_regular, require_regular
from bnbench.measurement import RunIdentity
from bnbench.storage.files import StorageError, atomic_file, sync_folder
from bnbench.storage.schema import (
    SCHEMA_VERSION,
    TableName,
    file_schema,
    parquet_writer,
    value_columns,
    with_identity,
)
from bnbench.storage.set_aside import set_aside
from bnbench.storage.workspace import Workspace

REPEAT = "Delete the run's folder to repeat the run."

_RECORD_LIMIT = 1 << 20
"""Bytes of a flush record, which names at most one file for each table: a thousand times as many."""
_RECORD = re.compile(r"flush-([0-9]{6,})\.json")
_PART = re.compile(r"[a-z0-9][a-z0-9_]*-([0-9]{6,})\.parquet")


class DamagedPartError(Exception):
    """A flush that a checkpoint relies on is damaged, foreign or gone."""

    def __init__(self, number: int, reason: str) -> None:
        self.number = number
        super().__init__(reason)


class TableFacts(BaseModel):
    """What a Parquet file is like on disk, so that a damaged one is noticed."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    rows: Annotated[int, Field(ge=0)]
    bytes: Annotated[int, Field(gt=0)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class FlushRecord(BaseModel):
    """One flush: written after its parts, and what makes them count."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    schema_version: Annotated[int, Field(alias="schema", ge=1)]
    run_id: str
    number: Annotated[int, Field(ge=0)]
    parts: dict[TableName, TableFacts]


@dataclass(frozen=True)
class Part:
    """One part that counts: which table, by which flush (counted from 0), and what it was like when written."""

    path: Path
    table: TableName
    number: int
    facts: TableFacts


def part_path(workspace: Workspace, table: TableName, number: int) -> Path:
    """Where a part lies."""
    return workspace.path / f"{table}-{number:06}.parquet"


def record_path(workspace: Workspace, number: int) -> Path:
    """Where a flush record lies."""
    return workspace.path / f"flush-{number:06}.json"


def write_flush(
    workspace: Workspace, number: int, identity: RunIdentity, groups: Mapping[TableName, Iterable[pa.Table]]
) -> None:
    """Write the parts of one flush, then its record.

    Raises:
        OSError: something cannot be written; without its record the flush does not count, and may be repeated.
    """
    facts = {
        table: write_row_groups(part_path(workspace, table, number), table, identity, tables)
        for table, tables in groups.items()
    }
    sync_folder(workspace.path)
    record = FlushRecord.model_validate(
        {"schema": SCHEMA_VERSION, "run_id": identity.run_id, "number": number, "parts": facts}
    )
    with atomic_file(record_path(workspace, number)) as file:
        text = json.dumps(record.model_dump(mode="json", by_alias=True), sort_keys=True, indent=1)
        file.write(f"{text}\n".encode())
    sync_folder(workspace.path)


def find_parts(workspace: Workspace, identity: RunIdentity) -> list[Part]:
    """The parts that count, by number, then table; other files are passed over.

    Raises:
        StorageError: a record is damaged, foreign or missing between others.
        OSError: the workspace is not there, or cannot be read.
    """
    numbers = _record_numbers(workspace)
    if numbers != list(range(len(numbers))):
        raise StorageError(f"{workspace.path} has a gap: it holds the flushes {numbers}", hint=REPEAT)
    return [part for number in numbers for part in _recorded(workspace, number, identity)]


def check_parts(workspace: Workspace, identity: RunIdentity, below: int) -> None:
    """Make sure that the flushes below a number are all there and whole.

    Raises:
        DamagedPartError: one is not; it names the first.
        OSError: a record cannot be read.
    """
    for number in range(below):
        try:
            for part in _recorded(workspace, number, identity):
                check_file(part.path, part.facts)
        except StorageError as error:
            raise DamagedPartError(number, error.problem) from error
        except FileNotFoundError as error:
            raise DamagedPartError(number, f"{record_path(workspace, number)} is missing") from error


def set_part_aside(workspace: Workspace, damaged: DamagedPartError) -> str:
    """Move what there is of a damaged flush out of the way, its record first: it no longer counts then.

    Returns:
        Where it went, as the end of a sentence.

    Raises:
        OSError: something cannot be moved.
    """
    number = damaged.number
    parts = [path for path in _listed(workspace) if (match := _PART.fullmatch(path.name)) and int(match[1]) == number]
    moved = [set_aside(workspace, path) for path in (record_path(workspace, number), *parts) if path.exists()]
    return moved[-1] if moved else "nothing is left of it"


def drop_parts(workspace: Workspace, start: int = 0) -> None:
    """Remove the flushes from a number on, and parts that no record vouches for.

    The last goes first, and its record before its parts: being cut off leaves a shorter run, never one with a gap.

    Raises:
        OSError: something cannot be removed.
    """
    for number in reversed(_record_numbers(workspace)):
        if number >= start:
            record_path(workspace, number).unlink()
    for path in _listed(workspace):
        match = _PART.fullmatch(path.name)
        if match and not record_path(workspace, int(match[1])).exists():
            path.unlink()


def write_row_groups(
    path: Path,
    table: TableName,
    identity: RunIdentity,
    groups: Iterable[pa.Table],
    made_in: Path | None = None,
    slots: Sequence[str] = (),
) -> TableFacts:
    """Write a table's file atomically, one row group per given table of measured columns.

    Args:
        path: where it is to appear.
        table: which table.
        identity: the run.
        groups: the row groups.
        made_in: the folder that it is written in until then; that of `path` if None.
        slots: the network's, of a run's final table.

    Raises:
        OSError: the file cannot be written; what was at `path` before is still there.
    """
    rows = 0
    with atomic_file(path, made_in) as file, parquet_writer(file, table, identity, slots) as writer:
        for values in groups:
            if len(values):
                writer.write_table(with_identity(table, identity, values), row_group_size=len(values))
                rows += len(values)
    return TableFacts(rows=rows, bytes=path.stat().st_size, sha256=_sha256(path))


def check_file(path: Path, facts: TableFacts) -> None:
    """Compare a file with what is known of it, before a Parquet reader touches it.

    Raises:
        StorageError: it is missing, cannot be read, or is not what was written.
    """
    try:
        with open_regular(path) as file:
            if (size := os.fstat(file.fileno()).st_size) != facts.bytes:
                raise StorageError(f"{path} is damaged: it has {size} bytes instead of {facts.bytes}", hint=REPEAT)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        # What only cannot be read now may be as good as ever: it is not to be deleted.
        hint = REPEAT if isinstance(error, FileNotFoundError) else None
        raise StorageError(f"{path} cannot be read: {error.strerror or error}", hint=hint) from error
    if digest != facts.sha256:
        raise StorageError(f"{path} is damaged: its contents are not those that were written", hint=REPEAT)


def open_part(part: Part, identity: RunIdentity) -> pq.ParquetFile:
    """A part that has been checked, opened for reading.

    Raises:
        StorageError: it is not a part of this run.
        OSError: it cannot be read.
    """
    require_regular(part.path)
    file = pq.ParquetFile(part.path, page_checksum_verification=True)
    if not file.schema_arrow.equals(file_schema(part.table, identity), check_metadata=True):
        file.close()
        raise StorageError(f"{part.path} is not a part of the run {identity.run_id}", hint=REPEAT)
    return file


def read_group(part: Part, identity: RunIdentity, group: int) -> pa.Table:
    """The measured columns of one row group of a part that has been checked.

    Raises:
        StorageError: it is not a part of this run.
        OSError: it cannot be read.
    """
    with open_part(part, identity) as file:
        return file.read_row_group(group, columns=value_columns(part.table), use_threads=False)


def _recorded(workspace: Workspace, number: int, identity: RunIdentity) -> list[Part]:
    path = record_path(workspace, number)
    try:
        record = FlushRecord.model_validate(parse_json(read_regular(path, _RECORD_LIMIT)))
    except UnfitFileError as error:
        raise StorageError(f"{path} is damaged: it is {error.strerror}", hint=REPEAT) from error
    except (ValidationError, ValueError) as error:
        raise StorageError(f"{path} is damaged: it is no flush record", hint=REPEAT) from error
    if (record.schema_version, record.run_id, record.number) != (SCHEMA_VERSION, identity.run_id, number):
        raise StorageError(f"{path} is not a flush record of the run {identity.run_id}", hint=REPEAT)
    return [
        Part(part_path(workspace, table, number), table, number, facts) for table, facts in sorted(record.parts.items())
    ]


def _record_numbers(workspace: Workspace) -> list[int]:
    return sorted(int(match[1]) for path in _listed(workspace) if (match := _RECORD.fullmatch(path.name)))


def _listed(workspace: Workspace) -> list[Path]:
    # A workspace that is not there is an error: it is another writer's now, and must not be taken for an empty one.
    return sorted(workspace.path.iterdir())


def _sha256(path: Path) -> str:
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
