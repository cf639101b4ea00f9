"""What data sets are on this machine: bringing them, checking them, listing them."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bnbench.data import digits
from bnbench.data.cifar_archive import read_archive, read_unpacked, unpacked_folder
from bnbench.data.cifar_parquet import read_parquet
from bnbench.data.cifar_source import RELEASES, CifarRelease
from bnbench.data.dataset import DATASETS
from bnbench.data.fetch import Progress, download
from bnbench.data.idx_files import read_idx
from bnbench.data.idx_source import IDX_RELEASES, IdxRelease
from bnbench.data.origin import origin_of_copy
from bnbench.data.store import (
    Manifest,
    data_home,
    missing,
    read_manifest,
    read_stored,
    read_with_manifest,
    write_stored,
)
from bnbench.errors import OutdatedDataError, UserError
from bnbench.plan import Origin

Release = CifarRelease | IdxRelease
_RELEASES: Mapping[str, Release] = {**RELEASES, **IDX_RELEASES}
"""What is fetched and imported."""

_DOWNLOAD_PREFIX = ".download-"
_ABANDONED_SECONDS = 86_400.0

State = Literal["yes", "no", "older version", "damaged"]
"""Whether a data set is on this machine."""


@dataclass(frozen=True)
class VerifyResult:
    """Whether a data set is still what it was."""

    name: str
    expected: str
    """The fingerprint on record."""
    found: str
    """The fingerprint of the images as they are now."""

    @property
    def intact(self) -> bool:
        """Whether the two agree."""
        return self.expected == self.found


@dataclass(frozen=True)
class DatasetRow:
    """A data set in the list."""

    name: str
    title: str
    state: State
    images: int
    """Stored on this machine; where it is not at hand, those of the published data set."""
    fingerprint: str | None
    origin: Origin | None
    damage: str | None
    """Why it cannot be used although something is stored."""

    @property
    def at_hand(self) -> bool:
        """Whether it can be trained on."""
        return self.state == "yes"


def import_dataset(name: str, path: Path, *, replace: bool = False, release: Release | None = None) -> Manifest:
    """Import a data set from its official files or, of CIFAR, from what its archive unpacks to or from Parquet files.

    Args:
        name: the data set.
        path: the official files or the folder that holds them; of CIFAR, also the folder that the archive unpacks to,
            or a folder of Parquet files.
        replace: whether different data of that name may be replaced.
        release: what to check against; the official release unless said otherwise.

    Raises:
        UserError: the data set is not one that is imported, the files are not what they should be, other
            data are already there, or the store cannot be written. Nothing has been changed then.
    """
    release = _release(name) if release is None else release
    if isinstance(release, IdxRelease):
        return write_stored(
            data_home(),
            name,
            read_idx(path, release),
            origin="official archive",
            archive_md5=" ".join(file.md5 for file in release.files),
            replace=replace,
        )
    archive = _archive_at(path, release)
    unpacked = unpacked_folder(path, release) if archive is None else None
    if archive is not None:
        images = read_archive(archive, release)
    elif unpacked is not None:
        images = read_unpacked(unpacked, release)
    else:
        images = read_parquet(path, release)
    return write_stored(
        data_home(),
        name,
        images,
        # A copy may have been encoded anew, and MD5 alone be forged: what it is, only its pixels can tell.
        origin=origin_of_copy(images.train, release) if archive is None else "official archive",
        archive_md5=None if archive is None else release.archive_md5,
        replace=replace,
    )


def fetch_dataset(
    name: str, *, replace: bool = False, progress: Progress | None = None, release: Release | None = None
) -> Manifest:
    """Download the official archive of a data set, verify it, import it.

    Args:
        name: the data set.
        replace: whether different data of that name may be replaced, and those of the archive downloaded again.
        progress: told how far the download is.
        release: what to download; the official release unless said otherwise.

    Raises:
        UserError: the data set is not one that is downloaded, there is no network, the download is damaged,
            other data are already there, or the store cannot be written. Nothing has been changed then.
    """
    release = _release(name) if release is None else release
    home = data_home()
    present = None if replace else read_manifest(home, name)
    if present is not None and present.origin == "official archive":
        read_stored(home, name)
        return present
    if present is not None and present.origin == "other copy":
        # Before the download rather than after it: such a copy does not have the archive's pixels.
        raise UserError(
            f"{name} images of another origin are already in {home} (fingerprint {present.fingerprint[:12]}, "
            f"{present.origin})",
            hint="Results from different images must not be mixed. To replace the old ones, add --replace.",
        )
    try:
        home.mkdir(parents=True, exist_ok=True)
        _remove_abandoned_downloads(home)
        # Beside the store: a download of 170 MB does not fit every temporary folder.
        with tempfile.TemporaryDirectory(prefix=_DOWNLOAD_PREFIX, dir=home) as folder:
            download(release, Path(folder), progress)
            return import_dataset(name, Path(folder), replace=replace, release=release)
    except OSError as error:
        raise UserError(f"{home}: cannot be written: {error.strerror or error}") from error


def verify_dataset(name: str) -> VerifyResult:
    """Compute a data set's fingerprint anew from every image, and compare it with the one on record.

    Raises:
        MissingDataError: it is not on this machine.
        UserError: there is no such data set, what is stored cannot even be read, or nothing is on record.
    """
    if name == "digits":
        found = DATASETS.get(name).facts().fingerprint
        return VerifyResult(name, expected=digits.FINGERPRINT, found=found or "")
    if name not in _RELEASES:
        title = DATASETS.get(name).title
        raise UserError(
            f"{title} ({name}) comes with a package of its own; there is no stored copy to verify",
            hint=f"Data sets that can be verified: {', '.join((*_RELEASES, 'digits'))}.",
        )
    found = read_with_manifest(data_home(), name)
    if found is None:
        raise missing(name)
    manifest, images = found
    return VerifyResult(name, expected=manifest.fingerprint, found=images.fingerprint)


def list_datasets() -> list[DatasetRow]:
    """Every known data set, and whether it can be used on this machine.

    A data set that cannot be read makes a row that says so; it does not hide the others.
    """
    return [_row(name) for name in DATASETS]


def _row(name: str) -> DatasetRow:
    try:
        dataset = DATASETS.get(name)
    except UserError as error:
        return DatasetRow(name, name, "damaged", 0, None, None, damage=str(error))
    try:
        facts = dataset.facts()
        stored = read_with_manifest(data_home(), name) if name in _RELEASES else None
        manifest = None if stored is None else stored[0]
    except UserError as error:
        state: State = "older version" if isinstance(error, OutdatedDataError) else "damaged"
        return DatasetRow(name, dataset.title, state, dataset.images, None, None, damage=str(error))
    return DatasetRow(
        name=name,
        title=dataset.title,
        state="no" if facts.fingerprint is None else "yes",
        images=dataset.images if manifest is None else manifest.images,
        fingerprint=facts.fingerprint,
        origin=facts.origin,
        damage=None,
    )


def _release(name: str) -> Release:
    if name not in _RELEASES:
        title = DATASETS.get(name).title
        raise UserError(
            f"{title} ({name}) is neither fetched nor imported: it comes with an installed package",
            hint=f"Data sets that are fetched or imported: {', '.join(_RELEASES)}.",
        )
    return _RELEASES[name]


def _remove_abandoned_downloads(home: Path) -> None:
    """Remove what killed downloads left a day ago or earlier; a younger one may be under way."""
    for folder in home.glob(f"{_DOWNLOAD_PREFIX}*"):
        if time.time() - folder.stat().st_mtime > _ABANDONED_SECONDS:
            shutil.rmtree(folder, ignore_errors=True)


def _archive_at(path: Path, release: CifarRelease) -> Path | None:
    """The archive that a path names or holds; None for a folder without it."""
    if path.is_dir():
        inside = path / release.archive
        return inside if inside.is_file() else None
    if not path.exists():
        raise UserError(
            f"{path}: there is no such file or folder",
            hint=f"Give {release.archive}, the folder that it unpacks to, or a folder of train-….parquet and "
            "test-….parquet files.",
        )
    if path.suffix == ".parquet":
        raise UserError(
            f"{path}: is one Parquet file, which is one part of the data set",
            hint=f"Give the folder that holds the training and the test files: {path.parent}",
        )
    return path
