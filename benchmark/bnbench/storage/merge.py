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
from pydantic import JsonValue

from bnbench.errors import UserError
from bnbench.storage.document import (
    RUN_JSON,
    ForeignVersionError,
    RunDocument,
    UnreadableDocumentError,
    missing_tables,
    read_document,
    table_path,
)
from bnbench.storage.files import StorageError, reported, sync_folder, temporary_name
from bnbench.storage.lock import acquire_lock
from bnbench.storage.migration import Migration, find_migrations, migrate_run
from bnbench.storage.parts import check_file
from bnbench.storage.recorder import remove_progress
from bnbench.storage.schema import SCHEMA_VERSION, TABLES, TableName, value_columns
from bnbench.storage.store import ResultStore
from bnbench.storage.workspace import LockLostError, Workspace, workspaces

STAGING = ".merge-"
"""How the folder begins in which runs are put together before they appear; a merge that is killed leaves it behind."""

_CIRCUMSTANCES = {
    "device": ("device",),
    "threads": ("threads",),
    "processor": ("platform", "processor"),
    "torch": ("versions", "torch"),
}
"""What of a run's provenance may change its last bits, and where it stands there."""

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


@dataclass(frozen=True)
class _Standing:
    """How a run stands in one folder."""

    folder: Path
    state: Literal["result", "failed", "unfinished", "damaged"]
    document: RunDocument | None
    """Of a result or a failed run."""
    wrong: str = ""
    """What is damaged."""


@dataclass(frozen=True)
class _Found:
    """A run's folder in another results folder, and what brings it to this version; nothing, mostly."""

    folder: Path
    migrations: tuple[Migration, ...]


def merge_stores(store: Path, sources: Sequence[Path], *, migrate: bool = False) -> list[MergedRun]:
    """Copy into a results folder what others have and it has not. The others are only read.

    Each run is put together in a hidden folder, compared with its recorded digests, brought to disk, and then renamed.
    Where an attempt at it was here, its files are renamed one by one, `run.json` last: it is a result whole or not at
    all. `timing` is not compared, since it differs from run to run.

    Args:
        store: the results folder that runs are copied to; made if need be.
        sources: the other results folders; of two that disagree, the first one counts.
        migrate: bring runs of older schema versions to the current one on the way.

    Returns:
        What became of each run of each source, in order.

    Raises:
        UserError: a source is missing, empty or the store itself, or was written by a newer schema version, or by an
            older one without `migrate` or that nothing is known to migrate; nothing has been written.
        StorageError: something cannot be read or written; what was copied so far is whole.
    """
    found = [(source, _survey(source, store, migrate=migrate)) for source in sources]
    here = ResultStore.open(store, create=True)
    with reported(store), tempfile.TemporaryDirectory(prefix=STAGING, dir=store) as staging:
        return [_merge_run(run, source, here, Path(staging)) for source, runs in found for run in runs]


def _survey(source: Path, store: Path, *, migrate: bool) -> list[_Found]:
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
    return [_Found(folder, _needed(source, folder, migrate=migrate)) for folder in runs]


def _needed(source: Path, folder: Path, *, migrate: bool) -> tuple[Migration, ...]:
    try:
        read_document(folder)
    except UnreadableDocumentError:
        return ()  # a damaged run; said when its turn comes
    except ForeignVersionError as error:
        if error.version < SCHEMA_VERSION and not migrate:
            raise UserError(
                f"{source} was written by an older bnbench (schema {error.version}; this one writes {SCHEMA_VERSION})",
                hint="`bnbench merge --migrate …` brings its runs over; the folder itself stays as it is.",
            ) from error
        try:
            return find_migrations(error.version)
        except UserError as unknown:
            raise UserError(f"{source} cannot be merged: {unknown.problem}", hint=unknown.hint) from error
    return ()


def _merge_run(run: _Found, source: Path, here: ResultStore, staging: Path) -> MergedRun:
    own_place = Path(tempfile.mkdtemp(dir=staging))
    try:
        verdict, detail = _settle(run, here, own_place)
    except StorageError as error:
        # Writing raises OSError: this is a file of one of the two folders that is not what was recorded.
        verdict, detail = "damaged", error.problem
    finally:
        shutil.rmtree(own_place)
    return MergedRun(run.folder.name, source, verdict, detail)


