"""Recorded runs as pandas DataFrames, filtered in Arrow before anything is loaded.

    results = bnbench.open_results("results/runs")
    results.curves(problem="cifar10_3c3d", split="test")
    results.affine(problem="cifar100_allcnnc", variant="bn_gamma", slot="conv1", parameter="gamma")
    results.table("sparsity", slot="conv1")        # any table, a probe's too

A filter on a column that says which run a row belongs to is answered from the `run.json` files, so the tables of
other runs are not even opened. A filter on what a run measured goes into the Parquet reader, which skips row groups by
their statistics: one trajectory of `affine` is one row group, and that is all that is read of the file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from os import PathLike
from pathlib import Path
from typing import Any, Self, TypedDict, Unpack, cast, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from bnbench.analysis.records import RunRecord, record_of
from bnbench.analysis.trainings import disagreement, training_key, trainings
from bnbench.components.placements import NOWHERE
from bnbench.components.variants import VARIANTS
from bnbench.errors import UserError, unknown
from bnbench.measurement import IDENTITY, TABLES
from bnbench.paths import given_path
from bnbench.problem import Size, problem_files
from bnbench.storage.files import StorageError
from bnbench.storage.schema import SCHEMAS, TableName, identified, value_columns
from bnbench.storage.store import ResultStore, StoreContents

OneOrMoreTexts = str | Sequence[str]
OneOrMoreNumbers = float | Sequence[float]
OneOrMoreIntegers = int | Sequence[int]
Filter = OneOrMoreTexts | OneOrMoreNumbers
"""A value of a column, or several."""


class IdentityFilters(TypedDict, total=False):
    """Which runs: a value, or several, for any identity column."""

    run_id: OneOrMoreTexts
    setting_id: OneOrMoreTexts
    problem: OneOrMoreTexts
    size: OneOrMoreTexts
    variant: OneOrMoreTexts
    placement: OneOrMoreTexts
    mask: OneOrMoreTexts
    learning_rate: OneOrMoreNumbers
    seed: OneOrMoreIntegers


@dataclass(frozen=True, eq=False)
class Trajectory:
    """γ, β or the bias of one slot of one run, over training."""

    steps: npt.NDArray[np.int64]
    """[snapshots] updates done."""
    values: npt.NDArray[np.float32]
    """[snapshots, channels]"""


class Results:
    """The runs of one results folder, as they were when it was opened, each training once.

    A run whose table turns out to be damaged when it is read is left out from then on, and `warnings` says why.
    """

    def __init__(self, store: ResultStore, contents: StoreContents | None = None) -> None:
        """Look at the store once; tables are read when they are asked for.

        Args:
            store: the results folder.
            contents: what a look at it has found, where somebody has looked already.

        Raises:
            UserError: the folder cannot be listed, or holds runs of another schema version.
        """
        contents = contents or store.look()
        self._store = store
        self._documents = {document.run_id: document for document in contents.finished}
        self.damage = contents.warnings
        """What is wrong with the damaged runs, one sentence each, as far as they were read."""
        self._disagreements: dict[str, str | None] = {}
        self._stood: set[str] = set()  # the damaged folders that stood for a training
        self.damaged = contents.damaged
        """The ids of damaged runs; a damaged `run.json` leaves no more of a run than that."""
        self._take(record_of(document, readable=document.run_id in self._documents) for document in contents.documents)

    def _take(self, folders: Iterable[RunRecord]) -> None:
        self.folders = tuple(folders)
        """Every folder of a run that ended, sorted by run id; two of them may be one training."""
        rows = {
            run_id: {table: facts.rows for table, facts in document.tables.items()}
            for run_id, document in self._documents.items()
        }
        self._trainings = {each.record.identity.run_id: each for each in trainings(self.folders, rows)}
        self.records = tuple(each.record for each in self._trainings.values())
        """Every training that ended, failed ones included, sorted by run id."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is wrong with single runs, as far as they were read; one sentence each."""
        return (*self.damage, *(text for text in self._disagreements.values() if text is not None))

    @classmethod
    def open(cls, path: str | PathLike[str]) -> Self:
        """The results folder at a path, to be read; a leading `~` is a home folder.

        Raises:
            UserError: the path is none, there are no results, or they are of another schema version.
        """
        store = ResultStore(given_path(path, "the path of the results"))
        contents = store.look()
        store.require_runs(contents)
        return cls(store, contents)

    @property
    def path(self) -> Path:
        """The results folder."""
        return self._store.path

    def __repr__(self) -> str:
        """Where they are, and how many runs of what."""
        ended = Counter(record.status for record in self.records)
        problems = sorted({record.identity.problem for record in self.records})
        shown = ", ".join(problems[:_MOST_PROBLEMS]) + (", …" if len(problems) > _MOST_PROBLEMS else "")
        runs = ", ".join(f"{number} {status}" for status, number in ended.items()) or "no runs"
        return f"<{type(self).__name__} {str(self.path)!r}: {runs}{f'; {shown}' if shown else ''}>"

    def select(self, **filters: Unpack[IdentityFilters]) -> tuple[RunRecord, ...]:
        """The runs whose identity has these values, failed ones included, each training once.

        A folder that another one stands for is found by its own run id alone.

        Raises:
            UserError: a filter is not an identity column, or its value is none that there is.
        """
        return _select((*self.records, *self._named(filters.get("run_id", ()))), filters)

    def sound(self, records: Iterable[RunRecord], *tables: TableName) -> Iterator[RunRecord]:
        """Those of some runs whose tables can be relied on, one after the other: files whole, folders agreeing or said.

        A run with a damaged file is left out from then on, with a warning; so is a folder of a training that has
        another. Folders of one training that do not agree are a warning.

        Args:
            records: the runs, as `select` gives them; those without tables are passed over.
            tables: which tables are going to be read; a run need not have them all.
        """
        for record in records:
            if not record.readable:
                continue
            kept = self._sound(record, tables)
            if kept is not None:
                self.disagreement(kept)
                kept = self._sound(kept, tables)  # what else its folders hold was read: one may be damaged
            if kept is not None:
                yield kept

    def disagreement(self, record: RunRecord) -> str | None:
        """What the folders of a run's training do not agree on, as a sentence; None where they agree, or are one.

        It is found out once, from what all of them hold, and is a warning from then on.
        """
        run_id = record.identity.run_id
        training = self._trainings.get(run_id)
        if training is None or len(training.folders) < 2:
            return None
        if run_id not in self._disagreements:
            try:
                found = disagreement(training, self._read_folder)
            except StorageError:  # of the folders that are whole something can be said
                self._set_damaged_aside(training.folders)
                left = self._left_of(record)
                return None if left is None else self.disagreement(left)
            others = " and ".join(folder.identity.run_id for folder in training.folders[1:])
            self._disagreements[run_id] = found and (
                f"{run_id} and {others} are one training, and differ in {found}: it decides nothing"
            )
        return self._disagreements[run_id]

    def runs(self, **filters: Unpack[IdentityFilters]) -> pd.DataFrame:
        """One row per run that ended: identity, status, and the circumstances. Failed runs are among them.

        Raises:
            UserError: a filter is not an identity column, or its value is none that there is.
        """
        return _runs_frame(self.select(**filters))

    def table(self, name: str, *, columns: Sequence[str] | None = None, **filters: Filter) -> pd.DataFrame:
        """Rows of any table: of diverged runs what there was, of failed ones nothing; nor of runs without the table.

        Args:
            name: `curves`, `steps`, `affine`, `timing` or a probe's table, as `docs/result-schema.md` describes them.
            columns: those wanted; all if None.
            **filters: a value, or several, for any identity column, and for any other that holds whole numbers or text.

        Returns:
            One row per row of the table, run by run in the order of run ids. Text is categorical. Of a training that
            lies in several folders, the rows of the folder with most of them, unless another folder's run id is asked
            for; of a run whose table is damaged nothing, and a warning.

        Raises:
            UserError: a table, a column or a filter does not exist, or a filter's value is none that there is.
        """
        if name not in TABLES:
            raise unknown("table", name, TABLES)
        schema = SCHEMAS[name]
        for column in columns or ():
            if column not in schema.names:
                raise unknown("column", column, schema.names)
        measured = {each.name: each for each in TABLES[name].columns if each.type in {"int64", "string"}}
        wanted = {column: _several(values) for column, values in filters.items()}
        for column, values in wanted.items():
            if column not in IDENTITY and column not in measured:
                raise unknown("filter", column, [*IDENTITY, *measured])
            if column in measured and (known := measured[column].known):
                _check_values(column, values, known)
        who = {column: wanted[column] for column in wanted if column in IDENTITY}
        own = {column: wanted[column] for column in wanted if column in measured}
        chosen, pieces = self._pieces(name, columns, who, _row_filter(own))
        found = [piece for piece in pieces if len(piece)]
        for column, values in own.items():
            # Names that are not declared are those of the runs' networks: what there is, is looked up where something
            # may be missing, and costs nothing where one name was asked for and found.
            own_names = measured[column].type == "string" and not measured[column].known
            if own_names and (not found or len(values) > 1):
                self._check_recorded(name, chosen, column, values)
        nothing = pa.schema([schema.field(column) for column in columns or schema.names]).empty_table()
        return _to_pandas(found or [nothing])

    def curves(self, *, columns: Sequence[str] | None = None, **filters: Filter) -> pd.DataFrame:
        """Loss and accuracy per epoch, split and statistics; see `table`."""
        return self.table("curves", columns=columns, **filters)

    def steps(self, *, columns: Sequence[str] | None = None, **filters: Filter) -> pd.DataFrame:
        """Batch loss, batch accuracy and learning rate per update; see `table`."""
        return self.table("steps", columns=columns, **filters)

    def affine(self, *, columns: Sequence[str] | None = None, **filters: Filter) -> pd.DataFrame:
        """γ, β and biases: one row per snapshot, slot and parameter; `values` is an array with a value per channel.

        See `table`. With one run, one slot and one parameter, memory is that of the one trajectory.
        """
        return self.table("affine", columns=columns, **filters)

    def timing(self, *, columns: Sequence[str] | None = None, **filters: Filter) -> pd.DataFrame:
        """Seconds of training and of evaluation, and throughput, per epoch; see `table`."""
        return self.table("timing", columns=columns, **filters)

    def sparsity(self, *, columns: Sequence[str] | None = None, **filters: Filter) -> pd.DataFrame:
        """The share of activations that the ReLU after each slot zeroed, per epoch; see `table`."""
        return self.table("sparsity", columns=columns, **filters)

    def trajectory(self, run_id: str, slot: str, parameter: str) -> Trajectory:
        """One trajectory as arrays: nothing else of the run is read.

        Raises:
            UserError: the run is not there, has no such trajectory, or its table is damaged.
        """
        record = self._one(run_id)
        rows = (pc.field("slot") == slot) & (pc.field("parameter") == parameter)
        table = self._read(record, "affine", ["step", "values"], rows)
        if not len(table):
            raise UserError(
                f"run {run_id} has no {parameter} of slot '{slot}'",
                hint=f"Its variant is {record.identity.variant}, its placement {record.identity.placement}.",
            )
        flat = np.asarray(pc.list_flatten(table.column("values")), dtype=np.float32)
        return Trajectory(table.column("step").to_numpy(), flat.reshape(len(table), -1))

    def trajectory_names(self, run_id: str) -> tuple[tuple[str, str], ...]:
        """(slot, parameter) of every trajectory of a run, sorted by parameter, then slot; no values are read.

        Raises:
            UserError: the run is not there, or its table is damaged.
        """
        table = self._read(self._one(run_id), "affine", ["parameter", "slot"])
        found = table.group_by(["parameter", "slot"], use_threads=False).aggregate([]).to_pylist()
        return tuple((row["slot"], row["parameter"]) for row in found)

    def _one(self, run_id: str) -> RunRecord:
        training = self._trainings.get(run_id)
        for record in self._named(run_id) if training is None else [training.record]:
            if record.readable:
                return record
        raise UserError(f"{self.path} has no finished run {run_id}", hint="`bnbench status` lists the runs.")

    def _named(self, run_ids: object) -> list[RunRecord]:
        """The folders of these runs that another folder stands for."""
        wanted = set(_several(run_ids)) - self._trainings.keys()
        return [folder for folder in self.folders if folder.identity.run_id in wanted]

    def _pieces(
        self, name: TableName, columns: Sequence[str] | None, who: Mapping[str, Any], rows: pc.Expression | None
    ) -> tuple[list[RunRecord], list[pa.Table]]:
        """The runs that have a table, and their rows of it. One with a damaged table is left out, and said to be."""
        pieces: dict[tuple[str, str], pa.Table] = {}
        while True:
            chosen = [r for r in self.select(**cast("IdentityFilters", who)) if r.readable and name in r.tables]
            sources = [(record, (record.identity.run_id, self._source(record, name))) for record in chosen]
            for record, source in sources:
                if source not in pieces:
                    try:
                        pieces[source] = self._read(record, name, columns, rows)
                    except StorageError as error:
                        self._set_aside(source[1], error)
                        break
            else:
                return chosen, [pieces[source] for _, source in sources]

    def _source(self, record: RunRecord, table: TableName) -> str:
        """The id of the run whose folder a run's table is read from."""
        training = self._trainings.get(record.identity.run_id)
        return record.identity.run_id if training is None else training.sources.get(table, record.identity.run_id)

    def _read(
        self,
        record: RunRecord,
        table: TableName,
        columns: Sequence[str] | None = None,
        rows: pc.Expression | None = None,
    ) -> pa.Table:
        """A table of a run; whatever folder it lies in, its rows are this run's."""
        source = self._source(record, table)
        found = self._read_folder(source, table, columns, rows)
        if source == record.identity.run_id:
            return found
        given = [name for name in found.column_names if name in IDENTITY and name not in value_columns(table)]
        return identified(found, record.identity, given)

    def _read_folder(
        self,
        run_id: str,
        table: TableName,
        columns: Sequence[str] | None = None,
        filters: pc.Expression | None = None,
    ) -> pa.Table:
        return self._store.read_of(self._documents[run_id], table, columns, filters)

    def _sound(self, record: RunRecord, tables: Sequence[TableName]) -> RunRecord | None:
        """The run, as it is left when what is damaged of it has been set aside; None where nothing is left."""
        run_id = record.identity.run_id
        stands = run_id in self._trainings or run_id in self._stood
        if run_id in self.damaged:
            return self._sound(left, tables) if stands and (left := self._left_of(record)) is not None else None
        while (broken := self._broken(record, tables)) is not None:
            self._set_aside(*broken)
            left = self._left_of(record) if stands else None
            if left is None:
                return None
            record = left
        return record

    def _left_of(self, record: RunRecord) -> RunRecord | None:
        """What stands for a run's training now; None where all of its folders are damaged."""
        key = training_key(record)
        return next((each for each in self.records if each.readable and training_key(each) == key), None)

    def _broken(self, record: RunRecord, tables: Sequence[TableName]) -> tuple[str, StorageError] | None:
        """The first folder, and what is wrong with it, that one of these tables of a run cannot be read from."""
        training = self._trainings.get(record.identity.run_id)
        for table in tables:
            if table in (record if training is None else training.record).tables:
                source = self._source(record, table)
                try:
                    self._store.check(self._documents[source], table)
                except StorageError as error:
                    return source, error
        return None

    def _set_damaged_aside(self, folders: Iterable[RunRecord]) -> None:
        """Look at every table of these folders, and set those aside that have a damaged one."""
        for folder in folders:
            for table in folder.tables:
                try:
                    self._store.check(self._documents[folder.identity.run_id], table)
                except StorageError as error:
                    self._set_aside(folder.identity.run_id, error)

    def _set_aside(self, run_id: str, error: StorageError) -> None:
        """From now on a run counts as damaged."""
        if run_id in self.damaged:
            return
        self.damage = (*self.damage, f"{error.problem}; the run is damaged and counts as not finished")
        if run_id in self._trainings:
            self._stood.add(run_id)
        self.damaged = tuple(sorted({*self.damaged, run_id}))
        self._take(
            replace(folder, status="damaged", readable=False, tables=()) if folder.identity.run_id == run_id else folder
            for folder in self.folders
        )

    def _check_recorded(
        self, table: TableName, records: Iterable[RunRecord], column: str, wanted: Sequence[object]
    ) -> None:
        """Refuse values of a column that no row of these runs has; without any rows there is nothing to know."""
        pieces = [self._read(record, table, [column]) for record in records]
        known = sorted({str(value) for piece in pieces for value in pc.unique(piece.column(column)).to_pylist()})
        if known:
            _check_values(column, wanted, known)


