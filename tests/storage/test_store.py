"""What a results folder says about itself, and what it refuses."""

from __future__ import annotations

import json
import shutil

import pytest

from bnbench.errors import UserError
from bnbench.measurement import TABLES
from bnbench.storage.document import RunDocument
from bnbench.storage.files import StorageError
from bnbench.storage.recorder import RunRecorder
from bnbench.storage.store import ResultStore


def edit(store, example, **changes):
    path = store / example.identity.run_id / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_finished_and_diverged_runs_are_results_failed_and_unfinished_ones_are_not(example, vanilla, tmp_path):
    example.finish(tmp_path)
    vanilla.record(tmp_path, [3]).finish({**vanilla.document, "status": "diverged", "diverged_at_step": 12})
    store = ResultStore.open(tmp_path, create=False)
    assert set(store.finished()) == {example.identity.run_id, vanilla.identity.run_id}
    assert store.finished()[vanilla.identity.run_id].diverged_at_step == 12
    assert all(isinstance(each, RunDocument) for each in store.documents())
    assert store.unfinished() == []

    shutil.rmtree(tmp_path / vanilla.identity.run_id)
    vanilla.record(tmp_path, [3]).fail(vanilla.failure)
    assert set(store.finished()) == {example.identity.run_id}
    assert {each.run_id: each.status for each in store.documents()} == {
        example.identity.run_id: "finished",
        vanilla.identity.run_id: "failed",
    }

    vanilla.record(tmp_path, [3])
    assert store.unfinished() == [vanilla.identity.run_id]
    assert [each.run_id for each in store.documents()] == [example.identity.run_id]
    assert store.warnings() == []


def test_a_folders_name_alone_proves_nothing(example, vanilla, tmp_path):
    example.finish(tmp_path)
    shutil.copytree(tmp_path / example.identity.run_id, tmp_path / vanilla.identity.run_id)
    (tmp_path / "plots").mkdir()
    (tmp_path / "notes.txt").write_text("mine")
    store = ResultStore.open(tmp_path, create=False)
    assert set(store.finished()) == {example.identity.run_id}
    assert store.unfinished() == []
    (warning,) = store.warnings()
    assert f"belongs to the run {example.identity.run_id}" in warning


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "is not valid JSON"),
        (b'{"schema": 2, "run_id"', "is not valid JSON"),
        (b"\xff\xfe\x00", "is not valid JSON"),
        (b'{"schema": NaN}', "NaN is not JSON"),
        (b"[]", "no schema version"),
        (b'{"schema": "1"}', "no schema version"),
        (b'{"schema": true}', "no schema version"),
        (b'{"schema": 2}', "Field required"),
        (b"[" * 100_000, "is not valid JSON"),
    ],
)
def test_a_corrupt_document_is_a_warning_and_hides_no_other_run(text, reason, example, vanilla, tmp_path):
    example.finish(tmp_path)
    vanilla.finish(tmp_path)
    (tmp_path / vanilla.identity.run_id / "run.json").write_bytes(text)
    store = ResultStore.open(tmp_path, create=True)
    assert set(store.finished()) == {example.identity.run_id}
    (warning,) = store.warnings()
    assert vanilla.identity.run_id in warning
    assert reason in warning
    assert "counts as not finished" in warning


def test_an_unknown_key_or_a_wrong_type_makes_a_document_corrupt(example, tmp_path):
    example.finish(tmp_path)
    for changes in ({"colour": "red"}, {"status": "done"}, {"diverged_at_step": 3}, {"spec": []}, {"tables": {"x": 1}}):
        before = (tmp_path / example.identity.run_id / "run.json").read_bytes()
        edit(tmp_path, example, **changes)
        store = ResultStore.open(tmp_path, create=False)
        assert store.finished() == {}
        assert len(store.warnings()) == 1
        (tmp_path / example.identity.run_id / "run.json").write_bytes(before)
    assert set(ResultStore(tmp_path).finished()) == {example.identity.run_id}


