"""Downloading, from a server of our own on this machine, and everything that can go wrong with it."""

from __future__ import annotations

import contextlib
import http.server
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bnbench.data.cifar_source import CifarRelease
from bnbench.data.inventory import fetch_dataset, import_dataset, list_datasets
from bnbench.data.origin import channel_statistics
from bnbench.data.store import read_manifest
from bnbench.errors import UserError
from support.synthetic_cifar import small_release, synthetic_images, write_archive, write_parquet


class Server(http.server.ThreadingHTTPServer):
    """Serves one file, or part of it."""

    content = b""
    announced: int | None = None
    requests = 0


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.requests += 1
        if not self.path.endswith(".tar.gz"):
            self.send_error(404, "Not Found")
            return
        self.send_response(200)
        self.send_header("Content-Length", str(self.server.announced or len(self.server.content)))
        self.end_headers()
        self.wfile.write(self.server.content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def serving(content: bytes, announced: int | None = None) -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as server:
        server.content, server.announced = content, announced
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BNBENCH_DATA", str(tmp_path / "home"))
    monkeypatch.setenv("no_proxy", "*")
    return tmp_path / "home"


@pytest.fixture
def release(tmp_path: Path) -> CifarRelease:
    return write_archive(tmp_path, small_release(), synthetic_images(small_release()))


def _at(server: Server, release: CifarRelease, path: str = "cifar.tar.gz") -> CifarRelease:
    return replace(release, url=f"http://127.0.0.1:{server.server_port}/{path}")


def test_a_download_is_verified_imported_and_official(tmp_path: Path, home: Path, release: CifarRelease) -> None:
    seen: list[tuple[int, int | None]] = []
    content = (tmp_path / release.archive).read_bytes()
    with serving(content) as server:
        manifest = fetch_dataset(
            "cifar10", release=_at(server, release), progress=lambda done, total: seen.append((done, total))
        )
        assert fetch_dataset("cifar10", release=_at(server, release)) == manifest
        assert server.requests == 1, "what is there is not downloaded again"
    assert (manifest.origin, manifest.archive_md5) == ("official archive", release.archive_md5)
    assert manifest.fingerprint == synthetic_images(release).in_order_of_content().fingerprint
    assert seen[-1] == (len(content), len(content))
    assert [each.name for each in home.iterdir()] == ["cifar10"], "the download itself is not kept"


def test_a_copy_is_replaced_by_the_official_images_only_on_request(
    tmp_path: Path, home: Path, release: CifarRelease
) -> None:
    (tmp_path / "parquet").mkdir()
    write_parquet(tmp_path / "parquet", release, synthetic_images(release))
    copy = import_dataset("cifar10", tmp_path / "parquet", release=release)
    assert copy.origin == "other copy"
    with serving((tmp_path / release.archive).read_bytes()) as server:
        with pytest.raises(UserError, match=r"images of another origin are already in .*\n.*--replace"):
            fetch_dataset("cifar10", release=_at(server, release))
        assert server.requests == 0, "nothing is downloaded in vain"
        assert read_manifest(home, "cifar10") == copy
        official = fetch_dataset("cifar10", release=_at(server, release), replace=True)
        assert official.origin == "official archive"
    assert read_manifest(home, "cifar10") == official


def test_a_copy_with_the_official_pixels_becomes_the_archives_without_being_replaced(
    tmp_path: Path, home: Path, release: CifarRelease
) -> None:
    images = synthetic_images(release)
    mean, std = channel_statistics(images.train, release)
    release = replace(release, mean=mean, std=std)
    (tmp_path / "parquet").mkdir()
    write_parquet(tmp_path / "parquet", release, images)
    copy = import_dataset("cifar10", tmp_path / "parquet", release=release)
    assert copy.origin == "official pixels"
    with serving((tmp_path / release.archive).read_bytes()) as server:
        official = fetch_dataset("cifar10", release=_at(server, release))
    assert (official.origin, official.fingerprint) == ("official archive", copy.fingerprint)
    assert import_dataset("cifar10", tmp_path / "parquet", release=release) == official, "what is proven stays proven"


def test_downloads_that_were_killed_are_removed_a_day_later(tmp_path: Path, home: Path, release: CifarRelease) -> None:
    old, young = home / ".download-old", home / ".download-young"
    for folder in (old, young):
        folder.mkdir(parents=True)
        (folder / release.archive).write_bytes(b"half")
    two_days_ago = time.time() - 2 * 86_400
    os.utime(old, (two_days_ago, two_days_ago))
    with serving((tmp_path / release.archive).read_bytes()) as server:
        fetch_dataset("cifar10", release=_at(server, release))
    assert {each.name for each in home.iterdir()} == {"cifar10", ".download-young"}


def test_a_damaged_download_is_refused(tmp_path: Path, home: Path, release: CifarRelease) -> None:
    content = bytearray((tmp_path / release.archive).read_bytes())
    content[len(content) // 2] ^= 1
    with serving(bytes(content)) as server, pytest.raises(UserError, match="MD5 checksum"):
        fetch_dataset("cifar10", release=_at(server, release))
    assert list(home.iterdir()) == []


def test_a_broken_connection_a_refusal_and_no_network_are_users_errors(
    tmp_path: Path, home: Path, release: CifarRelease
) -> None:
    content = (tmp_path / release.archive).read_bytes()
    with serving(content[:-1000], announced=len(content)) as server:
        cut = _at(server, release)
        with pytest.raises(UserError, match=r"could not be downloaded from .*(IncompleteRead|1000 more expected)"):
            fetch_dataset("cifar10", release=cut)
        with pytest.raises(UserError, match="the server answered 404 Not Found"):
            fetch_dataset("cifar10", release=_at(server, release, "elsewhere"))
    with pytest.raises(UserError, match=r"no connection: .*\nIf you have cifar-10-python.tar.gz") as caught:
        fetch_dataset("cifar10", release=cut)  # nobody listens there any more
    assert "bnbench data import cifar10 PATH" in str(caught.value)
    assert list(home.iterdir()) == []


def test_an_unwritable_home_is_a_users_error(tmp_path: Path, home: Path, release: CifarRelease) -> None:
    home.write_text("in the way")
    with pytest.raises(UserError, match="home: cannot be written"):
        fetch_dataset("cifar10", release=release)
    assert not any(row.at_hand for row in list_datasets() if row.name == "cifar10")
