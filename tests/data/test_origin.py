"""Who a data set is, whatever it came from: its order, its fingerprint, its split, and what kind of copy it is."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from math import sqrt
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bnbench.data.cifar_source import RELEASES, CifarRelease
from bnbench.data.dataset import DATASETS
from bnbench.data.images import LabelledImages
from bnbench.data.inventory import import_dataset, list_datasets
from bnbench.data.origin import channel_statistics, is_evidence, origin_in_words
from bnbench.data.store import Manifest, StoredImages, read_manifest, read_stored
from bnbench.errors import OutdatedDataError
from support.command_line import invoke
from support.synthetic_cifar import parquet_table, small_release, synthetic_images, write_archive, write_parquet


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BNBENCH_DATA", str(tmp_path / "home"))
    return tmp_path / "home"


def _with_twins() -> tuple[CifarRelease, StoredImages]:
    """Ten classes; one pair of identical rows, and one image under two labels, as CIFAR-100 has them."""
    release = small_release("cifar10", train=200, test=100)
    images = synthetic_images(release)
    pixels, labels = images.train.pixels.copy(), images.train.labels
    same = np.flatnonzero(labels == 3)[:2]
    pixels[same[1]] = pixels[same[0]]
    other = np.flatnonzero(labels == 4)[0]
    pixels[other] = pixels[same[0]]
    return release, StoredImages(LabelledImages(pixels, labels), images.test)


def _constants(images: LabelledImages, digits: int = 8) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Mean and standard deviation of each channel, by another way than the package's."""
    scaled = images.pixels.astype(np.float64) / 255
    mean, std = scaled.mean(axis=(0, 1, 2)), scaled.std(axis=(0, 1, 2))
    return tuple(f"{each:.{digits}f}" for each in mean), tuple(f"{each:.{digits}f}" for each in std)


def _published(release: CifarRelease, images: StoredImages) -> CifarRelease:
    """The release, as if these images' constants were those published."""
    mean, std = _constants(images.train)
    return replace(release, mean=mean, std=std)


def _png(pixels: np.ndarray, level: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=level)
    return buffer.getvalue()


def _write_copy(
    folder: Path, release: CifarRelease, images: StoredImages, *, seed: int, shards: Sequence[int], level: int
) -> Path:
    """A Parquet copy with its rows mixed, in as many files as asked for, its images encoded anew."""
    folder.mkdir()
    random = np.random.default_rng(seed)
    for name, part, count in zip(("train", "test"), (images.train, images.test), shards, strict=True):
        for shard, positions in enumerate(np.array_split(random.permutation(len(part)), count)):
            own = part.take(positions)
            table = parquet_table(
                [_png(each, level) for each in own.pixels],
                own.labels.tolist(),
                image="img",
                label=release.parquet_labels[0],
            )
            pq.write_table(table, folder / f"{name}-{shard:05}-of-{count:05}.parquet")
    return folder


def test_archive_and_copies_in_any_order_sharding_and_encoding_are_one_data_set(tmp_path: Path) -> None:
    release, images = _with_twins()
    release = write_archive(tmp_path, release, images)
    sources = [
        tmp_path / release.archive,
        _write_copy(tmp_path / "one", release, images, seed=1, shards=(1, 1), level=0),
        _write_copy(tmp_path / "many", release, images, seed=2, shards=(7, 3), level=9),
    ]
    manifests = [import_dataset("cifar10", source, replace=True, release=release) for source in sources[::-1]]
    assert len({each.fingerprint for each in manifests}) == 1
    splits = []
    for source in sources:
        import_dataset("cifar10", source, replace=True, release=release)
        loaded = DATASETS.get("cifar10").load_splits(42)
        splits.append([(part.pixels.tobytes(), part.labels.tobytes()) for part in vars(loaded).values()])
    assert splits[0] == splits[1] == splits[2]


def test_the_stored_order_is_that_of_the_pixels_hash_then_of_the_label(tmp_path: Path, home: Path) -> None:
    release, images = _with_twins()
    import_dataset(
        "cifar10", _write_copy(tmp_path / "copy", release, images, seed=0, shards=(2, 1), level=1), release=release
    )
    stored = read_stored(home, "cifar10")
    for found, published in ((stored.train, images.train), (stored.test, images.test)):
        rows = sorted(
            (hashlib.sha256(image.tobytes()).digest(), label, image.tobytes())
            for image, label in zip(published.pixels, published.labels.tolist(), strict=True)
        )
        assert [(image.tobytes(), label) for image, label in zip(found.pixels, found.labels.tolist(), strict=True)] == [
            (image, label) for _, label, image in rows
        ]


