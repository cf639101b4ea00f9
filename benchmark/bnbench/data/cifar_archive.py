"""Reading CIFAR from its official archive, a .tar.gz of pickles, without trusting it."""

from __future__ import annotations

import hashlib
import io
import math
import pickle
import struct
import tarfile
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from bnbench.data.cifar_source import IMAGE_SHAPE, CifarRelease, check_images
from bnbench.data.images import LabelledImages
from bnbench.data.store import StoredImages
from bnbench.disk import open_regular
from bnbench.errors import UserError

_ARCHIVE_LIMIT = 1 << 30
"""Bytes of an archive: five times as many as the official ones have. What is larger is not read for its checksum."""


def read_archive(path: Path, release: CifarRelease) -> StoredImages:
    """The images of an official archive.

    The checksum is verified before anything is unpacked, and what is unpickled then may hold NumPy arrays
    and plain containers only. Nothing is extracted to disk.

    Raises:
        UserError: the file is not the release, or cannot be read.
    """
    try:
        with open_regular(path, _ARCHIVE_LIMIT) as file:
            found = hashlib.file_digest(file, _md5).hexdigest()
            if found != release.archive_md5:
                raise UserError(
                    f"{path}: its MD5 checksum is {found}, that of the official {release.archive} is "
                    f"{release.archive_md5}",
                    hint="The download is incomplete or damaged, or it is another file. Nothing was read from it.",
                )
            file.seek(0)
            return _read_members(path, file, release)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error


def _md5() -> hashlib._Hash:
    # A checksum against damage, not against forgers: say so, or machines in FIPS mode refuse.
    return hashlib.md5(usedforsecurity=False)


def _read_members(path: Path, file: BinaryIO, release: CifarRelease) -> StoredImages:
    try:
        with tarfile.open(fileobj=file, mode="r:gz") as archive:
            train = [_read_member(path, archive, name, release) for name in release.train_members]
            test = [_read_member(path, archive, name, release) for name in release.test_members]
    except (tarfile.TarError, zlib.error, EOFError) as error:
        raise UserError(f"{path}: is not a readable .tar.gz archive: {error}") from error
    stored = StoredImages(_joined(train), _joined(test))
    check_images(f"{path}, training part", stored.train, count=release.train_images, classes=release.classes)
    check_images(f"{path}, test part", stored.test, count=release.test_images, classes=release.classes)
    return stored


def _read_member(path: Path, archive: tarfile.TarFile, name: str, release: CifarRelease) -> LabelledImages:
    where = f"{path}, member {name}"
    try:
        member = archive.extractfile(name)
    except KeyError as error:
        raise UserError(f"{where}: is missing", hint=f"Expected the layout of {release.archive}.") from error
    if member is None:
        raise UserError(f"{where}: is not a file")
    content = load_restricted(where, member.read())
    if not isinstance(content, dict) or not {"data", release.archive_labels} <= content.keys():
        raise UserError(f"{where}: has no entries 'data' and '{release.archive_labels}'")
    pixels = _pixels(where, content["data"])
    labels = _labels(where, content[release.archive_labels])
    if len(pixels) != len(labels):
        raise UserError(f"{where}: holds {len(pixels):,} images but {len(labels):,} labels")
    return LabelledImages(pixels, labels)


def _pixels(where: str, data: object) -> npt.NDArray[np.uint8]:
    height, width, channels = IMAGE_SHAPE
    rows = data.as_bytes() if isinstance(data, PickledArray) else None
    if rows is None or rows.shape[1:] != (height * width * channels,):
        found = type(data).__name__ if rows is None else f"of shape {rows.shape}"
        raise UserError(f"{where}: 'data' is {found}, not uint8 of shape (images, {height * width * channels})")
    # A row is the red plane, then green, then blue.
    return np.ascontiguousarray(rows.reshape(-1, channels, height, width).transpose(0, 2, 3, 1))


def _labels(where: str, labels: object) -> npt.NDArray[np.int64]:
    if not isinstance(labels, list) or not all(type(label) is int for label in labels):
        raise UserError(f"{where}: the labels are not a list of whole numbers")
    try:
        return np.array(labels, dtype=np.int64)
    except OverflowError as error:
        raise UserError(f"{where}: a label is no class number") from error


def _joined(parts: list[LabelledImages]) -> LabelledImages:
    return LabelledImages(
        np.concatenate([part.pixels for part in parts]), np.concatenate([part.labels for part in parts])
    )


class PickledType:
    """Stands in for `numpy.dtype` in a pickle."""

    def __init__(self, name: object = None, *_: object) -> None:
        self.name = name

    def __setstate__(self, state: object) -> None:
        """Byte order and alignment, which say nothing about single bytes."""


class PickledArray:
    """Stands in for `numpy.ndarray` in a pickle.

    NumPy's own unpickling believes what it reads; a damaged or malicious file can crash the process with it.
    """

    def __init__(self, *_: object) -> None:
        self._state: object = None

    def __setstate__(self, state: object) -> None:
        self._state = state

    def as_bytes(self) -> npt.NDArray[np.uint8] | None:
        """The array, if it is one of bytes and its shape and contents agree; else None."""
        match self._state:
            # Version 1 of NumPy's format; before it, the same without a version.
            case (1, tuple(shape), PickledType(name="u1"), bool(fortran), str() | bytes() as raw):
                pass
            case (tuple(shape), PickledType(name="u1"), bool(fortran), str() | bytes() as raw):
                pass
            case _:
                return None
        content = raw if isinstance(raw, bytes) else raw.encode("latin1", errors="replace")
        if not all(type(length) is int and length >= 0 for length in shape) or math.prod(shape) != len(content):
            return None
        return np.frombuffer(content, dtype=np.uint8).reshape(shape, order="F" if fortran else "C")


def load_restricted(where: str, content: bytes) -> object:
    """Unpickle, admitting plain containers and NumPy arrays only; arrays come back as PickledArray.

    Args:
        where: names the source in error messages.
        content: the pickle; byte strings of Python 2 are read as Latin-1, which keeps every byte.

    Raises:
        UserError: it asks for anything else, or is no pickle.
    """
    try:
        return _RestrictedUnpickler(io.BytesIO(content), encoding="latin1").load()
    except _ForbiddenError as error:
        raise UserError(f"{where}: {error}", hint="It may run a program of its own when it is read.") from error
    # A pickle is a program; a damaged one fails as any program may.
    except (
        pickle.UnpicklingError,
        ArithmeticError,
        AssertionError,
        AttributeError,
        EOFError,
        LookupError,
        MemoryError,
        RecursionError,
        TypeError,
        ValueError,
        struct.error,
    ) as error:
        raise UserError(f"{where}: is not a readable pickle: {type(error).__name__}: {error}") from error


class _ForbiddenError(Exception):
    pass


_ADMITTED: dict[tuple[str, str], type] = {
    ("numpy.core.multiarray", "_reconstruct"): PickledArray,
    ("numpy._core.multiarray", "_reconstruct"): PickledArray,
    ("numpy", "ndarray"): PickledArray,
    ("numpy", "dtype"): PickledType,
}


# The one that is written in Python: that in C can be brought to internal errors by a damaged file.
class _RestrictedUnpickler(pickle._Unpickler):
    def find_class(self, module: str, name: str) -> type:
        try:
            return _ADMITTED[module, name]
        except KeyError:
            raise _ForbiddenError(f"asks for {module}.{name}, which no image file needs") from None
