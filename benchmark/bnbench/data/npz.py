"""Reading the arrays of an .npz file that somebody hands over: nothing unpickled, nothing believed unseen.

An .npz file is a ZIP archive with a .npy file for each array. Its directory says how large they are unpacked, and each
.npy header what shape its array has: both are read, and must agree, before anything else is. So a small file that
unpacks to terabytes, or a header that promises 10¹² images, costs a few kilobytes to refuse.
"""

from __future__ import annotations

import io
import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from bnbench.disk import open_regular
from bnbench.errors import UserError, cut

ARRAYS_LIMIT = 2 << 30
"""Bytes of all arrays together, unpacked: they are held in memory, several times over."""
RATIO_LIMIT = 200
"""How many times smaller than its array a member may be: photographs shrink to a half, drawings to a tenth."""

_RATIO_MATTERS = 64 << 20
"""Bytes of an array below which its ratio does not matter: labels in order shrink to nothing."""
_FILE_LIMIT = ARRAYS_LIMIT + (1 << 20)
_PIECE = 1 << 20
"""Bytes that are read at a time, at most; so a directory of more is refused too."""
_HEADER_LIMIT = 10_000
"""Bytes of a .npy header: that of an array of numbers has 128."""
_SUFFIX = ".npy"
_ENCRYPTED = 0x1
_UNREADABLE = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    OverflowError,
)
"""What Python's reader of ZIP archives raises over what is none, or a damaged one."""


@dataclass(frozen=True)
class ArrayHeader:
    """What a .npy file says of the array that follows."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran_order: bool
    start: int
    """Where in the file the array begins, in bytes."""

    @property
    def nbytes(self) -> int:
        """Bytes of the array."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_arrays(path: Path, check: Callable[[Mapping[str, ArrayHeader]], None]) -> dict[str, npt.NDArray[Any]]:
    """All arrays of an .npz file.

    Args:
        path: the file.
        check: looks at the headers, by the arrays' names, before any array is read; raises UserError.

    Raises:
        UserError: the file cannot be read, is no .npz file, is larger than any may be, is damaged, or holds Python
            objects; or what `check` raises.
    """
    try:
        with open_regular(path, _FILE_LIMIT) as file, zipfile.ZipFile(_InPieces(file)) as archive:
            members = _members(path, archive)
            headers = {name: _read_header(f"{path}: {name}", archive, each) for name, each in members.items()}
            check(headers)
            return {
                name: _read_array(f"{path}: {name}", archive, members[name], header) for name, header in headers.items()
            }
    except _UNREADABLE as error:
        raise UserError(
            f"{path}: is not a readable .npz file: {str(error) or type(error).__name__}",
            hint="Write one with numpy.savez_compressed(path, train_images=…, …).",
        ) from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error


class _InPieces:
    """A file of which nobody reads more than a piece at a time: a ZIP archive's directory is read in one."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size: int = -1) -> bytes:
        if size > _PIECE:
            raise zipfile.BadZipFile(f"its directory has {size:,} bytes, and no such file's has more than {_PIECE:,}")
        found = self._file.read(_PIECE + 1 if size < 0 else size)
        if len(found) > _PIECE:
            raise zipfile.BadZipFile("it does not end where its directory says")
        return found


def _members(path: Path, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The members by the names of their arrays, none of them larger than may be."""
    found: dict[str, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        name = cut(member.filename).removesuffix(_SUFFIX)
        if not member.filename.endswith(_SUFFIX):
            raise UserError(f"{path}: holds '{name}', which is no array", hint="An .npz file holds .npy files only.")
        if name in found:
            raise UserError(f"{path}: holds the array '{name}' twice")
        if member.flag_bits & _ENCRYPTED or member.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
            raise UserError(
                f"{path}: {name}: is encrypted, or packed as numpy packs none",
                hint="Write the file with numpy.savez or numpy.savez_compressed.",
            )
        if member.file_size > _RATIO_MATTERS and member.file_size > RATIO_LIMIT * max(1, member.compress_size):
            raise UserError(
                f"{path}: {name}: {member.compress_size:,} bytes that unpack to {member.file_size:,}: no images are "
                f"packed more than {RATIO_LIMIT} to 1",
                hint="Nothing was unpacked. numpy.savez writes the same arrays without packing them.",
            )
        found[name] = member
    total = sum(member.file_size for member in found.values())
    if total > ARRAYS_LIMIT:
        raise UserError(
            f"{path}: its arrays have {total:,} bytes, and all together may have {ARRAYS_LIMIT:,}",
            hint="They are held in memory. Nothing was read: use fewer images, or smaller ones.",
        )
    return found


def _read_header(where: str, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> ArrayHeader:
    with archive.open(member) as stream:
        file = io.BytesIO(stream.read(_HEADER_LIMIT))
    try:
        version = np.lib.format.read_magic(file)
        if version == (1, 0):
            shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(file)
        elif version == (2, 0):
            shape, fortran_order, dtype = np.lib.format.read_array_header_2_0(file)
        else:
            raise ValueError(f"version {version[0]}.{version[1]} of the format is for arrays with named fields")
    except (ValueError, TypeError, SyntaxError, tokenize.TokenError, RecursionError, MemoryError) as error:
        raise UserError(f"{where}: its .npy header cannot be read: {cut(str(error))}") from error
    header = ArrayHeader(shape, dtype, fortran_order, file.tell())
    if dtype.hasobject:
        raise UserError(
            f"{where}: holds Python objects, which only unpickling would bring back; nothing was read",
            hint="An array of numbers is needed: images.astype(numpy.uint8), labels.astype(numpy.int64).",
        )
    if min(shape, default=0) < 0 or header.start + header.nbytes != member.file_size:
        raise UserError(
            f"{where}: its header says {dtype} of shape {cut(str(shape))}, which are not the "
            f"{member.file_size - header.start:,} bytes that follow",
            hint="The file is damaged, or was not written by numpy. Nothing was read.",
        )
    return header


def _read_array(where: str, archive: zipfile.ZipFile, member: zipfile.ZipInfo, header: ArrayHeader) -> npt.NDArray[Any]:
    content = np.empty(header.nbytes, np.uint8)
    with archive.open(member) as stream:
        stream.read(header.start)
        read = 0
        while piece := stream.read(_PIECE):
            content[read : read + len(piece)] = np.frombuffer(piece, np.uint8)
            read += len(piece)
    if read != header.nbytes:
        raise UserError(f"{where}: ends after {read:,} of {header.nbytes:,} bytes", hint="The file is damaged.")
    array: npt.NDArray[Any] = content.view(header.dtype)
    return array.reshape(header.shape, order="F" if header.fortran_order else "C")
