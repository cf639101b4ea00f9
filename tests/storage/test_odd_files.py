"""What is no file among the files of a run that is not finished: a damaged file like any other, told at once."""

import pytest

from bnbench.measurement import TABLES
from bnbench.storage.checkpoints import CheckpointHeader, newest_header, resume_points, save_checkpoint
from bnbench.storage.compaction import compact
from bnbench.storage.files import StorageError
from bnbench.storage.parts import part_path, record_path
from bnbench.storage.schema import SCHEMA_VERSION
from bnbench.storage.speeds import SPEEDS, read_speeds
from bnbench.storage.store import ResultStore
from support.odd_files import ODD_FILES, at_once, make_sparse, put_in_place_of

KINDS = [*ODD_FILES, "too large"]
TOLD = {**{kind: odd.told for kind, odd in ODD_FILES.items()}, "too large": "no such file has more than"}


def spoil(path, kind):
    if kind == "too large":
        make_sparse(path, 5 << 30)
    else:
        put_in_place_of(path, kind)


def checkpoint(workspace, identity, step, next_part):
    header = CheckpointHeader.model_validate(
        {"schema": SCHEMA_VERSION, "run_id": identity.run_id, "step": step, "total_steps": 24, "epoch": 1, "epochs": 4,
         "next_part": next_part, "stretches": []}
    )  # fmt: skip
    return save_checkpoint(workspace, header, b"state")


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint(example, tmp_path, kind):
    recorder = example.record(tmp_path, flush_after=[5, 20])
    older, newer = (checkpoint(recorder.workspace, example.identity, step, 1) for step in (6, 12))
    spoil(newer, kind)
    said = []
    with at_once():
        assert newest_header(recorder.folder).step == 6
        assert [saved.path for saved in resume_points(recorder.workspace, example.identity, said.append)] == [older]
    (warning,) = said
    assert TOLD[kind] in warning
    assert "set aside" in warning


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("path", [record_path, lambda workspace, number: part_path(workspace, "steps", number)])
def test_a_flush(example, tmp_path, kind, path):
    recorder = example.record(tmp_path, flush_after=[5, 20])
    older, _ = (checkpoint(recorder.workspace, example.identity, step, parts) for step, parts in ((6, 1), (12, 2)))
    spoiled = path(recorder.workspace, 1)
    spoil(spoiled, kind)
    with at_once(), pytest.raises(StorageError) as caught:
        compact(recorder.workspace, example.identity, TABLES)
    assert str(spoiled) in caught.value.problem
    # Of a part the recorded size says that it is too large.
    assert TOLD[kind] in caught.value.problem or (kind == "too large" and "instead of" in caught.value.problem)
    said = []
    with at_once():
        assert [saved.path for saved in resume_points(recorder.workspace, example.identity, said.append)] == [older]
    assert len(said) == 1


@pytest.mark.parametrize("kind", ODD_FILES)
def test_a_table_that_was_replaced_after_it_had_been_checked(example, tmp_path, kind):
    example.finish(tmp_path)
    store = ResultStore(tmp_path)
    run_id = example.identity.run_id
    assert len(store.read(run_id, "curves"))
    put_in_place_of(tmp_path / run_id / "curves.parquet", kind)
    with at_once(), pytest.raises(StorageError) as caught:
        store.read(run_id, "curves")
    assert ODD_FILES[kind].told in caught.value.problem


@pytest.mark.parametrize("kind", KINDS)
def test_measured_speeds(tmp_path, kind):
    spoil(tmp_path / SPEEDS, kind)
    with at_once():
        assert read_speeds(tmp_path / SPEEDS, "machine").entries == ()
