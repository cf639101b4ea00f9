"""The recorder: takes a run's rows, keeps them safe in parts, and turns them into the final tables once.

The order in which things reach the disk is what makes a run atomic: parts, then the tables, then `run.json`,
then the parts go. A process that dies in between leaves a folder without `run.json`, which is no result. Everything
goes by way of the writer's workspace, so a process that is no longer the run's writer changes nothing.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from bnbench.plan import RunIdentity
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
from bnbench.storage.rows import AffineBlock, CurveRow, SparsityRow, StepBlock, TimingRow
from bnbench.storage.schema import SCHEMA_VERSION, TABLES, Column, TableName, promised_tables, value_table
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
        self._pending: dict[TableName, list[pa.Table]] = {table: [] for table in TABLES}
        self._trajectories: dict[tuple[str, str], list[pa.Table]] = {}
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

    def add_curves(self, rows: Iterable[CurveRow]) -> None:
        """Take evaluations, in the order in which they were made."""
        self._require_open()
        taken = list(rows)
        if taken:
            columns: dict[str, Column] = {
                "epoch": np.array([row.epoch for row in taken], np.int64),
                "step": np.array([row.step for row in taken], np.int64),
                "split": [row.split for row in taken],
                "statistics": [row.statistics for row in taken],
                "loss": np.array([row.loss for row in taken], np.float64),
                "accuracy": np.array([row.accuracy for row in taken], np.float64),
            }
            self._pending["curves"].append(value_table("curves", columns))

    def add_steps(self, block: StepBlock) -> None:
        """Take training steps, in ascending order."""
        self._require_open()
        columns: dict[str, Column] = {
            "step": block.step,
            "epoch": block.epoch,
            "batch_loss": block.batch_loss,
            "batch_accuracy": block.batch_accuracy,
            "learning_rate": block.learning_rate,
        }
        self._pending["steps"].append(value_table("steps", columns))

    def add_affine(self, block: AffineBlock) -> None:
        """Take snapshots of one parameter of one slot, in ascending order of steps."""
        self._require_open()
        columns: dict[str, Column] = {
            "step": block.step,
            "slot": [block.slot] * len(block.step),
            "parameter": [block.parameter] * len(block.step),
            "values": block.values,
        }
        values = value_table("affine", columns)
        self._trajectories.setdefault((block.parameter, block.slot), []).append(values)

    def add_timing(self, row: TimingRow) -> None:
        """Take the times of one epoch."""
        self._require_open()
        columns: dict[str, Column] = {
            "epoch": np.array([row.epoch], np.int64),
            "train_s": np.array([row.train_s], np.float64),
            "eval_s": np.array([row.eval_s], np.float64),
            "samples_per_s": np.array([row.samples_per_s], np.float64),
        }
        self._pending["timing"].append(value_table("timing", columns))

    def add_sparsity(self, rows: Iterable[SparsityRow]) -> None:
        """Take what the ReLUs zeroed, in the order in which it was measured."""
        self._require_open()
        taken = list(rows)
        if taken:
            columns: dict[str, Column] = {
                "epoch": np.array([row.epoch for row in taken], np.int64),
                "step": np.array([row.step for row in taken], np.int64),
                "slot": [row.slot for row in taken],
                "zeroed": np.array([row.zeroed for row in taken], np.float64),
            }
            self._pending["sparsity"].append(value_table("sparsity", columns))

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
        groups = self._pending_groups()
        if not groups:
            return self._next_part
        with self._writing():
            write_flush(self.workspace, self._next_part, self.identity, groups)
        self._pending = {table: [] for table in TABLES}
        self._trajectories = {}
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
            document: `status` ("finished" or "diverged"), `spec`, `provenance`, and where they apply
                `diverged_at_step` and `summary`. The schema version, the ids and the facts of the tables are added.

        Raises:
            LockLostError: another process is the run's writer now.
            StorageError: something cannot be written; there is no `run.json` then.
            TypeError: a value of the document has no JSON form.
            ValueError: the document is not valid, the status is "failed", or rows were recorded for a table that the
                specification does not promise.
        """
        self._require_open()
        checked = self._document(document)
        if not checked.is_result:
            raise ValueError("a failed run is ended with fail(), not with finish()")
        self.flush()
        with self._writing():
            tables = compact(self.workspace, self.identity, promised_tables(checked.spec))
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
            document: `error` (the traceback; places on this machine are taken out of it), `spec`, `provenance`.

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

    def _pending_groups(self) -> dict[TableName, list[pa.Table]]:
        groups = {
            table: [joined]
            for table, tables in self._pending.items()
            if tables and len(joined := pa.concat_tables(tables))
        }
        trajectories = [pa.concat_tables(self._trajectories[key]) for key in sorted(self._trajectories)]
        if any(len(trajectory) for trajectory in trajectories):
            groups["affine"] = trajectories
        return groups

    def _document(self, document: Mapping[str, Any]) -> RunDocument:
        own = {"schema": SCHEMA_VERSION, "run_id": self.identity.run_id, "setting_id": self.identity.setting_id}
        for key, value in own.items():
            if document.get(key, value) != value:
                raise ValueError(f"{key} = {document[key]!r} in the document of the run with {key} = {value!r}")
        return make_document({**document, **own})

    def _require_open(self) -> None:
        if self._closed:
            raise ValueError(f"the run {self.identity.run_id} has been ended: nothing can be recorded any more")


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
