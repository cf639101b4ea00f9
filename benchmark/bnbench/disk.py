"""Files as they are found: whoever shares a folder with others may find anything under a file's name.

A named pipe in the place of a file would be waited for without end, and a link to a device that never ends be read
until memory is gone. So every file is opened here: regular ones only, and no more of one than its kind can have.
"""

from __future__ import annotations

import errno
import json
import os
import re
import stat
from collections.abc import Callable
from io import BufferedReader
from pathlib import Path
from typing import Any

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class UnfitFileError(OSError):
    """What lies under a file's name cannot be such a file: it is none at all, or far too large.

    `strerror` completes a sentence that begins "… cannot be read: ".
    """


def open_regular(path: Path, limit: int | None = None) -> BufferedReader:
    """Open a regular file, or a link to one, for reading; never waits for whatever else lies there.

    Args:
        path: the file.
        limit: the most bytes that it may have; None is no limit, for who reads it piece by piece.

    Raises:
        UnfitFileError: it is not a regular file, or has more bytes.
        OSError: it is not there, or cannot be opened.
    """
    # Before it is opened, since opening alone makes some devices do something …
    _require(path, path.stat, limit)
    # … and again what was opened: it may be another by now. Without O_NONBLOCK a pipe would be waited for here.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        _require(path, lambda: os.fstat(descriptor), limit)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: Path, limit: int) -> bytes:
    """The contents of a regular file.

    Args:
        path: the file.
        limit: the most bytes that it may have. No more are read, even if it grows meanwhile.

    Raises:
        UnfitFileError: it is not a regular file, or has more bytes.
        OSError: it is not there, or cannot be read.
    """
    with open_regular(path, limit) as file:
        contents = file.read(limit + 1)
    if len(contents) > limit:
        raise _too_large(path, len(contents), limit)
    return contents


def require_regular(path: Path) -> None:
    """Look at a file that somebody else's reader is to open by its name.

    Raises:
        UnfitFileError: it is not a regular file.
        OSError: it is not there, or cannot be looked at.
    """
    _require(path, path.stat, None)


def parse_json(text: bytes, parse_constant: Callable[[str], object] | None = None) -> Any:  # noqa: ANN401 -- any value
    """The value of a JSON text of any make.

    Args:
        text: UTF-8.
        parse_constant: what to make of NaN and the infinities; numbers, if None.

    Raises:
        ValueError: it is no JSON, nested too deeply, or has a text that no file or terminal can hold.
    """
    try:
        value = json.loads(text, parse_constant=parse_constant)
        if _SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode()  # half of a pair alone is no character
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return value


def sync_folder(folder: Path) -> None:
    """Put the names in a folder on disk: a rename survives a power cut only after this.

    Raises:
        OSError: the folder cannot be opened or synchronised.
    """
    if os.name != "posix":
        return  # other systems cannot open a folder; there the rename itself has to do
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _require(path: Path, look: Callable[[], os.stat_result], limit: int | None) -> None:
    try:
        found = look()
    except OSError as error:
        # A link that leads nowhere is not a file that is not there: something was meant to be.
        if error.errno in {errno.ENOENT, errno.ELOOP} and path.is_symlink():
            raise UnfitFileError(errno.EINVAL, "a link that leads to no file", str(path)) from error
        raise
    if not stat.S_ISREG(found.st_mode):
        kind = _KINDS.get(stat.S_IFMT(found.st_mode), "something else")
        raise UnfitFileError(errno.EINVAL, f"not a regular file, but {kind}", str(path))
    if limit is not None and found.st_size > limit:
        raise _too_large(path, found.st_size, limit)


def _too_large(path: Path, size: int, limit: int) -> UnfitFileError:
    return UnfitFileError(errno.EINVAL, f"{size:,} bytes, and no such file has more than {limit:,}", str(path))
