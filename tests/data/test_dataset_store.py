"""The store: complete or absent, and checked when read."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from bnbench.data import store
from bnbench.data.images import LabelledImages, fingerprint
from bnbench.data.store import StoredImages, data_home, read_manifest, read_stored, write_stored
from bnbench.errors import MissingDataError, UserError
from support.synthetic_cifar import install_synthetic, small_release, synthetic_images


def _images(seed: int = 0) -> StoredImages:
    """As they are stored: in the order of their content."""
    return synthetic_images(small_release(), seed).in_order_of_content()


def _write(home: Path, images: StoredImages, **changes: object) -> store.Manifest:
    settings = {"origin": "other copy", "archive_md5": None, **changes}
    return write_stored(home, "cifar10", images, **settings)


def test_what_was_stored_is_read_back_memory_mapped_and_read_only(tmp_path: Path) -> None:
    images = _images()
    manifest = _write(tmp_path, images)
    stored = read_stored(tmp_path, "cifar10")
    assert np.array_equal(stored.train.pixels, images.train.pixels)
    assert np.array_equal(stored.test.labels, images.test.labels)
    assert stored.fingerprint == images.fingerprint == manifest.fingerprint
    assert isinstance(stored.train.pixels, np.memmap)
    assert not stored.train.pixels.flags.writeable
    assert read_manifest(tmp_path, "cifar10") == manifest
    assert (manifest.train_images, manifest.test_images, manifest.image_shape) == (50, 20, (32, 32, 3))


def test_the_fingerprint_is_the_hash_of_pixels_and_labels_in_order() -> None:
    images = _images()
    joined = b"".join(
        part.pixels.tobytes() + part.labels.astype("<i8").tobytes() for part in (images.train, images.test)
    )
    assert images.fingerprint == hashlib.sha256(joined).hexdigest()


def test_the_fingerprint_changes_with_a_pixel_a_label_and_the_order() -> None:
    images = _images().train
    pixels, labels = images.pixels.copy(), images.labels.copy()
    pixels[3, 4, 5, 1] ^= 1
    labels[3] = (labels[3] + 1) % 10
    order = np.arange(len(images))[::-1]
    prints = {
        fingerprint([images]),
        fingerprint([LabelledImages(pixels, images.labels)]),
        fingerprint([LabelledImages(images.pixels, labels)]),
        fingerprint([images.take(order)]),
    }
    assert len(prints) == 4
    assert fingerprint([images.take(order).take(order)]) == fingerprint([images])


@pytest.mark.parametrize(
    ("pixels", "labels"),
    [
        (np.zeros((2, 3, 3), np.uint8), np.zeros(2, np.int64)),
        (np.zeros((2, 3, 3, 1), np.float32), np.zeros(2, np.int64)),
        (np.zeros((2, 3, 3, 1), np.uint8), np.zeros(3, np.int64)),
        (np.zeros((2, 3, 3, 1), np.uint8), np.zeros(2, np.int32)),
    ],
)
def test_images_of_a_wrong_form_cannot_be_made(pixels: np.ndarray, labels: np.ndarray) -> None:
    with pytest.raises(ValueError, match="not"):
        LabelledImages(pixels, labels)


def test_an_absent_data_set_names_the_two_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BNBENCH_DATA", str(tmp_path))
    assert read_manifest(tmp_path, "cifar10") is None
    with pytest.raises(MissingDataError) as caught:
        read_stored(tmp_path, "cifar10")
    assert str(tmp_path) in str(caught.value)
    assert "bnbench data fetch cifar10\n  bnbench data import cifar10 PATH" in str(caught.value)


def test_storing_the_same_again_changes_nothing(tmp_path: Path) -> None:
    first = _write(tmp_path, _images())
    assert _write(tmp_path, _images()) == first
    assert read_manifest(tmp_path, "cifar10") == first


def test_a_copy_becomes_the_archives_when_the_archive_holds_the_same_images_and_stays_so(tmp_path: Path) -> None:
    _write(tmp_path, _images())
    official = _write(tmp_path, _images(), origin="official archive", archive_md5="0" * 32)
    assert (official.origin, official.archive_md5) == ("official archive", "0" * 32)
    assert _write(tmp_path, _images()) == official
    assert read_manifest(tmp_path, "cifar10") == official
    assert [each.name for each in (tmp_path / "cifar10").glob("arrays-*")] == [official.arrays]


def test_different_images_are_refused_unless_replaced(tmp_path: Path) -> None:
    first = _write(tmp_path, _images())
    with pytest.raises(UserError, match=r"different cifar10 images are already in .*\n.*--replace"):
        _write(tmp_path, _images(1))
    assert read_manifest(tmp_path, "cifar10") == first
    mapped = read_stored(tmp_path, "cifar10")
    second = _write(tmp_path, _images(1), replace=True)
    assert read_stored(tmp_path, "cifar10").fingerprint == second.fingerprint != first.fingerprint
    assert mapped.fingerprint == first.fingerprint, "whoever had the old images open keeps them"
    assert [each.name for each in (tmp_path / "cifar10").glob("arrays-*")] == [second.arrays]


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _save(array: np.ndarray):
    return lambda path: np.save(path, array)


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("train_pixels.npy", Path.unlink),
        ("train_pixels.npy", _truncate),
        ("train_pixels.npy", lambda path: path.write_bytes(b"")),
        ("train_pixels.npy", lambda path: path.write_bytes(b"\x93NUMPY nonsense")),
        ("test_labels.npy", _truncate),
        ("test_pixels.npy", _save(np.zeros((20, 32, 32, 3), np.float32))),
        ("test_pixels.npy", _save(np.zeros((19, 32, 32, 3), np.uint8))),
        ("test_pixels.npy", _save(np.zeros((20, 3, 32, 32), np.uint8))),
        ("train_labels.npy", _save(np.zeros(50, np.int32))),
        ("train_labels.npy", _save(np.zeros(49, np.int64))),
        ("train_labels.npy", _save(np.array([object()]))),
    ],
)
def test_damaged_arrays_are_noticed_when_read(tmp_path: Path, file: str, damage) -> None:
    manifest = _write(tmp_path, _images())
    damage(tmp_path / "cifar10" / manifest.arrays / file)
    with pytest.raises(UserError, match=r"cifar10 is damaged: .*(train|test)"):
        read_stored(tmp_path, "cifar10")
    with pytest.raises(UserError, match="is damaged"):
        _write(tmp_path, _images())
    assert _write(tmp_path, _images(), replace=True).fingerprint == manifest.fingerprint
    assert read_stored(tmp_path, "cifar10").fingerprint == manifest.fingerprint


@pytest.mark.parametrize(
    "change",
    [
        {"format_version": 3},
        {"format_version": "1"},
        {"name": "cifar100"},
        {"train_images": "50"},
        {"fingerprint": "abc"},
        {"arrays": "../elsewhere"},
        {"unheard_of": 1},
        None,
    ],
)
def test_a_damaged_manifest_is_noticed(tmp_path: Path, change: dict[str, object] | None) -> None:
    _write(tmp_path, _images())
    path = tmp_path / "cifar10" / "manifest.json"
    path.write_text("{" if change is None else json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match=r"is damaged: .*\nBring it again"):
        read_manifest(tmp_path, "cifar10")
    assert _write(tmp_path, _images(), replace=True)
    assert read_stored(tmp_path, "cifar10").fingerprint == _images().fingerprint


def test_a_changed_pixel_makes_a_new_import_ask(tmp_path: Path) -> None:
    manifest = _write(tmp_path, _images())
    with (tmp_path / "cifar10" / manifest.arrays / "train_pixels.npy").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)[0]
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last ^ 1]))
    with pytest.raises(UserError, match="its images are not those it was imported with"):
        _write(tmp_path, _images())


def test_a_home_that_cannot_be_written_is_a_users_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"file/cifar10: cannot be written: .*\nSet BNBENCH_DATA"):
        _write(tmp_path / "file", _images())
    (tmp_path / "cifar10").write_text("in the way")
    with pytest.raises(UserError, match="cannot be written"):
        _write(tmp_path, _images())


_FULL_DISK = """
import resource, sys
from pathlib import Path
from bnbench.errors import UserError
from test_dataset_store import _images, _write
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    _write(Path(sys.argv[1]), _images(1), replace=True)
except UserError as error:
    print(error)