@given(st.randoms(use_true_random=False), st.integers(1, 40))
def test_the_order_of_content_does_not_depend_on_the_order_given(random, count: int) -> None:
    """Few values, so that equal images, and equal ones under other labels, are common."""
    pixels = np.array([random.randrange(3) for _ in range(count)], dtype=np.uint8).reshape(-1, 1, 1, 1)
    labels = np.array([random.randrange(3) for _ in range(count)], dtype=np.int64)
    images = LabelledImages(pixels, labels)
    mixed = images.take(np.array(random.sample(range(count), count), dtype=np.int64))
    one, other = images.in_order_of_content(), mixed.in_order_of_content()
    assert np.array_equal(one.pixels, other.pixels)
    assert np.array_equal(one.labels, other.labels)
    assert sorted(zip(pixels.ravel(), labels, strict=True)) == sorted(zip(one.pixels.ravel(), one.labels, strict=True))


def test_exchanged_labels_and_splits_are_other_data() -> None:
    _, images = _with_twins()
    labels = images.train.labels.copy()
    first, second = np.flatnonzero(labels == 0)[0], np.flatnonzero(labels == 1)[0]
    labels[[first, second]] = labels[[second, first]]
    prints = {
        each.in_order_of_content().fingerprint
        for each in (
            images,
            StoredImages(LabelledImages(images.train.pixels, labels), images.test),
            StoredImages(images.train.take(np.arange(100)), images.train.take(np.arange(100, 200))),
            StoredImages(images.train.take(np.arange(100, 200)), images.train.take(np.arange(100))),
        )
    }
    assert len(prints) == 4


def _imported(tmp_path: Path, release: CifarRelease, images: StoredImages) -> Manifest:
    folder = tmp_path / "parquet"
    folder.mkdir(exist_ok=True)
    write_parquet(folder, release, images)
    return import_dataset("cifar10", folder, replace=True, release=release)


def test_a_copy_with_the_published_constants_has_the_official_pixels(tmp_path: Path) -> None:
    release, images = _with_twins()
    release = _published(release, images)
    assert _imported(tmp_path, release, images).origin == "official pixels"
    mean, std = release.mean, release.std
    last = f"{mean[2][:-1]}{(int(mean[2][-1]) + 1) % 10}"
    assert _imported(tmp_path, replace(release, mean=(*mean[:2], last)), images).origin == "other copy"
    assert _imported(tmp_path, replace(release, std=std[::-1]), images).origin == "other copy"
    one_byte = images.train.pixels.copy()
    one_byte[7, 0, 0, 1] ^= 1
    changed = StoredImages(LabelledImages(one_byte, images.train.labels), images.test)
    assert _imported(tmp_path, release, changed).origin == "other copy"
    official = write_archive(tmp_path, release, changed)
    assert import_dataset("cifar10", tmp_path, replace=True, release=official).origin == "official archive"


@given(st.integers(0, 2**32 - 1), st.integers(1, 12))
def test_constants_are_exact_to_every_digit(seed: int, digits: int) -> None:
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 256, size=(3, 2, 2, 3)).astype(np.uint8)
    like = ("0." + "0" * digits,) * 3
    release = replace(RELEASES["cifar10"], mean=like, std=like)
    mean, std = channel_statistics(LabelledImages(pixels, np.zeros(3, np.int64)), release)
    for channel in range(3):
        values = [int(each) for each in pixels[..., channel].ravel()]
        exact = Fraction(sum(values), 255 * len(values))
        variance = Fraction(sum(each * each for each in values), 255**2 * len(values)) - exact**2
        assert abs(Fraction(mean[channel]) - exact) <= Fraction(1, 2 * 10**digits)
        assert abs(float(std[channel]) - sqrt(variance)) <= 0.5 * 10**-digits + 1e-12
        assert len(mean[channel]) == len(std[channel]) == digits + 2


