"""Small data sets in the file formats of CIFAR: the pickled archive, the Parquet layout, the local store."""

from __future__ import annotations

import hashlib
import io
import pickle
import struct
import tarfile
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from bnbench.data.cifar_archive import read_archive
from bnbench.data.cifar_source import RELEASES, CifarRelease
from bnbench.data.images import LabelledImages
from bnbench.data.store import Manifest, StoredImages, write_stored


def small_release(name: str = "cifar10", *, train: int = 50, test: int = 20) -> CifarRelease:
    """The release of that name with fewer images; both counts must be multiples of the number of classes."""
    return replace(RELEASES[name], train_images=train, test_images=test)


def synthetic_images(release: CifarRelease, seed: int = 0) -> StoredImages:
    """Noise around a colour that depends on the class; each run of `classes` images has every class once."""
    random = np.random.default_rng(seed)
    colours = random.integers(32, 224, size=(release.classes, 1, 1, 3))

    def part(count: int) -> LabelledImages:
        blocks = [random.permutation(release.classes) for _ in range(count // release.classes)]
        labels = np.concatenate(blocks).astype(np.int64)
        pixels = colours[labels] + random.integers(-32, 32, size=(count, 32, 32, 3))
        return LabelledImages(pixels.astype(np.uint8), labels)

    return StoredImages(part(release.train_images), part(release.test_images))


def member_contents(release: CifarRelease, images: StoredImages) -> dict[str, object]:
    """What each member of the archive holds, not pickled yet: rows of red, green and blue planes."""
    contents: dict[str, object] = {}
    for names, part in ((release.train_members, images.train), (release.test_members, images.test)):
        for name, positions in zip(names, np.array_split(np.arange(len(part)), len(names)), strict=True):
            own = part.take(positions)
            contents[name] = {
                "batch_label": "a batch",
                "data": np.ascontiguousarray(own.pixels.transpose(0, 3, 1, 2)).reshape(len(own), -1),
                release.archive_labels: [int(label) for label in own.labels],
                "filenames": [f"image_{position}.png" for position in positions],
            }
    return contents


def pack_archive(path: Path, release: CifarRelease, members: dict[str, bytes]) -> CifarRelease:
    """Write members into a .tar.gz, and return the release with that file's checksum."""
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for name, content in members.items():
            information = tarfile.TarInfo(name)
            information.size = len(content)
            archive.addfile(information, io.BytesIO(content))
    return with_checksum_of(path, release)


def with_checksum_of(path: Path, release: CifarRelease) -> CifarRelease:
    """The release, as if this file were its official archive: both checksums are its own."""
    content = path.read_bytes()
    return replace(
        release,
        archive_md5=hashlib.md5(content, usedforsecurity=False).hexdigest(),
        archive_sha256=hashlib.sha256(content).hexdigest(),
    )


def write_archive(folder: Path, release: CifarRelease, images: StoredImages) -> CifarRelease:
    """Write the archive, named as the official one, and return the release with its checksum."""
    members = {name: python2_pickle(content) for name, content in member_contents(release, images).items()}
    return pack_archive(folder / release.archive, release, members)


def write_unpacked(folder: Path, release: CifarRelease, images: StoredImages) -> CifarRelease:
    """Write what the archive unpacks to, and return the release with the checksums of its files."""
    digests = []
    for name, content in member_contents(release, images).items():
        pickled = python2_pickle(content)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(pickled)
        digests.append(hashlib.md5(pickled, usedforsecurity=False).hexdigest())
    return replace(release, member_md5=tuple(digests))


def write_parquet(folder: Path, release: CifarRelease, images: StoredImages, *, column: str = "img") -> None:
    """Write the Parquet layout, images as PNG, the training part in two files."""
    half = len(images.train) // 2
    parts = {
        "train-00000-of-00002": images.train.take(np.arange(half)),
        "train-00001-of-00002": images.train.take(np.arange(half, len(images.train))),
        "test-00000-of-00001": images.test,
    }
    for name, part in parts.items():
        encoded = [encode_image(each) for each in part.pixels]
        label = release.parquet_labels[0]
        pq.write_table(
            parquet_table(encoded, part.labels.tolist(), image=column, label=label), folder / f"{name}.parquet"
        )


def parquet_table(encoded: list[bytes | None], labels: list[int | None], *, image: str, label: str) -> pa.Table:
    """A table as the Hugging Face hub serves it."""
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    rows = [None if each is None else {"bytes": each, "path": None} for each in encoded]
    return pa.table({image: pa.array(rows, kind), label: pa.array(labels, pa.int64())})


def encode_image(pixels: np.ndarray, form: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form)
    return buffer.getvalue()


def install_synthetic(
    home: Path, name: str = "cifar100", *, train: int = 700, test: int = 100, seed: int = 0
) -> Manifest:
    """Put a small data set into a store (a folder that BNBENCH_DATA names), by way of a pickled archive.

    The default leaves 560 images to train on, 140 to validate and 140 to evaluate training: two batches of 256.
    """
    release = small_release(name, train=train, test=test)
    with tempfile.TemporaryDirectory() as folder:
        release = write_archive(Path(folder), release, synthetic_images(release, seed))
        images = read_archive(Path(folder) / release.archive, release)
    return write_stored(home, name, images, origin="official archive", archive_md5=release.archive_md5)


def python2_pickle(content: object) -> bytes:
    """A pickle as the official archives have it: written by Python 2, all strings as bytes, NumPy's old module name."""
    buffer = io.BytesIO()
    _Python2Pickler(buffer, protocol=2).dump(content)
    return buffer.getvalue().replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")


class _Python2Pickler(pickle._Pickler):
    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_byte_string(self, text: str | bytes) -> None:
        content = text.encode("latin1") if isinstance(text, str) else text
        self.write(pickle.BINSTRING + struct.pack("<i", len(content)) + content)
        self.memoize(text)

    dispatch[str] = save_byte_string
    dispatch[bytes] = save_byte_string
