"""Reading CIFAR from the Parquet layout of the Hugging Face hub: a struct of encoded bytes, and a label."""

from __future__ import annotations

import io
import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image

from bnbench.data.cifar_source import IMAGE_SHAPE, CifarRelease, check_images, check_labels
from bnbench.data.images import LabelledImages
from bnbench.data.store import StoredImages
from bnbench.disk import require_regular
from bnbench.errors import UserError
from bnbench.natural_order import natural_key

_IMAGE_COLUMNS = ("img", "image")
_IMAGE_LIMIT = 1 << 20
"""Bytes of an encoded image: those of 32×32 pixels have three thousand, or some more with what is told beside them."""
_BATCH = 128
"""Rows that are decoded at a time; with the limit above, so many bytes at most."""
_GROUP_LIMIT = 1 << 30
"""Bytes of the images of a row group, not compressed: all images of a release have a fifth of that."""
_SHARD = re.compile(r"(.*?)([0-9]{1,9})-of-([0-9]{1,6})(?![0-9]).*", re.DOTALL)
"""A file's name that says which of how many it is: `train-00000-of-00002`, perhaps with a digest behind it."""


def _parquet_files(folder: Path) -> tuple[list[Path], list[Path]]:
    """The training and the test files in a folder, by name: `train-…`, or inside a folder `train`.

    Each part is in the order of the numbers in the files' names, which is the order of the images in the data set.

    Raises:
        UserError: one of the two parts is not there, or one of the files that a name promises.
    """
    files = sorted(folder.rglob("*.parquet"), key=lambda file: natural_key(file.relative_to(folder).as_posix()))
    train = [file for file in files if _part(file, folder) == "train"]
    test = [file for file in files if _part(file, folder) == "test"]
    if not train or not test:
        absent = "training" if not train else "test"
        found = _names(folder, files[:10]) or "none"
        raise UserError(
            f"{folder}: there are no Parquet files of the {absent} part (found: {found})",
            hint="Expected names like train-00000-of-00001.parquet and test-00000-of-00001.parquet, or "
            "the official .tar.gz archive.",
        )
    _require_all_shards(folder, train)
    _require_all_shards(folder, test)
    return train, test


def _require_all_shards(folder: Path, files: list[Path]) -> None:
    """Refuse a part of which a file's name says that there are more files than are there."""
    series: dict[tuple[Path, str, str], dict[int, str]] = {}
    for file in files:
        if match := _SHARD.fullmatch(file.stem):
            before, number, count = match.groups()
            series.setdefault((file.parent, before, count), {})[int(number)] = number
    for (place, before, count), numbers in series.items():
        # Counted from 0 as on the hub, or from 1.
        first = 1 if 0 not in numbers and int(count) in numbers else 0
        missing = next((each for each in range(first, first + int(count)) if each not in numbers), None)
        if missing is not None:
            width = len(next(iter(numbers.values())))
            name = f"{before}{missing:0{width}}-of-{count}"
            raise UserError(
                f"{place}: {name}.parquet is missing: of {int(count)} files there are {len(numbers)}",
                hint=f"All {int(count)} belong into the folder; here are {_names(folder, files[:10])}.",
            )


def read_parquet(folder: Path, release: CifarRelease) -> StoredImages:
    """The images of a Parquet copy.

    Args:
        folder: holds the files of both parts.
        release: what they must amount to.

    Raises:
        UserError: a file is missing or unreadable, or holds something else.
    """
    train, test = _parquet_files(folder)
    return StoredImages(
        _read_part(folder, train, release, count=release.train_images),
        _read_part(folder, test, release, count=release.test_images),
    )


def _part(file: Path, folder: Path) -> str | None:
    for name in (file.name, *(parent.name for parent in file.relative_to(folder).parents)):
        for part in ("train", "test"):
            if name.lower().startswith(part):
                return part
    return None


def _names(folder: Path, files: list[Path]) -> str:
    """Files as paths relative to the folder: those of two copies in it may have the same names."""
    return ", ".join(file.relative_to(folder).as_posix() for file in files)


def _read_part(folder: Path, files: list[Path], release: CifarRelease, *, count: int) -> LabelledImages:
    pixels: list[npt.NDArray[np.uint8]] = []
    labels: list[int] = []
    for file in files:
        for encoded, label in _rows(file, release):
            if len(labels) == count:
                raise UserError(
                    f"{folder}: more than {count:,} images in {_names(folder, files)}",
                    hint="Leave one copy of each file in the folder.",
                )
            pixels.append(decode_image(f"{file}, row {len(labels)}", encoded))
            labels.append(label)
    where = f"{folder}, {_names(folder, files)}"
    if not labels:
        raise UserError(f"{where}: there are no images")
    images = LabelledImages(np.stack(pixels), np.array(labels, dtype=np.int64))
    check_images(where, images, count=count, classes=release.classes)
    return images