def open_results(path: str | PathLike[str] = "results/runs") -> Results:
    """The results folder at a path, to be read; a leading `~` is a home folder.

    Raises:
        UserError: the path is none, there are no results, or they are of another schema version.
    """
    return Results.open(path)


def _select(records: Sequence[RunRecord], filters: Mapping[str, Any]) -> tuple[RunRecord, ...]:
    wanted: dict[str, set[object]] = {}
    for name, values in filters.items():
        if name not in IDENTITY:
            raise unknown("filter", name, IDENTITY)
        wanted[name] = set(_several(values))
        if name not in _OF_A_PLAN:
            recorded = sorted({getattr(record.identity, name) for record in records})
            _check_values(name, wanted[name], recorded, also=_known_names(name))
    return tuple(
        record for record in records if all(getattr(record.identity, name) in values for name, values in wanted.items())
    )


_MOST_PROBLEMS = 4
"""So many names are told of a results folder in a line."""

_OF_A_PLAN = frozenset({"run_id", "setting_id"})
"""Identity columns whose values nobody types: they come out of a plan, and a run that is planned need not be here."""


def _known_names(column: str) -> Container[object]:
    """Values of an identity column that mean something although no run here has them."""
    match column:
        case "problem":
            return problem_files()
        case "size":
            return get_args(Size)
        case "variant":
            return VARIANTS
        case "placement":
            return (NOWHERE,)
        case _:
            return ()


