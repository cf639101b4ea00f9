"""What a sweep set out to train: kept while it matters, and no longer; and how much time is left."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bnbench.storage.processes import this_process
from bnbench.storage.states import RunState
from bnbench.storage.sweeps import (
    SWEEPS_FOLDER,
    SweepRecord,
    SweepRun,
    is_under_way,
    read_sweeps,
    tidy_sweeps,
    write_sweep,
)


def stopped():
    """A process of this machine that has ended."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    return this_process().model_copy(update={"process": gone.pid})


def record(*run_ids, seconds=None, side_by_side=1, process=None):
    runs = tuple(SweepRun(run_id=name, setting_id=f"of-{name[0]}", seconds=seconds) for name in run_ids)
    return SweepRecord(command="bnbench run x", process=process or this_process(), side_by_side=side_by_side, runs=runs)


def test_what_was_put_on_record_is_read_again_in_any_folder(tmp_path):
    assert read_sweeps(tmp_path / "missing") == ({}, [])
    one, other = record("a1", "a2"), record("b1", seconds=2.5)
    for each in (one, other):
        write_sweep(tmp_path, each)
    found, warnings = read_sweeps(tmp_path)
    assert sorted(found.values(), key=lambda each: each.runs[0].run_id) == [one, other]
    assert warnings == []


def test_a_record_goes_when_its_runs_have_ended_or_a_newer_sweep_has_taken_them_on(tmp_path):
    write_sweep(tmp_path, record("a1", "a2"))
    write_sweep(tmp_path, record("b1", "b2", process=stopped()))
    write_sweep(tmp_path, record("d1"))

    def left():
        return sorted(each.runs[0].run_id for each in read_sweeps(tmp_path)[0].values())

    tidy_sweeps(tmp_path, {"a1", "b1"})
    assert left() == ["a1", "b1", "d1"]
    # A sweep that still runs shares the work with the new one, and is not replaced.
    tidy_sweeps(tmp_path, {"a1", "b1"}, superseding={"b2", "c1", "d1"})
    assert left() == ["a1", "d1"]
    tidy_sweeps(tmp_path, {"a1", "b1", "d1"})
    assert left() == ["a1"]
    tidy_sweeps(tmp_path, {"a1", "a2"})
    assert left() == []
    tidy_sweeps(tmp_path / "missing", set())
    assert not (tmp_path / "missing").exists()


@pytest.mark.parametrize("contents", [b"", b"{", b"[]", b'{"record": 2}', b"\xff"])
def test_a_record_that_makes_no_sense_is_named_left_alone_and_hides_no_other(tmp_path, contents):
    write_sweep(tmp_path, record("a1"))
    strange = tmp_path / SWEEPS_FOLDER / "strange.json"
    strange.write_bytes(contents)
    found, warnings = read_sweeps(tmp_path)
    assert [each.runs[0].run_id for each in found.values()] == ["a1"]
    assert [str(strange) in warning for warning in warnings] == [True]
    tidy_sweeps(tmp_path, {"a1"})
    assert strange.read_bytes() == contents


def test_whether_somebody_works_on_a_sweep():
    running, resumable = {"a1": RunState("running")}, {"a1": RunState("resumable")}
    elsewhere = this_process().model_copy(update={"machine": "0123456789abcdef"})
    assert is_under_way(record("a1"), resumable) is True
    assert is_under_way(record("a1", process=stopped()), resumable) is False
    # Another process may have taken its runs on.
    assert is_under_way(record("a1", process=stopped()), running) is True
    assert is_under_way(record("a1", process=stopped()), {"b1": RunState("running")}) is False
    assert is_under_way(record("a1", process=elsewhere), running) is True
    assert is_under_way(record("a1", process=elsewhere), resumable) is None