@pytest.mark.parametrize("table", TABLES)
def test_a_missing_or_shortened_table_makes_a_run_not_finished(table, example, tmp_path):
    example.finish(tmp_path)
    path = tmp_path / example.identity.run_id / f"{table}.parquet"
    path.write_bytes(path.read_bytes()[:-1])
    store = ResultStore.open(tmp_path, create=False)
    assert store.finished() == {}
    assert (
        f"{table}.parquet has {path.stat().st_size} bytes instead of {path.stat().st_size + 1}" in store.warnings()[0]
    )
    path.unlink()
    assert store.finished() == {}
    assert f"{table}.parquet is missing" in store.warnings()[0]
    assert len(store.documents()) == 1


@pytest.mark.parametrize("create", [True, False])
def test_results_of_another_schema_version_are_refused(create, example, tmp_path):
    example.finish(tmp_path)
    edit(tmp_path, example, schema=3)
    with pytest.raises(UserError, match=r"written by a newer bnbench \(schema 3; .*\n.*[Uu]pgrade"):
        ResultStore.open(tmp_path, create=create)
    edit(tmp_path, example, schema=1)
    with pytest.raises(UserError, match=r"written by an older bnbench \(schema 1; .*\n.*never released"):
        ResultStore.open(tmp_path, create=create)
    assert [path.name for path in tmp_path.iterdir()] == [example.identity.run_id]


def test_among_runs_of_this_version_one_of_another_is_that_runs_trouble_alone(example, vanilla, tmp_path):
    example.finish(tmp_path)
    vanilla.finish(tmp_path)
    edit(tmp_path, vanilla, schema=1)
    store = ResultStore.open(tmp_path, create=True)
    assert set(store.finished()) == {example.identity.run_id}
    assert f"{vanilla.identity.run_id}/run.json is of schema version 1, not 2" in store.warnings()[0]


def test_a_document_that_disagrees_with_its_tables_is_damaged(example, tmp_path):
    example.finish(tmp_path)
    edit(tmp_path, example, problem="digits_other")
    store = ResultStore(tmp_path)
    assert store.finished() == {}
    (warning,) = store.warnings()
    assert "curves.parquet does not belong to the run that its run.json describes" in warning
    with pytest.raises(StorageError, match="does not belong to the run"):
        store.read(example.identity.run_id, "steps")


@pytest.mark.parametrize("table", TABLES)
def test_a_table_of_another_run_of_the_same_size_and_digest_is_damaged(table, example, vanilla, tmp_path):
    example.finish(tmp_path)
    vanilla.finish(tmp_path)
    ours, theirs = (tmp_path / each.identity.run_id for each in (example, vanilla))
    shutil.copyfile(theirs / f"{table}.parquet", ours / f"{table}.parquet")
    tables = {name: json.loads((folder / "run.json").read_text())["tables"] for name, folder in
              (("ours", ours), ("theirs", theirs))}  # fmt: skip
    edit(tmp_path, example, tables={**tables["ours"], table: tables["theirs"][table]})
    with pytest.raises(StorageError, match=f"{table}.parquet does not belong to the run"):
        ResultStore(tmp_path).read(example.identity.run_id, table)
    if table == "curves":
        assert set(ResultStore(tmp_path).finished()) == {vanilla.identity.run_id}


def test_another_number_of_rows_than_recorded_is_damage(example, tmp_path):
    example.finish(tmp_path)
    tables = json.loads((tmp_path / example.identity.run_id / "run.json").read_text())["tables"]
    tables["steps"]["rows"] += 1
    edit(tmp_path, example, tables=tables)
    with pytest.raises(StorageError, match=r"steps.parquet has 24 rows instead of 25"):
        ResultStore(tmp_path).read(example.identity.run_id, "steps")


