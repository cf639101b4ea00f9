"""What the data commands do: import, verify, list."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from bnbench.data.dataset import DATASETS
from bnbench.data.inventory import fetch_dataset, import_dataset, list_datasets, verify_dataset
from bnbench.errors import MissingDataError, UserError
from support.odd_files import at_once
from support.synthetic_cifar import (
    install_synthetic,
    small_release,
    synthetic_images,
    write_archive,
    write_parquet,
    write_unpacked,
)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BNBENCH_DATA", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.mark.parametrize(("name", "train", "test"), [("cifar10", 50, 20), ("cifar100", 200, 100)])
@pytest.mark.parametrize("given", ["archive", "folder of archive", "folder of parquet"])
def test_an_imported_data_set_is_at_hand(tmp_path: Path, name: str, train: int, test: int, given: str) -> None:
    release = small_release(name, train=train, test=test)
    images = synthetic_images(release)
    if given == "folder of parquet":
        write_parquet(tmp_path, release, images)
    else:
        release = write_archive(tmp_path, release, images)
    path = tmp_path / release.archive if given == "archive" else tmp_path
    manifest = import_dataset(name, path, release=release)
    assert manifest.origin == ("other copy" if given == "folder of parquet" else "official archive")
    assert manifest.fingerprint == images.in_order_of_content().fingerprint
    facts = DATASETS.get(name).identify()
    assert (facts.fingerprint, facts.origin) == (manifest.fingerprint, manifest.origin)
    assert (facts.classes, facts.channels) == (release.classes, 3)
    assert verify_dataset(name).intact
    row = next(row for row in list_datasets() if row.name == name)
    assert (row.at_hand, row.images, row.origin) == (True, train + test, manifest.origin)


@pytest.mark.parametrize(("name", "train", "test"), [("cifar10", 50, 20), ("cifar100", 200, 100)])
@pytest.mark.parametrize("given", ["the folder", "the folder around it"])
def test_torchvisions_unpacked_folder_is_imported(tmp_path: Path, name: str, train: int, test: int, given: str) -> None:
    release = small_release(name, train=train, test=test)
    images = synthetic_images(release)
    release = write_unpacked(tmp_path, release, images)
    folder = (tmp_path / release.train_members[0]).parent
    manifest = import_dataset(name, folder if given == "the folder" else tmp_path, release=release)
    # No archive was seen, so what it is follows from the pixels, which are no release's here.
    assert (manifest.origin, manifest.archive_md5) == ("other copy", None)
    assert manifest.fingerprint == images.in_order_of_content().fingerprint


def test_a_file_of_an_unpacked_folder_is_the_releases_or_is_not_unpickled(tmp_path: Path, home: Path) -> None:
    release = small_release()
    release = write_unpacked(tmp_path, release, synthetic_images(release))
    last = tmp_path / release.test_members[-1]
    last.write_bytes(pickle.dumps(Touches(tmp_path / "touched")))
    with pytest.raises(UserError, match=rf"{last}: its MD5 checksum is \w+, that of the official file is \w+"):
        import_dataset("cifar10", tmp_path, release=release)
    last.unlink()
    with pytest.raises(UserError, match=f"{last}: is missing"):
        import_dataset("cifar10", tmp_path, release=release)
    os.mkfifo(last)
    with at_once(), pytest.raises(UserError, match="not a regular file, but a named pipe"):
        import_dataset("cifar10", tmp_path, release=release)
    assert not (tmp_path / "touched").exists()
    assert not home.exists()


class Touches:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


def test_nothing_at_hand(home: Path) -> None:
    rows = {row.name: row for row in list_datasets()}
    assert list(rows) == ["cifar10", "cifar100", "digits"]
    assert [row.at_hand for row in rows.values()] == [False, False, True]
    assert rows["cifar100"].fingerprint is rows["cifar100"].origin is None
    assert rows["digits"].images == 1797
    facts = DATASETS.get("cifar100").identify()
    assert (facts.fingerprint, facts.origin, facts.classes) == (None, None, 100)
    for use in (verify_dataset, lambda name: DATASETS.get(name).load_splits(0)):
        with pytest.raises(MissingDataError, match="bnbench data fetch cifar100"):
            use("cifar100")
    assert not home.exists(), "looking makes no folders"


def test_a_changed_pixel_is_found_by_verifying(home: Path) -> None:
    manifest = install_synthetic(home, "cifar10", train=50, test=20)
    assert verify_dataset("cifar10").intact
    with (home / "cifar10" / manifest.arrays / "test_pixels.npy").open("r+b") as file:
        file.seek(1000)
        byte = file.read(1)[0]
        file.seek(1000)
        file.write(bytes([byte ^ 128]))
    result = verify_dataset("cifar10")
    assert not result.intact
    assert result.expected == manifest.fingerprint != result.found


def test_a_damaged_data_set_is_listed_as_damaged_and_hides_no_other(home: Path) -> None:
    manifest = install_synthetic(home, "cifar10", train=50, test=20)
    (home / "cifar10" / manifest.arrays / "test_pixels.npy").unlink()
    rows = {row.name: row for row in list_datasets()}
    assert not rows["cifar10"].at_hand
    assert "is damaged" in (rows["cifar10"].damage or "")
    assert rows["digits"].at_hand


def test_the_embedded_digits_verify() -> None:
    assert verify_dataset("digits").intact


@pytest.mark.parametrize("act", [fetch_dataset, lambda name: import_dataset(name, Path("x")), verify_dataset])
def test_an_unknown_data_set_is_named_with_the_known_ones(act) -> None:
    with pytest.raises(UserError, match=r"unknown dataset 'cifar01'. Did you mean .*\n.*cifar10, cifar100, digits"):
        act("cifar01")


@pytest.mark.parametrize("act", [fetch_dataset, lambda name: import_dataset(name, Path("x"))])
def test_the_digits_need_no_bringing(act) -> None:
    with pytest.raises(UserError, match="neither fetched nor imported"):
        act("digits")


def test_paths_that_hold_no_data_set(tmp_path: Path, home: Path) -> None:
    single = tmp_path / "train-0.parquet"
    single.write_bytes(b"")
    for path, message in (
        (tmp_path / "nowhere", "no such file or folder"),
        (single, "is one Parquet file"),
        (tmp_path, "no Parquet files of the test part"),
    ):
        with pytest.raises(UserError, match=message):
            import_dataset("cifar10", path)
    assert not home.exists()


def test_the_official_release_is_what_is_checked_against(tmp_path: Path) -> None:
    release = small_release()
    images = synthetic_images(release)
    write_archive(tmp_path, release, images)
    with pytest.raises(UserError, match="c58f30108f718f92721af3b95e74349a"):
        import_dataset("cifar10", tmp_path)
    (tmp_path / release.archive).unlink()
    write_parquet(tmp_path, release, images)
    with pytest.raises(UserError, match="50 images, not 50,000"):
        import_dataset("cifar10", tmp_path)


def test_data_sets_are_known_brought_and_listed_without_torch(home: Path) -> None:
    install_synthetic(home, "cifar10", train=50, test=20)
    program = (
        "import sys\n"
        "from bnbench.data.inventory import list_datasets, verify_dataset\n"
        "assert verify_dataset('cifar10').intact and len(list_datasets()) == 3\n"
        "assert not {'torch', 'torchvision'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    light = (
        "import sys\n"
        "from bnbench.data.dataset import DATASETS\n"
        "assert DATASETS.get('cifar10').identify().fingerprint\n"
        "assert not {'torch', 'sklearn', 'PIL', 'pandas', 'pyarrow'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", light], check=True)
