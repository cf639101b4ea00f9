"""The tables: explicit Arrow schemas, versioned, and how they are laid out in Parquet.

`docs/result-schema.md` describes every column. Nothing in a file depends on time, place or writer; the
only name in it is that of the Parquet library and its version, which the format itself puts into the footer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from typing import Any, BinaryIO, Literal, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import JsonValue

from bnbench.plan import RunIdentity, canonical_json

SCHEMA_VERSION = 1
"""Raised whenever a table or `run.json` changes its meaning; results of another version are refused or migrated."""

TableName = Literal["curves", "steps", "affine", "timing", "sparsity"]
TABLES: tuple[TableName, ...] = get_args(TableName)
"""Every table there can be; `promised_tables` says which of them a run has."""

_PROBE_TABLES: dict[str, TableName] = {"sparsity": "sparsity"}
"""The probes that a specification can ask for, and the table that each fills."""

VERSION_KEY = b"bnbench.schema"
RUN_KEY = b"bnbench.run"

Column = npt.NDArray[Any] | Sequence[str]

_NAME = pa.dictionary(pa.int32(), pa.string())
# Only text can come back from Parquet as an Arrow dictionary: a dictionary of numbers is read as plain numbers, so the
# two numeric columns are declared as what readers get. In the file they are dictionary-encoded like the others.
_IDENTITY_TYPES: dict[str, pa.DataType] = {"str": _NAME, "float": pa.float64(), "int": pa.int64()}

IDENTITY: dict[str, pa.DataType] = {field.name: _IDENTITY_TYPES[str(field.type)] for field in fields(RunIdentity)}
"""The columns that say which run a row belongs to, in the order of RunIdentity."""

_VALUES = pa.list_(pa.field("element", pa.float32(), nullable=False))
_VALUE_COLUMNS: dict[TableName, dict[str, pa.DataType]] = {
    "curves": {
        "epoch": pa.int64(),
        "step": pa.int64(),
        "split": pa.string(),
        "statistics": pa.string(),
        "loss": pa.float64(),
        "accuracy": pa.float64(),
    },
    # In `steps` the column learning_rate is both: the identity's, and the rate each update was made with.
    "steps": {
        "step": pa.int64(),
        "epoch": pa.int64(),
        "batch_loss": pa.float32(),
        "batch_accuracy": pa.float32(),
        "learning_rate": pa.float64(),
    },
    "affine": {"step": pa.int64(), "slot": pa.string(), "parameter": pa.string(), "values": _VALUES},
    "timing": {"epoch": pa.int64(), "train_s": pa.float64(), "eval_s": pa.float64(), "samples_per_s": pa.float64()},
    "sparsity": {"epoch": pa.int64(), "step": pa.int64(), "slot": pa.string(), "zeroed": pa.float64()},
}


def _schema(table: TableName) -> pa.Schema:
    columns = {**IDENTITY, **_VALUE_COLUMNS[table]}
    columns_never_null = [pa.field(name, kind, nullable=False) for name, kind in columns.items()]
    return pa.schema(columns_never_null, metadata={VERSION_KEY: str(SCHEMA_VERSION)})


SCHEMAS: dict[TableName, pa.Schema] = {table: _schema(table) for table in TABLES}
"""Columns, types and order of every table; no column may be null."""


def promised_tables(spec: Mapping[str, JsonValue]) -> tuple[TableName, ...]:
    """The tables that a run must leave: four that every run has, and one for each probe that is on.

    Args:
        spec: the specification as `run.json` keeps it. A probe that is not known here promises nothing: the other
            tables of a run that another version recorded are as good as ever. Nor is such a run recorded here.
    """
    probes = spec.get("probes")
    asked = {_PROBE_TABLES[name] for name in probes if name in _PROBE_TABLES} if isinstance(probes, dict) else set()
    return tuple(table for table in TABLES if table in asked or table not in _PROBE_TABLES.values())


def refuse_unknown_probes(spec: Mapping[str, JsonValue]) -> None:
    """Refuse to record a run of which nobody here knows what it must leave.

    Raises:
        ValueError: the specification asks for a probe that has no table.
    """
    probes = spec.get("probes", {})
    if not isinstance(probes, dict):
        raise ValueError(f"probes is {probes!r}, not a table")
    strangers = [name for name in probes if name not in _PROBE_TABLES]
    if strangers:
        raise ValueError(f"the probe '{strangers[0]}' has no table (known: {', '.join(_PROBE_TABLES)})")


def value_columns(table: TableName) -> list[str]:
    """The columns that a run measures, as opposed to those that say which run it is."""
    return list(_VALUE_COLUMNS[table])


def file_schema(table: TableName, identity: RunIdentity) -> pa.Schema:
    """The schema as a run's own file carries it: with the run's identity in the metadata, as JSON."""
    return SCHEMAS[table].with_metadata(
        {VERSION_KEY: str(SCHEMA_VERSION), RUN_KEY: canonical_json(asdict(identity))},
    )


def value_table(table: TableName, columns: Mapping[str, Column]) -> pa.Table:
    """The measured columns of a table. Nothing is converted: a value of another type is refused.

    The numbers are copied, so a buffer that is used again does not change what was recorded.

    Args:
        table: which table.
        columns: by name, all of them: numpy arrays of the column's own type ([n], or [n, channels] for a list
            column), or sequences of str.

    Raises:
        TypeError: a column has another type.
        ValueError: a column is missing, too many or has another shape or length.
    """
    types = _VALUE_COLUMNS[table]
    if set(columns) != set(types):
        raise ValueError(f"{table} has the columns {', '.join(types)}, not {', '.join(columns)}")
    arrays = {name: _array(name, columns[name], kind) for name, kind in types.items()}
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) != 1:
        raise ValueError(f"the columns of {table} differ in length: {lengths}")
    schema = pa.schema([pa.field(name, kind, nullable=False) for name, kind in types.items()])
    return pa.Table.from_arrays(list(arrays.values()), schema=schema)


def with_identity(table: TableName, identity: RunIdentity, values: pa.Table) -> pa.Table:
    """The whole table: the identity columns, then the measured ones, one chunk each.

    Args:
        table: which table.
        identity: the run's.
        values: its measured columns, at least one row.

    Raises:
        TypeError: a field of the identity has another type.
    """
    schema = file_schema(table, identity)
    measured = values.column_names
    arrays = [
        pa.concat_arrays(values.column(name).chunks) if name in measured else _constant(identity, name, len(values))
        for name in schema.names
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


@contextmanager
def parquet_writer(sink: BinaryIO, table: TableName, identity: RunIdentity) -> Iterator[pq.ParquetWriter]:
    """A Parquet writer with the layout of this schema version, every option that touches the bytes given.

    `values` is split by bytes, which is what makes float trajectories compress, and so has no dictionary; the
    other numbers of a table are plain. Pages carry checksums, so that a flipped bit is noticed.

    Raises:
        OSError: the sink cannot be written.
    """
    whole_numbers = [name for name, kind in _VALUE_COLUMNS[table].items() if kind == pa.int64()]
    lists = [name for name, kind in _VALUE_COLUMNS[table].items() if kind == _VALUES]
    repeated = [*IDENTITY, *(name for name, kind in _VALUE_COLUMNS[table].items() if kind == pa.string())]
    layout: dict[str, Any] = {
        "version": "2.6",
        "data_page_version": "1.0",
        "compression": "zstd",
        "compression_level": 3,
        "use_dictionary": repeated,
        "column_encoding": {
            **dict.fromkeys(whole_numbers, "DELTA_BINARY_PACKED"),
            **{f"{name}.list.element": "BYTE_STREAM_SPLIT" for name in lists},
        },
        "write_statistics": [name for name in SCHEMAS[table].names if name not in lists],
        "write_page_checksum": True,
        "use_compliant_nested_type": True,
        "store_schema": True,
    }
    with pq.ParquetWriter(sink, file_schema(table, identity), **layout) as writer:
        yield writer


def _array(name: str, column: Column, kind: pa.DataType) -> pa.Array[Any]:
    return _text(name, column) if kind == pa.string() else _numbers(name, column, kind)


def _text(name: str, column: Column) -> pa.Array[Any]:
    for value in column:
        if not isinstance(value, str):
            raise TypeError(f"{name} holds {value!r}, a {type(value).__name__}, not a str")
    return pa.array(list(column), type=pa.string())


def _numbers(name: str, column: Column, kind: pa.DataType) -> pa.Array[Any]:
    listed = isinstance(kind, pa.ListType)
    element = kind.value_type if isinstance(kind, pa.ListType) else kind
    if not isinstance(column, np.ndarray) or column.dtype != np.dtype(element.to_pandas_dtype()):
        what = f"an array of {column.dtype}" if isinstance(column, np.ndarray) else f"a {type(column).__name__}"
        raise TypeError(f"{name} is {what}, not an array of {element}")
    if column.ndim != (2 if listed else 1):
        raise ValueError(f"{name} has shape {column.shape}")
    copied = pa.array(column.flatten(), type=element, from_pandas=False)
    if not listed:
        return copied
    rows, channels = column.shape
    offsets = pa.array(np.arange(rows + 1, dtype=np.int32) * np.int32(channels), type=pa.int32())
    return pa.ListArray.from_arrays(offsets, copied, type=kind)


def _constant(identity: RunIdentity, name: str, rows: int) -> pa.Array[Any]:
    value = getattr(identity, name)
    kind = IDENTITY[name]
    wanted: type = {_NAME: str, pa.float64(): float, pa.int64(): int}[kind]
    if not isinstance(value, wanted) or isinstance(value, bool):
        raise TypeError(f"{name} = {value!r} is a {type(value).__name__}, not a {wanted.__name__}")
    if kind == _NAME:
        return pa.DictionaryArray.from_arrays(np.zeros(rows, np.int32), pa.array([value], pa.string()))
    return pa.array(np.full(rows, value, kind.to_pandas_dtype()), type=kind)