def _check_values(
    column: str, wanted: Iterable[object], known: Sequence[object], *, also: Container[object] = ()
) -> None:
    """Refuse a filter's value that would find nothing because there is no such thing.

    Args:
        column: the filter.
        wanted: its values.
        known: what there is, to be told.
        also: what there is elsewhere.
    """
    for value in wanted:
        if value not in known and value not in also:
            raise unknown(column.replace("_", " "), str(value), map(str, known))


def _several(values: object) -> tuple[object, ...]:
    return tuple(values) if isinstance(values, Iterable) and not isinstance(values, str) else (values,)


def _row_filter(filters: Mapping[str, Sequence[object]]) -> pc.Expression | None:
    """All conditions as one Arrow expression, None where there is none."""
    expression: pc.Expression | None = None
    for name, values in filters.items():
        condition = pc.field(name).isin(list(values))
        expression = condition if expression is None else expression & condition
    return expression


def _to_pandas(pieces: Sequence[pa.Table]) -> pd.DataFrame:
    """One frame; text becomes categorical, since it repeats itself endlessly."""
    table = pa.concat_tables(pieces)
    for index, field in enumerate(table.schema):
        if pa.types.is_string(field.type):
            table = table.set_column(index, field.name, table.column(index).dictionary_encode())
    frame: pd.DataFrame = table.unify_dictionaries().to_pandas()
    return frame


_NOT_SHOWN = frozenset({"identity", "tables", "variant_row", "overrides"})
"""Fields of a record that the frame of runs leaves out or spells otherwise."""


def _runs_frame(records: Sequence[RunRecord]) -> pd.DataFrame:
    own = [field.name for field in fields(RunRecord) if field.name not in _NOT_SHOWN]
    rows = [
        asdict(record.identity)
        | {name: getattr(record, name) for name in own}
        | {"overrides": None if record.overrides is None else ", ".join(record.overrides)}
        for record in records
    ]
    frame = pd.DataFrame(rows, columns=[*IDENTITY, *own, "overrides"])
    return frame.astype({"diverged_at_step": "Int64"})
