"""Parts, compaction and `run.json`: the final files do not know how often a run was flushed or cut off."""

from __future__ import annotations

import itertools
import json
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnbench import measurement
from bnbench.analysis.frames import open_results
from bnbench.components.probes import PROBES, ProbeRow
from bnbench.measurement import COUNT, EVERY_RUN, TABLES, Column, Table
from bnbench.storage import parts
from bnbench.storage.compaction import compact
from bnbench.storage.document import document_text, make_document, read_document, write_document
from bnbench.storage.files import StorageError
from bnbench.storage.merge import merge_stores
from bnbench.storage.parts import drop_parts, find_parts
from bnbench.storage.recorder import RunRecorder
from bnbench.storage.schema import SCHEMA_VERSION, value_columns
from bnbench.storage.store import ResultStore
from bnbench.storage.workspace import Workspace
from support.rows import affine

from .conftest import DOCUMENT, EXAMPLE, OTHER_PROBES, Call, Example, described, identity_of, specification

CALLS = len(EXAMPLE.calls)
FLUSHES = st.sets(st.integers(0, CALLS - 1), max_size=6)


def tables(store: Path) -> dict[str, bytes]:
    folder = store / EXAMPLE.identity.run_id
    return {table: (folder / f"{table}.parquet").read_bytes() for table in TABLES}


@settings(max_examples=20)
@given(flush_after=FLUSHES)
def test_the_final_files_do_not_depend_on_where_the_run_was_flushed(flush_after, uninterrupted):
    with tempfile.TemporaryDirectory() as folder:
        EXAMPLE.finish(Path(folder), flush_after)
        assert tables(Path(folder)) == uninterrupted


@settings(max_examples=12)
@given(flush_after=FLUSHES, cut=st.integers(0, CALLS), finishing=st.booleans())
def test_a_run_continued_from_its_parts_ends_in_the_same_files(flush_after, cut, finishing, uninterrupted):
    """What the recorder owes to a resume: parts below the number that `flush` returned are all it needs."""
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder)
        first = RunRecorder.open(store, EXAMPLE.identity)
        EXAMPLE.play(first, 0, cut, flush_after)
        number = first.flush()
        if finishing:  # cut off in the middle of compaction
            compact(first.workspace, EXAMPLE.identity, TABLES)
        second = RunRecorder(first.folder, EXAMPLE.identity, next_part=number)
        EXAMPLE.play(second, cut, CALLS, flush_after)
        second.finish(DOCUMENT)
        assert tables(store) == uninterrupted


def test_large_tables_do_not_depend_on_where_the_run_was_flushed_either(tmp_path, example):
    """More than one data page a column: page boundaries, too, must follow from the contents alone."""
    rows = np.random.default_rng(1)
    step = np.arange(60_000)
    loss, accuracy = rows.random((2, len(step)), dtype=np.float32)
    values = rows.random((3000, 200), dtype=np.float32)
    found = []
    for name, cuts in (("whole", [0, 60_000]), ("cut", [0, 1, 777, 20_000, 20_001, 60_000])):
        recorder = RunRecorder.open(tmp_path / name, example.identity)
        for start, stop in itertools.pairwise(cuts):
            part = slice(start, stop)
            columns = {
                "step": step[part],
                "epoch": step[part] // 100,
                "batch_loss": loss[part],
                "batch_accuracy": accuracy[part],
                "learning_rate": np.full(stop - start, 0.1),
            }
            recorder.add("steps", columns)
            snapshots = slice(start, min(stop, 3000))
            recorder.add("affine", affine(step[snapshots], "conv1", "gamma", values[snapshots]))
            recorder.flush()
        recorder.finish(DOCUMENT)
        found.append(tables(tmp_path / name))
    assert found[0] == found[1]
    assert pq.read_metadata(tmp_path / "cut" / example.identity.run_id / "affine.parquet").num_rows == 3000


