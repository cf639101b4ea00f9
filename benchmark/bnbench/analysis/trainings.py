"""Two folders of one training: what was trained is equal, and only what was recorded of it differs.

A run's id also depends on its snapshot schedule, its probes and whether population statistics were evaluated, none of
which changes what the run learns. So runs of other ids can be one training: equal setting, variant row, mask, learning
rate and seed. It counts once in every comparison: each table is read from the finished folder that has most rows of
it. What two folders both hold must agree bit for bit, or the training is in no verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from bnbench.analysis.comparison import RowKey
from bnbench.analysis.records import RunRecord
from bnbench.measurement import TABLES
from bnbench.storage.schema import TableName

CURVES: TableName = "curves"
"""The folder whose curves are read stands for the training."""

Read = Callable[..., pa.Table]
"""Of a folder's tables: (run_id, table, columns=, filters=)."""


@dataclass(frozen=True)
class Training:
    """One training, and the folders that hold it."""

    record: RunRecord
    """What stands for it: the record of the folder that its curves are read from, with the tables of all folders."""
    folders: tuple[RunRecord, ...]
    """Those that are finished, the one that stands for it first; one folder alone may have failed or be damaged."""
    sources: Mapping[TableName, str]
    """Table to the id of the run whose folder it is read from."""


def trainings(records: Iterable[RunRecord], rows: Mapping[str, Mapping[TableName, int]]) -> tuple[Training, ...]:
    """The trainings that folders hold, sorted by the id of the run that stands for each.

    Args:
        records: of the folders, one each.
        rows: run id to table to its number of rows, of the folders that are finished.
    """
    together: dict[tuple[RowKey, int], list[RunRecord]] = {}
    for record in records:
        together.setdefault(training_key(record), []).append(record)
    found = [_training(own, rows) for own in together.values()]
    return tuple(sorted(found, key=lambda each: each.record.identity.run_id))


def training_key(record: RunRecord) -> tuple[RowKey, int]:
    """What decides everything that a run learns."""
    return RowKey.of(record.identity, record.variant_row), record.identity.seed


def _training(records: Sequence[RunRecord], rows: Mapping[str, Mapping[TableName, int]]) -> Training:
    finished = [record for record in records if record.readable]
    if not finished:
        first = min(records, key=lambda record: record.identity.run_id)
        return Training(first, (first,), {})
    sources: dict[TableName, str] = {}
    for table in TABLES:
        having = [record.identity.run_id for record in finished if table in record.tables]
        if having:
            sources[table] = min(having, key=lambda run_id: (-rows[run_id][table], run_id))
    chosen = next(record for record in finished if record.identity.run_id == sources[CURVES])
    others = sorted((r for r in finished if r is not chosen), key=lambda record: record.identity.run_id)
    return Training(replace(chosen, tables=tuple(sources)), (chosen, *others), sources)


def disagreement(training: Training, read: Read) -> str | None:
    """What the folders of a training do not agree on, as the end of a sentence; None where they agree.

    Args:
        training: with several folders.
        read: reads a table of a folder.

    Raises:
        StorageError: a table is damaged.
    """
    first, *others = training.folders
    for other in others:
        if (first.status, first.diverged_at_step) != (other.status, other.diverged_at_step):
            return f"how it ended ({_ending(first)}, {_ending(other)})"
        for table in first.tables:
            if table in other.tables and TABLES[table].key:
                found = _first_difference(table, first.identity.run_id, other.identity.run_id, read)
                if found is not None:
                    return f"{found} of {table}"
    return None


def _ending(record: RunRecord) -> str:
    at = "" if record.diverged_at_step is None else f" at step {record.diverged_at_step}"
    return f"{record.status}{at}"


def _first_difference(table: TableName, one: str, other: str, read: Read) -> str | None:
    """The first row that two folders both hold and do not agree on, e.g. "epoch 3, split test"."""
    declared = TABLES[table]
    for filters in _portions(table, one, read):
        ours, theirs = (_by_key(read(run_id, table, filters=filters), declared.key) for run_id in (one, other))
        shared = ours.index.intersection(theirs.index)
        for column in declared.columns:
            if column.name in declared.key:
                continue
            differs = ~_equal_bits(ours.loc[shared, column.name], theirs.loc[shared, column.name])
            if differs.any():
                row = shared[int(np.flatnonzero(differs)[0])]
                values = row if isinstance(row, tuple) else (row,)
                return ", ".join(f"{name} {value}" for name, value in zip(declared.key, values, strict=True))
    return None


def _portions(table: TableName, run_id: str, read: Read) -> list[pc.Expression | None]:
    """The row groups of a large table, one after the other; a small table at once."""
    names = list(TABLES[table].row_group)
    if not names:
        return [None]
    found = read(run_id, table, columns=names).group_by(names, use_threads=False).aggregate([]).to_pylist()
    portions: list[pc.Expression | None] = []
    for values in found:
        conditions = [pc.field(name) == values[name] for name in names]
        whole = conditions[0]
        for condition in conditions[1:]:
            whole = whole & condition
        portions.append(whole)
    return portions


def _by_key(table: pa.Table, key: Sequence[str]) -> pd.DataFrame:
    frame: pd.DataFrame = table.to_pandas(strings_to_categorical=False)
    return frame.drop_duplicates(list(key)).set_index(list(key))


def _equal_bits(ours: pd.Series[Any], theirs: pd.Series[Any]) -> npt.NDArray[np.bool_]:
    """Row by row whether two columns have the same bits; NaN equals NaN."""
    if ours.dtype == object:
        pairs = zip(ours, theirs, strict=True)
        return np.array([np.shape(a) == np.shape(b) and bool(np.all(_bits(a) == _bits(b))) for a, b in pairs], bool)
    return np.asarray(_bits(ours.to_numpy()) == _bits(theirs.to_numpy()))


def _bits(values: object) -> npt.NDArray[Any]:
    array = np.asarray(values)
    if array.dtype.kind != "f":
        return array
    # One NaN for all of them, and 0.0 apart from -0.0.
    return np.where(np.isnan(array), np.nan, array).astype(array.dtype).view(f"i{array.dtype.itemsize}")