def _settle(run: _Found, here: ResultStore, own_place: Path) -> tuple[Verdict, str]:
    """Decide what becomes of one run, and do it."""
    folder = migrate_run(run.folder, run.migrations, own_place) if run.migrations else run.folder
    theirs = _look(folder)
    if theirs.state == "unfinished":
        return "unfinished", ""
    if theirs.state == "damaged":
        return "damaged", theirs.wrong
    home = here.run_folder(run.folder.name)
    while not home.exists():
        if _appear(_stage(theirs, own_place / "staged" / home.name), home):
            return "copied", "failed there" if theirs.state == "failed" else ""
    if (settled := _against(_look(home), theirs)) is not None:
        return settled
    return _replace(theirs, home)


def _against(ours: _Standing, theirs: _Standing) -> tuple[Verdict, str] | None:
    """What becomes of a run that is here too; None where the other one is to take its place."""
    if theirs.state == "failed":
        return "kept", f"{_status(ours)} here, failed there"
    if ours.state != "result":
        return None
    different = _differences(ours, theirs)
    return ("conflict", "; ".join(different)) if different else ("identical", "")


def _look(folder: Path) -> _Standing:
    try:
        document = read_document(folder)
    except UnreadableDocumentError as error:
        return _Standing(folder, "damaged", None, f"{folder / RUN_JSON} {error}")
    if document is None:
        return _Standing(folder, "unfinished", None)
    if not document.is_result:
        return _Standing(folder, "failed", document)
    if wrong := missing_tables(folder, document):
        return _Standing(folder, "damaged", document, f"{folder}: {', '.join(wrong)}")
    return _Standing(folder, "result", document)


def _status(standing: _Standing) -> str:
    return _document(standing).status if standing.state == "result" else standing.state


def _document(standing: _Standing) -> RunDocument:
    assert standing.document is not None, "a result and a failed run have a document"
    return standing.document


def _differences(ours: _Standing, theirs: _Standing) -> list[str]:
    """What two results of one run disagree in; empty where they hold the same, bit for bit."""
    our, their = _document(ours), _document(theirs)
    ends = [(each.status, each.diverged_at_step) for each in (our, their)]
    found = [] if ends[0] == ends[1] else [f"{_end(*ends[0])} here, {_end(*ends[1])} there"]
    tables = [table for table in TABLES if table != "timing" and _table_differs(table, ours, theirs)]
    if tables:
        found.append(f"{', '.join(tables)} {'differs' if len(tables) == 1 else 'differ'}")
    return found + _circumstances(our, their) if found else []


def _circumstances(our: RunDocument, their: RunDocument) -> list[str]:
    """In which circumstances that touch the bits two records of one run differ: often all there is to explain."""
    found: list[str] = []
    for name, keys in _CIRCUMSTANCES.items():
        here, there = (_inside(document.provenance, keys) for document in (our, their))
        if here != there:
            found.append(f"{name} {here} here, {there} there")
    return found


def _inside(value: JsonValue, keys: Sequence[str]) -> JsonValue:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _end(status: str, step: int | None) -> str:
    return status if step is None else f"{status} at step {step}"


def _table_differs(table: TableName, ours: _Standing, theirs: _Standing) -> bool:
    our, their = _document(ours).tables.get(table), _document(theirs).tables.get(table)
    if our == their:
        return False
    if our is None or their is None:
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
    return [array.to_numpy(zero_copy_only=False).tobytes()]


def _stage(run: _Standing, target: Path) -> Path:
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
    shutil.copyfile(source, target)
    with target.open("rb+") as file:
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


def _replace(theirs: _Standing, home: Path) -> tuple[Verdict, str]:
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
            ours = _look(home)
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
        return _against(_look(home), theirs) or _UNDER_WAY


def _exchange(staged: Path, workspace: Workspace) -> None:
    """Let the files of a run appear, `run.json` last; where one cannot, those that were there are put back."""
    home = workspace.run_folder
    undo: list[tuple[Path, Path]] = []
    try:
        for name in (*(table_path(home, table).name for table in TABLES), RUN_JSON):
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
