"""Full disks, folders that cannot be written, processes that are killed: for real, in processes of their own."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bnbench.errors import UserError
from bnbench.measurement import TABLES
from bnbench.storage.files import StorageError
from bnbench.storage.recorder import RunRecorder
from bnbench.storage.store import ResultStore

from .conftest import IDENTITY

TESTS = Path(__file__).parents[1]

HEAD = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from bnbench.storage.files import StorageError
from bnbench.storage.recorder import RunRecorder
from bnbench.measurement import TABLES
from bnbench.storage.store import ResultStore
from storage.conftest import DOCUMENT, EXAMPLE
store = Path(sys.argv[2])
"""

PRIVATE_MOUNTS = ["unshare", "--user", "--map-root-user", "--mount"]


def child(code: str, store: Path, *, before: list[str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [*(before or []), sys.executable, "-c", HEAD + code, str(TESTS), str(store)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def mounted(store: Path, options: str, commands: str = "true") -> list[str]:
    """A command prefix: the rest runs with a small tmpfs on `store`, seen by nobody else."""
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare(1)")
    mount = f'mount -t tmpfs -o {options} none "{store}"'
    probe = subprocess.run([*PRIVATE_MOUNTS, "sh", "-c", mount], capture_output=True, text=True, check=False)
    if probe.returncode:
        pytest.skip(f"private mounts are not allowed here: {probe.stderr.strip()}")
    return [*PRIVATE_MOUNTS, "sh", "-c", f'{mount} && {commands} && exec "$@"', "sh"]


FILL = """
recorder = EXAMPLE.record(store)
{limit}
try:
    recorder.{call}
except StorageError as error:
    print(str(error))
else:
    print("no error")
print([path == recorder.workspace.path for path in recorder.folder.iterdir()])
print([path.name for path in recorder.folder.rglob("*.tmp")])
print(ResultStore(store).finished(), ResultStore(store).unfinished() == [EXAMPLE.identity.run_id])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the limit on file sizes is tested on Linux")
@pytest.mark.parametrize("call", ["flush()", "finish(DOCUMENT)"])
def test_a_file_that_cannot_grow_ends_in_a_clear_error_and_no_result(call, tmp_path):
    limit = "resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))"
    done = child(FILL.format(limit=limit, call=call), tmp_path)
    message, hint, names, temporary, state = done.stdout.splitlines()
    assert message == f"{tmp_path / IDENTITY.run_id} cannot be written: File too large"
    assert "ulimit" in hint
    assert names == "[True]"
    assert temporary == "[]"
    assert state == "{} True"
    assert done.stderr == ""


def test_a_full_disk_ends_in_a_clear_error_and_no_result(tmp_path):
    before = mounted(tmp_path, "size=256k")
    limit = "(store / 'ballast').write_bytes(b'0' * (256 - 24) * 1024)"
    done = child(FILL.format(limit=limit, call="finish(DOCUMENT)"), tmp_path, before=before)
    message, hint, names, temporary, state = done.stdout.splitlines()
    assert message == f"{tmp_path / IDENTITY.run_id} cannot be written: No space left on device"
    assert "Free some space" in hint
    assert names == "[True]"
    assert temporary == "[]"
    assert state == "{} True"
    assert done.stderr == ""


def test_a_run_goes_on_once_there_is_room_again(tmp_path, uninterrupted):
    before = mounted(tmp_path, "size=512k")
    code = """
recorder = EXAMPLE.record(store)
ballast = store / "ballast"
ballast.write_bytes(b"0" * (512 - 24) * 1024)
for call in (recorder.flush, lambda: recorder.finish(DOCUMENT)):
    try:
        call()
    except StorageError as error:
        print("refused")
ballast.unlink()
recorder.finish(DOCUMENT)
import hashlib
for table in TABLES:
    print(hashlib.sha256((recorder.folder / f"{table}.parquet").read_bytes()).hexdigest())
"""
    done = child(code, tmp_path, before=before)
    digests = [hashlib.sha256(uninterrupted[table]).hexdigest() for table in TABLES]
    assert done.stdout.splitlines() == ["refused", "refused", *digests]


def test_a_full_disk_is_noticed_before_any_run_starts(tmp_path):
    before = mounted(tmp_path, "size=64k")
    code = """
(store / "ballast").write_bytes(b"0" * 64 * 1024)
try:
    ResultStore.open(store, create=True)
except StorageError as error:
    print(error)
print([path.name for path in store.iterdir()])
"""
    done = child(code, tmp_path, before=before)
    assert done.stdout.splitlines()[0] == f"{tmp_path} cannot be written: No space left on device"
    assert done.stdout.splitlines()[-1] == "['ballast']"


def test_a_read_only_file_system_is_refused_also_for_root(tmp_path):
    before = mounted(tmp_path, "size=64k", f'mount -o remount,ro "{tmp_path}"')
    code = """
for call in (lambda: ResultStore.open(store, create=True), lambda: RunRecorder.open(store, EXAMPLE.identity)):
    try:
        call()
    except StorageError as error:
        print(error.problem)
"""
    done = child(code, tmp_path, before=before)
    for line in done.stdout.splitlines():
        assert line.startswith(str(tmp_path))
        assert line.endswith("cannot be written: Read-only file system")
    assert len(done.stdout.splitlines()) == 2


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="permissions do not bind root")
def test_a_folder_without_permission_to_write_is_refused(tmp_path, example):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(StorageError, match=r"cannot be written: Permission denied\n.*permissions"):
            ResultStore.open(tmp_path, create=True)
        with pytest.raises(StorageError, match="cannot be written: Permission denied"):
            RunRecorder.open(tmp_path, example.identity)
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.parametrize("below", ["file", "file/runs"])
def test_a_file_where_the_folder_should_be_is_refused(below, tmp_path, example):
    (tmp_path / "file").write_text("mine")
    path = tmp_path / below
    with pytest.raises(StorageError, match=r"cannot be written: .*\nA part of that path is a file"):
        ResultStore.open(path, create=True)
    with pytest.raises(StorageError, match=r"cannot be written: .*\nA part of that path is a file"):
        RunRecorder.open(path, example.identity)
    with pytest.raises(UserError, match=r"cannot be read|no results in"):
        ResultStore.open(path, create=False)
    assert (tmp_path / "file").read_text() == "mine"


KILLED = """
import itertools
run = itertools.count()
print("ready", flush=True)
while True:
    here = store / str(next(run))
    EXAMPLE.finish(here, flush_after=range(0, len(EXAMPLE.calls), 4))
"""


def test_a_process_killed_at_any_instant_leaves_whole_results_or_none(tmp_path, example, uninterrupted, table_bytes):
    """Runs are recorded without pause and the process is killed; each folder is then a whole result or no result."""
    chance = random.Random(11)
    cut_off = 0
    for attempt in range(6):
        store = tmp_path / str(attempt)
        command = [sys.executable, "-c", HEAD + KILLED, str(TESTS), str(store)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            time.sleep(chance.uniform(0.05, 0.4))
            process.send_signal(signal.SIGKILL)
        for here in sorted(store.iterdir()):
            found = ResultStore(here)
            assert found.warnings() == []
            if example.identity.run_id not in found.finished():
                cut_off += 1
                example.finish(here)
            assert table_bytes(here / example.identity.run_id) == uninterrupted
    assert cut_off >= 3
