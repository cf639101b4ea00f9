"""The home of imported data sets on disk: memory-mapped arrays, and a manifest that vouches for them.

    <home>/cifar10/manifest.json      written last, by rename: what it names is complete
    <home>/cifar10/arrays-<random>/   train_pixels.npy train_labels.npy test_pixels.npy test_labels.npy

A data set exists once its manifest does. An import that is killed leaves a folder that no manifest names;
a later import removes it.

Each split is stored in the order of its content (`LabelledImages.in_order_of_content`), so that fingerprint and split
follow from the images: the official archive and a copy of it in any order are one data set.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Final, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bnbench.data.images import LabelledImages, fingerprint
from bnbench.disk import read_regular, require_regular, sync_folder
from bnbench.errors import MissingDataError, OutdatedDataError, UserError
from bnbench.paths import given_path
from bnbench.plan import Origin

MANIFEST = "manifest.json"
_MANIFEST_LIMIT = 1 << 20
"""Bytes of a manifest, which has some five hundred."""
_ARRAYS_PREFIX = "arrays-"
_LEFTOVER_SECONDS = 3600.0
_FORMAT: Final = 2
"""1 kept the images in the order of their source."""


@dataclass(frozen=True, eq=False)
class StoredImages:
    """A whole data set in its official split."""

    train: LabelledImages
    test: LabelledImages

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the training images and labels, then the test images and labels."""
        return fingerprint([self.train, self.test])

    def in_order_of_content(self) -> StoredImages:
        """The same images, each split in the order of its content."""
        return StoredImages(self.train.in_order_of_content(), self.test.in_order_of_content())


class Manifest(BaseModel):
    """What is stored, and how it came."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    format_version: Literal[2] = _FORMAT
    name: str
    train_images: Annotated[int, Field(ge=1)]
    test_images: Annotated[int, Field(ge=1)]
    image_shape: tuple[int, int, int]
    """Height, width, channels."""
    fingerprint: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    origin: Origin
    archive_md5: str | None
    """Of the official archive, if the images came from it."""
    arrays: Annotated[str, Field(pattern=r"^arrays-\w+$")]
    """The folder beside the manifest that holds the arrays."""

    @property
    def images(self) -> int:
        """Images of both official splits."""
        return self.train_images + self.test_images


def data_home() -> Path:
    """Where imported data sets live: `$BNBENCH_DATA`, or else this platform's cache directory."""
    chosen = os.environ.get("BNBENCH_DATA")
    return given_path(chosen, "BNBENCH_DATA") if chosen else cache_home() / "data"