def test_a_flush_writes_one_part_per_table_that_has_rows(example, tmp_path):
    recorder = RunRecorder.open(tmp_path, example.identity)
    assert recorder.flush() == 0
    assert find_parts(recorder.workspace, example.identity) == []
    example.play(recorder, 0, 1)
    assert recorder.flush() == 1
    example.play(recorder, 1, CALLS)
    assert recorder.flush() == 2
    names = [part.path.name for part in find_parts(recorder.workspace, example.identity)]
    later = [f"{table}-000001.parquet" for table in sorted(TABLES)]
    assert names == ["curves-000000.parquet", *later]
    assert not (recorder.folder / "run.json").exists()


def test_finishing_leaves_the_promised_tables_and_the_document_and_nothing_else(example, tmp_path):
    document = example.finish(tmp_path, [4, 8])
    folder = tmp_path / example.identity.run_id
    names = sorted(path.name for path in folder.iterdir())
    assert names == sorted([*(f"{table}.parquet" for table in TABLES), "run.json"])
    assert read_document(folder) == document
    assert {table: facts.rows for table, facts in document.tables.items()} == {
        "curves": 15,
        "steps": 24,
        "affine": 72,
        "timing": 4,
        "sparsity": 15,
        **dict.fromkeys(OTHER_PROBES, 10),
    }


def test_a_buffer_that_is_used_again_does_not_change_what_was_recorded(example, tmp_path):
    recorder = RunRecorder.open(tmp_path, example.identity)
    step, values = np.arange(2), np.ones((2, 3), np.float32)
    recorder.add("affine", affine(step, "conv1", "gamma", values))
    step += 2
    values *= 5
    recorder.add("affine", affine(step, "conv1", "gamma", values))
    recorder.finish(DOCUMENT)
    table = pq.read_table(recorder.folder / "affine.parquet")
    assert table.column("step").to_pylist() == [0, 1, 2, 3]
    assert table.column("values").to_pylist() == [[1.0] * 3] * 2 + [[5.0] * 3] * 2


def test_parts_that_overlap_are_refused_and_no_result_is_written(example, tmp_path):
    recorder = example.record(tmp_path, [CALLS - 1])
    for call in example.calls[1:3]:
        call(recorder)
    with pytest.raises(StorageError, match="parts of steps overlap"):
        recorder.finish(DOCUMENT)
    assert not (recorder.folder / "run.json").exists()


def test_a_part_of_another_run_is_refused(example, vanilla, tmp_path):
    stranger = vanilla.record(tmp_path, [CALLS - 1])
    recorder = example.record(tmp_path, [CALLS - 1])
    own, foreign = (each.workspace.path for each in (recorder, stranger))
    (foreign / "steps-000000.parquet").replace(own / "steps-000000.parquet")
    with pytest.raises(StorageError, match=r"steps-000000.parquet is damaged"):
        recorder.finish(DOCUMENT)
    (foreign / "flush-000000.json").replace(own / "flush-000000.json")
    with pytest.raises(StorageError, match="is not a flush record of the run"):
        recorder.finish(DOCUMENT)
    assert not (recorder.folder / "run.json").exists()


def test_a_flush_that_is_missing_between_others_is_noticed(example, tmp_path):
    recorder = example.record(tmp_path, [3, 9, 12])
    (recorder.workspace.path / "flush-000001.json").unlink()
    with pytest.raises(StorageError, match="has a gap"):
        recorder.finish(DOCUMENT)


def test_a_flush_without_its_record_does_not_count(example, tmp_path):
    recorder = example.record(tmp_path, [3, 9])
    (recorder.workspace.path / "flush-000001.json").unlink()
    assert {part.number for part in find_parts(recorder.workspace, example.identity)} == {0}


