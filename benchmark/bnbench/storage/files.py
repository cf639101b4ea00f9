"""Files that are either wholly there or not there at all: temporary file, fsync, rename."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from bnbench.disk import sync_folder
from bnbench.errors import UserError

__all__ = ["StorageError", "atomic_file", "reported", "sync_folder", "temporary_files"]

_HINTS = {
    errno.ENOSPC: "Free some space, or name another folder with {option}.",
    errno.EDQUOT: "Free some of your quota, or name another folder with {option}.",
    errno.EFBIG: "A limit on the size of files is in force here (`ulimit -f`): raise it.",
    errno.EROFS: "Name a folder that can be written with {option}.",
    errno.EACCES: "Change its permissions, or name another folder with {option}.",
    errno.EPERM: "Change its permissions, or name another folder with {option}.",
    errno.ENOTDIR: "A part of that path is a file: name a folder with {option}.",
    errno.EEXIST: "A part of that path is a file: name a folder with {option}.",
}


class StorageError(UserError):
    """A results folder, or another one, cannot be written or read: which folder, why, and what can be done."""


@contextmanager
def reported(folder: Path, doing: str = "written", *, option: str = "--results") -> Iterator[None]:
    """Turn an OSError of the block into a StorageError that names the folder and the reason.

    Args:
        folder: the folder that was worked on.
        doing: "written" or "read".
        option: what names such a folder.

    Raises:
        StorageError: the block raised an OSError.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        code = error.errno
        hint = _HINTS[code].format(option=option) if code in _HINTS else None
        raise StorageError(f"{folder} cannot be {doing}: {reason}", hint=hint) from error


@contextmanager
def atomic_file(path: Path, made_in: Path | None = None) -> Iterator[BinaryIO]:
    """A file to write to that appears under `path` when the block ends, with its contents on disk.

    A block that raises leaves what was at `path` before, and no temporary file; a process that is killed may
    leave a temporary file.

    Args:
        path: where it is to appear.
        made_in: the folder that it is written in until then; that of `path` if None. Both are on one file system.

    Raises:
        OSError: the file cannot be written.
    """
    temporary = (made_in or path.parent) / temporary_name(path.name)
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def temporary_name(name: str) -> str:
    """A name that no file has, for one that is on its way to `name`, or from it."""
    return f".{name}.{secrets.token_hex(4)}.tmp"


def temporary_files(folder: Path) -> list[Path]:
    """What `atomic_file` left in a folder when its process was killed."""
    return sorted(folder.glob(".*.tmp"))