def cache_home() -> Path:
    """A folder of the user's own, in this platform's cache directory."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA")
        cache = Path(base) if base else Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        cache = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME")
        # The XDG specification: a relative path is invalid and must be ignored.
        cache = Path(base) if base and Path(base).is_absolute() else Path.home() / ".cache"
    return cache / "bnbench"


def read_manifest(home: Path, name: str) -> Manifest | None:
    """The manifest of a stored data set; None where there is none.

    Raises:
        OutdatedDataError: an older version stored it, in another order.
        UserError: it cannot be read, or is not one.
    """
    path = home / name / MANIFEST
    try:
        text = read_regular(path, _MANIFEST_LIMIT)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        manifest = Manifest.model_validate_json(text)
    except ValidationError as error:
        if _format_of(text) in range(1, _FORMAT):
            raise OutdatedDataError(
                f"the data set {home / name} was stored by an older version of bnbench, in the order of its source",
                hint=_bring_again(name),
            ) from error
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise _damaged(home, name, f"{MANIFEST}: {where + ': ' if where else ''}{first['msg']}") from error
    if manifest.name != name:
        raise _damaged(home, name, f"its manifest is that of '{manifest.name}'")
    return manifest


def read_stored(home: Path, name: str) -> StoredImages:
    """A stored data set, memory-mapped and read-only; shapes and types checked against its manifest.

    Raises:
        MissingDataError: it is not on this machine.
        UserError: it is damaged, or was stored by an older version.
    """
    found = read_with_manifest(home, name)
    if found is None:
        raise missing(name)
    return found[1]


def read_with_manifest(home: Path, name: str) -> tuple[Manifest, StoredImages] | None:
    """The same and what is on record of it; None where it is not on this machine.

    An import that takes its place meanwhile removes what is being read: then it is the new one that is read.

    Raises:
        UserError: it is damaged, or was stored by an older version.
    """
    manifest = read_manifest(home, name)
    while manifest is not None:
        try:
            return manifest, _read_arrays(home, manifest)
        except UserError:
            present = read_manifest(home, name)
            if present == manifest:
                raise
            manifest = present
    return None


def write_stored(
    home: Path,
    name: str,
    images: StoredImages,
    *,
    origin: Origin,
    archive_md5: str | None,
    replace: bool = False,
) -> Manifest:
    """Store a data set: all of it or, if anything goes wrong or the process is killed, nothing.

    The images are stored in the order of their content. Without `replace`, storing what is already there changes
    nothing, except that a copy becomes the official archive's when the archive turns out to hold the same images.

    Args:
        home: the folder of all data sets; made if need be.
        name: the data set.
        images: its images in their official split.
        origin: what kind of copy they are.
        archive_md5: the archive's checksum, if it was an archive.
        replace: whether different data of that name may be replaced.

    Raises:
        UserError: different, damaged or outdated data are there already, or the folder cannot be written.
    """
    images = images.in_order_of_content()
    manifest = Manifest(
        name=name,
        train_images=len(images.train),
        test_images=len(images.test),
        image_shape=_image_shape(images),
        fingerprint=images.fingerprint,
        origin=origin,
        archive_md5=archive_md5,
        arrays=f"{_ARRAYS_PREFIX}unwritten",
    )
    present = None if replace else _present(home, name)
    if present is not None:
        if present.fingerprint != manifest.fingerprint:
            raise UserError(
                f"different {name} images are already in {home} (fingerprint {present.fingerprint[:12]}, "
                f"the new ones {manifest.fingerprint[:12]})",
                hint="Results from different images must not be mixed. To replace the old ones, add --replace.",
            )
        if present.origin in ("official archive", origin):
            return present
    folder = home / name
    try:
        return _write(folder, manifest, images)
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be written: {error.strerror or error}",
            hint="Set BNBENCH_DATA to a folder that is writable and has about 200 MB of free space.",
        ) from error


def missing(name: str) -> MissingDataError:
    """The error for a data set that is not on this machine."""
    return MissingDataError(
        f"dataset '{name}' is not on this machine (looked in {data_home()})",
        hint=f"Bring it with one of:\n  bnbench data fetch {name}\n  bnbench data import {name} PATH",
    )


def _present(home: Path, name: str) -> Manifest | None:
    """The manifest of what is stored already, once the arrays were found to be what it says."""
    found = read_with_manifest(home, name)
    if found is None:
        return None
    manifest, images = found
    if images.fingerprint != manifest.fingerprint:
        raise _damaged(home, name, "its images are not those it was imported with")
    return manifest


def _read_arrays(home: Path, manifest: Manifest) -> StoredImages:
    folder = home / manifest.name / manifest.arrays
    parts: dict[str, LabelledImages] = {}
    for part, count in (("train", manifest.train_images), ("test", manifest.test_images)):
        try:
            pixels, labels = (_mapped(folder / f"{part}_{kind}.npy") for kind in ("pixels", "labels"))
        except (OSError, ValueError, EOFError) as error:
            raise _damaged(home, manifest.name, f"the {part} arrays cannot be read ({error})") from error
        if pixels.dtype != np.uint8 or pixels.shape != (count, *manifest.image_shape):
            raise _damaged(home, manifest.name, f"{part}_pixels.npy is {pixels.dtype} of shape {pixels.shape}")
        if labels.dtype != np.int64 or labels.shape != (count,):
            raise _damaged(home, manifest.name, f"{part}_labels.npy is {labels.dtype} of shape {labels.shape}")
        parts[part] = LabelledImages(pixels, labels)
    return StoredImages(parts["train"], parts["test"])


def _mapped(path: Path) -> npt.NDArray[Any]:
    require_regular(path)
    return np.lib.format.open_memmap(path, mode="r")


def _write(folder: Path, manifest: Manifest, images: StoredImages) -> Manifest:
    folder.mkdir(parents=True, exist_ok=True)
    replaced = _named_arrays(folder)
    arrays = folder / f"{_ARRAYS_PREFIX}{uuid.uuid4().hex}"
    arrays.mkdir()
    with _removed_on_failure(arrays):
        for part, labelled in (("train", images.train), ("test", images.test)):
            for kind, array in (("pixels", labelled.pixels), ("labels", labelled.labels)):
                with (arrays / f"{part}_{kind}.npy").open("xb") as file:
                    _save(file, np.ascontiguousarray(array))
        sync_folder(arrays)
        written = manifest.model_copy(update={"arrays": arrays.name})
        draft = arrays / MANIFEST
        with draft.open("xb") as file:
            file.write(written.model_dump_json(indent=2).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(folder / MANIFEST)  # from here on the data set exists
    sync_folder(folder)
    _remove_leftovers(folder, written, replaced)
    return written


@contextmanager
def _removed_on_failure(folder: Path) -> Iterator[None]:
    done = False
    try:
        yield
        done = True
    finally:
        if not done:
            shutil.rmtree(folder, ignore_errors=True)


def _save(file: BinaryIO, array: npt.NDArray[np.generic]) -> None:
    """As `np.save` does, which does not say why a write failed."""
    np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
    file.write(array.data)
    file.flush()
    os.fsync(file.fileno())


def _named_arrays(folder: Path) -> str | None:
    """The folder of arrays that the present manifest names, whatever else it says."""
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return manifest.get("arrays") if isinstance(manifest, dict) else None


def _remove_leftovers(folder: Path, manifest: Manifest, replaced: str | None) -> None:
    """Remove the data just replaced, and what killed imports left; young folders may be imports under way."""
    for other in folder.glob(f"{_ARRAYS_PREFIX}*"):
        if other.name != manifest.arrays and (other.name == replaced or _is_abandoned(other)):
            shutil.rmtree(other, ignore_errors=True)


def _is_abandoned(folder: Path) -> bool:
    try:
        return time.time() - folder.stat().st_mtime > _LEFTOVER_SECONDS
    except FileNotFoundError:
        return False  # another import has just removed it


def _image_shape(images: StoredImages) -> tuple[int, int, int]:
    height, width, channels = images.train.pixels.shape[1:]
    if images.test.pixels.shape[1:] != (height, width, channels):
        raise ValueError(f"training images are {(height, width, channels)}, test images {images.test.pixels.shape[1:]}")
    return int(height), int(width), int(channels)


def _damaged(home: Path, name: str, reason: str) -> UserError:
    return UserError(
        f"the stored data set {home / name} is damaged: {reason}",
        hint=_bring_again(name),
    )


def _bring_again(name: str) -> str:
    return (
        "Bring it again with one of:\n"
        f"  bnbench data fetch {name} --replace\n  bnbench data import {name} PATH --replace"
    )


def _format_of(manifest: bytes) -> object:
    try:
        found = json.loads(manifest)
    except (ValueError, RecursionError):
        return None
    return found.get("format_version") if isinstance(found, dict) else None