def test_parts_can_be_dropped_from_a_flush_on(example, tmp_path, uninterrupted):
    recorder = example.record(tmp_path, [3, 9, 12])
    drop_parts(recorder.workspace, 1)
    assert {part.number for part in find_parts(recorder.workspace, example.identity)} == {0}
    assert not [path for path in recorder.workspace.path.iterdir() if "000000" not in path.name]
    again = RunRecorder(recorder.folder, example.identity, next_part=1)
    example.play(again, 4, CALLS)
    again.finish(DOCUMENT)
    assert tables(tmp_path) == uninterrupted


@pytest.mark.parametrize("table", TABLES)
def test_a_damaged_part_is_never_compacted(table, example, tmp_path):
    recorder = example.record(tmp_path, [CALLS - 1])
    path = recorder.workspace.path / f"{table}-000000.parquet"
    good = path.read_bytes()
    flipped = (
        good[:position] + bytes([good[position] ^ 0x10]) + good[position + 1 :]
        for position in range(0, len(good), len(good) // 50)
    )
    for bad in (good[:-20], good + b"\0", b"", *flipped):
        path.write_bytes(bad)
        with pytest.raises(StorageError, match="is damaged"):
            compact(recorder.workspace, example.identity, TABLES)
    path.unlink()
    with pytest.raises(StorageError, match="cannot be read"):
        compact(recorder.workspace, example.identity, TABLES)


def test_compaction_holds_about_one_trajectory_at_a_time(example, tmp_path):
    recorder = RunRecorder.open(tmp_path, example.identity)
    one = np.zeros((500, 500), np.float32)  # 1 MB
    for number in range(24):
        recorder.add("affine", affine(np.arange(500), f"conv{number}", "gamma", one + number))
        recorder.flush()
    before = pa.total_allocated_bytes()
    with pytest.MonkeyPatch.context() as patch:
        highest = _watch_row_groups(patch, before)
        recorder.finish(DOCUMENT)
    assert len(highest) == 24
    assert max(highest) < 8 * one.nbytes  # the trajectory, its encoded pages and buffers; 24 would be all of them


def _watch_row_groups(patch: pytest.MonkeyPatch, before: int) -> list[int]:
    """The memory in use above `before`, noted each time a trajectory is given to the writer."""
    noted: list[int] = []
    real = parts.with_identity

    def watched(table, identity, values):
        if table == "affine":
            noted.append(pa.total_allocated_bytes() - before)
        return real(table, identity, values)

    patch.setattr(parts, "with_identity", watched)
    return noted


def test_opening_clears_what_an_unfinished_run_left_and_leaves_other_files_alone(example, tmp_path, uninterrupted):
    before = example.record(tmp_path, [3, 9])
    folder = before.folder
    (folder / "affine.parquet").write_bytes(b"half")
    (before.workspace.path / ".curves.parquet.0a1b2c3d.tmp").write_bytes(b"half")
    (before.workspace.path / ".steps-000002.parquet.0a1b2c3d.tmp").write_bytes(b"half")
    (folder / "notes.txt").write_text("mine")
    again = RunRecorder.open(tmp_path, example.identity)
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*")) == [
        "notes.txt",
        again.workspace.path.name,
    ]
    example.finish(tmp_path)
    assert tables(tmp_path) == uninterrupted
    assert (folder / "notes.txt").read_text() == "mine"


def test_a_finished_run_is_not_recorded_over(example, tmp_path, uninterrupted):
    example.finish(tmp_path)
    with pytest.raises(StorageError, match="holds this run, finished"):
        RunRecorder.open(tmp_path, example.identity)
    assert tables(tmp_path) == uninterrupted


def test_a_result_that_has_lost_a_table_is_recorded_anew(example, tmp_path, uninterrupted):
    example.finish(tmp_path)
    (tmp_path / example.identity.run_id / "steps.parquet").unlink()
    example.finish(tmp_path)
    assert tables(tmp_path) == uninterrupted


