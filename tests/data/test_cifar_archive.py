"""The pickled archive: read exactly, and never trusted."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bnbench.data.cifar_archive import load_restricted, read_archive
from bnbench.data.cifar_source import RELEASES
from bnbench.data.torchvision_compat import import_torchvision
from bnbench.errors import UserError
from support.synthetic_cifar import (
    member_contents,
    pack_archive,
    python2_pickle,
    small_release,
    synthetic_images,
    with_checksum_of,
    write_archive,
)


@pytest.mark.parametrize(("name", "train", "test"), [("cifar10", 50, 20), ("cifar100", 200, 100)])
def test_the_images_come_back_as_they_went_in(tmp_path: Path, name: str, train: int, test: int) -> None:
    release = small_release(name, train=train, test=test)
    images = synthetic_images(release)
    release = write_archive(tmp_path, release, images)
    found = read_archive(tmp_path / release.archive, release)
    for part, expected in ((found.train, images.train), (found.test, images.test)):
        assert np.array_equal(part.pixels, expected.pixels)
        assert np.array_equal(part.labels, expected.labels)
    assert found.fingerprint == images.fingerprint


@pytest.mark.parametrize("protocol", [3, 4])
def test_a_pickle_written_by_python_3_reads_the_same(tmp_path: Path, protocol: int) -> None:
    release = small_release()
    images = synthetic_images(release)
    members = {name: pickle.dumps(each, protocol=protocol) for name, each in member_contents(release, images).items()}
    release = pack_archive(tmp_path / release.archive, release, members)
    assert read_archive(tmp_path / release.archive, release).fingerprint == images.fingerprint


def test_torchvision_reads_the_same_images_from_the_synthetic_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The synthetic archive has the official layout, and we read it as torchvision does."""
    datasets = import_torchvision("torchvision.datasets")
    for name, reader in (("cifar10", datasets.CIFAR10), ("cifar100", datasets.CIFAR100)):
        release = small_release(name, train=200, test=100)
        images = synthetic_images(release)
        release = write_archive(tmp_path, release, images)
        with tarfile.open(tmp_path / release.archive) as archive:
            archive.extractall(tmp_path, filter="data")
        monkeypatch.setattr(reader, "_check_integrity", lambda self: True)
        monkeypatch.setattr(reader, "_load_meta", lambda self: None)
        found = read_archive(tmp_path / release.archive, release)
        for train, part in ((True, found.train), (False, found.test)):
            theirs = reader(tmp_path, train=train)
            assert np.array_equal(theirs.data, part.pixels)
            assert theirs.targets == part.labels.tolist()


@pytest.mark.parametrize(("name", "reader"), [("cifar10", "CIFAR10"), ("cifar100", "CIFAR100")])
def test_the_releases_are_those_that_torchvision_checks_against(name: str, reader: str) -> None:
    theirs, ours = getattr(import_torchvision("torchvision.datasets"), reader), RELEASES[name]
    assert (ours.url, ours.archive, ours.archive_md5) == (theirs.url, theirs.filename, theirs.tgz_md5)
    assert ours.train_members == tuple(f"{theirs.base_folder}/{member}" for member, _ in theirs.train_list)
    assert ours.test_members == tuple(f"{theirs.base_folder}/{member}" for member, _ in theirs.test_list)
    assert ours.member_md5 == tuple(digest for _, digest in (*theirs.train_list, *theirs.test_list))


class Malicious:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


def test_a_malicious_pickle_is_refused_before_it_can_act(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    release = small_release()
    contents = member_contents(release, synthetic_images(release))
    members = {name: python2_pickle(each) for name, each in contents.items()}
    members[release.train_members[2]] = pickle.dumps({"data": Malicious(victim), "labels": []}, protocol=2)
    release = pack_archive(tmp_path / release.archive, release, members)
    with pytest.raises(UserError, match=r"data_batch_3: asks for (posix|nt)\.mkdir"):
        read_archive(tmp_path / release.archive, release)
    assert not victim.exists()
    pickle.loads(members[release.train_members[2]])  # it would have acted
    assert victim.is_dir()


@pytest.mark.parametrize(
    "content",
    [
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"cnumpy\nload\n(S'x'\ntR.",
        b"cnumpy.core.multiarray\nfromfile\n.",
        b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93.",
        b"c_codecs\nencode\n(Vsecret\nVrot13\ntR.",
        b"ccollections\nOrderedDict\n(tR.",
    ],
)
def test_anything_but_arrays_and_plain_containers_is_refused(content: bytes) -> None:
    with pytest.raises(UserError, match="asks for"):
        load_restricted("it", content)


def test_arrays_in_either_memory_order_are_read() -> None:
    rows = np.random.default_rng(0).integers(0, 256, (4, 3), dtype=np.uint8)
    for array in (rows, np.asfortranarray(rows)):
        assert np.array_equal(load_restricted("it", python2_pickle(array)), rows)


def test_the_checksum_is_verified_before_anything_is_read(tmp_path: Path) -> None:
    release = small_release()
    write_archive(tmp_path, release, synthetic_images(release))
    with pytest.raises(
        UserError, match=f"MD5 checksum is .* that of the official {release.archive} is {release.archive_md5}"
    ):
        read_archive(tmp_path / release.archive, release)
    forged = replace(with_checksum_of(tmp_path / release.archive, release), archive_sha256=release.archive_sha256)
    with pytest.raises(UserError, match=f"SHA-256 checksum is .* is {release.archive_sha256}"):
        read_archive(tmp_path / release.archive, forged)


@pytest.mark.parametrize("kept", [0, 10, 1_000, -100])
def test_a_truncated_archive_is_refused(tmp_path: Path, kept: int) -> None:
    release = small_release()
    release = write_archive(tmp_path, release, synthetic_images(release))
    path = tmp_path / release.archive
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(UserError, match="MD5"):
        read_archive(path, release)
    with pytest.raises(UserError, match=r"not a readable \.tar\.gz"):
        read_archive(path, with_checksum_of(path, release))


def test_an_archive_of_another_kind_is_refused(tmp_path: Path) -> None:
    release = small_release()
    path = tmp_path / release.archive
    for content in (b"", b"hello", gzip.compress(b"hello"), gzip.compress(b"x" * 2048)):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"not a readable \.tar\.gz"):
            read_archive(path, with_checksum_of(path, release))


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.tar.gz", tmp_path):
        with pytest.raises(UserError, match="cannot be read"):
            read_archive(path, small_release())


