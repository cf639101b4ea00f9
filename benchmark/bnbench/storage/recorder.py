"""The recorder: takes a run's rows, keeps them safe in parts, and turns them into the final tables once.

The order in which things reach the disk is what makes a run atomic: parts, then the tables, then `run.json`,
then the parts go. A process that dies in between leaves a folder without `run.json`, which is no result. Everything
goes by way of the writer's workspace, so a process that is no longer the run's writer changes nothing.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa

from bnbench.measurement import TABLES, RunIdentity, Values
from bnbench.storage.checkpoints import CheckpointHeader, drop_checkpoints, save_checkpoint
from bnbench.storage.compaction import compact
from bnbench.storage.document import (
    RUN_JSON,
    ForeignVersionError,
    RunDocument,
    UnreadableDocumentError,
    make_document,
    missing_tables,
    read_document,
    table_path,
    write_document,
)
from bnbench.storage.files import StorageError, reported, sync_folder, temporary_files
from bnbench.storage.lock import RunLock
from bnbench.storage.parts import drop_parts, write_flush
from bnbench.storage.provenance import without_places
from bnbench.storage.schema import (
    SCHEMA_VERSION,
    TableName,
    promised_tables,
    value_table,
)
from bnbench.storage.set_aside import set_aside
from bnbench.storage.workspace import Workspace, make_workspace


class RunRecorder:
    """Writes one run. Not to be shared between threads; one recorder a run folder."""

    def __init__(self, folder: Path, identity: RunIdentity, *, next_part: int = 0, lock: RunLock | None = None) -> None:
        """A recorder on a folder that is ready for it; `RunRecorder.open` and `RunRecorder.resume` make it ready.

        Args:
            folder: the run's.
            identity: the run.
            next_part: the number of the next flush.
            lock: the run's, held by this process; None for a run that no other process writes.

        Raises:
            OSError: there is no lock, and a workspace cannot be made.
        """
        self.folder = folder
        self.identity = identity
        self.workspace = _only_workspace(folder) if lock is None else lock.workspace
        """Where parts and checkpoints lie, and everything else is made."""
        self._lock = lock
        self._next_part = next_part
        self._pending: dict[TableName, dict[tuple[str, ...], list[pa.Table]]] = {}
        """By table and by row group: what was taken since the last flush."""
        self._closed = False

    @classmethod
    def open(cls, store: Path, identity: RunIdentity, lock: RunLock | None = None) -> RunRecorder:
        """Start recording a run from its first step; what an unfinished attempt left is removed.

        Args:
            store: the results folder; made if it is not there.
            identity: the run; its `run_id` names the folder.
            lock: as for the recorder itself.

        Raises:
            LockLostError: another process is the run's writer.
            StorageError: the folder cannot be written, or the run is there and finished.
        """
        folder = store / identity.run_id
        with reported(folder):
            if lock is None:
                folder.mkdir(parents=True, exist_ok=True)
                _refuse_result(folder)
            recorder = cls(folder, identity, lock=lock)
        with recorder.workspace.writing():
            _refuse_result(folder)
            clear_run(recorder.workspace)
            sync_folder(folder)
            sync_folder(store)
        return recorder

    @classmethod
    def resume(cls, store: Path, identity: RunIdentity, next_part: int, lock: RunLock | None = None) -> RunRecorder:
        """Go on recording behind the flushes that a checkpoint relies on; whatever came later is removed.

        Args:
            store: the results folder.
            identity: the run.
            next_part: the number in the checkpoint's header.
            lock: as for the recorder itself.

        Raises:
            LockLostError: another process is the run's writer.
            StorageError: the folder cannot be written, or the run is there and finished.
        """
        folder = store / identity.run_id
        with reported(folder):
            recorder = cls(folder, identity, next_part=next_part, lock=lock)
        workspace = recorder.workspace
        with workspace.writing():
            _refuse_result(folder)
            _remove_document(workspace)
            _remove_half_written(workspace)
            drop_parts(workspace, next_part)
            sync_folder(workspace.path)
            sync_folder(folder)
        return recorder

    def add(self, table: TableName, columns: Mapping[str, Values]) -> None:
        """Take rows of a table, in the order in which they were measured.

        Args:
            table: which table.
            columns: its measured columns by name, as `bnbench.measurement` declares them. Of a table whose row groups
                are told apart by columns (`affine`: one trajectory each), rows of one group.

        Raises:
            TypeError: a column has another type.
            ValueError: the columns are not those of the table, a value cannot be meant, the rows are of more than one
                row group, or the run has been ended.
            KeyError: there is no such table.
        """
        self._require_open()
        values = value_table(table, columns)
        if len(values):
            group = _row_group(table, values)
            self._pending.setdefault(table, {}).setdefault(group, []).append(values)

    def flush(self) -> int:
        """Put everything taken so far on disk, as one part per table that has rows.

        Where this raises, the rows are still in memory and can be flushed again.

        Returns:
            The number the next parts will have: those below it are safe, and are what a checkpoint taken now
            relies on.

        Raises:
            LockLostError: another process is the run's writer now.
            StorageError: a part cannot be written.
        """
        self._require_open()
        if not self._pending:
            return self._next_part
        groups = {
            table: [pa.concat_tables(blocks) for _, blocks in sorted(own.items())]
            for table, own in self._pending.items()
        }
        with self._writing():
            write_flush(self.workspace, self._next_part, self.identity, groups)
        self._pending = {}
        self._next_part += 1
        return self._next_part

    def checkpoint(self, header: Callable[[int], CheckpointHeader], payload: bytes) -> None:
        """Flush, then put a checkpoint on disk that relies on it.

        Args:
            header: the checkpoint's header for the number that its parts are below.
            payload: the state of training after everything that was recorded.

        Raises:
            LockLostError: another process is the run's writer now.
            StorageError: something cannot be written; the checkpoints before are still there.
        """
        complete = header(self.flush())
        with self._writing():
            save_checkpoint(self.workspace, complete, payload)

    def finish(self, document: Mapping[str, Any]) -> RunDocument:
        """Turn the parts into the final tables, then write `run.json`, then remove the parts.

        Args:
            document: `status` ("finished" or "diverged"), `RunSpec.document()`, `provenance`, and where it applies
                `diverged_at_step`. The schema version, the ids and the facts of the tables are added.

        Raises:
            LockLostError: another process is the run's writer now.
            StorageError: something cannot be written; there is no `run.json` then.
            TypeError: a value of the document has no JSON form.
            ValueError: the document is not valid, the status is "failed", the specification asks for a probe that is
                not known, or rows were recorded for a table that it does not promise.
        """
        self._require_open()
        checked = self._document(document)
        if not checked.is_result:
            raise ValueError("a failed run is ended with fail(), not with finish()")
        self.flush()
        with self._writing():
            tables = compact(
                self.workspace, self.identity, promised_tables(checked.specification.probes), checked.slots
            )
        complete = checked.model_copy(update={"tables": tables})
        write_document(self.workspace, complete)
        # The run is a result now; parts that cannot be removed take up room and do no harm.
        with suppress(OSError):
            remove_progress(self.workspace)
        self._end()
        return complete

    def fail(self, document: Mapping[str, Any]) -> RunDocument:
        """Write `run.json` of a run that failed. Checkpoints and flushed parts stay, anything less is removed.

        Args:
            document: `error` (the traceback; places on this machine are taken out of it), `RunSpec.document()`,
                `provenance`.

        Raises:
            LockLostError: another process is the run's writer now.
            StorageError: it cannot be written; there is no `run.json` then.
            TypeError: a value of the document has no JSON form.
            ValueError: the document is not valid.
        """
        self._require_open()
        error = document.get("error")
        told = without_places(error, self.folder.parent) if isinstance(error, str) else error
        checked = self._document({**document, "status": "failed", "error": told})
        with self._writing():
            _remove_half_written(self.workspace)
        write_document(self.workspace, checked)
        self._end()
        return checked

    @contextmanager
    def _writing(self) -> Iterator[None]:
        if self._lock is not None:
            self._lock.check()
        with self.workspace.writing():
            yield

    def _end(self) -> None:
        self._closed = True
        if self._lock is None:
            self.workspace.leave()

    def _document(self, document: Mapping[str, Any]) -> RunDocument:
        own = {"schema": SCHEMA_VERSION, "run_id": self.identity.run_id, "setting_id": self.identity.setting_id}
        for key, value in own.items():
            if document.get(key, value) != value:
                raise ValueError(f"{key} = {document[key]!r} in the document of the run with {key} = {value!r}")
        made = make_document({**document, **own})
        if made.identity != self.identity:
            raise ValueError(f"the document of {made.identity} is not that of {self.identity}")
        return made

    def _require_open(self) -> None:
        if self._closed:
            raise ValueError(f"the run {self.identity.run_id} has been ended: nothing can be recorded any more")


def _row_group(table: TableName, values: pa.Table) -> tuple[str, ...]:
    """The row group that rows belong to, by the columns that tell the table's groups apart."""
    found: list[str] = []
    for name in TABLES[table].row_group:
        names = [str(each) for each in values.column(name).unique().to_pylist()]
        if len(names) > 1:
            raise ValueError(f"rows of {table} with more than one {name}: {', '.join(names)}")
        found += names
    return tuple(found)


