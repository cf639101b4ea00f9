"""The workspace is the right to write: swallowed, it leads nowhere, and nothing that was kept in it is lost."""

from __future__ import annotations

import pytest

from bnbench.storage.compaction import compact
from bnbench.storage.files import StorageError
from bnbench.storage.lock import acquire_lock, look_at_lock
from bnbench.storage.repeating import forget_failure, start_afresh, tidy_result
from bnbench.storage.schema import TABLES
from bnbench.storage.workspace import LockLostError, make_workspace, workspaces

from .conftest import DOCUMENT, IDENTITY


@pytest.fixture
def folder(tmp_path):
    return tmp_path


def files(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_who_takes_over_has_what_was_kept_and_not_what_was_unfinished(folder):
    first = make_workspace(folder)
    (first.path / "flush-000000.json").write_text("kept")
    (first.path / ".curves-000001.parquet.01234567.tmp").write_text("half")
    nested = first.path / "swallowed-01234567"  # it died while it took over from another
    nested.mkdir()
    (nested / "step-000000007.checkpoint").write_text("kept")
    second = make_workspace(folder)
    second.swallow_others()
    assert workspaces(folder) == [second.path]
    assert files(second.path) == {"flush-000000.json", "step-000000007.checkpoint"}


def test_whatever_the_earlier_writer_tries_is_lost(folder):
    first = make_workspace(folder)
    (first.path / "made").write_text("the first one's")
    second = make_workspace(folder)
    second.swallow_others()
    (folder / "run.json").write_text("the second one's")
    for attempt in (
        first.check,
        first.swallow_others,
        lambda: first.move(first.path / "made", folder / "run.json"),
        lambda: first.discard(folder / "run.json"),
    ):
        with pytest.raises(LockLostError, match="given up"):
            attempt()
    with pytest.raises(LockLostError), first.writing():
        (first.path / "more").write_text("never")
    first.leave()
    assert (folder / "run.json").read_text() == "the second one's"
    second.check()


def test_an_error_of_an_owner_is_its_own(folder):
    workspace = make_workspace(folder)
    with pytest.raises(StorageError, match="cannot be written: No such file"), workspace.writing():
        (folder / "nowhere" / "file").write_text("")


def test_a_file_that_is_not_there_needs_no_removal(folder):
    workspace = make_workspace(folder)
    workspace.discard(folder / "run.json")
    assert files(folder) == set()


def test_nothing_is_compacted_from_no_workspace(example, tmp_path):
    recorder = example.record(tmp_path, [3])
    make_workspace(recorder.folder).swallow_others()
    with pytest.raises(FileNotFoundError):
        compact(recorder.workspace, IDENTITY, TABLES)
    assert not list(recorder.folder.glob("*.parquet"))
    with pytest.raises(LockLostError):
        recorder.finish(DOCUMENT)


def test_a_process_that_was_about_to_take_the_lock_loses_its_workspace_to_who_takes_it(folder):
    late = make_workspace(folder)
    with acquire_lock(folder) as lock:
        with pytest.raises(LockLostError):
            late.check()
        lock.check()


def test_of_two_locks_left_behind_by_a_kill_in_the_middle_of_a_takeover_both_go(folder):
    first = acquire_lock(folder, beat_seconds=1e9)
    kept = (folder / "writer-000001.lock").read_bytes()
    second = acquire_lock(folder, given_up=look_at_lock(folder), beat_seconds=1e9)
    (folder / "writer-000001.lock").write_bytes(kept)
    third = acquire_lock(folder, given_up=look_at_lock(folder))
    assert [path.name for path in folder.glob("*.lock")] == ["writer-000003.lock"]
    third.check()
    for lock in (first, second, third):
        lock.release()


@pytest.mark.parametrize("act", [forget_failure, start_afresh, tidy_result])
def test_what_is_done_to_a_run_before_it_is_tried_again_is_never_done_to_another_writers(act, example, tmp_path):
    folder = example.record(tmp_path, [3]).folder
    with acquire_lock(folder):
        before = files(folder)
        assert not act(folder)
        assert files(folder) == before
