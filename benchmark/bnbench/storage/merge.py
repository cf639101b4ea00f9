"""Merging results folders: runs recorded elsewhere join those recorded here, and nothing here is ever overwritten.

A run is one run wherever it was recorded: its id is a hash of everything that decides its numbers. So two folders
that hold the same run must agree; where they do not, both stay as they are and what differs is named.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa

from bnbench.disk import open_regular
from bnbench.errors import UserError
from bnbench.measurement import TABLES
from bnbench.storage.circumstances import differing_circumstances
from bnbench.storage.document import (
    RUN_JSON,
    RunDocument,
    table_path,
)
from bnbench.storage.examine import Found, examine
from bnbench.storage.files import StorageError, reported, sync_folder, temporary_name
from bnbench.storage.lock import acquire_lock
from bnbench.storage.parts import check_file
from bnbench.storage.recorder import remove_progress
from bnbench.storage.schema import TableName, value_columns
from bnbench.storage.store import ResultStore, other_version
from bnbench.storage.workspace import LockLostError, Workspace, workspaces

STAGING = ".merge-"
"""How the folder begins in which runs are put together before they appear; a merge that is killed leaves it behind."""

Verdict = Literal["copied", "replaced", "identical", "kept", "conflict", "unfinished", "damaged"]
"""What became of a run of another folder:

copied: it was not here; replaced: only a failed, unfinished or damaged attempt was here; identical: it is here with the
same contents; kept: what is here is worth more; conflict: it is here with other contents; unfinished: it has not ended
there, so there is nothing to copy; damaged: its files there are not what was recorded.
"""

_STAGED = ".staged"
"""The folder in a writer's workspace in which a run is put together that takes the place of an attempt."""

_UNDER_WAY: tuple[Verdict, str] = ("kept", "under way here")


@dataclass(frozen=True)
class MergedRun:
    """What became of one run."""

    run_id: str
    source: Path
    """The folder it was to come from."""
    verdict: Verdict
    detail: str = ""
    """What differs, what is wrong, what it replaced; empty where there is nothing to say."""


def merge_stores(store: Path, sources: Sequence[Path]) -> list[MergedRun]:
    """Copy into a results folder what others have and it has not. The others are only read.

    Each run is put together in a hidden folder, compared with its recorded digests, brought to disk, and then renamed.
    Where an attempt at it was here, its files are renamed one by one, `run.json` last: it is a result whole or not at
    all. `timing` is not compared, since it differs from run to run.

    Args:
        store: the results folder that runs are copied to; made if need be.
        sources: the other results folders; of two that disagree, the first one counts.

    Returns:
        What became of each run of each source, in order.

    Raises:
        UserError: a source is missing, empty or the store itself, or holds only runs of another schema version;
            nothing has been written.
        StorageError: something cannot be read or written; what was copied so far is whole.
    """
    found = [(source, _survey(source, store)) for source in sources]
    here = ResultStore.open(store, create=True)
    with reported(store), tempfile.TemporaryDirectory(prefix=STAGING, dir=store) as staging:
        return [_merge_run(run, source, here, Path(staging)) for source, runs in found for run in runs]


def _survey(source: Path, store: Path) -> list[Path]:
    """The run folders of a source, every version looked at before anything is copied."""
    with reported(source, "read"):
        if not source.is_dir():
            raise UserError(f"no results in {source}", hint="Name results folders, as --results takes them.")
        if store.is_dir() and source.samefile(store):
            raise UserError(f"{source} cannot be merged into itself", hint="--results names the folder to merge into.")
        folders = sorted(path for path in source.iterdir() if not path.name.startswith(".") and path.is_dir())
    runs = [folder for folder in folders if (folder / RUN_JSON).exists() or workspaces(folder)]
    if not runs:
        raise UserError(f"no results in {source}", hint="Name results folders, as --results takes them.")
    foreign = [version for folder in runs if (version := examine(folder).foreign_version) is not None]
    # Among runs of this version a single one of another is that run's trouble alone.
    if len(foreign) == len(runs):
        raise other_version(source, foreign[0])
    return runs


def _merge_run(run: Path, source: Path, here: ResultStore, staging: Path) -> MergedRun:
    own_place = Path(tempfile.mkdtemp(dir=staging))
    try:
        verdict, detail = _settle(run, here, own_place)
    except StorageError as error:
        # Writing raises OSError: this is a file of one of the two folders that is not what was recorded.
        verdict, detail = "damaged", error.problem
    finally:
        shutil.rmtree(own_place)
    return MergedRun(run.name, source, verdict, detail)


def _settle(run: Path, here: ResultStore, own_place: Path) -> tuple[Verdict, str]:
    """Decide what becomes of one run, and do it."""
    theirs = examine(run)
    if theirs.kind == "unfinished":
        return "unfinished", ""
    if theirs.kind == "damaged":
        return "damaged", theirs.wrong
    home = here.run_folder(run.name)
    while not home.exists():
        if _appear(_stage(theirs, own_place / "staged" / home.name), home):
            return "copied", "failed there" if theirs.kind == "failed" else ""
    if (settled := _against(examine(home), theirs)) is not None:
        return settled
    return _replace(theirs, home)


def _against(ours: Found, theirs: Found) -> tuple[Verdict, str] | None:
    """What becomes of a run that is here too; None where the other one is to take its place."""
    if theirs.kind == "failed":
        return "kept", f"{_status(ours)} here, failed there"
    if ours.foreign_version is not None:
        return "kept", f"of schema version {ours.foreign_version} here"
    if ours.kind != "result":
        return None
    different = _differences(ours, theirs)
    return ("conflict", "; ".join(different)) if different else ("identical", "")


