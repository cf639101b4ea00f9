"""Disks that are full or read-only in the middle of a run: a clear reason, the last good state stays, others go on."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bnbench.execution.options import RunOptions
from bnbench.execution.run import execute
from bnbench.storage.store import ResultStore
from execution.test_resume import make_spec
from support.command_line import command, table_bytes

TESTS = Path(__file__).parents[1]
PRIVATE_MOUNTS = ["unshare", "--user", "--map-root-user", "--mount"]


def with_mounts(mounts: dict[Path, str], arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command that alone sees small file systems in memory, mounted on folders with these options."""
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare(1)")
    script = " && ".join(f'mount -t tmpfs -o {options} none "{path}"' for path, options in mounts.items())
    probe = subprocess.run([*PRIVATE_MOUNTS, "sh", "-c", script], capture_output=True, text=True, check=False)
    if probe.returncode:
        pytest.skip(f"private mounts are not allowed here: {probe.stderr.strip()}")
    full = [*PRIVATE_MOUNTS, "sh", "-c", f'{script} && exec "$@"', "sh", *arguments]
    return subprocess.run(full, capture_output=True, text=True, timeout=120, check=False)


FILLED = """
import hashlib, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from bnbench.errors import UserError
from bnbench.execution.options import RunOptions
from bnbench.execution.run import Notice, execute
from bnbench.storage.checkpoints import newest_header
from bnbench.storage.store import ResultStore
from bnbench.training.events import EpochEvaluated
from execution.test_resume import make_spec
store = Path(sys.argv[2])
spec = make_spec()
ballast = store / "ballast"

def fill(event):
    if isinstance(event, EpochEvaluated) and event.epoch == 2:
        with ballast.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(b"0" * 1024)
            except OSError:
                pass
    if isinstance(event, Notice):
        print(event.text)

try:
    execute(spec, store, RunOptions("cpu", checkpoint_seconds=0.05), fill)
except UserError as error:
    print(" / ".join(str(error).splitlines()))
header = newest_header(store / spec.run_id)
print(0 < header.step <= 88, ResultStore(store).finished(), ResultStore(store).warnings())
ballast.unlink()
again = execute(spec, store, RunOptions("cpu"), lambda event: print(event.text) if isinstance(event, Notice) else None)
print(again.status, header.step)
for table in ("curves", "steps", "affine"):
    print(hashlib.sha256((store / spec.run_id / f"{table}.parquet").read_bytes()).hexdigest())
"""


def test_a_disk_that_fills_up_costs_what_came_after_the_last_checkpoint(tmp_path):
    whole = tmp_path / "whole"
    execute(make_spec(), whole, RunOptions("cpu"), lambda event: None)
    store = tmp_path / "store"
    store.mkdir()
    done = with_mounts({store: "size=16m"}, [sys.executable, "-c", FILLED, str(TESTS), str(store)])
    assert done.stderr == ""
    reason, state, went_on, status, *digests = done.stdout.splitlines()
    assert "cannot be written: No space left on device / Free some space" in reason
    assert state == "True {} []"
    assert went_on.startswith(f"goes on from step {status.split()[1]} of 132")
    assert status.split()[0] == "finished"
    assert digests == [hashlib.sha256(data).hexdigest() for data in table_bytes(whole).values()]


@pytest.mark.long
def test_a_run_that_cannot_be_written_costs_no_other_run_anything(tmp_path):
    specs = {name: make_spec(variant=name, epochs=2) for name in ("vanilla", "bn", "bn_gamma")}
    folders = {name: tmp_path / spec.run_id for name, spec in specs.items()}
    for name in ("vanilla", "bn"):
        folders[name].mkdir()
    chosen = [option for name in specs for option in ("--variant", name)]
    sweep = command(
        "run", "digits_mlp", "--size", "tiny", "--epochs", 2, "--device", "cpu", *chosen, "--results", tmp_path
    )
    done = with_mounts({folders["vanilla"]: "ro", folders["bn"]: "size=40k"}, sweep)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    last = done.stderr[done.stderr.index("2 of 3 runs failed") :].splitlines()
    reasons = {line.split("-")[1]: line for line in last[1:]}
    assert "Read-only file system" in reasons["vanilla"]
    assert "No space left on device" in reasons["bn"]
    assert list(ResultStore(tmp_path).finished()) == [specs["bn_gamma"].run_id]
    # The file systems are gone; the same command does the rest.
    again = subprocess.run(sweep, capture_output=True, text=True, timeout=120, check=False)
    assert again.returncode == 0, again.stderr
    assert len(ResultStore(tmp_path).finished()) == 3