def test_a_run_of_a_newer_version_is_not_recorded_over(example, tmp_path):
    example.finish(tmp_path)
    path = tmp_path / example.identity.run_id / "run.json"
    path.write_text(path.read_text().replace('"schema": 2', '"schema": 3'))
    with pytest.raises(StorageError, match="schema version 3"):
        RunRecorder.open(tmp_path, example.identity)
    assert path.exists()


def test_divergence_before_the_first_update_is_a_result_with_empty_tables(example, tmp_path):
    recorder = RunRecorder.open(tmp_path, example.identity)
    document = recorder.finish({**DOCUMENT, "status": "diverged", "diverged_at_step": 0})
    assert document.diverged_at_step == 0
    for table in TABLES:
        assert pq.read_table(recorder.folder / f"{table}.parquet").num_rows == 0


@pytest.fixture
def unprobed(example):
    """The example as a run whose specification asks for no probe."""
    spec = {key: value for key, value in specification().items() if key != "probes"}
    calls = tuple(call for call in example.calls if call.table in EVERY_RUN)
    assert len(calls) == len(example.calls) - 5 - len(OTHER_PROBES)
    return Example(identity_of(spec), calls, {**DOCUMENT, **described(spec)})


def test_a_run_without_a_probe_has_no_table_of_it_and_the_others_are_the_same(example, unprobed, tmp_path):
    example.finish(tmp_path)
    assert list(unprobed.finish(tmp_path).tables) == ["curves", "steps", "affine", "timing"]
    store = ResultStore(tmp_path)
    for table in ("curves", "steps", "affine", "timing"):
        with_probe, without = (
            store.read(each.identity.run_id, table, columns=value_columns(table)) for each in (example, unprobed)
        )
        assert with_probe.equals(without)
    assert set(store.finished()) == {example.identity.run_id, unprobed.identity.run_id}
    assert example.identity.setting_id == unprobed.identity.setting_id
    assert store.warnings() == []


def test_rows_of_a_probe_that_the_specification_does_not_ask_for_are_refused(example, unprobed, tmp_path):
    recorder = Example(unprobed.identity, example.calls, unprobed.document).record(tmp_path)
    with pytest.raises(ValueError, match=r"does not promise the recorded .*, sparsity"):
        recorder.finish(unprobed.document)
    assert not (recorder.folder / "run.json").exists()


@pytest.fixture
def with_hessian(example, monkeypatch):
    """The example as a run with a probe that this session alone knows, which fills a table of its own."""
    row = ProbeRow(
        "hessian",
        "Hessian",
        "its largest eigenvalues",
        (
            Table(
                "hessian",
                "largest eigenvalues",
                (
                    Column("step", "int64", "updates done", range=COUNT),
                    Column("largest", "list of float32", "eigenvalues"),
                ),
                key=("step",),
            ),
        ),
        "step",
        "nowhere:build",
        schedule="even:3",
    )
    monkeypatch.setattr(PROBES, "_session", {})
    PROBES.register_for_session(row)
    spec = specification()
    spec["probes"] = {**spec["probes"], "hessian": {"schedule": "even:2"}}
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    calls = [Call("hessian", {"step": np.array([s, s + 5]), "largest": values + s}) for s in (0, 10)]
    yield Example(identity_of(spec), (*example.calls, *calls), {**DOCUMENT, **described(spec)})
    measurement.TABLES.pop("hessian", None)
    measurement._declared_by.clear()


def test_a_new_table_of_a_probe_needs_its_row_and_nothing_else(example, with_hessian, tmp_path):
    example.finish(tmp_path)
    document = with_hessian.finish(tmp_path, [CALLS])
    assert list(document.tables)[-2:] == ["probe_notes", "hessian"]
    store, run_id = ResultStore(tmp_path), with_hessian.identity.run_id
    found = store.read(run_id, "hessian", columns=["step", "largest"]).to_pydict()
    assert found["step"] == [0, 5, 10, 15]
    assert found["largest"] == [[0, 1, 2], [3, 4, 5], [10, 11, 12], [13, 14, 15]]
    for table in document.tables.keys() - {"hessian"}:
        columns = value_columns(table)
        assert store.read(run_id, table, columns).equals(store.read(example.identity.run_id, table, columns))


