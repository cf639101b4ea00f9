"""Reading a release in the IDX format: its files verified first, then unpacked, then read by torchvision."""

from __future__ import annotations

import gzip
import tempfile
import zlib
from contextlib import ExitStack
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np

from bnbench.data.checksums import verify
from bnbench.data.idx_source import IdxRelease, ReleasedFile
from bnbench.data.images import LabelledImages
from bnbench.data.store import StoredImages
from bnbench.disk import open_regular
from bnbench.errors import UserError

_FILE_LIMIT = 1 << 28
"""Bytes of a packed file: ten times as many as the largest of Fashion-MNIST has. What is larger is not even read for
its checksum."""
_PIECE = 1 << 20
_IMAGES_HEADER, _LABELS_HEADER = 16, 8
"""Bytes before the numbers: a magic number and the lengths of the dimensions, four bytes each."""


def read_idx(path: Path, release: IdxRelease) -> StoredImages:
    """The images of a release.

    The checksums of all four files are verified before anything of any is unpacked, and the very files that were
    verified are unpacked.

    Args:
        path: the folder that holds them, one of the files, or the folder that torchvision downloads into.
        release: what they should be.

    Raises:
        UserError: a file is missing, is not the release's, or cannot be read.
    """
    folder = _folder(path, release)
    try:
        with ExitStack() as stack:
            opened = [stack.enter_context(open_regular(folder / file.name, _FILE_LIMIT)) for file in release.files]
            for file, content in zip(release.files, opened, strict=True):
                verify(folder / file.name, content, file.name, md5=file.md5, sha256=file.sha256)
            root = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            raw = root / release.reader / "raw"
            raw.mkdir(parents=True)
            for file, content in zip(release.files, opened, strict=True):
                _unpack(folder / file.name, content, raw / Path(file.name).stem, _unpacked_bytes(file, release))
            return _read_unpacked(folder, root, release)
    except OSError as error:
        raise UserError(f"{folder}: cannot be read: {error.strerror or error}") from error


def _folder(path: Path, release: IdxRelease) -> Path:
    if not path.exists():
        raise UserError(f"{path}: there is no such file or folder", hint=f"Give {release.at_hand}.")
    places = [path, path / release.reader / "raw"] if path.is_dir() else [path.parent]
    for place in places:
        if all((place / file.name).exists() for file in release.files):
            return place
    missing = next(file.name for file in release.files if not (places[0] / file.name).exists())
    raise UserError(
        f"{places[0]}: {missing} is not there", hint=f"Give the folder of {', '.join(f.name for f in release.files)}."
    )


def _unpacked_bytes(file: ReleasedFile, release: IdxRelease) -> int:
    images = release.train_images if file in release.train_files else release.test_images
    if file in (release.train_files[0], release.test_files[0]):
        return _IMAGES_HEADER + images * release.image_size**2
    return _LABELS_HEADER + images


def _unpack(path: Path, packed: BufferedReader, target: Path, size: int) -> None:
    """Unpack a file that must have so many bytes then."""
    written = 0
    try:
        with gzip.GzipFile(fileobj=packed) as content, target.open("xb") as file:
            while written <= size and (piece := content.read(_PIECE)):
                written += file.write(piece)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{path}: is not a readable .gz file: {error}") from error
    if written != size:
        found = "more" if written > size else f"{written:,}"
        raise UserError(f"{path}: unpacks to {found} bytes, not {size:,}")


def _read_unpacked(folder: Path, root: Path, release: IdxRelease) -> StoredImages:
    from bnbench.data.torchvision_compat import import_torchvision  # noqa: PLC0415 -- torch, which takes seconds

    reader: Any = getattr(import_torchvision("torchvision.datasets"), release.reader)
    parts = []
    for train, count in ((True, release.train_images), (False, release.test_images)):
        where = f"{folder}, {'training' if train else 'test'} part"
        try:
            read = reader(str(root), train=train)
            pixels, labels = read.data.numpy()[..., np.newaxis], read.targets.numpy().astype(np.int64)
        except (AssertionError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
            raise UserError(f"{where}: torchvision cannot read it: {type(error).__name__}: {error}") from error
        shape = (count, release.image_size, release.image_size, 1)
        if pixels.dtype != np.uint8 or pixels.shape != shape or labels.shape != (count,):
            raise UserError(f"{where}: {pixels.dtype} of shape {pixels.shape} with {len(labels):,} labels, not {shape}")
        if labels.min() < 0 or labels.max() >= release.classes:
            raise UserError(f"{where}: labels go from {labels.min()} to {labels.max()}")
        parts.append(LabelledImages(pixels, labels))
    return StoredImages(*parts)
