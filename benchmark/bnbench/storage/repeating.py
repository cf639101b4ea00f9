"""Runs that are to be tried again: what stands in their way is removed, under the run's lock. Results never are."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from bnbench.storage.document import RUN_JSON, RunDocument, UnreadableDocumentError, missing_tables, read_document
from bnbench.storage.files import reported, sync_folder
from bnbench.storage.lock import acquire_lock
from bnbench.storage.recorder import clear_run, remove_progress
from bnbench.storage.workspace import LockLostError, workspaces


def forget_failure(run_folder: Path) -> bool:
    """Take away the record that a run failed, so that it goes on from its last good state when it is run again.

    Returns:
        Whether it is ready to be run: False where it did not fail, or another process is at work on it.

    Raises:
        StorageError: the folder cannot be written.
    """
    lock = acquire_lock(run_folder)
    if lock is None:
        return False
    try:
        with lock, lock.workspace.writing():
            document = _document(run_folder)
            if document is None or document.status != "failed":
                return False
            lock.workspace.discard(run_folder / RUN_JSON)
            sync_folder(run_folder)
    except LockLostError:
        return False
    return True


def start_afresh(run_folder: Path) -> bool:
    """Throw away what an unfinished run has, checkpoints and parts, so that it begins with its first step.

    Returns:
        Whether it was done: False for a result and for a failed run, which stay, and where another process is at work
        on the run.

    Raises:
        StorageError: the folder cannot be written.
    """
    if not run_folder.is_dir():
        return True
    lock = acquire_lock(run_folder)
    if lock is None:
        return False
    try:
        with lock, lock.workspace.writing():
            document = _document(run_folder)
            if document is not None and (document.status == "failed" or not missing_tables(run_folder, document)):
                return False
            clear_run(lock.workspace)
    except LockLostError:
        return False
    return True


def tidy_result(run_folder: Path) -> None:
    """Remove what a process that was killed between a run's last write and its own end left beside a result.

    Raises:
        StorageError: the folder cannot be written.
    """
    with reported(run_folder, "read"):
        if not workspaces(run_folder) and not any(run_folder.glob("*.lock")):
            return
    lock = acquire_lock(run_folder)
    if lock is None:
        return
    with suppress(LockLostError), lock, lock.workspace.writing():
        document = _document(run_folder)
        if document is not None and document.is_result and not missing_tables(run_folder, document):
            remove_progress(lock.workspace)


def _document(run_folder: Path) -> RunDocument | None:
    try:
        return read_document(run_folder)
    except UnreadableDocumentError:
        return None
