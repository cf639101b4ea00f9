"""Where runs come from: no folder of the user's stands in the way, neither a long one nor one with odd files in it."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from multiprocessing import current_process
from pathlib import Path

import pytest

from bnbench.execution import fork_server, sockets
from bnbench.execution.executors import LocalPool
from bnbench.execution.options import RunOptions
from bnbench.execution.places import cpu_places
from execution.test_pool import Log
from execution.test_resume import make_spec
from support.command_line import command, table_bytes

MODULES = ("torch", "queue", "secrets", "numpy", "multiprocessing", "sklearn", "click")
FULL = Path("/dev/full")


@pytest.fixture
def nowhere_yet(monkeypatch):
    """No folder has been chosen for sockets; the one that was comes back afterwards."""
    config = current_process()._config
    monkeypatch.setitem(config, "tempdir", "")
    del config["tempdir"]
    return config


def long_folder(beside: Path) -> Path:
    folder = beside / ("x" * 90)
    folder.mkdir()
    return folder


@pytest.mark.long
def test_a_sweep_needs_neither_a_short_folder_for_temporary_files_nor_an_empty_working_directory(tmp_path):
    """With a log disk that is full, besides."""
    here, temporary, ran = tmp_path / "here", long_folder(tmp_path), tmp_path / "ran"
    here.mkdir()
    for name in MODULES:
        (here / f"{name}.py").write_text(f"open({str(ran)!r}, 'a').write({name!r})\nraise RuntimeError({name!r})\n")
    asked = ("run", "digits_mlp", "--size", "tiny", "--epochs", "1", "--variant", "bn", "--results", "results")
    with (FULL if FULL.exists() else Path(os.devnull)).open("w") as log:
        code = subprocess.call(
            command(*asked), cwd=here, env={**os.environ, "TMPDIR": str(temporary)}, stdout=log, stderr=log
        )
    assert code == 0
    assert not ran.exists(), ran.read_text()
    (document,) = (here / "results").glob("*/run.json")
    assert json.loads(document.read_text())["status"] == "finished"
    assert not list(temporary.glob("*/listener-*"))


def test_what_the_server_loads_starts_no_thread_of_pythons():
    """Such a thread may hold a lock at the moment of a fork; in the run's process nobody would ever give it back."""
    asked = "import importlib, sys, threading; [importlib.import_module(each) for each in sys.argv[1:]]; "
    asked += "print([each.name for each in threading.enumerate()])"
    said = subprocess.check_output([sys.executable, "-c", asked, *fork_server._PRELOADED], text=True)
    assert said == "['MainThread']\n"


def test_sockets_lie_in_a_private_folder_where_they_can_be_bound(tmp_path, nowhere_yet, monkeypatch):
    long = long_folder(tmp_path)
    with_room = Path("/tmp")
    monkeypatch.setattr(sockets, "_parents", lambda: iter(["/proc", str(long), str(with_room)]))
    assert sockets.can_bind.__wrapped__()
    chosen = Path(nowhere_yet["tempdir"])
    assert chosen.parent == with_room
    assert stat.S_IMODE(chosen.stat().st_mode) == 0o700
    assert list(chosen.iterdir()) == []
    assert list(long.iterdir()) == []
    chosen.rmdir()


def test_where_no_socket_can_be_bound_runs_are_spawned(tmp_path, nowhere_yet, monkeypatch):
    monkeypatch.setattr(sockets, "_parents", lambda: iter(["/proc", str(long_folder(tmp_path))]))
    assert not sockets.can_bind.__wrapped__()
    assert "tempdir" not in nowhere_yet
    monkeypatch.setattr(fork_server, "can_bind", lambda: False)
    assert fork_server.process_context().get_start_method() == "spawn"
    spec = make_spec(epochs=1)
    (tmp_path / "runs").mkdir()
    outcomes = LocalPool(cpu_places(1)).run_all([spec], tmp_path / "runs", RunOptions("cpu"), Log(), lambda: False)
    assert [outcome.status for outcome in outcomes] == ["finished"]
    assert table_bytes(tmp_path / "runs")


def _environment(answers):
    fork_server.forget_safe_path()
    answers.send((os.environ.get("PYTHONSAFEPATH"), sys.flags.safe_path))


@pytest.mark.parametrize("own", [None, "1"])
def test_the_safe_path_is_no_part_of_a_runs_environment(monkeypatch, own):
    """Which components see, and hand on to programs that they start."""
    if own is None:
        monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    else:
        monkeypatch.setenv("PYTHONSAFEPATH", own)
    context = fork_server.multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_environment, args=(theirs,))
    fork_server.start(process)
    theirs.close()
    assert ours.recv() == (own, True)
    process.join()
    assert os.environ.get("PYTHONSAFEPATH") == own