"""


def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    """A limit on file sizes stands for the full disk: the write fails half-way, for real."""
    before = _write(tmp_path, _images())
    done = subprocess.run(
        [sys.executable, "-c", _FULL_DISK, tmp_path], env=_environment(), capture_output=True, text=True, check=True
    )
    assert "cannot be written: File too large" in done.stdout
    assert read_manifest(tmp_path, "cifar10") == before
    assert read_stored(tmp_path, "cifar10").fingerprint == before.fingerprint
    assert len(list((tmp_path / "cifar10").iterdir())) == 2, "nothing half-written is left"


_STOPS_AT_FSYNC = """
import os, sys, time
from pathlib import Path
import numpy as np
from bnbench.data.images import LabelledImages
from bnbench.data.store import StoredImages, write_stored
images = LabelledImages(np.full((50, 32, 32, 3), 7, np.uint8), np.zeros(50, np.int64))
calls, stop, real = 0, int(sys.argv[2]), os.fsync
def fsync(descriptor):
    global calls
    calls += 1
    if calls == stop:
        print("stopped", flush=True)
        time.sleep(600)
    real(descriptor)
os.fsync = fsync
write_stored(
    Path(sys.argv[1]), "cifar10", StoredImages(images, images),
    origin="other copy", archive_md5=None, replace=True,
)
print("done", flush=True)
"""


def _environment() -> dict[str, str]:
    tests = Path(__file__).parents[1]
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(tests / "data"), str(tests)])}


@pytest.mark.parametrize("replacing", [False, True])
def test_an_import_killed_at_any_point_leaves_nothing_half_written(tmp_path: Path, replacing: bool) -> None:
    """Real processes, killed with SIGKILL at each point where a file or folder is about to be safe on disk."""
    part = LabelledImages(np.full((50, 32, 32, 3), 7, np.uint8), np.zeros(50, np.int64))
    images = StoredImages(part, part)
    homes = [tmp_path / str(stop) for stop in range(1, 9)]
    before = [_write(home, _images()) if replacing else None for home in homes]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _STOPS_AT_FSYNC, home, str(stop)],
            env=_environment(), stdout=subprocess.PIPE, text=True,
        )
        for stop, home in enumerate(homes, start=1)
    ]  # fmt: skip
    outcomes = []
    for process, home, old in zip(processes, homes, before, strict=True):
        assert process.stdout is not None
        line = process.stdout.readline().strip()
        process.kill()
        process.communicate()
        if line == "done":
            outcomes.append("done")
            continue
        assert line == "stopped"
        assert process.returncode == -signal.SIGKILL
        assert list((home / "cifar10").glob("arrays-*")), "it was killed while it was writing"
        manifest = read_manifest(home, "cifar10")
        if manifest is not None and manifest.fingerprint == images.fingerprint:
            assert read_stored(home, "cifar10").fingerprint == images.fingerprint
            outcomes.append("complete")
            continue
        assert manifest == old
        if old is not None:
            assert read_stored(home, "cifar10").fingerprint == old.fingerprint
        again = _write(home, images, replace=True)
        assert read_stored(home, "cifar10").fingerprint == again.fingerprint == images.fingerprint
        outcomes.append("untouched")
    # Four arrays, their folder, the manifest; then the rename; then the folder around it; the eighth is never reached.
    assert outcomes == ["untouched"] * 6 + ["complete", "done"]


_REPLACES = """
import sys
from pathlib import Path
import numpy as np
from bnbench.data.images import LabelledImages
from bnbench.data.store import StoredImages, write_stored
print("ready", flush=True)
sys.stdin.readline()
for round in range(15):
    images = LabelledImages(np.full((50, 32, 32, 3), int(sys.argv[2]) * 15 + round, np.uint8), np.zeros(50, np.int64))
    write_stored(
        Path(sys.argv[1]), "cifar10", StoredImages(images, images),
        origin="other copy", archive_md5=None, replace=True,
    )