def _status(run: Found) -> str:
    return _document(run).status if run.kind == "result" else run.kind


def _document(run: Found) -> RunDocument:
    assert run.document is not None, "a result and a failed run have a document"
    return run.document


def _differences(ours: Found, theirs: Found) -> list[str]:
    """What two results of one run disagree in; empty where they hold the same, bit for bit."""
    our, their = _document(ours), _document(theirs)
    ends = [(each.status, each.diverged_at_step) for each in (our, their)]
    found = [] if ends[0] == ends[1] else [f"{_end(*ends[0])} here, {_end(*ends[1])} there"]
    named = dict.fromkeys((*our.tables, *their.tables))
    tables = [table for table in named if table != "timing" and _table_differs(table, ours, theirs)]
    if tables:
        found.append(f"{', '.join(tables)} {'differs' if len(tables) == 1 else 'differ'}")
    return found + _circumstances(our, their) if found else []


def _circumstances(our: RunDocument, their: RunDocument) -> list[str]:
    """In which circumstances that touch the bits two records of one run differ: often all there is to explain."""
    differing = differing_circumstances(our.provenance, their.provenance)
    return [f"{name} {here} here, {there} there" for name, (here, there) in differing.items()]


def _end(status: str, step: int | None) -> str:
    return status if step is None else f"{status} at step {step}"


def _table_differs(table: TableName, ours: Found, theirs: Found) -> bool:
    our, their = _document(ours).tables.get(table), _document(theirs).tables.get(table)
    if our == their:
        return False
    if our is None or their is None or table not in TABLES:
        return True
    # Another Parquet library, or the same problem under another name, makes other bytes of the same numbers.
    left, right = ((ResultStore(each.folder.parent), each.folder.name) for each in (ours, theirs))
    return any(
        _bits(left[0].read(left[1], table, [column])) != _bits(right[0].read(right[1], table, [column]))
        for column in value_columns(table)
    )


def _bits(values: pa.Table) -> list[bytes]:
    """A column's numbers as they are, NaN included; texts as they are."""
    (column,) = values.columns
    array = column.combine_chunks()
    if isinstance(array, pa.ListArray):
        lengths = array.value_lengths().to_numpy(zero_copy_only=False)
        return [lengths.tobytes(), array.flatten().to_numpy(zero_copy_only=False).tobytes()]
    if array.type == pa.string():
        return [str(each).encode() for each in array.to_pylist()]
    if pa.types.is_integer(array.type) or pa.types.is_floating(array.type):
        return [array.to_numpy(zero_copy_only=False).tobytes()]
    raise TypeError(f"no comparison is defined for a column of type {array.type}")


def _stage(run: Found, target: Path) -> Path:
    """A copy of a run, compared with its digests and on disk. Of a failed run, its record alone."""
    target.mkdir(parents=True)
    document = _document(run)
    for table, facts in document.tables.items():
        check_file(table_path(run.folder, table), facts)
        _copy(table_path(run.folder, table), table_path(target, table))
        check_file(table_path(target, table), facts)
    _copy(run.folder / RUN_JSON, target / RUN_JSON)
    sync_folder(target)
    return target


def _copy(source: Path, target: Path) -> None:
    with open_regular(source) as original, target.open("xb") as file:
        shutil.copyfileobj(original, file)
        file.flush()
        os.fsync(file.fileno())


def _appear(staged: Path, home: Path) -> bool:
    """Let a run appear that is not here; False where it has been begun here, or merged, meanwhile."""
    try:
        staged.rename(home)  # which never replaces a folder that has something in it
    except OSError as error:
        shutil.rmtree(staged)
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return False
        raise
    sync_folder(home.parent)
    return True


def _replace(theirs: Found, home: Path) -> tuple[Verdict, str]:
    """Put a run in the place of an attempt at it, unless somebody is at work on it, or it has come to its end."""
    try:
        lock = acquire_lock(home)
    except StorageError as error:
        # No file of a run is damaged: this folder cannot be written.
        raise error.__cause__ or error from None
    if lock is None:
        return _UNDER_WAY
    try:
        with lock, lock.workspace.owned():
            # Looked at again: nobody else writes here from now on.
            ours = examine(home)
            if (settled := _against(ours, theirs)) is not None:
                return settled
            staged = lock.workspace.path / _STAGED
            try:
                _exchange(_stage(theirs, staged), lock.workspace)
            finally:
                shutil.rmtree(staged, ignore_errors=True)
            with suppress(OSError):
                remove_progress(lock.workspace)
            return "replaced", f"{_status(ours)} here, {_status(theirs)} there"
    except LockLostError:
        return _against(examine(home), theirs) or _UNDER_WAY


def _exchange(staged: Path, workspace: Workspace) -> None:
    """Let the files of a run appear, `run.json` last; where one cannot, those that were there are put back."""
    home = workspace.run_folder
    undo: list[tuple[Path, Path]] = []
    try:
        tables = {table_path(home, table).name for table in TABLES} | {path.name for path in staged.glob("*.parquet")}
        for name in (*sorted(tables), RUN_JSON):
            before, now = workspace.path / temporary_name(name), home / name
            if workspace.move(now, before):
                undo.append((before, now))
            if workspace.move(staged / name, now):
                undo.append((now, staged / name))
                sync_folder(home)
    except OSError:
        for source, target in reversed(undo):
            workspace.move(source, target)
        raise
