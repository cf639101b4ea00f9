"""Whether a process still runs: never wrongly "gone", whatever the clock, another user or a container does."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from bnbench.storage import processes
from bnbench.storage.lock import acquire_lock, look_at_lock
from bnbench.storage.processes import Process, process_is_gone, process_is_here, this_process

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture
def child():
    process = subprocess.Popen(
        [sys.executable, "-c", "print(end='.', flush=True); input()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout.read(1) == b"."
    yield process
    process.kill()
    process.communicate()


def named(process):
    return this_process().model_copy(update={"process": process.pid, "started": processes._start_of(process.pid)})


def test_a_process_is_here_until_it_is_dead(child):
    who = named(child)
    assert process_is_here(who)
    assert not process_is_gone(who)
    child.kill()
    # Not waited for: a corpse that nobody has buried is dead too.
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE
    assert process_is_gone(who)
    child.wait()
    assert process_is_gone(who)
    assert not process_is_here(who)


def test_another_process_with_its_number_is_another(child):
    assert process_is_gone(named(child).model_copy(update={"started": "1"}))


def test_what_is_not_known_is_not_gone(child, monkeypatch):
    who = named(child)
    for change in ({"started": None}, {"machine": None}, {"machine": "0123456789abcdef", "started": "1"}):
        assert not process_is_gone(who.model_copy(update=change))
    for unknown in ({"machine": None}, {"machine": "0123456789abcdef"}):
        assert not process_is_here(who.model_copy(update=unknown))
    # A process of another user, where such are hidden: psutil says that there is none.
    monkeypatch.setattr(psutil, "Process", lambda pid: (_ for _ in ()).throw(psutil.NoSuchProcess(pid)))
    assert not process_is_gone(who)
    monkeypatch.setattr(os, "kill", lambda *_: (_ for _ in ()).throw(PermissionError))
    assert not process_is_gone(who)


def test_a_system_that_tells_nothing_has_processes_without_a_start(child, monkeypatch):
    who = named(child)

    def boot_time():
        raise RuntimeError("line 'btime' not found")

    monkeypatch.setattr(psutil, "boot_time", boot_time)
    assert this_process().started is None
    assert not process_is_gone(who)


@on_linux
def test_the_start_is_the_kernels_own_number_of_ticks(child):
    for pid in (child.pid, os.getpid()):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        assert processes._start_of(pid) == fields[19]


@on_linux
@pytest.mark.parametrize("seconds", [-86_400.0, -1.0, 1.0, 3600.0])
def test_setting_the_clock_makes_no_living_process_another_one(child, monkeypatch, seconds):
    who = named(child)
    booted = psutil.boot_time()
    # On Linux the time of the boot is the clock's time less the time since the boot, anew at each look.
    monkeypatch.setattr(psutil._pslinux, "boot_time", lambda: booted + seconds)
    assert psutil.Process(child.pid).create_time() != 0
    assert named(child) == who
    assert process_is_here(who)
    assert process_is_gone(who.model_copy(update={"started": "1"}))
    # Set while we look.
    told = iter([booted, booted, booted + seconds, booted + seconds])
    monkeypatch.setattr(psutil._pslinux, "boot_time", lambda: next(told))
    assert not process_is_gone(who)


@pytest.fixture
def on_macos(monkeypatch):
    """As far as this can be had elsewhere: what psutil and the C library say there, as a test tells them to."""
    kernel = SimpleNamespace(session=b"7C2E3F0A-0000-4000-8000-123456789ABC", booted=1000.0, created=5000.25)

    def sysctlbyname(name, told, size, new, length):
        assert (name, new, length.value) == (b"kern.bootsessionuuid", None, 0)
        if kernel.session is None:
            return -1
        told.value = kernel.session
        return 0

    monkeypatch.setattr(processes, "sys", SimpleNamespace(platform="darwin"))
    monkeypatch.setattr(processes.ctypes, "CDLL", lambda name: SimpleNamespace(sysctlbyname=sysctlbyname))
    monkeypatch.setattr(processes, "_BOOTED", 1000.0)
    monkeypatch.setattr(psutil, "boot_time", lambda: kernel.booted)
    status = lambda: psutil.STATUS_RUNNING  # noqa: E731
    monkeypatch.setattr(
        psutil, "Process", lambda pid: SimpleNamespace(create_time=lambda: kernel.created, status=status)
    )
    processes._boot_session.cache_clear()
    yield kernel
    processes._boot_session.cache_clear()


def test_on_macos_a_killed_process_is_noticed(on_macos):
    who = this_process()
    assert who.machine is not None
    assert who.started == "5000.25"
    assert "7C2E3F0A" not in who.model_dump_json()
    assert process_is_here(who)
    on_macos.created = 6000.5  # another with its number
    assert process_is_gone(who)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    on_macos.created = 5000.25
    assert process_is_gone(who.model_copy(update={"process": gone.pid}))


def test_on_macos_a_clock_that_was_set_leaves_the_start_unknown(on_macos):
    who = this_process()
    on_macos.booted, on_macos.created = 1100.0, 5100.25
    assert not process_is_gone(who)
    assert process_is_here(who)
    assert this_process().started is None


def test_on_macos_another_boot_is_another_machine(on_macos):
    who = this_process()
    processes._boot_session.cache_clear()
    on_macos.session = b"00000000-0000-4000-8000-000000000000"
    assert this_process().machine != who.machine
    processes._boot_session.cache_clear()
    on_macos.session = None
    assert this_process().machine is None


IN_A_CONTAINER = """
from bnbench.storage.processes import this_process
print(this_process().model_dump_json())
"""


@on_linux
def test_a_container_with_its_own_processes_is_another_machine():
    own_table = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc"]
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare(1)")
    done = subprocess.run(
        [*own_table, sys.executable, "-c", IN_A_CONTAINER], capture_output=True, text=True, timeout=60, check=False
    )
    if done.returncode and "unshare" in done.stderr:
        pytest.skip(f"process namespaces are not allowed here: {done.stderr.strip()}")
    who = Process.model_validate_json(done.stdout)
    assert who.process == 1
    # Here 1 is another process, and lives; there it has ended. Neither can be told from here.
    assert not process_is_gone(who)
    assert not process_is_here(who)


@pytest.mark.parametrize("number", [0, -1, 2**31, 10**30])
def test_a_number_that_no_process_has_names_nobody(tmp_path, number):
    with acquire_lock(tmp_path / "run"):
        (path,) = (tmp_path / "run").glob("*.lock")
        path.write_bytes(path.read_bytes().replace(f'"process":{os.getpid()}'.encode(), f'"process":{number}'.encode()))
        view = look_at_lock(tmp_path / "run")
        assert view.owner is None
        assert not view.is_nobodys()
