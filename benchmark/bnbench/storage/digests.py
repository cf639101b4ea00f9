"""Digests of what a run measured: of the values in its tables, not of the files that hold them.

A file also names the run and the version of the library that wrote it; two runs whose values are the same bits have the
same digests whatever they are called and whoever wrote them.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike

from bnbench.measurement import TABLES
from bnbench.storage.schema import TableName, value_columns
from bnbench.storage.store import ResultStore


def repeatable(tables: Iterable[TableName]) -> list[TableName]:
    """Those of some tables that the same run gives again bit for bit; `timing` holds seconds."""
    return [name for name in tables if name in TABLES and TABLES[name].key]


def run_digests(store: ResultStore, run_id: str, tables: Iterable[TableName]) -> dict[str, str]:
    """SHA-256 of the measured values of each repeatable table of a run, by table.

    Args:
        store: the results folder.
        run_id: the run.
        tables: those it has.

    Raises:
        UserError: a table is missing or damaged.
    """
    return {
        table: table_digest(store.read(run_id, table, columns=value_columns(table))) for table in repeatable(tables)
    }


def table_digest(table: pa.Table) -> str:
    """SHA-256 over the columns in order: name, type, number of rows, then the values, little-endian."""
    digest = hashlib.sha256()
    for name in table.column_names:
        column = table.column(name)
        digest.update(f"{name}\0{column.type}\0{len(column)}\0".encode())
        for piece in _bytes(column):
            digest.update(piece)
    return digest.hexdigest()


def _bytes(column: pa.ChunkedArray[Any]) -> Iterator[bytes]:
    if pa.types.is_list(column.type):
        yield _little_endian(pc.list_value_length(column))
        yield _little_endian(pc.list_flatten(column))
    elif pa.types.is_string(column.type):
        for text in column.to_pylist():
            encoded = str(text).encode()
            yield struct.pack("<q", len(encoded)) + encoded
    elif pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        yield _little_endian(column)
    else:
        raise TypeError(f"no digest is defined for a column of type {column.type}")


def _little_endian(numbers: ArrayLike) -> bytes:
    values = np.asarray(numbers)
    return np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes()