def clear_run(workspace: Workspace) -> None:
    """Remove what the recorder writes from a run's folder, `run.json` first; files of others stay.

    A `run.json` that cannot be read is set aside instead: it may have belonged to a result.

    Raises:
        LockLostError: another process is the run's writer now.
        OSError: something cannot be removed.
    """
    # Without its run.json the run is no result, so a kill in the middle of this leaves an unfinished run.
    _remove_document(workspace)
    _remove_half_written(workspace)
    # A checkpoint is worth nothing without the parts it relies on, so it goes before them.
    drop_checkpoints(workspace)
    drop_parts(workspace)


def remove_progress(workspace: Workspace) -> None:
    """Remove what an ended run was put together from: its checkpoints and parts, and all else in the workspace.

    Raises:
        OSError: something cannot be removed.
    """
    drop_checkpoints(workspace)
    drop_parts(workspace)
    for path in workspace.path.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _only_workspace(folder: Path) -> Workspace:
    """For a run without a lock, because nobody else is at work on it."""
    workspace = make_workspace(folder)
    workspace.swallow_others()
    return workspace


def _remove_document(workspace: Workspace) -> None:
    path = workspace.run_folder / RUN_JSON
    try:
        read_document(workspace.run_folder)
    except UnreadableDocumentError:
        set_aside(workspace, path)
    workspace.discard(path)


def _remove_half_written(workspace: Workspace) -> None:
    for table in TABLES:
        workspace.discard(table_path(workspace.run_folder, table))
    for path in temporary_files(workspace.path):
        path.unlink()


def _refuse_result(folder: Path) -> None:
    """A result is never lost: neither a finished run nor one that a newer version wrote is recorded over."""
    try:
        document = read_document(folder)
    except UnreadableDocumentError:
        return
    except ForeignVersionError as error:
        raise StorageError(
            f"{folder} holds a run of schema version {error.version}; this bnbench writes version {SCHEMA_VERSION}",
            hint="Name another folder with --results.",
        ) from error
    if document is not None and document.is_result and not missing_tables(folder, document):
        raise StorageError(f"{folder} holds this run, {document.status}", hint="There is nothing left to record of it.")
