"""Fashion-MNIST from its four files, through torchvision's reader; with small made-up files, as the official ones are
fetched only on request."""

from __future__ import annotations

import contextlib
import functools
import gzip
import http.server
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bnbench.data.dataset import DATASETS
from bnbench.data.idx_files import read_idx
from bnbench.data.idx_source import IDX_RELEASES
from bnbench.data.inventory import fetch_dataset, import_dataset, list_datasets, verify_dataset
from bnbench.data.torchvision_compat import import_torchvision
from bnbench.errors import UserError
from support.command_line import invoke
from support.made_up_idx import TEST, TRAIN, idx_bytes, made_up_images, release_of, write_idx

FILES = [file.name for file in IDX_RELEASES["fmnist"].files]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BNBENCH_DATA", str(tmp_path / "home"))
    monkeypatch.setenv("no_proxy", "*")
    return tmp_path / "home"


def test_the_release_is_that_which_torchvision_checks_against():
    theirs, ours = import_torchvision("torchvision.datasets").FashionMNIST, IDX_RELEASES["fmnist"]
    assert ours.reader == "FashionMNIST"
    assert [ours.base_url] == theirs.mirrors
    assert [(file.name, file.md5) for file in ours.files] == theirs.resources
    assert len(theirs.classes) == ours.classes
    assert all(len(file.sha256) == 64 for file in ours.files)


@pytest.mark.parametrize("inside", ["", "FashionMNIST/raw"])
def test_the_files_give_the_images_wherever_they_lie_in_the_folder(tmp_path, inside):
    release = write_idx(tmp_path / "files" / inside)
    images = made_up_images()
    found = read_idx(tmp_path / "files", release)
    assert np.array_equal(found.train.pixels, images.train.pixels)
    assert np.array_equal(found.test.labels, images.test.labels)
    one = read_idx(tmp_path / "files" / inside / FILES[2], release)
    assert one.fingerprint == found.fingerprint


def test_what_is_imported_is_official_stored_by_content_and_split_as_the_row_says(tmp_path):
    release = write_idx(tmp_path / "files")
    manifest = import_dataset("fmnist", tmp_path / "files", release=release)
    assert manifest.origin == "official archive"
    assert manifest.archive_md5 == " ".join(file.md5 for file in release.files)
    assert manifest.fingerprint == made_up_images().in_order_of_content().fingerprint
    assert verify_dataset("fmnist").intact
    row = DATASETS.get("fmnist")
    assert row.facts().fingerprint == manifest.fingerprint
    splits = row.splits(3)
    sixth = TRAIN // 6
    assert [len(each) for each in (splits.train, splits.train_eval, splits.valid, splits.test)] == [
        TRAIN - sixth, sixth, sixth, TEST,
    ]  # fmt: skip
    (listed,) = [each for each in list_datasets() if each.name == "fmnist"]
    assert (listed.state, listed.images, listed.origin) == ("yes", TRAIN + TEST, "official archive")


def test_a_sixth_of_the_official_training_images_is_deepobs_size():
    release = IDX_RELEASES["fmnist"]
    assert (release.train_images // 6, release.test_images) == (10_000, 10_000)


@contextlib.contextmanager
def serving(folder: Path):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


def test_fetching_brings_all_four_files_and_keeps_none(tmp_path, home):
    release = write_idx(tmp_path / "files")
    with serving(tmp_path / "files") as url:
        manifest = fetch_dataset("fmnist", release=replace(release, base_url=url))
        assert [each.name for each in home.iterdir()] == ["fmnist"]
        (tmp_path / "files" / FILES[3]).write_bytes(b"another")
        with pytest.raises(UserError, match=f"{FILES[3]}: its MD5 checksum is"):
            fetch_dataset("fmnist", release=replace(release, base_url=url), replace=True)
        (tmp_path / "files" / FILES[1]).unlink()
        with pytest.raises(UserError, match=r"train-labels.*: the server answered 404 .*\nIf you have its four files"):
            fetch_dataset("fmnist", release=replace(release, base_url=url), replace=True)
    assert verify_dataset("fmnist").found == manifest.fingerprint


@pytest.mark.parametrize("name", FILES)
def test_no_file_is_unpacked_unless_all_four_are_official(tmp_path, monkeypatch, name):
    release = write_idx(tmp_path / "files")
    content = (tmp_path / "files" / name).read_bytes()
    (tmp_path / "files" / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))

    def unpacked(*arguments, **keywords):
        raise AssertionError("something was unpacked")

    monkeypatch.setattr(gzip, "GzipFile", unpacked)
    with pytest.raises(UserError, match=f"{name}: its MD5 checksum is .* that of the official {name} is"):
        read_idx(tmp_path / "files", release)


def test_a_forged_md5_does_not_help(tmp_path):
    release = write_idx(tmp_path)
    first = replace(release.train_files[0], sha256="0" * 64)
    with pytest.raises(UserError, match="its SHA-256 checksum is"):
        read_idx(tmp_path, replace(release, train_files=(first, release.train_files[1])))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"no gzip", "is not a readable .gz file"),
        (gzip.compress(idx_bytes(np.zeros((TRAIN, 28, 28))))[:-9], "is not a readable .gz file"),
        (gzip.compress(bytes(10)), "unpacks to 10 bytes, not 94,096"),
        (gzip.compress(bytes(1 << 24)), "unpacks to more bytes, not 94,096"),
        (gzip.compress(bytes(16 + TRAIN * 784)), "torchvision cannot read it"),
        (gzip.compress(idx_bytes(np.zeros((TRAIN // 2, 56, 28)))), "uint8 of shape (60, 56, 28, 1)"),
    ],
    ids=["no gzip", "cut", "short", "long", "no IDX", "another shape"],
)
def test_files_that_lie_are_refused_even_if_their_checksums_were_right(tmp_path, content, told):
    write_idx(tmp_path)
    (tmp_path / FILES[0]).write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_idx(tmp_path, release_of(tmp_path))
    assert told in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    write_idx(tmp_path / "files")
    (tmp_path / "files" / FILES[3]).unlink()
    for path in (tmp_path / "files", tmp_path / "files" / FILES[0]):
        with pytest.raises(UserError, match=f"{FILES[3]} is not there"):
            import_dataset("fmnist", path)
    with pytest.raises(UserError, match="no such file or folder"):
        import_dataset("fmnist", tmp_path / "nowhere")


def test_without_the_data_the_commands_that_bring_them_are_named(tmp_path):
    done = invoke("run", "fmnist_2c2d", "--results", tmp_path / "results")
    assert done.exit_code == 2
    assert "bnbench data fetch fmnist\n  bnbench data import fmnist PATH" in done.stderr
    refused = invoke("data", "import", "fmnist", tmp_path)
    assert refused.exit_code == 2
    assert f"{FILES[0]} is not there" in refused.stderr
    shutil.rmtree(tmp_path / "results", ignore_errors=True)