def test_a_run_with_a_probe_that_is_not_known_here_is_read_without_its_table(with_hessian, tmp_path):
    run_id = with_hessian.identity.run_id
    written = with_hessian.finish(tmp_path / "there")
    PROBES._session.clear()
    measurement.TABLES.pop("hessian")
    store = ResultStore(tmp_path / "there")
    assert store.warnings() == []
    assert store.finished()[run_id] == written
    assert len(store.read(run_id, "steps")) == 24
    (record,) = open_results(tmp_path / "there").records
    assert "hessian" not in record.tables
    # Nor is anything lost where it is merged.
    (merged,) = merge_stores(tmp_path / "here", [tmp_path / "there"])
    assert merged.verdict == "copied"
    assert (tmp_path / "here" / run_id / "hessian.parquet").exists()


def test_a_record_of_a_table_that_is_not_declared_is_refused(example, tmp_path):
    document = json.loads(json.dumps(example.finish(tmp_path).model_dump(mode="json", by_alias=True)))
    document["tables"]["hessian"] = document["tables"]["steps"]
    with pytest.raises(ValueError, match="there is no table 'hessian'"):
        make_document(document)
    with pytest.raises(KeyError, match="hessian"):
        RunRecorder(tmp_path, example.identity).add("hessian", {})


@pytest.mark.parametrize(
    ("probes", "message"),
    [
        ({"sparsity": True, "hessian": True}, r"spec\.probes\.hessian"),
        ("all", r"spec\.probes"),
    ],
)
def test_a_run_with_a_probe_that_nobody_knows_is_not_recorded(example, tmp_path, probes, message):
    recorder = example.record(tmp_path)
    with pytest.raises(ValueError, match=message):
        recorder.finish({**DOCUMENT, "spec": {**DOCUMENT["spec"], "probes": probes}})
    assert not (recorder.folder / "run.json").exists()


def test_a_document_without_a_promised_table_is_no_finished_run(example, tmp_path):
    document = example.finish(tmp_path)
    tables = {name: facts for name, facts in document.tables.items() if name != "sparsity"}
    folder = tmp_path / example.identity.run_id
    write_document(Workspace(folder, folder), document.model_copy(update={"tables": tables}))
    store = ResultStore(tmp_path)
    assert store.finished() == {}
    assert "sparsity.parquet is missing from run.json" in store.warnings()[0]
    with pytest.raises(StorageError, match=r"sparsity.parquet is missing"):
        store.read(example.identity.run_id, "sparsity")


def test_nothing_is_recorded_after_the_end(example, tmp_path):
    recorder = example.record(tmp_path)
    recorder.finish(DOCUMENT)
    for call in (recorder.flush, lambda: recorder.finish(DOCUMENT), lambda: recorder.fail(DOCUMENT)):
        with pytest.raises(ValueError, match="has been ended"):
            call()
    with pytest.raises(ValueError, match="has been ended"):
        example.calls[0](recorder)


def test_a_failed_run_keeps_its_traceback_and_its_parts_and_no_tables(example, tmp_path):
    recorder = example.record(tmp_path, [9])
    (recorder.folder / "affine.parquet").write_bytes(b"half")
    (recorder.workspace.path / ".steps.parquet.0a1b2c3d.tmp").write_bytes(b"half")
    where = f"OSError: {tmp_path / 'x'} is gone"
    traceback = f'Traceback\n  File "/somewhere/else/bnbench/training/loop.py", line 3, in step\n{where}'
    recorder.fail({**DOCUMENT, "error": traceback})
    document = read_document(recorder.folder)
    assert document is not None
    assert document.status == "failed"
    assert document.tables == {}
    assert document.error == 'Traceback\n  File "training/loop.py", line 3, in step\nOSError: <results>/x is gone'
    assert sorted(path.name for path in recorder.folder.iterdir()) == ["run.json", recorder.workspace.path.name]
    assert not list(recorder.folder.rglob("*.tmp"))
    assert [part.number for part in find_parts(recorder.workspace, example.identity)] == [0] * 4


