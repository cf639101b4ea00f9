"""Compaction: the parts of a run, joined once into its final tables. Where the parts were cut leaves no trace."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bnbench.measurement import TABLES, RunIdentity
from bnbench.storage.document import table_path
from bnbench.storage.files import StorageError, sync_folder
from bnbench.storage.parts import (
    REPEAT,
    Part,
    TableFacts,
    check_file,
    find_parts,
    open_part,
    read_group,
    write_row_groups,
)
from bnbench.storage.schema import SCHEMAS, TableName, value_columns
from bnbench.storage.workspace import Workspace

GroupKey = tuple[str, ...]
"""What the columns hold that tell a table's row groups apart; the order in which these are sorted, as plain strings."""


def compact(
    workspace: Workspace, identity: RunIdentity, tables: Sequence[TableName], slots: Sequence[str] = ()
) -> dict[TableName, TableFacts]:
    """Write the final tables from all parts; the parts stay. Doing it again gives the same files.

    Of a table in row groups (`affine`: a trajectory each) at most one group is in memory at a time.

    Args:
        workspace: of the run's writer: the parts lie there, and the tables are made there before they appear.
        identity: the run.
        tables: those that the run's specification promises; one without parts is written empty.
        slots: the network's, which every table names.

    Raises:
        StorageError: a part is damaged or foreign, or the parts do not follow on each other.
        ValueError: there are parts of a table that is not promised.
        OSError: a table cannot be written, or the workspace is not there.
    """
    parts = find_parts(workspace, identity)
    if extra := sorted({part.table for part in parts} - set(tables)):
        raise ValueError(f"the specification of {identity.run_id} does not promise the recorded {', '.join(extra)}")
    for part in parts:
        check_file(part.path, part.facts)
    facts: dict[TableName, TableFacts] = {}
    for table in tables:
        own = [part for part in parts if part.table == table]
        groups = (_grouped if TABLES[table].row_group else _whole)(table, own, identity)
        path = table_path(workspace.run_folder, table)
        facts[table] = write_row_groups(path, table, identity, groups, made_in=workspace.path, slots=slots)
    sync_folder(workspace.run_folder)
    return facts


def _whole(table: TableName, parts: Sequence[Part], identity: RunIdentity) -> Iterator[pa.Table]:
    """A small table in one piece, in the order in which it was recorded."""
    pieces: list[pa.Table] = []
    for part in parts:
        with open_part(part, identity) as file:
            groups = file.num_row_groups
        pieces += [read_group(part, identity, group) for group in range(groups)]
    if pieces:
        values = pa.concat_tables(pieces)
        _check_ascending(table, values, parts, strictly=table in {"steps", "timing"})
        if table == "steps":
            _check_gapless(values, parts)
        yield values


def _grouped(table: TableName, parts: Sequence[Part], identity: RunIdentity) -> Iterator[pa.Table]:
    """One row group after the other, sorted by what tells them apart, each in the order of its steps or epochs."""
    where: dict[GroupKey, list[tuple[Part, int]]] = {}
    for part in parts:
        with open_part(part, identity) as file:
            for group in range(file.num_row_groups):
                where.setdefault(_key(part, file.metadata.row_group(group)), []).append((part, group))
    for key in sorted(where):
        values = pa.concat_tables([read_group(part, identity, group) for part, group in where[key]])
        _check_ascending(table, values, parts, strictly=True)
        yield values


def _key(part: Part, group: pq.RowGroupMetaData) -> GroupKey:
    """Which rows a row group holds, from its statistics: smallest and largest name are one."""
    names = SCHEMAS[part.table].names
    found: list[str] = []
    for column in TABLES[part.table].row_group:
        statistics = group.column(names.index(column)).statistics
        if statistics is None or statistics.min != statistics.max:
            raise StorageError(f"{part.path} is damaged: a row group holds more than one {column}", hint=REPEAT)
        found.append(str(statistics.min))
    return tuple(found)


def _check_ascending(table: TableName, values: pa.Table, parts: Sequence[Part], *, strictly: bool) -> None:
    """Refuse parts that overlap or are out of order: better no result than a doubled one."""
    key = "step" if "step" in value_columns(table) else "epoch"
    order = _differences(values, key)
    if np.any(order <= 0 if strictly else order < 0):
        folder = parts[0].path.parent
        raise StorageError(f"{folder}: the parts of {table} overlap: their {key}s do not ascend", hint=REPEAT)


def _check_gapless(values: pa.Table, parts: Sequence[Part]) -> None:
    """Refuse parts that leave steps out: they cannot all be of one writer."""
    if np.any(_differences(values, "step") != 1):
        folder = parts[0].path.parent
        raise StorageError(f"{folder}: the parts of steps do not follow on each other: steps are missing", hint=REPEAT)


def _differences(values: pa.Table, key: str) -> npt.NDArray[np.int64]:
    differences: npt.NDArray[np.int64] = np.diff(pc.cast(values.column(key), pa.int64()).to_numpy())
    return differences