"""


def test_who_reads_during_an_import_reads_the_old_data_or_the_new(tmp_path: Path) -> None:
    """Real processes: three that replace the data, each fifteen times, and one that reads until they are done."""
    _write(tmp_path, _images())
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", _REPLACES, tmp_path, str(number)],
            env=_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for number in range(3)
    ]  # fmt: skip
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    seen = set()
    while any(writer.poll() is None for writer in writers):
        found = store.read_with_manifest(tmp_path, "cifar10")
        assert found is not None
        manifest, images = found
        assert images.fingerprint == manifest.fingerprint
        seen.add(manifest.fingerprint)
    for writer in writers:
        writer.communicate()
        assert writer.returncode == 0
    assert len(seen) > 1
    assert read_stored(tmp_path, "cifar10").fingerprint not in (None, _images().fingerprint)


def test_leftovers_of_killed_imports_are_removed_once_they_are_old(tmp_path: Path) -> None:
    first = _write(tmp_path, _images())
    old, young = (tmp_path / "cifar10" / f"arrays-{name}" for name in ("old", "young"))
    for leftover in (old, young):
        leftover.mkdir()
        (leftover / "train_pixels.npy").write_bytes(b"half")
    two_hours_ago = time.time() - 7200
    os.utime(old, (two_hours_ago, two_hours_ago))
    os.utime(tmp_path / "cifar10" / first.arrays, (two_hours_ago, two_hours_ago))
    _write(tmp_path, _images())
    second = _write(tmp_path, _images(1), replace=True)
    assert {each.name for each in (tmp_path / "cifar10").glob("arrays-*")} == {second.arrays, "arrays-young"}


@pytest.mark.parametrize(
    ("platform", "environment", "expected"),
    [
        ("linux", {"BNBENCH_DATA": "/there"}, "/there"),
        ("linux", {"BNBENCH_DATA": "~/there"}, "/home/someone/there"),
        ("linux", {"BNBENCH_DATA": ""}, "/home/someone/.cache/bnbench/data"),
        ("linux", {}, "/home/someone/.cache/bnbench/data"),
        ("linux", {"XDG_CACHE_HOME": "/cache"}, "/cache/bnbench/data"),
        ("linux", {"XDG_CACHE_HOME": "relative"}, "/home/someone/.cache/bnbench/data"),
        ("darwin", {"XDG_CACHE_HOME": "/cache"}, "/home/someone/Library/Caches/bnbench/data"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/bnbench/data"),
        ("win32", {}, "/home/someone/AppData/Local/bnbench/data"),
    ],
)
def test_the_home_is_the_one_asked_for_or_the_platforms_cache(
    monkeypatch: pytest.MonkeyPatch, platform: str, environment: dict[str, str], expected: str
) -> None:
    for name in ("BNBENCH_DATA", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": "/home/someone", **environment}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(store.sys, "platform", platform)
    assert data_home() == Path(expected)


def test_the_small_cifar100_of_other_tests_installs(tmp_path: Path) -> None:
    manifest = install_synthetic(tmp_path)
    stored = read_stored(tmp_path, "cifar100")
    assert (len(stored.train), len(stored.test), manifest.origin) == (700, 100, "official archive")
    assert set(stored.train.labels.tolist()) == set(range(100))


def test_folders_are_as_open_as_the_user_wants_them(tmp_path: Path) -> None:
    """A shared data folder must be readable to others."""
    old = os.umask(0o022)
    try:
        manifest = _write(tmp_path, _images())
    finally:
        os.umask(old)
    assert (tmp_path / "cifar10" / manifest.arrays).stat().st_mode & 0o777 == 0o755