def test_a_failed_run_can_be_repeated(example, tmp_path, uninterrupted):
    example.record(tmp_path, [9]).fail(example.failure)
    example.finish(tmp_path)
    assert tables(tmp_path) == uninterrupted


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"status": "failed", "error": "x"}, "ended with fail"),
        ({"status": "done"}, "status"),
        ({"status": "diverged"}, "diverged_at_step"),
        ({"diverged_at_step": 5}, "diverged_at_step"),
        ({"status": "diverged", "diverged_at_step": "5"}, "diverged_at_step"),
        ({"error": "x"}, "error belongs"),
        ({"colour": "red"}, "colour"),
        ({"spec": None}, "spec"),
        ({"spec": {**specification(), "width": float("nan")}}, "not JSON compliant"),
        ({"run_id": "another"}, "run_id"),
        ({"schema": SCHEMA_VERSION + 1}, "schema"),
        ({"spec": specification(seed=8)}, "the specification is that of the run"),
        ({"spec": specification("bn")}, "the specification is that of the run"),
        ({"spec": {**specification(), "width": "1"}}, "spec.width"),
        ({"placement": "first:3"}, "the specification is that of the run digits_toy-bn_gamma_beta-first3"),
        ({"slots": ["conv1", "conv2", "conv10"]}, "does not mean the mask"),
        ({"slots": ["conv1", "conv2", "conv2", "output"]}, "named twice"),
        ({"problem": "digits_other"}, "is not that of"),
    ],
)
def test_a_document_that_is_not_valid_is_refused_before_anything_is_written(change, message, example, tmp_path):
    recorder = example.record(tmp_path)
    with pytest.raises(ValueError, match=message):
        recorder.finish({**DOCUMENT, **change})
    assert list(recorder.folder.iterdir()) == [recorder.workspace.path]


def test_a_failure_needs_its_reason(example, tmp_path):
    recorder = example.record(tmp_path)
    with pytest.raises(ValueError, match="error belongs to the status 'failed'"):
        recorder.fail({key: value for key, value in DOCUMENT.items() if key != "status"})
    assert not (recorder.folder / "run.json").exists()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_never_reach_the_json(value, example, tmp_path):
    recorder = example.record(tmp_path)
    with pytest.raises(ValueError, match="not JSON compliant"):
        recorder.finish({**DOCUMENT, "provenance": {"device": value}})
    assert not (recorder.folder / "run.json").exists()


def test_the_document_has_sorted_keys_one_space_and_a_newline(example, tmp_path):
    example.finish(tmp_path)
    text = (tmp_path / example.identity.run_id / "run.json").read_text()
    assert text == json.dumps(json.loads(text), sort_keys=True, indent=1) + "\n"
    parsed = json.loads(text)
    assert parsed["schema"] == SCHEMA_VERSION
    assert parsed["run_id"] == example.identity.run_id
    assert parsed["setting_id"] == example.identity.setting_id
    assert parsed["error"] is None
    assert parsed["diverged_at_step"] is None


def test_an_identity_of_another_type_is_refused_at_the_first_flush(example, tmp_path):
    wrong = replace(example.identity, seed=7.0)
    recorder = RunRecorder.open(tmp_path, wrong)
    example.play(recorder, 0, 3)
    with pytest.raises(TypeError, match="seed"):
        recorder.flush()
    assert list(recorder.workspace.path.iterdir()) == []


# --- networks with residual blocks ---------------------------------------------------------------------------------