def test_the_shipped_releases_have_constants_and_no_fingerprint_on_record() -> None:
    for name, release in RELEASES.items():
        assert {len(each) for each in (*release.mean, *release.std)} == {10}, "eight digits"
        assert DATASETS.get(name).mean == tuple(map(float, release.mean))
        assert DATASETS.get(name).std == tuple(map(float, release.std))
        assert release.archive_fingerprint is None


def test_official_pixels_say_what_was_compared_until_the_archives_fingerprint_is_on_record(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    certain = "official pixels: those of the archive"
    doubtful = "official pixels: constants of the training images, test images by count only"
    assert origin_in_words("cifar10", "official pixels", "a" * 64) == doubtful
    monkeypatch.setitem(RELEASES, "cifar10", replace(RELEASES["cifar10"], archive_fingerprint="a" * 64))
    assert origin_in_words("cifar10", "official pixels", "a" * 64) == certain
    assert origin_in_words("cifar10", "official pixels", "b" * 64) == doubtful
    assert origin_in_words("cifar100", "official pixels", "a" * 64) == doubtful
    assert origin_in_words("stripes", "official pixels", None) == doubtful
    assert origin_in_words("cifar10", "other copy", "a" * 64) == "other copy"
    assert origin_in_words("cifar10", None, None) == "origin not recorded"


def test_all_but_another_copy_are_evidence() -> None:
    kinds = ("embedded", "official archive", "official pixels", "other copy", None)
    assert [kind for kind in kinds if is_evidence(kind)] == ["embedded", "official archive", "official pixels"]


def test_an_import_ends_with_what_the_copy_is_worth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release, images = _with_twins()
    write_parquet(tmp_path, release, images)
    monkeypatch.setitem(RELEASES, "cifar10", release)
    other = invoke("data", "import", "cifar10", tmp_path)
    assert other.exit_code == 0
    assert other.stdout.splitlines()[-2] == "other copy"
    assert (
        "no evidence of a published claim, and are not compared with runs on the official images"
        in (other.stdout.splitlines()[-1])
    )
    monkeypatch.setitem(RELEASES, "cifar10", _published(release, images))
    pixels = invoke("data", "import", "cifar10", tmp_path)
    assert pixels.stdout.splitlines()[-1] == (
        "official pixels: constants of the training images, test images by count only"
    )
    assert "official pixels" in invoke("data", "list").stdout


def _make_old(home: Path, name: str) -> Manifest:
    """Rewrite a manifest as the first version wrote it."""
    path = home / name / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["origin"]
    path.write_text(json.dumps(manifest | {"format_version": 1, "canonical": False, "origin": "parquet"}))
    return Manifest.model_validate_json(json.dumps(manifest | {"origin": "other copy"}))


def test_data_that_an_older_version_stored_are_refused_with_the_command_that_brings_them(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release, images = _with_twins()
    write_parquet(tmp_path, release, images)
    monkeypatch.setitem(RELEASES, "cifar10", release)
    import_dataset("cifar10", tmp_path)
    old = _make_old(home, "cifar10")
    with pytest.raises(OutdatedDataError, match="stored by an older version"):
        read_manifest(home, "cifar10")
    for words in (
        ("run", "cifar10_3c3d", "--variant", "bn", "--results", tmp_path / "results"),
        ("data", "verify", "cifar10"),
        ("data", "import", "cifar10", tmp_path),
    ):
        refused = invoke(*words)
        assert refused.exit_code == 2, words
        assert "was stored by an older version of bnbench, in the order of its source" in refused.stderr
        assert "bnbench data import cifar10 PATH --replace" in refused.stderr
    assert not (tmp_path / "results").exists()
    row = next(row for row in list_datasets() if row.name == "cifar10")
    assert (row.state, row.at_hand, row.origin) == ("older version", False, None)
    listed = invoke("data", "list")
    assert (listed.exit_code, "older version" in listed.stdout) == (0, True)
    assert "bnbench data import cifar10 PATH --replace" in listed.stderr
    again = import_dataset("cifar10", tmp_path, replace=True)
    assert again.fingerprint == images.in_order_of_content().fingerprint
    assert [each.name for each in (home / "cifar10").glob("arrays-*")] == [again.arrays] != [old.arrays]
