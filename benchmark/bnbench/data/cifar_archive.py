"""Reading CIFAR from its official archive, a .tar.gz of pickles, or from the folder that it unpacks to.

Nothing is unpickled before its checksum says that it is the release's.
"""

from __future__ import annotations

import io
import pickle
import tarfile
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bnbench.data.checksums import unsafe_md5, verify
from bnbench.data.cifar_source import IMAGE_SHAPE, CifarRelease, check_images
from bnbench.data.images import LabelledImages
from bnbench.data.store import StoredImages
from bnbench.disk import open_regular, read_regular
from bnbench.errors import UserError

_ARCHIVE_LIMIT = 1 << 30
"""Bytes of an archive: five times as many as the official ones have. What is larger is not read for its checksum."""
_MEMBER_LIMIT = 1 << 28
"""Bytes of a file that an archive unpacks to: the largest has 155 million."""


def read_archive(path: Path, release: CifarRelease) -> StoredImages:
    """The images of an official archive.

    The checksums are verified before anything is unpacked, so that what is unpickled is the release, byte for byte.
    Nothing is extracted to disk.

    Raises:
        UserError: the file is not the release, or cannot be read.
    """
    try:
        with open_regular(path, _ARCHIVE_LIMIT) as file:
            verify(path, file, release.archive, md5=release.archive_md5, sha256=release.archive_sha256)
            return _read_members(path, file, release)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error


def unpacked_folder(path: Path, release: CifarRelease) -> Path | None:
    """The folder that the members' paths begin in, where a path is, or holds, what the archive unpacks to."""
    inside = Path(release.train_members[0])
    for folder in (path, path.parent):
        if (folder / inside).is_file() and (folder == path or path.name == inside.parts[0]):
            return folder
    return None


def read_unpacked(folder: Path, release: CifarRelease) -> StoredImages:
    """The images of the files that an official archive unpacks to; torchvision keeps them so.

    Args:
        folder: the one that the members' paths begin in.
        release: what they must be.

    Raises:
        UserError: a file is missing, is not the release's, or cannot be read.
    """
    names = (*release.train_members, *release.test_members)
    parts = [
        _read_unpacked_member(folder / name, expected, release)
        for name, expected in zip(names, release.member_md5, strict=True)
    ]
    count = len(release.train_members)
    return _checked(str(folder), parts[:count], parts[count:], release)


def _read_unpacked_member(path: Path, expected: str, release: CifarRelease) -> LabelledImages:
    try:
        content = read_regular(path, _MEMBER_LIMIT)
    except FileNotFoundError as error:
        raise UserError(f"{path}: is missing", hint=f"Expected what {release.archive} unpacks to.") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
    digest = unsafe_md5()
    digest.update(content)
    if digest.hexdigest() != expected:
        raise UserError(
            f"{path}: its MD5 checksum is {digest.hexdigest()}, that of the official file is {expected}",
            hint="It is damaged, or another file. Nothing was read from it.",
        )
    return _images_of_member(str(path), content, release)


def _read_members(path: Path, file: io.BufferedReader, release: CifarRelease) -> StoredImages:
    try:
        with tarfile.open(fileobj=file, mode="r:gz") as archive:
            train = [_read_member(path, archive, name, release) for name in release.train_members]
            test = [_read_member(path, archive, name, release) for name in release.test_members]
    except (tarfile.TarError, zlib.error, EOFError) as error:
        raise UserError(f"{path}: is not a readable .tar.gz archive: {error}") from error
    return _checked(str(path), train, test, release)


def _checked(
    where: str, train: list[LabelledImages], test: list[LabelledImages], release: CifarRelease
) -> StoredImages:
    stored = StoredImages(_joined(train), _joined(test))
    check_images(f"{where}, training part", stored.train, count=release.train_images, classes=release.classes)
    check_images(f"{where}, test part", stored.test, count=release.test_images, classes=release.classes)
    return stored


def _read_member(path: Path, archive: tarfile.TarFile, name: str, release: CifarRelease) -> LabelledImages:
    where = f"{path}, member {name}"
    try:
        member = archive.extractfile(name)
    except KeyError as error:
        raise UserError(f"{where}: is missing", hint=f"Expected the layout of {release.archive}.") from error
    if member is None:
        raise UserError(f"{where}: is not a file")
    return _images_of_member(where, member.read(), release)


def _images_of_member(where: str, pickled: bytes, release: CifarRelease) -> LabelledImages:
    content = load_restricted(where, pickled)
    if not isinstance(content, dict) or not {"data", release.archive_labels} <= content.keys():
        raise UserError(f"{where}: has no entries 'data' and '{release.archive_labels}'")
    pixels = _pixels(where, content["data"])
    labels = _labels(where, content[release.archive_labels])
    if len(pixels) != len(labels):
        raise UserError(f"{where}: holds {len(pixels):,} images but {len(labels):,} labels")
    return LabelledImages(pixels, labels)


def _pixels(where: str, data: object) -> npt.NDArray[np.uint8]:
    height, width, channels = IMAGE_SHAPE
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.shape[1:] != (height * width * channels,):
        found = f"{data.dtype} of shape {data.shape}" if isinstance(data, np.ndarray) else type(data).__name__
        raise UserError(f"{where}: 'data' is {found}, not uint8 of shape (images, {height * width * channels})")
    # A row is the red plane, then green, then blue.
    return np.ascontiguousarray(data.reshape(-1, channels, height, width).transpose(0, 2, 3, 1))


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


def load_restricted(where: str, content: bytes) -> object:
    """Unpickle, admitting plain containers and NumPy arrays only.

    That content is the release's is what the checksums vouch for; this keeps what is not from running a program.

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
    except (pickle.UnpicklingError, EOFError) as error:
        raise UserError(f"{where}: is not a readable pickle: {type(error).__name__}: {error}") from error


class _ForbiddenError(Exception):
    pass


_RECONSTRUCT = np.empty(0).__reduce__()[0]
_ADMITTED: dict[tuple[str, str], object] = {
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}


class _RestrictedUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> object:
        try:
            return _ADMITTED[module, name]
        except KeyError:
            raise _ForbiddenError(f"asks for {module}.{name}, which no image file needs") from None