def _with_member(folder: Path, content: object) -> tuple[Path, object]:
    release = small_release()
    contents = member_contents(release, synthetic_images(release))
    contents[release.train_members[1]] = content
    members = {name: each if isinstance(each, bytes) else python2_pickle(each) for name, each in contents.items()}
    return folder / release.archive, pack_archive(folder / release.archive, release, members)


_ROWS = np.zeros((10, 3072), dtype=np.uint8)
_LABELS = list(range(10))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not a pickle", "data_batch_2: is not a readable pickle"),
        (b"", "data_batch_2: is not a readable pickle"),
        ([1, 2], "has no entries 'data' and 'labels'"),
        ({"data": _ROWS}, "has no entries 'data' and 'labels'"),
        ({"data": _ROWS, "fine_labels": _LABELS}, "has no entries 'data' and 'labels'"),
        ({"data": _ROWS[:, :-1].copy(), "labels": _LABELS}, r"of shape \(10, 3071\), not uint8"),
        ({"data": _ROWS.astype(np.float32), "labels": _LABELS}, "float32 of shape .*, not uint8"),
        ({"data": _ROWS.reshape(10, 3, 1024), "labels": _LABELS}, r"of shape \(10, 3, 1024\)"),
        ({"data": _ROWS.tolist(), "labels": _LABELS}, "'data' is list"),
        ({"data": _ROWS, "labels": _LABELS[:-1]}, "10 images but 9 labels"),
        ({"data": _ROWS, "labels": [*_LABELS[:-1], "9"]}, "not a list of whole numbers"),
        ({"data": _ROWS, "labels": [*_LABELS[:-1], True]}, "not a list of whole numbers"),
        ({"data": _ROWS, "labels": [*_LABELS[:-1], 10]}, "label 10, outside 0 to 9"),
        ({"data": _ROWS, "labels": [*_LABELS[:-1], -1]}, "label -1, outside 0 to 9"),
        ({"data": _ROWS, "labels": [*_LABELS[:-1], 2**70]}, "no class number"),
        ({"data": _ROWS, "labels": [*_LABELS[:-1], 8]}, "class 8 has 6 images, not 5"),
        ({"data": _ROWS[:9].copy(), "labels": _LABELS[:9]}, "49 images, not 50"),
        ({"data": _ROWS[:0].copy(), "labels": []}, "40 images, not 50"),
    ],
)
def test_a_wrong_member_is_refused(tmp_path: Path, content: object, message: str) -> None:
    path, release = _with_member(tmp_path, content)
    with pytest.raises(UserError, match=message):
        read_archive(path, release)


def test_a_missing_member_and_one_that_is_no_file_are_refused(tmp_path: Path) -> None:
    release = small_release()
    members = {n: python2_pickle(each) for n, each in member_contents(release, synthetic_images(release)).items()}
    del members[release.test_members[0]]
    path = tmp_path / release.archive
    with pytest.raises(UserError, match="test_batch: is missing"):
        read_archive(path, pack_archive(path, release, members))
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            information = tarfile.TarInfo(name)
            information.size = len(content)
            archive.addfile(information, io.BytesIO(content))
        folder = tarfile.TarInfo(release.test_members[0])
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
    with pytest.raises(UserError, match="test_batch: is not a file"):
        read_archive(path, with_checksum_of(path, release))


def test_labels_of_another_data_set_are_refused(tmp_path: Path) -> None:
    ten = small_release("cifar10", train=200, test=100)
    hundred = small_release("cifar100", train=200, test=100)
    images = synthetic_images(ten)
    hundred = write_archive(tmp_path, hundred, images)
    with pytest.raises(UserError, match="class 0 has 20 images, not 2"):
        read_archive(tmp_path / hundred.archive, hundred)