ROLES = [
    {"role": "stem", "stage": None, "block": None},
    {"role": "bn1", "stage": 1, "block": "one"},
    {"role": "bn2", "stage": 1, "block": "one"},
    {"role": "output", "stage": None, "block": None},
]
"""Of the toy network's four slots, were two of them a block."""


def with_roles(placement="stage:1", mask="0110", roles=ROLES):
    spec = specification(mask=mask)
    return {**DOCUMENT, **described(spec, placement), "roles": roles}, identity_of(spec, placement)


def test_the_roles_of_a_networks_slots_are_kept_beside_them_and_read_the_placement(example, tmp_path):
    plain = example.record(tmp_path / "plain").finish(DOCUMENT)
    assert "roles" not in json.loads(document_text(plain))
    assert [place.role for place in plain.places] == [None] * 4
    told, identity = with_roles()
    document = make_document({**told, "run_id": identity.run_id, "setting_id": identity.setting_id})
    text = json.loads(document_text(document))
    assert text["roles"] == ROLES
    assert make_document({**text, "schema": SCHEMA_VERSION}) == document
    assert [(place.name, place.role) for place in document.places] == [
        ("conv1", "stem"), ("conv2", "bn1"), ("conv10", "bn2"), ("output", "output"),
    ]  # fmt: skip
    assert "-stage1-s7-" in document.run_id


@pytest.mark.parametrize(
    ("roles", "message"),
    [
        (None, "'stage:1' is said of networks with residual blocks"),
        (ROLES[:3], "there are 4 slots, and roles of 3"),
        ([*ROLES[:2], {**ROLES[2], "stage": 2}, ROLES[3]], "does not mean the mask 0110"),
        ([*ROLES[:2], {**ROLES[2], "role": "shortcut"}, ROLES[3]], None),
        ([ROLES[3], *ROLES[1:]], "the last slot is the output, and no other"),
        ([*ROLES[:3], ROLES[0]], "the last slot is the output, and no other"),
        ([{**ROLES[0], "role": "bn1"}, *ROLES[1:]], "a slot of the role bn1 is outside of a block"),
        ([{**ROLES[0], "stage": 1, "block": "one"}, *ROLES[1:]], "a slot of the role stem is in a block"),
        ([{**ROLES[0], "stage": 1}, *ROLES[1:]], "in a block of a stage, or in neither"),
        ([{**ROLES[0], "role": "<b>"}, *ROLES[1:]], "role"),
        ([{**ROLES[0], "role": "stem\n"}, *ROLES[1:]], "role"),
        ([*ROLES[:2], {**ROLES[2], "stage": "1"}, ROLES[3]], "stage"),
        ([*ROLES[:2], {**ROLES[2], "stage": True}, ROLES[3]], "stage"),
        ([*ROLES[:2], {**ROLES[2], "stage": 10**9}, ROLES[3]], "stage"),
        ([*ROLES[:2], {**ROLES[2], "block": "../up"}, ROLES[3]], "block"),
        ([*ROLES[:2], {**ROLES[2], "colour": "red"}, ROLES[3]], "colour"),
        ([*ROLES[:2], {"role": "bn2"}, ROLES[3]], "Field required"),
        ("stem", "roles"),
    ],
)
def test_roles_are_not_believed_unseen(roles, message):
    told, identity = with_roles(roles=roles)
    told |= {"run_id": identity.run_id, "setting_id": identity.setting_id}
    if message is None:  # other roles, of which the placement means the same
        assert make_document(told).places[2].on_main_path is False
        return
    with pytest.raises(ValueError, match=message):
        make_document(told)


def test_a_slot_that_is_called_by_the_role_of_others_is_not_believed(example):
    told, identity = with_roles()
    told |= {"run_id": identity.run_id, "setting_id": identity.setting_id, "slots": ["conv1", "bn2", "bn1", "output"]}
    with pytest.raises(ValueError, match="'bn2' cannot be the name of this slot, whose role is bn1"):
        make_document(told)
