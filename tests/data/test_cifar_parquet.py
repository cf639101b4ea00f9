"""The Parquet layout of the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnbench.data import cifar_parquet
from bnbench.data.cifar_archive import read_archive
from bnbench.data.cifar_parquet import _parquet_files, decode_image, read_parquet
from bnbench.data.cifar_source import CifarRelease
from bnbench.data.store import StoredImages
from bnbench.errors import UserError
from support.synthetic_cifar import (
    encode_image,
    parquet_table,
    small_release,
    synthetic_images,
    write_archive,
    write_parquet,
)


@pytest.mark.parametrize("column", ["img", "image"])
@pytest.mark.parametrize(("name", "train", "test"), [("cifar10", 50, 20), ("cifar100", 200, 100)])
def test_the_same_images_have_the_same_fingerprint_from_both_formats(
    tmp_path: Path, name: str, train: int, test: int, column: str
) -> None:
    release = small_release(name, train=train, test=test)
    images = synthetic_images(release)
    write_parquet(tmp_path, release, images, column=column)
    release = write_archive(tmp_path, release, images)
    copy = read_parquet(tmp_path, release)
    assert np.array_equal(copy.train.pixels, images.train.pixels)
    assert np.array_equal(copy.test.labels, images.test.labels)
    assert copy.fingerprint == read_archive(tmp_path / release.archive, release).fingerprint


def test_fine_labels_are_preferred_and_plain_ones_accepted(tmp_path: Path) -> None:
    release = small_release("cifar100", train=200, test=100)
    images = synthetic_images(release)
    write_parquet(tmp_path, release, images)
    for file in tmp_path.glob("*.parquet"):
        table = pq.read_table(file)
        pq.write_table(table.append_column("label", pa.array([0] * len(table))), file)
    assert read_parquet(tmp_path, release).fingerprint == images.fingerprint
    for file in tmp_path.glob("*.parquet"):
        table = pq.read_table(file).drop_columns(["label"]).rename_columns({"fine_label": "label"})
        pq.write_table(table, file)
    assert read_parquet(tmp_path, release).fingerprint == images.fingerprint


def test_files_may_lie_in_folders_named_after_their_part(tmp_path: Path) -> None:
    release = small_release()
    images = synthetic_images(release)
    write_parquet(tmp_path, release, images)
    for file in list(tmp_path.glob("*.parquet")):
        part, number = file.stem.split("-")[:2]
        (tmp_path / "plain_text" / part).mkdir(parents=True, exist_ok=True)
        file.rename(tmp_path / "plain_text" / part / f"{number}.parquet")
    assert read_parquet(tmp_path, release).fingerprint == images.fingerprint


def test_jpeg_images_are_read(tmp_path: Path) -> None:
    pixels = np.full((32, 32, 3), (200, 100, 50), dtype=np.uint8)
    assert np.abs(decode_image("it", encode_image(pixels, "JPEG")).astype(int) - pixels).max() <= 3


_GOOD = encode_image(synthetic_images(small_release()).train.pixels[0])


@given(st.integers(0, len(_GOOD) - 1), st.binary(min_size=1, max_size=4))
def test_a_damaged_image_is_a_users_error_or_decodes(position: int, noise: bytes) -> None:
    damaged = _GOOD[:position] + noise + _GOOD[position + len(noise) :]
    try:
        assert decode_image("it", damaged).shape == (32, 32, 3)
    except UserError as error:
        assert str(error).startswith("it: ")


def _grey(size: int) -> np.ndarray:
    return np.zeros((size, size), dtype=np.uint8)


@pytest.mark.parametrize(
    ("encoded", "message"),
    [
        (None, "there is no image"),
        (b"", "cannot be decoded"),
        (b"GIF89a no", "cannot be decoded"),
        (_GOOD[:200], "cannot be decoded"),
        (encode_image(np.zeros((32, 31, 3), dtype=np.uint8)), "is 31×32 RGB, not 32×32 RGB"),
        (encode_image(np.zeros((8, 8, 3), dtype=np.uint8)), "is 8×8 RGB, not 32×32 RGB"),
        (encode_image(_grey(32)), "is 32×32 L, not"),
        (encode_image(np.zeros((32, 32, 4), dtype=np.uint8)), "is 32×32 RGBA, not"),
        (encode_image(np.zeros((32, 32, 3), dtype=np.uint8), "BMP"), "cannot be decoded"),
    ],
)
def test_a_wrong_image_is_refused_with_its_place(tmp_path: Path, encoded: bytes | None, message: str) -> None:
    release, images = _written(tmp_path)
    _replace_row(tmp_path / "test-00000-of-00001.parquet", 7, encoded, 0)
    with pytest.raises(UserError, match=message) as caught:
        read_parquet(tmp_path, release)
    assert "test-00000-of-00001.parquet, row 7" in str(caught.value)
    assert images


@pytest.mark.parametrize(
    ("label", "message"),
    [(10, "label 10, outside 0 to 9"), (-1, "label -1, outside 0 to 9"), (None, "rows without a value")],
)
def test_a_wrong_label_is_refused(tmp_path: Path, label: int | None, message: str) -> None:
    release, _ = _written(tmp_path)
    _replace_row(tmp_path / "test-00000-of-00001.parquet", 7, _GOOD, label)
    with pytest.raises(UserError, match=message):
        read_parquet(tmp_path, release)


@pytest.mark.parametrize("label", [2**63, 2**64 - 1])
def test_a_label_that_no_array_holds_is_refused(tmp_path: Path, label: int) -> None:
    release, _ = _written(tmp_path)
    file = tmp_path / "test-00000-of-00001.parquet"
    table = pq.read_table(file)
    labels = pa.array([*table.column("label").to_pylist()[:-1], label], pa.uint64())
    pq.write_table(table.set_column(table.column_names.index("label"), "label", labels), file)
    with pytest.raises(UserError, match=f"there is a label {label}, outside 0 to 9") as caught:
        read_parquet(tmp_path, release)
    assert str(file) in str(caught.value)


@contextmanager
def _arrow_memory(most: int) -> Iterator[None]:
    """Fail where Arrow has more bytes at once."""
    before = pa.default_memory_pool()
    pool = pa.proxy_memory_pool(before)
    pa.set_memory_pool(pool)
    try:
        yield
    finally:
        pa.set_memory_pool(before)
    assert pool.max_memory() < most


def _many_times(file: Path, values: list[bytes], rows: int, label: list[int]) -> None:
    """A file that says a few values once and means them many times, whatever they are."""
    indices = pa.array([row % len(values) for row in range(rows)], pa.int32())
    encoded = pa.DictionaryArray.from_arrays(indices, pa.array(values, pa.binary()))
    column = pa.StructArray.from_arrays([encoded, encoded], ["bytes", "path"])
    table = pa.table({"img": column, "label": pa.array(label * (rows // len(label)), pa.int64())})
    pq.write_table(table, file, compression="zstd", store_schema=False, dictionary_pagesize_limit=1 << 30)


def test_a_small_file_cannot_ask_for_all_memory(tmp_path: Path) -> None:
    release, _ = _written(tmp_path)
    file = tmp_path / "train-00000-of-00002.parquet"
    _many_times(file, [b"\0" * 20_000_000], 1_000, [0])
    assert file.stat().st_size < 3_000
    with _arrow_memory(200_000_000), pytest.raises(UserError, match="an image of 20,000,000 bytes, and none of 32×32"):
        read_parquet(tmp_path, release)


def test_nor_can_one_whose_images_are_just_small_enough(tmp_path: Path) -> None:
    release, _ = _written(tmp_path)
    file = tmp_path / "train-00000-of-00002.parquet"
    _many_times(file, [b"\0" * (1 << 20)], 20_000, [0])  # 20 GB in all
    with _arrow_memory(200_000_000), pytest.raises(UserError, match="row 0: cannot be decoded"):
        read_parquet(tmp_path, release)


def test_nor_can_one_of_many_large_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cifar_parquet, "_GROUP_LIMIT", 1 << 20)
    release, _ = _written(tmp_path)
    file = tmp_path / "train-00000-of-00002.parquet"
    _many_times(file, [bytes([number]) * 60_000 for number in range(20)], 20, [0])
    with _arrow_memory(100_000), pytest.raises(UserError, match=r"row group 0 have 1,200,\d+ bytes, .* than 1,048,576"):
        read_parquet(tmp_path, release)


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()])
def test_either_kind_of_binary_is_read(tmp_path: Path, kind: pa.DataType) -> None:
    release, images = _written(tmp_path)
    for file in tmp_path.glob("*.parquet"):
        table = pq.read_table(file)
        column = table.column("img").combine_chunks()
        encoded = pa.StructArray.from_arrays([column.field("bytes").cast(kind)], ["bytes"])
        pq.write_table(pa.table({"img": encoded, "label": table.column("label")}), file)
    assert read_parquet(tmp_path, release).fingerprint == images.fingerprint


def test_swapped_labels_are_refused(tmp_path: Path) -> None:
    release, images = _written(tmp_path)
    label = int(images.test.labels[7])
    _replace_row(tmp_path / "test-00000-of-00001.parquet", 7, _GOOD, (label + 1) % 10)
    with pytest.raises(UserError, match=r"class \d has [13] images, not 2"):
        read_parquet(tmp_path, release)


def test_ten_classes_are_not_taken_for_a_hundred(tmp_path: Path) -> None:
    ten = small_release("cifar10", train=200, test=100)
    write_parquet(tmp_path, ten, synthetic_images(ten))
    with pytest.raises(UserError, match="class 0 has 20 images, not 2"):
        read_parquet(tmp_path, small_release("cifar100", train=200, test=100))


@pytest.mark.parametrize("absent", ["train-0000[01]*", "test*", "*"])
def test_a_missing_part_is_named(tmp_path: Path, absent: str) -> None:
    release, _ = _written(tmp_path)
    for file in tmp_path.glob(absent):
        file.unlink()
    with pytest.raises(UserError, match=r"no Parquet files of the (training|test) part"):
        read_parquet(tmp_path, release)


def test_a_missing_and_a_doubled_file_are_noticed(tmp_path: Path) -> None:
    release, _ = _written(tmp_path)
    second = tmp_path / "train-00001-of-00002.parquet"
    (tmp_path / "train-copy.parquet").write_bytes(second.read_bytes())
    with pytest.raises(UserError, match="more than 50 images"):
        read_parquet(tmp_path, release)
    (tmp_path / "train-copy.parquet").unlink()
    second.unlink()
    with pytest.raises(UserError, match=r"train-00001-of-00002\.parquet is missing: of 2 files there are 1\n"):
        read_parquet(tmp_path, release)
    (tmp_path / "train-00000-of-00002.parquet").rename(tmp_path / "train.parquet")
    with pytest.raises(UserError, match="25 images, not 50"):
        read_parquet(tmp_path, release)


def _in_shards(folder: Path, names: list[str]) -> tuple[CifarRelease, StoredImages]:
    """A copy whose training images are spread over files of these names, in this order, five images in each."""
    release = small_release("cifar10", train=5 * len(names), test=20)
    images = synthetic_images(release)
    write_parquet(folder, release, images)
    for file in folder.glob("train-*"):
        file.unlink()
    for index, name in enumerate(names):
        part = images.train.take(np.arange(5 * index, 5 * index + 5))
        encoded = [encode_image(each) for each in part.pixels]
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(parquet_table(encoded, part.labels.tolist(), image="img", label="label"), folder / name)
    return release, images


@pytest.mark.parametrize(
    "form",
    ["train-{}.parquet", "train-{}-of-12.parquet", "train/{}.parquet", "train/part{}/0.parquet",
     "train-{:05}-of-00012-ab12cd{}.parquet"],
)  # fmt: skip
def test_files_are_read_in_the_order_of_their_numbers(tmp_path: Path, form: str) -> None:
    release, images = _in_shards(tmp_path, [form.format(number, 97 - number) for number in range(12)])
    train, test = _parquet_files(tmp_path)
    assert [file.relative_to(tmp_path).as_posix() for file in train] == [form.format(n, 97 - n) for n in range(12)]
    assert [file.name for file in test] == ["test-00000-of-00001.parquet"]
    assert np.array_equal(read_parquet(tmp_path, release).train.labels, images.train.labels)


@pytest.mark.parametrize(
    ("names", "missing"),
    [(["train-0-of-3", "train-2-of-3"], "train-1-of-3"), (["train-1-of-3", "train-2-of-3"], "train-0-of-3"),
     (["train-00000-of-00012", "train-00011-of-00012"], "train-00001-of-00012"),
     (["train-1-of-2", "train-0-of-3", "train-1-of-3", "train-2-of-3"], "train-0-of-2"),
     (["a/train-0-of-1", "b/train-1-of-2"], "train-0-of-2"), (["train-3-of-3", "train-1-of-3"], "train-2-of-3"),
     (["train-7-of-999999"], "train-0-of-999999")],
)  # fmt: skip
def test_a_missing_file_of_a_series_is_named(tmp_path: Path, names: list[str], missing: str) -> None:
    for name in [*names, "test"]:
        (tmp_path / f"{name}.parquet").parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.parquet").touch()
    with pytest.raises(UserError, match=rf"{missing}\.parquet is missing: of "):
        _parquet_files(tmp_path)


def test_a_series_may_be_counted_from_one(tmp_path: Path) -> None:
    release, images = _in_shards(tmp_path, [f"train-{number}-of-12.parquet" for number in range(1, 13)])
    assert read_parquet(tmp_path, release).fingerprint == images.fingerprint


def test_files_that_are_there_twice_are_told_apart(tmp_path: Path) -> None:
    for snapshot in ("0a1b", "2c3d"):
        (tmp_path / "snapshots" / snapshot).mkdir(parents=True)
        release, _ = _written(tmp_path / "snapshots" / snapshot)
    with pytest.raises(UserError) as caught:
        read_parquet(tmp_path, release)
    first, *_, last = caught.value.problem.partition("more than 50 images in ")[2].split(", ")
    assert first == "snapshots/0a1b/train-00000-of-00002.parquet"
    assert last == "snapshots/2c3d/train-00001-of-00002.parquet"


@pytest.mark.parametrize("kept", [0, 3, 100, -1, -100])
def test_a_truncated_file_is_refused(tmp_path: Path, kept: int) -> None:
    release, _ = _written(tmp_path)
    file = tmp_path / "train-00000-of-00002.parquet"
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(UserError, match=r"train-00000-of-00002.parquet: cannot be read as Parquet"):
        read_parquet(tmp_path, release)


def test_damage_in_the_middle_of_a_file_is_refused(tmp_path: Path) -> None:
    release, _ = _written(tmp_path)
    file = tmp_path / "train-00000-of-00002.parquet"
    content = bytearray(file.read_bytes())
    for position in range(200, len(content) - 2000, 97):
        content[position] ^= 0xFF
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"train-00000-of-00002.parquet"):
        read_parquet(tmp_path, release)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (pa.table({"picture": [1], "label": [1]}), "has no column img/image"),
        (pa.table({"img": [{"bytes": b"", "path": ""}], "class": [1]}), "has no column label"),
        (pa.table({"img": [b""], "label": [1]}), "column img is binary, not a struct"),
        (pa.table({"img": [{"path": ""}], "label": [1]}), "not a struct with a binary field 'bytes'"),
        (pa.table({"img": [{"bytes": "text"}], "label": [1]}), "not a struct with a binary field 'bytes'"),
        (pa.table({"img": [{"bytes": b""}], "label": ["cat"]}), "column label is string, not whole numbers"),
        (pa.table({"img": [{"bytes": b""}], "label": [1.0]}), "column label is double, not whole numbers"),
        (parquet_table([], [], image="img", label="label"), "there are no images"),
    ],
)
def test_a_wrong_layout_is_refused(tmp_path: Path, table: pa.Table, message: str) -> None:
    release, _ = _written(tmp_path)
    pq.write_table(table, tmp_path / "test-00000-of-00001.parquet")
    with pytest.raises(UserError, match=message):
        read_parquet(tmp_path, release)


def _written(folder: Path) -> tuple[CifarRelease, StoredImages]:
    release = small_release()
    images = synthetic_images(release)
    write_parquet(folder, release, images)
    return release, images


def _replace_row(file: Path, row: int, encoded: bytes | None, label: int | None) -> None:
    rows = pq.read_table(file).to_pylist()
    images = [each["img"]["bytes"] for each in rows]
    labels = [each["label"] for each in rows]
    images[row], labels[row] = encoded, label
    pq.write_table(parquet_table(images, labels, image="img", label="label"), file)
