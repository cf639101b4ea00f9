"""The tables: explicit Arrow schemas, versioned, and how they are laid out in Parquet.

`bnbench.measurement` declares the columns, `docs/result-schema.md` describes them. Nothing in a file depends on time,
place or writer; the only name in it is that of the Parquet library and its version, which the format itself puts into
the footer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache
from typing import Annotated, Any, BinaryIO, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import AfterValidator

from bnbench.components.probes import promised_by
from bnbench.identity import canonical_json
from bnbench.measurement import COUNT, EVERY_RUN, IDENTITY, TABLES, Column, ColumnType, RunIdentity, Table, Values

SCHEMA_VERSION = 2
"""Raised whenever a table or `run.json` changes its meaning; results of another version are refused. Version 1 was
never released."""


def known_table(name: str) -> str:
    """The name itself, if it is that of a declared table.

    Raises:
        ValueError: it is not.
    """
    if name not in TABLES:
        raise ValueError(f"there is no table '{name}'")
    return name


TableName = Annotated[str, AfterValidator(known_table)]
"""The name of a declared table; in a record that is read, no other is accepted."""

VERSION_KEY = b"bnbench.schema"
RUN_KEY = b"bnbench.run"
SLOTS_KEY = b"bnbench.slots"

_NAME = pa.dictionary(pa.int32(), pa.string())
_MEASURED: Mapping[ColumnType, pa.DataType] = {
    "int64": pa.int64(),
    "float32": pa.float32(),
    "float64": pa.float64(),
    "string": pa.string(),
    "list of float32": pa.list_(pa.field("element", pa.float32(), nullable=False)),
}
# Only text can come back from Parquet as an Arrow dictionary: a dictionary of numbers is read as plain numbers, so the
# two numeric columns are declared as what readers get. In the file they are dictionary-encoded like the others.
_IDENTITY: Mapping[str, pa.DataType] = {
    name: _NAME if column.type == "string" else _MEASURED[column.type] for name, column in IDENTITY.items()
}


@cache
def _schema(table: Table) -> pa.Schema:
    columns = {**_IDENTITY, **{column.name: _MEASURED[column.type] for column in table.columns}}
    columns_never_null = [pa.field(name, kind, nullable=False) for name, kind in columns.items()]
    return pa.schema(columns_never_null, metadata={VERSION_KEY: str(SCHEMA_VERSION)})


class _Schemas(dict[TableName, pa.Schema]):
    """By table, each made when it is asked for: another package's probe declares its tables late."""

    def __missing__(self, name: TableName) -> pa.Schema:
        return _schema(TABLES[name])


SCHEMAS: dict[TableName, pa.Schema] = _Schemas()
"""Columns, types and order of every table; no column may be null."""


class _WithProbes(Protocol):
    @property
    def on(self) -> tuple[str, ...]: ...


def promised_tables(probes: _WithProbes) -> tuple[TableName, ...]:
    """The tables that a run must leave: those that every run has, and those of each probe that is on.

    Args:
        probes: those of the run's specification; of one that no row is known of here nothing is promised.
    """
    promised = {*EVERY_RUN, *promised_by(probes.on)}
    return tuple(name for name in TABLES if name in promised)


def value_columns(table: TableName) -> list[str]:
    """The columns that a run measures, as opposed to those that say which run it is."""
    return [column.name for column in TABLES[table].columns]


def file_schema(table: TableName, identity: RunIdentity, slots: Sequence[str] = ()) -> pa.Schema:
    """The schema as a run's own file carries it: with the run's identity in the metadata, as JSON.

    Args:
        table: which table.
        identity: the run.
        slots: the network's, in order, where it is one of the run's final tables; none of a part.
    """
    told = {VERSION_KEY: str(SCHEMA_VERSION), RUN_KEY: canonical_json(asdict(identity))}
    return SCHEMAS[table].with_metadata(told | ({SLOTS_KEY: canonical_json(list(slots))} if slots else {}))


def value_table(table: TableName, columns: Mapping[str, Values]) -> pa.Table:
    """The measured columns of a table. Nothing is converted: a value that the declaration does not allow is refused.

    The numbers are copied, so a buffer that is used again does not change what was recorded.

    Args:
        table: which table.
        columns: by name, all of them.

    Raises:
        TypeError: a column has another type.
        ValueError: a column is missing, too many or has another shape or length, or a value cannot be meant.
        KeyError: there is no such table.
    """
    declared = TABLES[table].columns
    names = [column.name for column in declared]
    if set(columns) != set(names):
        raise ValueError(f"{table} has the columns {', '.join(names)}, not {', '.join(columns)}")
    arrays = {column.name: _array(column, columns[column.name]) for column in declared}
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) != 1:
        raise ValueError(f"the columns of {table} differ in length: {lengths}")
    schema = pa.schema([pa.field(column.name, _MEASURED[column.type], nullable=False) for column in declared])
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


