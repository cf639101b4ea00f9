"""The splits: sizes, disjointness, and the same for good."""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from bnbench.data.dataset import DATASETS
from bnbench.data.images import LabelledImages, split_digest
from bnbench.data.stored import split_indices
from bnbench.plan import SplitSizes
from support.synthetic_cifar import install_synthetic, small_release, synthetic_images


def _hash(*arrays: np.ndarray) -> str:
    return hashlib.sha256(b"".join(np.ascontiguousarray(array, dtype="<i8").tobytes() for array in arrays)).hexdigest()


@given(st.integers(5, 3_000), st.integers(0, 2**32 - 1))
def test_cifar_splits_partition_the_training_file(images: int, seed: int) -> None:
    splits = split_indices(images, seed)
    together = np.concatenate([splits.train, splits.valid])
    assert np.array_equal(np.sort(together), np.arange(images)), "every image once, none in both"
    assert len(splits.valid) == len(splits.train_eval) == images // 5
    assert np.isin(splits.train_eval, splits.train).all()
    assert len(np.unique(splits.train_eval)) == len(splits.train_eval)


def test_cifar_splits_have_the_sizes_of_the_thesis_and_stay_as_they_are() -> None:
    splits = split_indices(50_000, 42)
    assert (len(splits.train), len(splits.train_eval), len(splits.valid)) == (40_000, 10_000, 10_000)
    assert (
        _hash(splits.train, splits.train_eval, splits.valid)
        == "50f86b099e7aaf53465eb1065137a8b5519e0faddff0aa432160e0027ee2bd3d"
    )
    assert not np.array_equal(split_indices(50_000, 43).valid, splits.valid)


def test_cifar_splits_hold_the_images_that_the_indices_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BNBENCH_DATA", str(tmp_path))
    install_synthetic(tmp_path, "cifar100", train=700, test=100)
    published = synthetic_images(small_release("cifar100", train=700, test=100)).in_order_of_content()
    splits, indices = DATASETS.get("cifar100").load_splits(7), split_indices(700, 7)
    for part, expected in (
        (splits.train, published.train.take(indices.train)),
        (splits.train_eval, published.train.take(indices.train_eval)),
        (splits.valid, published.train.take(indices.valid)),
        (splits.test, published.test),
    ):
        assert np.array_equal(part.pixels, expected.pixels)
        assert np.array_equal(part.labels, expected.labels)
    assert (len(splits.train), len(splits.train_eval), len(splits.valid), len(splits.test)) == (560, 140, 140, 100)
    assert DATASETS.get("cifar100").facts().sizes == SplitSizes(train=560, train_eval=140)


def _positions(part: LabelledImages) -> list[int]:
    """Where in scikit-learn's data each image is; its images are all different."""
    bunch = load_digits()
    where = {image.astype(np.uint8).tobytes(): position for position, image in enumerate(bunch.images)}
    assert len(where) == 1797
    positions = [where[image.tobytes()] for image in part.pixels]
    assert np.array_equal(bunch.target[positions], part.labels)
    return positions


def test_digits_are_split_by_class_and_stay_as_they_are() -> None:
    splits = DATASETS.get("digits").load_splits(42)
    parts = [_positions(part) for part in (splits.train, splits.valid, splits.test)]
    assert [len(part) for part in parts] == [1077, 360, 360]
    assert sorted(itertools.chain(*parts)) == list(range(1797))
    assert _positions(splits.train_eval) == parts[0], "all training images"
    assert splits.train.pixels.shape == (1077, 8, 8, 1)
    assert (splits.train.pixels.min(), splits.train.pixels.max()) == (0, 16)
    shares = np.bincount(load_digits().target) / 1797
    for part in (splits.train, splits.valid, splits.test):
        assert np.abs(np.bincount(part.labels) - shares * len(part)).max() <= 1
    assert _hash(*map(np.array, parts)) == "efd87b9bdf5d4de39ac8babfea9a06d59bf6a95d28b510ee50f0bb4f3e95a296"
    assert _positions(DATASETS.get("digits").load_splits(43).train) != parts[0]


def test_digits_are_embedded_in_their_own_order() -> None:
    facts = DATASETS.get("digits").identify()
    assert (facts.origin, facts.split) == ("embedded", None)
    bunch = load_digits()
    expected = hashlib.sha256(bunch.images.astype(np.uint8).tobytes() + bunch.target.astype("<i8").tobytes())
    assert facts.fingerprint == expected.hexdigest()


def _split(**changes: list[int]) -> dict[str, np.ndarray]:
    parts = {"train": [0, 1, 2, 3], "train_eval": [0, 1], "valid": [4, 5], "test": [6]} | changes
    return {name: np.array(indices, dtype=np.int64) for name, indices in parts.items()}


def test_the_digest_of_a_split_is_that_of_its_indices_and_their_names() -> None:
    digest = split_digest(_split())
    expected = hashlib.sha256()
    for name, indices in (("test", [6]), ("train", [0, 1, 2, 3]), ("train_eval", [0, 1]), ("valid", [4, 5])):
        expected.update(f"{name} {len(indices)}\n".encode() + b"".join(each.to_bytes(8, "little") for each in indices))
    assert digest == expected.hexdigest()
    assert split_digest(dict(reversed(_split().items()))) == digest, "the order of the names is no matter"
    assert split_digest({name: each.astype(">i4") for name, each in _split().items()}) == digest
    others = [
        _split(train=[0, 1, 3, 2]),
        _split(valid=[4], test=[5, 6]),
        _split(valid=[6], test=[4, 5]),
        _split(train_eval=[]),
        {name: each for name, each in _split().items() if name != "valid"},
    ]
    assert len({digest, *map(split_digest, others)}) == 1 + len(others)


def test_only_a_split_that_a_data_set_brings_itself_is_a_part_of_its_facts() -> None:
    digits = DATASETS.get("digits")
    assert digits.facts(42) == digits.facts(43) == digits.identify()
    own = replace(digits, own_split=lambda seed: _split(valid=[4, seed]))
    assert own.facts(5).split == split_digest(_split())
    assert own.facts(6) == replace(
        digits.identify(), split=split_digest(_split(valid=[4, 6])), sizes=SplitSizes(train=4, train_eval=2)
    )
    absent = replace(own, identify=lambda: replace(digits.identify(), fingerprint=None, origin=None))
    assert absent.facts(5).split is None, "a split of data that are not here is not asked for"
