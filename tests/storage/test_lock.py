"""The lock of a run: one owner, taken over when it is dead and only then, whatever the clocks say."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from bnbench.storage import lock as locks
from bnbench.storage.lock import LockWatch, acquire_lock, look_at_lock
from bnbench.storage.processes import process_is_gone
from bnbench.storage.workspace import LockLostError

NEVER_BEATS = 1e9

HOLDER = """
import sys, time
from pathlib import Path
from bnbench.storage.lock import acquire_lock
lock = acquire_lock(Path(sys.argv[1]), beat_seconds=float(sys.argv[2]))
print("held" if lock else "busy", flush=True)
time.sleep(60)
"""


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "run"


@pytest.fixture
def holder(folder):
    """Starts processes that take the lock and sit on it."""
    started = []

    def start(beat_seconds=NEVER_BEATS):
        command = [sys.executable, "-c", HOLDER, str(folder), str(beat_seconds)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        return process, process.stdout.readline().strip()

    yield start
    for process in started:
        process.kill()
        process.communicate()


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def test_a_run_has_one_owner_until_it_gives_up(folder):
    first = acquire_lock(folder)
    assert first is not None
    assert acquire_lock(folder) is None
    first.check()
    first.release()
    assert not folder.exists(), "nothing was recorded, so nothing is left"
    second = acquire_lock(folder)
    assert second is not None
    second.release()


def test_a_lock_says_nothing_of_this_machine_by_name(folder):
    with acquire_lock(folder):
        (path,) = folder.glob("*.lock")
        text = path.read_text()
    assert os.uname().nodename not in text
    assert str(folder) not in text


def test_the_owner_of_a_dead_process_of_this_machine_is_replaced_at_once(folder, holder):
    process, said = holder()
    assert said == "held"
    assert acquire_lock(folder) is None
    process.send_signal(signal.SIGKILL)
    # Not waited for: a corpse that nobody has buried is dead too.
    until = time.monotonic() + 10
    while (lock := acquire_lock(folder)) is None and time.monotonic() < until:
        time.sleep(0.01)
    assert lock is not None
    assert [path.name for path in folder.glob("*.lock")] == ["writer-000002.lock"]
    lock.release()


def test_another_process_with_the_number_of_the_owner_is_not_taken_for_it(folder):
    with acquire_lock(folder):
        owner = look_at_lock(folder).owner
    assert not process_is_gone(owner)
    assert process_is_gone(owner.model_copy(update={"started": "1"}))
    assert not process_is_gone(owner.model_copy(update={"started": "1", "machine": "0123456789abcdef"}))
    assert not process_is_gone(owner.model_copy(update={"started": "1", "machine": None}))


def stranger(folder):
    """Make the lock look like one of another machine."""
    view = look_at_lock(folder)
    path = folder / f"writer-{view.number:06}.lock"
    path.write_bytes(path.read_bytes().replace(view.owner.machine.encode(), b"0123456789abcdef"))


def test_an_owner_elsewhere_is_given_up_when_its_heartbeat_stands_still(folder):
    first = acquire_lock(folder, beat_seconds=NEVER_BEATS)
    stranger(folder)
    clock = Clock()
    watch = LockWatch(stale_seconds=60, clock=clock)
    view = look_at_lock(folder)
    assert not watch.is_dead(folder, view)
    clock.now += 59
    assert not watch.is_dead(folder, look_at_lock(folder))
    assert acquire_lock(folder) is None
    clock.now += 1
    assert watch.is_dead(folder, look_at_lock(folder))
    second = acquire_lock(folder, given_up=look_at_lock(folder))
    assert second is not None
    second.check()
    with pytest.raises(LockLostError, match="given up"):
        first.check()
    first.release()
    second.check()
    second.release()


def test_a_heartbeat_keeps_an_owner_alive_and_tells_how_far_it_is(folder):
    with acquire_lock(folder, beat_seconds=0.01) as lock:
        lock.progress(5, 88, 1, 2)
        clock = Clock()
        watch = LockWatch(stale_seconds=1, clock=clock)
        seen = set()
        for _ in range(5):
            view = look_at_lock(folder)
            assert not watch.is_dead(folder, view)
            seen.add(view.owner.beat)
            clock.now += 5
            until = time.monotonic() + 10
            while look_at_lock(folder) == view and time.monotonic() < until:
                time.sleep(0.005)
        assert len(seen) == 5
        owner = look_at_lock(folder).owner
        assert (owner.step, owner.total_steps, owner.epoch, owner.epochs) == (5, 88, 1, 2)


def test_no_clock_of_day_has_a_say(folder, monkeypatch):
    """Clocks that jump, backwards too, and times of files that are nonsense, neither kill nor save an owner."""
    first = acquire_lock(folder, beat_seconds=NEVER_BEATS)
    stranger(folder)
    clock = Clock()
    watch = LockWatch(stale_seconds=60, clock=clock)
    for moment in (2e9, 1e9, 0.0, 4e9):
        monkeypatch.setattr(time, "time", lambda moment=moment: moment)
        for path in folder.iterdir():
            os.utime(path, (moment / 2, moment / 2))
        assert not watch.is_dead(folder, look_at_lock(folder))
        assert acquire_lock(folder) is None
        first.check()
        clock.now += 10
    clock.now += 20
    assert watch.is_dead(folder, look_at_lock(folder))
    first.release()


def test_a_lock_without_sense_is_left_alone_until_it_is_given_up(folder):
    folder.mkdir()
    (folder / "writer-000003.lock").write_bytes(b"")
    assert acquire_lock(folder) is None
    view = look_at_lock(folder)
    assert view.owner is None
    with acquire_lock(folder, given_up=view):
        assert [path.name for path in folder.glob("*.lock")] == ["writer-000004.lock"]


def test_of_many_takers_one_succeeds(folder):
    for _ in range(30):
        first = acquire_lock(folder, beat_seconds=NEVER_BEATS)
        stranger(folder)
        view = look_at_lock(folder)
        barrier = threading.Barrier(6)
        taken = []

        def take(barrier=barrier, view=view, taken=taken):
            barrier.wait()
            taken.append(acquire_lock(folder, given_up=view, beat_seconds=NEVER_BEATS))

        threads = [threading.Thread(target=take) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        owners = [each for each in taken if each is not None]
        assert len(owners) == 1
        owners[0].check()
        owners[0].release()
        first.release()


def test_a_taker_that_comes_late_takes_nothing(folder):
    """It judged a lock that has changed hands twice since: the owner of today stays."""
    first = acquire_lock(folder, beat_seconds=NEVER_BEATS)
    stranger(folder)
    old = look_at_lock(folder)
    second = acquire_lock(folder, given_up=old, beat_seconds=NEVER_BEATS)
    stranger(folder)
    assert acquire_lock(folder, given_up=old) is None
    third = acquire_lock(folder, given_up=look_at_lock(folder))
    assert acquire_lock(folder, given_up=old) is None
    third.check()
    with pytest.raises(LockLostError):
        second.check()
    for lock in (first, second, third):
        lock.release()


def test_an_owner_that_was_asleep_when_it_was_given_up_finds_out(folder, holder):
    process, _ = holder(0.01)
    process.send_signal(signal.SIGSTOP)
    view = look_at_lock(folder)
    clock = Clock()
    watch = LockWatch(stale_seconds=60, clock=clock)
    assert not watch.is_dead(folder, view)
    clock.now += 61
    assert watch.is_dead(folder, look_at_lock(folder))
    with acquire_lock(folder, given_up=look_at_lock(folder)) as lock:
        process.send_signal(signal.SIGCONT)
        time.sleep(0.2)
        lock.check()
        assert look_at_lock(folder).owner.process == os.getpid()


def test_without_hard_links_there_is_one_owner_all_the_same(folder, monkeypatch):
    def refuse(*arguments):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(locks.os, "link", refuse)
    first = acquire_lock(folder)
    assert first is not None
    assert acquire_lock(folder) is None
    first.release()
    assert not folder.exists()