def identified(rows: pa.Table, identity: RunIdentity, names: Iterable[str]) -> pa.Table:
    """Rows of a table under another run's name.

    Args:
        rows: as they were read.
        identity: the other run's.
        names: the identity columns that the rows have.
    """
    for name in names:
        rows = rows.set_column(
            rows.schema.get_field_index(name), rows.schema.field(name), _constant(identity, name, len(rows))
        )
    return rows


@contextmanager
def parquet_writer(
    sink: BinaryIO, table: TableName, identity: RunIdentity, slots: Sequence[str] = ()
) -> Iterator[pq.ParquetWriter]:
    """A Parquet writer with the layout of this schema version, every option that touches the bytes given.

    `values` is split by bytes, which is what makes float trajectories compress, and so has no dictionary; the
    other numbers of a table are plain. Pages carry checksums, so that a flipped bit is noticed.

    Raises:
        OSError: the sink cannot be written.
    """

    def of_type(kind: ColumnType) -> list[str]:
        return [column.name for column in TABLES[table].columns if column.type == kind]

    lists = of_type("list of float32")
    layout: dict[str, Any] = {
        "version": "2.6",
        "data_page_version": "1.0",
        "compression": "zstd",
        "compression_level": 3,
        "use_dictionary": [*IDENTITY, *of_type("string")],
        "column_encoding": {
            **dict.fromkeys(of_type("int64"), "DELTA_BINARY_PACKED"),
            **{f"{name}.list.element": "BYTE_STREAM_SPLIT" for name in lists},
        },
        "write_statistics": [name for name in SCHEMAS[table].names if name not in lists],
        "write_page_checksum": True,
        "use_compliant_nested_type": True,
        "store_schema": True,
    }
    with pq.ParquetWriter(sink, file_schema(table, identity, slots), **layout) as writer:
        yield writer


def _array(column: Column, values: Values) -> pa.Array[Any]:
    return _text(column, values) if column.type == "string" else _numbers(column, values)


def _text(column: Column, values: Values) -> pa.Array[Any]:
    name, known = column.name, column.known
    for value in values:
        if not isinstance(value, str):
            raise TypeError(f"{name} holds {value!r}, a {type(value).__name__}, not a str")
        if known and value not in known:
            raise ValueError(f"{name} '{value}' is none of {', '.join(known)}")
    return pa.array(list(values), type=pa.string())


def _numbers(column: Column, values: Values) -> pa.Array[Any]:
    name, kind = column.name, _MEASURED[column.type]
    element = kind.value_type if isinstance(kind, pa.ListType) else kind
    wanted, dimensions = np.dtype(element.to_pandas_dtype()), 2 if isinstance(kind, pa.ListType) else 1
    if not isinstance(values, np.ndarray):
        raise TypeError(f"{name} is a {type(values).__name__}, not a numpy array")
    if values.dtype != wanted:
        raise TypeError(f"{name} is of {values.dtype}, not of {wanted}")
    if values.ndim != dimensions:
        raise ValueError(f"{name} has shape {values.shape}, but {dimensions} dimension(s) are needed")
    _check_range(column, values)
    copied = pa.array(values.flatten(), type=element, from_pandas=False)
    if not isinstance(kind, pa.ListType):
        return copied
    rows, channels = values.shape
    offsets = pa.array(np.arange(rows + 1, dtype=np.int32) * np.int32(channels), type=pa.int32())
    return pa.ListArray.from_arrays(offsets, copied, type=kind)


def _check_range(column: Column, values: npt.NDArray[Any]) -> None:
    if column.range is None:
        return
    least, most = column.range
    outside = values[~((values >= least) & (values <= most))]
    if len(outside):
        wrong = "is negative" if column.range == COUNT and outside[0] < 0 else f"is not between {least:g} and {most:g}"
        raise ValueError(f"{column.name} {outside[0]} {wrong}")


def _constant(identity: RunIdentity, name: str, rows: int) -> pa.Array[Any]:
    value = getattr(identity, name)
    kind = _IDENTITY[name]
    wanted: type = {_NAME: str, pa.float64(): float, pa.int64(): int}[kind]
    if not isinstance(value, wanted) or isinstance(value, bool):
        raise TypeError(f"{name} = {value!r} is a {type(value).__name__}, not a {wanted.__name__}")
    if kind == _NAME:
        return pa.DictionaryArray.from_arrays(np.zeros(rows, np.int32), pa.array([value], pa.string()))
    return pa.array(np.full(rows, value, kind.to_pandas_dtype()), type=kind)