def test_an_empty_or_missing_folder_has_no_results(tmp_path):
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(UserError, match=r"no results in .*\n`bnbench run …` writes some"):
            ResultStore.open(path, create=False)
        assert ResultStore(path).finished() == {}
    assert not (tmp_path / "nowhere").exists()


def test_opening_for_writing_makes_the_folder_and_leaves_no_trace_of_trying(tmp_path):
    ResultStore.open(tmp_path / "a" / "b", create=True)
    assert list((tmp_path / "a" / "b").iterdir()) == []


@pytest.mark.parametrize("run_id", ["", ".", "..", "../x", "a/b", "/etc", ".hidden", "a\0b"])
def test_a_run_id_cannot_leave_the_folder(run_id, tmp_path):
    with pytest.raises(ValueError, match="is no run id"):
        ResultStore(tmp_path).run_folder(run_id)


def test_reading_a_table_with_columns_and_filters(example, tmp_path):
    example.finish(tmp_path)
    store = ResultStore.open(tmp_path, create=False)
    run_id = example.identity.run_id
    assert store.read(run_id, "steps").num_rows == 24
    one = store.read(run_id, "affine", ["step"], [("slot", "==", "conv2"), ("parameter", "==", "beta")])
    assert one.column_names == ["step"]
    assert one.column("step").to_pylist() == list(range(0, 24, 2))
    assert store.read(run_id, "curves", filters=[("split", "==", "nothing")]).num_rows == 0


def test_reading_does_not_invent_columns_from_the_folders_names(example, tmp_path):
    store = tmp_path / "year=2023"
    example.finish(store)
    assert "year" not in ResultStore(store).read(example.identity.run_id, "curves").column_names


def test_only_results_are_read(example, vanilla, tmp_path):
    recorder = example.record(tmp_path, [3])
    (recorder.folder / "steps.parquet").write_bytes(b"half")
    store = ResultStore(tmp_path)
    for run_id in (example.identity.run_id, vanilla.identity.run_id):
        with pytest.raises(StorageError, match="holds no result of a run"):
            store.read(run_id, "steps")


@pytest.mark.parametrize("table", TABLES)
def test_a_damaged_table_is_never_read(table, example, tmp_path):
    example.finish(tmp_path)
    path = tmp_path / example.identity.run_id / f"{table}.parquet"
    good = path.read_bytes()
    for position in range(0, len(good), len(good) // 50):
        path.write_bytes(good[:position] + bytes([good[position] ^ 0x04]) + good[position + 1 :])
        with pytest.raises(StorageError, match="is damaged"):
            ResultStore(tmp_path).read(example.identity.run_id, table)
    path.write_bytes(good)
    ResultStore(tmp_path).read(example.identity.run_id, table)


def test_a_column_that_is_not_there_is_refused(example, tmp_path):
    example.finish(tmp_path)
    with pytest.raises(StorageError, match="colour"):
        ResultStore(tmp_path).read(example.identity.run_id, "curves", ["colour"])


def test_looking_at_a_store_writes_nothing(example, tmp_path):
    example.finish(tmp_path)
    before = {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in tmp_path.rglob("*")}
    store = ResultStore.open(tmp_path, create=False)
    store.look()
    store.read(example.identity.run_id, "curves")
    assert {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in tmp_path.rglob("*")} == before


def test_a_recorder_and_the_store_agree_on_the_folder(example, tmp_path):
    recorder = RunRecorder.open(tmp_path, example.identity)
    assert recorder.folder == ResultStore(tmp_path).run_folder(example.identity.run_id)


def test_slots_that_are_not_those_of_the_tables_are_damage(example, tmp_path):
    example.finish(tmp_path)
    edit(tmp_path, example, slots=["conv1", "conv2", "conv11", "output"])
    store = ResultStore(tmp_path)
    assert store.finished() == {}
    assert "curves.parquet does not belong to the run that its run.json describes" in store.warnings()[0]
