"""One writer a run: a lock file with an owner and a heartbeat, for folders that several machines share.

The lock of a run is a file `writer-000001.lock` in its folder, made by an exclusive link, which is atomic on network
file systems too. Whoever finds the owner dead takes over by making the *next* number the same way, so of several
takers one succeeds. The owner looks for its own file and for the next number now and then, and so learns soon that it
was given up. What keeps it from writing after that, whatever instant it slept at, is not the looking but that its
workspace is gone (`bnbench.storage.workspace`).

Whether an owner lives is judged without comparing clocks of two machines, or one clock with its own past. On the
owner's machine the process table tells; from another, a heartbeat that has not changed for `STALE_SECONDS` of the
observer's own monotonic clock. A lock says nothing of a host by name, and goes when the run pauses or ends.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import ValidationError

from bnbench.disk import UnfitFileError, parse_json, read_regular
from bnbench.storage.files import reported, temporary_name
from bnbench.storage.processes import Process, process_is_gone, this_process
from bnbench.storage.set_aside import set_aside
from bnbench.storage.workspace import LockLostError, Workspace, make_workspace

BEAT_SECONDS = 5.0
"""How often an owner shows that it lives."""

STALE_SECONDS = 60.0
"""An owner whose heartbeat an observer has not seen change for so long is given up."""

_NAME = re.compile(r"writer-([0-9]{6,})\.lock")
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
_SIZE = 512
"""Bytes of a lock file: always the same, so that a heartbeat overwrites it in place."""
_LIMIT = 4096
"""Bytes that a lock of another version may have: eight times as many."""


class Owner(Process):
    """What a lock file says of the process that holds it."""

    token: str
    """Drawn for this lock; no other ever has it."""
    beat: int
    step: int = 0
    """Updates done, as far as the owner has said."""
    total_steps: int = 0
    epoch: int = 0
    """Epochs done, whole ones."""
    epochs: int = 0
    step_s: float = 0.0
    """Seconds a step, as the owner has found so far; 0 where it does not know."""


@dataclass(frozen=True)
class LockView:
    """A lock as it was found at one look."""

    number: int
    contents: bytes
    owner: Owner | None
    """None where the contents make no sense: written this moment, or damaged."""
    is_file: bool = True
    """False for anything that no owner would have made: no regular file, or far too large."""

    def is_nobodys(self) -> bool:
        """Whether it is certain, without watching it, that no owner lives; False where one may."""
        return not self.is_file or (self.owner is not None and process_is_gone(self.owner))


class LockWatch:
    """Observes locks for as long as it lives, and says which have shown no sign of life."""

    def __init__(self, stale_seconds: float = STALE_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        """Nothing has been seen yet.

        Args:
            stale_seconds: the patience with a heartbeat that does not change.
            clock: seconds that never go backwards.
        """
        self._stale_seconds = stale_seconds
        self._clock = clock
        self._seen: dict[Path, tuple[LockView, float]] = {}

    def is_dead(self, run_folder: Path, view: LockView) -> bool:
        """Whether the owner of a lock is gone, by the process table or by its silence."""
        if view.is_nobodys():
            return True
        now = self._clock()
        known = self._seen.get(run_folder)
        if known is None or known[0] != view:
            self._seen[run_folder] = (view, now)
            return False
        return now - known[1] >= self._stale_seconds


class RunLock:
    """The right to write one run, held by this process; a context that gives it up when it ends."""

    def __init__(self, workspace: Workspace, number: int, descriptor: int, owner: Owner, beat_seconds: float) -> None:
        """Begins to beat; use `acquire_lock`."""
        self.workspace = workspace
        """Where everything that is written of the run comes from."""
        self._path = _lock_path(workspace.run_folder, number)
        self._next = _lock_path(workspace.run_folder, number + 1)
        self._descriptor = descriptor
        self._owner = owner
        self._beat_seconds = beat_seconds
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def check(self) -> None:
        """Find out early that this process may no longer write the run; its writing would end in the same error.

        Raises:
            LockLostError: another process has taken over.
            StorageError: the folder cannot be read.
        """
        with reported(self._path.parent, "read"):
            if self._next.exists() or not _holds(self._path, self._owner):
                raise self.workspace.lost()
            self.workspace.check()

    def progress(self, step: int, total_steps: int, epoch: int, epochs: int, step_s: float = 0.0) -> None:
        """What the next heartbeats say of how far the run is, and how fast."""
        self._owner = self._owner.model_copy(
            update={"step": step, "total_steps": total_steps, "epoch": epoch, "epochs": epochs, "step_s": step_s}
        )

    def release(self) -> None:
        """Stop beating and give the lock up. It is not an error if it was lost, or cannot be removed."""
        self._ended.set()
        self._thread.join()
        os.close(self._descriptor)
        # In a folder that can no longer be written the end of this process gives the lock up.
        with suppress(OSError, LockLostError):
            if _holds(self._path, self._owner):
                self.workspace.discard(self._path)
        self.workspace.leave()
        with suppress(OSError):
            self._path.parent.rmdir()  # only where nothing was recorded: a folder with files in it stays

    def _beat(self) -> None:
        beat = 0
        while not self._ended.wait(self._beat_seconds):
            beat += 1
            try:
                # Into the file that was made at the start, wherever it is now: another owner's is never touched.
                _overwrite(self._descriptor, _contents(self._owner.model_copy(update={"beat": beat})))
            except OSError:
                continue  # a silence that lasts is what others judge by


def acquire_lock(
    run_folder: Path,
    *,
    given_up: LockView | None = None,
    beat_seconds: float = BEAT_SECONDS,
    store_is_there: bool = False,
) -> RunLock | None:
    """Become the writer of a run, if it has none.

    Args:
        run_folder: the run's; made if it is not there.
        given_up: a lock that the caller has watched and found dead; without it only an owner that the process table
            of this machine knows to be gone is replaced.
        beat_seconds: how often to show that this process lives.
        store_is_there: whether the results folder was made before: then it is not made again, since who has renamed or
            removed it meanwhile does not want it back.

    Returns:
        None where another process is the writer.

    Raises:
        StorageError: the folder cannot be written.
    """
    with reported(run_folder):
        run_folder.mkdir(parents=not store_is_there, exist_ok=True)
        view = look_at_lock(run_folder)
        if view is not None and view != given_up and not view.is_nobodys():
            return None
        try:
            # Before the lock: who takes over from this process will find the workspace, whenever that is.
            workspace = make_workspace(run_folder)
        except FileNotFoundError:
            return None  # another process gave the run up this moment, and its empty folder with it
        lock = None
        try:
            lock = _take(workspace, view, beat_seconds)
        finally:
            if lock is None:
                workspace.leave()
    return lock


def _take(workspace: Workspace, judged: LockView | None, beat_seconds: float) -> RunLock | None:
    """Take the lock behind the one that was judged to be dead, and shut out everybody who was at work here before."""
    run_folder = workspace.run_folder
    number = 1 if judged is None else judged.number + 1
    owner = Owner(token=secrets.token_hex(16), beat=0, **this_process().model_dump())
    path = _lock_path(run_folder, number)
    descriptor = _make_exclusively(path, _contents(owner), workspace)
    if descriptor is None:
        return None
    taken = False
    try:
        with workspace.owned():
            if _is_as_judged(run_folder, number, judged):
                workspace.swallow_others()
                for older in _numbers(run_folder):
                    if older < number:
                        _discard(workspace, _lock_path(run_folder, older))
                workspace.check()
                taken = True
    except LockLostError:
        pass
    finally:
        if not taken:
            os.close(descriptor)
            if _holds(path, owner):
                path.unlink(missing_ok=True)
    return RunLock(workspace, number, descriptor, owner, beat_seconds) if taken else None


def _is_as_judged(run_folder: Path, number: int, judged: LockView | None) -> bool:
    """Whether nobody went through a whole takeover between the look at the lock and the taking of the next one."""
    others = [other for other in _numbers(run_folder) if other != number]
    if judged is None:
        return not others
    if max(others, default=0) != judged.number:
        return False
    path = _lock_path(run_folder, judged.number)
    if judged.owner is not None:
        return _holds(path, judged.owner)
    try:
        contents = read_regular(path, _LIMIT)
    except UnfitFileError:
        return not judged.is_file
    return judged.is_file and contents == judged.contents


def _holds(path: Path, owner: Owner) -> bool:
    try:
        return owner.token.encode() in read_regular(path, _LIMIT)
    except (FileNotFoundError, UnfitFileError):
        return False


def look_at_lock(run_folder: Path) -> LockView | None:
    """The lock of a run as it is now, None where it has none.

    Raises:
        StorageError: the folder cannot be read.
    """
    with reported(run_folder, "read"):
        for number in sorted(_numbers(run_folder), reverse=True):
            try:
                contents = read_regular(_lock_path(run_folder, number), _LIMIT)
            except FileNotFoundError:
                continue  # given up while we looked
            except UnfitFileError:
                return LockView(number, b"", None, is_file=False)
            return LockView(number, contents, _owner(contents))
    return None


def lock_age(run_folder: Path, view: LockView) -> float | None:
    """Seconds since a heartbeat by the clocks of machine and file server, which may disagree: for display only."""
    try:
        return time.time() - _lock_path(run_folder, view.number).stat().st_mtime
    except OSError:
        return None


def _make_exclusively(path: Path, contents: bytes, workspace: Workspace) -> int | None:
    """A new file, open for writing; None where there is one of its name already, or the workspace was swallowed."""
    try:
        return _make_by_link(path, contents, workspace)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
    # Without hard links the name is there before the contents: who looks between sees an owner that is not known.
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        return None
    _overwrite(descriptor, contents)
    return descriptor


def _make_by_link(path: Path, contents: bytes, workspace: Workspace) -> int | None:
    temporary = workspace.path / temporary_name(path.name)
    try:
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
    except FileNotFoundError:
        return None
    try:
        _overwrite(descriptor, contents)
        os.link(temporary, path)
    except (FileExistsError, FileNotFoundError):
        # A network file system may lose the answer and then find its own work. (A temporary file that is gone was
        # swallowed with the workspace.)
        if os.fstat(descriptor).st_nlink < 2:
            os.close(descriptor)
            return None
    except BaseException:
        os.close(descriptor)
        raise
    finally:
        temporary.unlink(missing_ok=True)
    return descriptor


def _overwrite(descriptor: int, contents: bytes) -> None:
    os.lseek(descriptor, 0, os.SEEK_SET)
    left = memoryview(contents)
    while left:
        left = left[os.write(descriptor, left) :]
    os.fsync(descriptor)


def _discard(workspace: Workspace, path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        set_aside(workspace, path)  # somebody's folder under the name of a lock
    else:
        workspace.discard(path)


def _lock_path(run_folder: Path, number: int) -> Path:
    return run_folder / f"writer-{number:06}.lock"


def _numbers(run_folder: Path) -> list[int]:
    try:
        return [int(match[1]) for path in run_folder.iterdir() if (match := _NAME.fullmatch(path.name))]
    except FileNotFoundError:
        return []


def _contents(owner: Owner) -> bytes:
    return owner.model_dump_json().encode().ljust(_SIZE)


def _owner(contents: bytes) -> Owner | None:
    try:
        return Owner.model_validate(parse_json(contents))
    except (ValidationError, ValueError):
        return None
