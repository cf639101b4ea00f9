"""Compaction: the parts of a run, joined once into its final tables. Where the parts were cut leaves no trace."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bnbench.measurement import RunIdentity
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

Trajectory = tuple[str, str]
"""(parameter, slot), the order in which `affine` is sorted: both as plain strings."""


def compact(workspace: Workspace, identity: RunIdentity, tables: Sequence[TableName]) -> dict[TableName, TableFacts]:
    """Write the final tables from all parts; the parts stay. Doing it again gives the same files.

    At most one trajectory of `affine` is in memory at a time.

    Args:
        workspace: of the run's writer: the parts lie there, and the tables are made there before they appear.
        identity: the run.
        tables: those that the run's specification promises; one without parts is written empty.

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
        groups = _trajectories(own, identity) if table == "affine" else _whole(table, own, identity)
        path = table_path(workspace.run_folder, table)
        facts[table] = write_row_groups(path, table, identity, groups, made_in=workspace.path)
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


def _trajectories(parts: Sequence[Part], identity: RunIdentity) -> Iterator[pa.Table]:
    """One trajectory after the other, sorted by parameter and slot, each by step."""
    where: dict[Trajectory, list[tuple[Part, int]]] = {}
    for part in parts:
        with open_part(part, identity) as file:
            for group in range(file.num_row_groups):
                where.setdefault(_trajectory(part, file.metadata.row_group(group)), []).append((part, group))
    for trajectory in sorted(where):
        values = pa.concat_tables([read_group(part, identity, group) for part, group in where[trajectory]])
        _check_ascending("affine", values, parts, strictly=True)
        yield values


def _trajectory(part: Part, group: pq.RowGroupMetaData) -> Trajectory:
    """Which trajectory a row group holds, from its statistics: smallest and largest name are one."""
    names = SCHEMAS["affine"].names
    found: list[str] = []
    for column in ("parameter", "slot"):
        statistics = group.column(names.index(column)).statistics
        if statistics is None or statistics.min != statistics.max:
            raise StorageError(f"{part.path} is damaged: a row group holds more than one {column}", hint=REPEAT)
        found.append(str(statistics.min))
    return found[0], found[1]


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
