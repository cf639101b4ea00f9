"""The tables' types and their layout in the file, read back from the file's own metadata."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, fields, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bnbench.measurement import TABLES, RunIdentity
from bnbench.problem import Probes
from bnbench.storage.parts import write_row_groups
from bnbench.storage.recorder import RunRecorder
from bnbench.storage.schema import SCHEMA_VERSION, SCHEMAS, promised_tables, value_table, with_identity
from support.rows import affine

from .conftest import NETWORK

NAME = pa.dictionary(pa.int32(), pa.string())
IDENTITY_COLUMNS = [
    ("run_id", NAME),
    ("setting_id", NAME),
    ("problem", NAME),
    ("size", NAME),
    ("variant", NAME),
    ("placement", NAME),
    ("mask", NAME),
    ("learning_rate", pa.float64()),
    ("seed", pa.int64()),
]
OWN_COLUMNS = {
    "curves": [
        ("epoch", pa.int64()),
        ("step", pa.int64()),
        ("split", pa.string()),
        ("statistics", pa.string()),
        ("loss", pa.float64()),
        ("accuracy", pa.float64()),
    ],
    "steps": [
        ("step", pa.int64()),
        ("epoch", pa.int64()),
        ("batch_loss", pa.float32()),
        ("batch_accuracy", pa.float32()),
    ],
    "affine": [
        ("step", pa.int64()),
        ("slot", pa.string()),
        ("parameter", pa.string()),
        ("values", pa.list_(pa.field("element", pa.float32(), nullable=False))),
    ],
    "timing": [
        ("epoch", pa.int64()),
        ("train_s", pa.float64()),
        ("eval_s", pa.float64()),
        ("samples_per_s", pa.float64()),
    ],
    "sparsity": [
        ("epoch", pa.int64()),
        ("step", pa.int64()),
        ("slot", pa.string()),
        ("zeroed", pa.float64()),
    ],
    "landscape": [
        ("step", pa.int64()),
        ("epoch", pa.int64()),
        ("statistics", pa.string()),
        ("step_size", pa.float64()),
        ("relative_step", pa.float64()),
        ("loss", pa.float64()),
        ("gradient_norm", pa.float64()),
        ("gradient_distance", pa.float64()),
        ("gradient_cosine", pa.float64()),
    ],
    "covariate_shift": [
        ("step", pa.int64()),
        ("epoch", pa.int64()),
        ("statistics", pa.string()),
        ("slot", pa.string()),
        ("gradient_norm", pa.float64()),
        ("shift", pa.float64()),
        ("relative_shift", pa.float64()),
        ("cosine", pa.float64()),
    ],
    "probe_notes": [
        ("step", pa.int64()),
        ("probe", pa.string()),
        ("reason", pa.string()),
    ],
}


@pytest.mark.parametrize("table", TABLES)
def test_the_columns_and_types_of_a_written_table_are_those_of_the_design(table, example, tmp_path):
    example.finish(tmp_path)
    found = pq.read_schema(tmp_path / example.identity.run_id / f"{table}.parquet")
    assert [(field.name, field.type) for field in found] == IDENTITY_COLUMNS + OWN_COLUMNS[table]
    assert not any(field.nullable for field in found)
    assert found.equals(SCHEMAS[table])


def test_the_identity_columns_are_the_fields_of_the_identity_in_order():
    assert [name for name, _ in IDENTITY_COLUMNS] == [field.name for field in fields(RunIdentity)]


@pytest.mark.parametrize("table", TABLES)
def test_the_metadata_are_the_version_the_run_and_its_slots_and_nothing_else(table, example, tmp_path):
    example.finish(tmp_path)
    path = tmp_path / example.identity.run_id / f"{table}.parquet"
    metadata = pq.read_metadata(path).metadata
    assert set(metadata) == {b"ARROW:schema", b"bnbench.schema", b"bnbench.run", b"bnbench.slots"}
    assert metadata[b"bnbench.schema"] == str(SCHEMA_VERSION).encode()
    assert json.loads(metadata[b"bnbench.run"]) == asdict(example.identity)
    assert json.loads(metadata[b"bnbench.slots"]) == NETWORK


def test_one_row_group_is_one_trajectory_sorted_by_parameter_slot_and_step(example, tmp_path):
    example.finish(tmp_path, flush_after=range(0, 40, 3))
    file = pq.ParquetFile(tmp_path / example.identity.run_id / "affine.parquet")
    seen = []
    for index in range(file.num_row_groups):
        group = file.read_row_group(index).to_pydict()
        assert len(set(group["slot"])) == len(set(group["parameter"])) == 1
        assert group["step"] == list(range(0, 24, 2))
        seen.append((group["parameter"][0], group["slot"][0]))
    slots = ["conv1", "conv10", "conv2"]
    assert seen == [("beta", slot) for slot in slots] + [("gamma", slot) for slot in slots]


def test_the_other_tables_are_one_row_group(example, tmp_path):
    example.finish(tmp_path, flush_after=range(0, 40, 3))
    for table in ("curves", "steps", "timing", "sparsity"):
        assert pq.read_metadata(tmp_path / example.identity.run_id / f"{table}.parquet").num_row_groups == 1


def test_the_encodings_are_in_force_in_every_column_chunk(example, tmp_path):
    example.finish(tmp_path)
    for table in TABLES:
        metadata = pq.read_metadata(tmp_path / example.identity.run_id / f"{table}.parquet")
        for group in range(metadata.num_row_groups):
            for index in range(metadata.num_columns):
                chunk = metadata.row_group(group).column(index)
                assert chunk.compression == "ZSTD"
                name = chunk.path_in_schema
                if name == "values.list.element":
                    assert "BYTE_STREAM_SPLIT" in chunk.encodings
                    assert not {"PLAIN", "RLE_DICTIONARY", "PLAIN_DICTIONARY"} & set(chunk.encodings)
                    assert chunk.statistics is None
                if name in dict(IDENTITY_COLUMNS):
                    assert "RLE_DICTIONARY" in chunk.encodings, name


def test_splitting_bytes_makes_smooth_trajectories_smaller(example, tmp_path):
    steps = np.arange(2000)
    walk = np.random.default_rng(3).normal(size=(2000, 64)) * 1e-3
    values = (1 + walk.cumsum(axis=0)).astype(np.float32)
    columns = {"step": steps, "slot": ["conv1"] * 2000, "parameter": ["gamma"] * 2000, "values": values}
    write_row_groups(tmp_path / "a.parquet", "affine", example.identity, [value_table("affine", columns)])
    pq.write_table(pq.read_table(tmp_path / "a.parquet"), tmp_path / "default.parquet", compression="zstd")
    split, default = ((tmp_path / name).stat().st_size for name in ("a.parquet", "default.parquet"))
    assert split < 0.75 * default
    assert split < 0.65 * values.nbytes


def test_values_come_back_bit_for_bit_also_those_that_are_no_numbers(example, tmp_path):
    strange = np.array([[np.nan, -np.nan, np.inf, -np.inf, -0.0, 1e-45]], dtype=np.float32)
    columns = {"step": np.array([0]), "slot": ["conv1"], "parameter": ["gamma"], "values": strange}
    path = tmp_path / "affine.parquet"
    assert write_row_groups(path, "affine", example.identity, [value_table("affine", columns)]).rows == 1
    back = pq.read_table(path).column("values").combine_chunks().values.to_numpy()
    assert back.tobytes() == strange.tobytes()
    assert pq.read_table(path).column("values").null_count == 0


@pytest.mark.parametrize(
    ("probes", "extra"),
    [
        (Probes(), ()),
        (Probes(sparsity=True), ("sparsity",)),
        (Probes(landscape=True), ("landscape", "probe_notes")),
        (Probes(sparsity=True, landscape=False, covariate_shift={}), ("sparsity", "covariate_shift", "probe_notes")),
    ],
)
def test_a_specification_promises_four_tables_and_those_of_each_probe_that_is_on(probes, extra):
    assert promised_tables(probes) == ("curves", "steps", "affine", "timing", *extra)


def test_a_table_without_rows_still_has_its_schema(example, tmp_path):
    path = tmp_path / "steps.parquet"
    assert write_row_groups(path, "steps", example.identity, []).rows == 0
    assert pq.read_table(path).num_rows == 0
    assert pq.read_schema(path).equals(SCHEMAS["steps"])


CURVES = {
    "epoch": np.array([0]),
    "step": np.array([0]),
    "split": ["test"],
    "statistics": ["running"],
    "loss": np.array([1.0]),
    "accuracy": np.array([0.5]),
}


@pytest.mark.parametrize(
    ("column", "wrong"),
    [
        ("epoch", np.array([0.0])),
        ("epoch", np.array([0], np.int32)),
        ("epoch", [0]),
        ("epoch", np.array([True])),
        ("loss", np.array([1.0], np.float32)),
        ("loss", np.array([1])),
        ("loss", np.array(["1.0"])),
        ("split", np.array([1])),
        ("split", [None]),
        ("split", [b"test"]),
    ],
)
def test_a_column_of_another_type_is_refused(column, wrong):
    with pytest.raises(TypeError, match=column):
        value_table("curves", {**CURVES, column: wrong})


def test_missing_surplus_and_unequal_columns_are_refused():
    short = {key: value for key, value in CURVES.items() if key != "loss"}
    with pytest.raises(ValueError, match="has the columns"):
        value_table("curves", short)
    with pytest.raises(ValueError, match="has the columns"):
        value_table("curves", {**CURVES, "extra": np.array([1])})
    with pytest.raises(ValueError, match="differ in length"):
        value_table("curves", {**CURVES, "loss": np.array([1.0, 2.0])})
    with pytest.raises(ValueError, match="shape"):
        value_table("curves", {**CURVES, "loss": np.array([[1.0]])})


@pytest.mark.parametrize(
    ("field", "wrong"), [("seed", 7.0), ("seed", True), ("learning_rate", 1), ("mask", 1110), ("run_id", None)]
)
def test_an_identity_of_another_type_is_refused(field, wrong, example):
    with pytest.raises(TypeError, match=field):
        with_identity("curves", replace(example.identity, **{field: wrong}), value_table("curves", CURVES))


@pytest.mark.parametrize(
    ("column", "wrong", "message"),
    [
        ("split", ["train"], r"split 'train' is none of train_eval, valid, test"),
        ("statistics", ["batch"], r"statistics 'batch' is none of running, population"),
        ("epoch", np.array([-1]), "epoch -1 is negative"),
        ("step", np.array([-3]), "step -3 is negative"),
        ("accuracy", np.array([1.5]), "accuracy 1.5 is not between 0 and 1"),
        ("accuracy", np.array([-0.5]), "accuracy -0.5 is not between 0 and 1"),
        ("accuracy", np.array([np.nan]), "accuracy nan is not between 0 and 1"),
    ],
)
def test_a_value_that_cannot_be_meant_is_refused(column, wrong, message):
    value_table("curves", CURVES)
    with pytest.raises(ValueError, match=message):
        value_table("curves", {**CURVES, column: wrong})


@pytest.mark.parametrize("loss", [np.nan, np.inf, -np.inf, -1.0])
def test_any_loss_is_recorded(loss):
    assert value_table("curves", {**CURVES, "loss": np.array([loss])}).num_rows == 1


@pytest.mark.parametrize("share", [-0.1, 1.1, np.nan])
def test_a_share_of_zeroed_activations_that_is_none_is_refused(share):
    columns = {"epoch": np.array([0]), "step": np.array([0]), "slot": ["conv1"], "zeroed": np.array([share])}
    with pytest.raises(ValueError, match="is not between 0 and 1"):
        value_table("sparsity", columns)


def test_seconds_are_seconds():
    timing = {name: np.array([1.0]) for name in ("train_s", "eval_s", "samples_per_s")}
    value_table("timing", {"epoch": np.array([1]), **timing})
    with pytest.raises(TypeError, match="train_s"):
        value_table("timing", {"epoch": np.array([1]), **timing, "train_s": np.array([1])})


def test_steps_of_another_type_or_shape_are_refused():
    whole, single, double = np.arange(3), np.zeros(3, np.float32), np.zeros(3)
    steps = {"step": whole, "epoch": whole, "batch_loss": single, "batch_accuracy": single, "learning_rate": double}
    value_table("steps", steps)
    with pytest.raises(TypeError, match="batch_loss is of float64, not of float32"):
        value_table("steps", {**steps, "batch_loss": double})
    with pytest.raises(TypeError, match="step is of int32, not of int64"):
        value_table("steps", {**steps, "step": whole.astype(np.int32)})
    with pytest.raises(TypeError, match="learning_rate is a list, not a numpy array"):
        value_table("steps", {**steps, "learning_rate": [0.1, 0.1, 0.1]})
    with pytest.raises(ValueError, match="differ in length"):
        value_table("steps", {**steps, "batch_accuracy": single[:2]})


def test_snapshots_of_another_type_or_shape_are_refused():
    values = np.zeros((3, 4), np.float32)
    snapshots = affine(range(3), "conv1", "gamma", values)
    value_table("affine", snapshots)
    with pytest.raises(ValueError, match="dimension"):
        value_table("affine", {**snapshots, "values": values[:, 0]})
    with pytest.raises(ValueError, match=r"differ in length: .*'step': 3.*'values': 2"):
        value_table("affine", {**snapshots, "values": values[:2]})
    with pytest.raises(ValueError, match="parameter 'weight'"):
        value_table("affine", {**snapshots, "parameter": ["weight"] * 3})
    with pytest.raises(TypeError, match="slot"):
        value_table("affine", {**snapshots, "slot": [1] * 3})


def test_a_block_of_snapshots_is_of_one_trajectory(example, tmp_path):
    recorder = RunRecorder.open(tmp_path, example.identity)
    mixed = {**affine(range(2), "conv1", "gamma", np.zeros((2, 4), np.float32)), "slot": ["conv1", "conv2"]}
    with pytest.raises(ValueError, match="rows of affine with more than one slot: conv1, conv2"):
        recorder.add("affine", mixed)
    assert recorder.flush() == 0


@pytest.mark.parametrize("table", TABLES)
def test_rows_of_no_length_leave_nothing(table, example, tmp_path):
    columns = {
        column.name: [] if column.type == "string" else np.empty((0, 4) if "list" in column.type else 0, wanted)
        for column in TABLES[table].columns
        for wanted in [column.type.removeprefix("list of ")]
    }
    recorder = RunRecorder.open(tmp_path, example.identity)
    recorder.add(table, columns)
    assert recorder.flush() == 0


def test_the_declaration_is_torch_free_and_light():
    code = "import bnbench.measurement, sys; print({'torch', 'numpy', 'pyarrow', 'pydantic'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_package_is_free_of_torch():
    names = ["schema", "parts", "compaction", "document", "recorder", "store", "provenance"]
    code = "\n".join(
        [f"import bnbench.storage.{name}" for name in names] + ["import sys", "print('torch' in sys.modules)"]
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_what_is_read_is_what_was_recorded(example, tmp_path):
    example.finish(tmp_path, flush_after=[3, 9])
    folder = Path(tmp_path / example.identity.run_id)
    steps = pq.read_table(folder / "steps.parquet").to_pydict()
    assert steps["step"] == list(range(24))
    assert steps["epoch"] == [1 + step // 6 for step in range(24)]
    assert np.array(steps["batch_loss"], np.float32).tobytes() == (np.arange(24) / 7).astype(np.float32).tobytes()
    assert set(steps["learning_rate"]) == {0.1}
    assert set(steps["run_id"]) == {example.identity.run_id}
    curves = pq.read_table(folder / "curves.parquet").to_pydict()
    assert curves["epoch"] == [epoch for epoch in range(5) for _ in range(3)]
    assert curves["split"] == ["train_eval", "valid", "test"] * 5
    assert curves["loss"] == [2.0 / (epoch + 1) for epoch in range(5) for _ in range(3)]
    affine = pq.read_table(folder / "affine.parquet", filters=[("slot", "==", "conv2"), ("parameter", "==", "gamma")])
    expected = 1 + np.arange(0, 24, 2)[:, None] * np.float32(0.01) + np.arange(5, dtype=np.float32)
    np.testing.assert_allclose(np.array(affine.column("values").to_pylist()), expected, rtol=1e-6)