def _rows(path: Path, release: CifarRelease) -> Iterator[tuple[bytes | None, int]]:
    try:
        require_regular(path)
        with pq.ParquetFile(path) as file:
            image, label = _columns(path, file.schema_arrow, release)
            _require_small_groups(path, file.metadata, f"{image}.bytes")
        # As dictionaries: a value that a thousand rows share is not copied a thousand times before it is looked at.
        with pq.ParquetFile(path, read_dictionary=[f"{image}.bytes"]) as file:
            for batch in file.iter_batches(batch_size=_BATCH, columns=[f"{image}.bytes", label]):
                _require_small_images(path, cast("pa.StructArray", batch.column(image)))
                images = batch.column(image).to_pylist()
                labels = [value for value in batch.column(label).to_pylist() if value is not None]
                if len(labels) < len(images):
                    raise UserError(f"{path}: column {label} has rows without a value")
                check_labels(str(path), min(labels), max(labels), classes=release.classes)
                for row, value in zip(images, labels, strict=True):
                    yield (None if row is None else row["bytes"]), value
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: cannot be read as Parquet: {error}") from error


def _require_small_groups(path: Path, metadata: pq.FileMetaData, column: str) -> None:
    """Refuse what would fill the memory while it is decompressed: a few bytes may stand for any number of them."""
    for index in range(metadata.num_row_groups):
        group = metadata.row_group(index)
        chunks = [group.column(place) for place in range(group.num_columns)]
        size = sum(chunk.total_uncompressed_size for chunk in chunks if chunk.path_in_schema == column)
        if size > _GROUP_LIMIT:
            raise UserError(
                f"{path}: the images of row group {index} have {size:,} bytes, and no such images have more than "
                f"{_GROUP_LIMIT:,}",
                hint="Is it another data set?",
            )


def _require_small_images(path: Path, images: pa.StructArray) -> None:
    values = images.field("bytes")
    distinct = values.dictionary if isinstance(values, pa.DictionaryArray) else values
    largest = pc.max(pc.binary_length(cast("pa.BinaryArray", distinct))).as_py() or 0
    if largest > _IMAGE_LIMIT:
        height, width, _ = IMAGE_SHAPE
        raise UserError(
            f"{path}: there is an image of {largest:,} bytes, and none of {width}×{height} pixels has more than "
            f"{_IMAGE_LIMIT:,}",
            hint="Is it another data set?",
        )


def _columns(path: Path, schema: pa.Schema, release: CifarRelease) -> tuple[str, str]:
    """The names of the image and the label column."""
    image = next((name for name in _IMAGE_COLUMNS if name in schema.names), None)
    label = next((name for name in release.parquet_labels if name in schema.names), None)
    if image is None or label is None:
        wanted = "/".join(_IMAGE_COLUMNS) if image is None else "/".join(release.parquet_labels)
        raise UserError(f"{path}: has no column {wanted}", hint=f"Its columns: {', '.join(schema.names)}.")
    kind = schema.field(image).type
    inner = {field.name: field.type for field in kind} if pa.types.is_struct(kind) else {}
    if inner.get("bytes") not in (pa.binary(), pa.large_binary()):
        raise UserError(f"{path}: column {image} is {kind}, not a struct with a binary field 'bytes'")
    if not pa.types.is_integer(schema.field(label).type):
        raise UserError(f"{path}: column {label} is {schema.field(label).type}, not whole numbers")
    return image, label


def decode_image(where: str, encoded: bytes | None) -> npt.NDArray[np.uint8]:
    """An encoded image (PNG or JPEG) as uint8 of shape (32, 32, 3).

    Raises:
        UserError: there is none, it cannot be decoded, or it is of another size or colour model.
    """
    if encoded is None:
        raise UserError(f"{where}: there is no image")
    try:
        with warnings.catch_warnings():
            # What Pillow warns of (a suspiciously large image, odd metadata) is refused below or harmless.
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(encoded), formats=("PNG", "JPEG"))
            height, width, _ = IMAGE_SHAPE
            if image.size != (width, height) or image.mode != "RGB":
                raise UserError(f"{where}: is {image.width}×{image.height} {image.mode}, not {width}×{height} RGB")
            return np.asarray(image, dtype=np.uint8)
    except (
        OSError,
        SyntaxError,
        ValueError,
        EOFError,
        LookupError,
        TypeError,
        OverflowError,
        struct.error,
        zlib.error,
        Image.DecompressionBombError,
    ) as error:
        raise UserError(f"{where}: cannot be decoded: {error}") from error
