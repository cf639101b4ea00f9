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

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from os import PathLike
from pathlib import Path
from typing import Any, Literal, Self, TypedDict, Unpack, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import JsonValue

from bnbench.analysis.settings import overrides
from bnbench.errors import UserError, unknown
from bnbench.identity import canonical_json
from bnbench.measurement import IDENTITY, TABLES, RunIdentity
from bnbench.paths import given_path
from bnbench.placement import NOWHERE
from bnbench.problem import Size, problem_files
from bnbench.storage.document import RunDocument, Status
from bnbench.storage.schema import SCHEMAS, TableName
from bnbench.storage.store import ResultStore, StoreContents
from bnbench.variant import VARIANTS

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


@dataclass(frozen=True)
class RunRecord:
    """What `run.json` says of a run, as far as an analysis needs it."""

    identity: RunIdentity
    status: Status | Literal["damaged"]
    """How it ended; "damaged" where it came to its end and a file is missing or cut short."""
    diverged_at_step: int | None
    error: str | None
    """The traceback of a failed run."""
    readable: bool
    """Whether the run has its tables: not if it failed, nor if it is damaged."""
    tables: tuple[TableName, ...]
    """Those of them that it has: a probe's table only where the probe was on."""
    dataset: str
    fingerprint: str
    """SHA-256 of the pixels and labels it was trained on."""
    canonical_data: bool
    architecture: str
    width: float
    slots: tuple[str, ...]
    """Of its network, in order, the output last."""
    epochs: int
    """As planned."""
    batch_size: int
    precision: str
    device: str
    """The kind of device: "cpu", or the model of the accelerator."""
    variant_row: str
    """The variant's row of the table, as canonical JSON."""
    overrides: tuple[str, ...] | None
    """What differs from the problem's file, e.g. ("training.epochs = 2",): empty at the problem's own settings, None
    where the file is not known."""


@dataclass(frozen=True, eq=False)
class Trajectory:
    """γ, β or the bias of one slot of one run, over training."""

    steps: npt.NDArray[np.int64]
    """[snapshots] updates done."""
    values: npt.NDArray[np.float32]
    """[snapshots, channels]"""


class Results:
    """The runs of one results folder, as they were when it was opened."""

    def __init__(self, store: ResultStore, contents: StoreContents | None = None) -> None:
        """Look at the store once; tables are read when they are asked for.

        Args:
            store: the results folder.
            contents: what a look at it has found, where somebody has looked already.

        Raises:
            UserError: the folder cannot be listed, or holds runs of another schema version.
        """
        contents = contents or store.look()
        readable = {document.run_id for document in contents.finished}
        self._store = store
        self.records = tuple(_record(document, document.run_id in readable) for document in contents.documents)
        """Every run that ended, failed ones included, sorted by run id."""
        self.damaged = contents.damaged
        """The ids of damaged runs; a damaged `run.json` leaves no more of a run than that."""
        self.warnings = contents.warnings
        """What is wrong with single runs, one sentence each."""

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

    def select(self, **filters: Unpack[IdentityFilters]) -> tuple[RunRecord, ...]:
        """The runs whose identity has these values, failed ones included.

        Raises:
            UserError: a filter is not an identity column, or its value is none that there is.
        """
        return _select(self.records, filters)

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
            One row per row of the table, run by run in the order of run ids. Text is categorical.

        Raises:
            UserError: a table, a column or a filter does not exist, a filter's value is none that there is, or a
                table is damaged.
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
        chosen = [
            record.identity.run_id
            for record in _select(self.records, {column: wanted[column] for column in wanted if column in IDENTITY})
            if record.readable and name in record.tables
        ]
        own = {column: wanted[column] for column in wanted if column in measured}
        rows = _row_filter(own)
        pieces = [self._store.read(run_id, name, columns=columns, filters=rows) for run_id in chosen]
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
            UserError: the run is not there, or has no such trajectory.
        """
        record = self._one(run_id)
        rows = [("slot", "==", slot), ("parameter", "==", parameter)]
        table = self._store.read(run_id, "affine", columns=["step", "values"], filters=rows)
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
            UserError: the run is not there.
        """
        self._one(run_id)
        table = self._store.read(run_id, "affine", columns=["parameter", "slot"])
        found = table.group_by(["parameter", "slot"], use_threads=False).aggregate([]).to_pylist()
        return tuple((row["slot"], row["parameter"]) for row in found)

    def _one(self, run_id: str) -> RunRecord:
        for record in self.records:
            if record.identity.run_id == run_id and record.readable:
                return record
        raise UserError(f"{self.path} has no finished run {run_id}", hint="`bnbench status` lists the runs.")

    def _check_recorded(self, table: str, run_ids: Iterable[str], column: str, wanted: Sequence[object]) -> None:
        """Refuse values of a column that no row of these runs has; without any rows there is nothing to know."""
        pieces = [self._store.read(run_id, table, columns=[column]) for run_id in run_ids]
        known = sorted({str(value) for piece in pieces for value in pc.unique(piece.column(column)).to_pylist()})
        if known:
            _check_values(column, wanted, known)


def open_results(path: str | PathLike[str] = "results/runs") -> Results:
    """The results folder at a path, to be read; a leading `~` is a home folder.

    Raises:
        UserError: the path is none, there are no results, or they are of another schema version.
    """
    return Results.open(path)


def _record(document: RunDocument, readable: bool) -> RunRecord:
    spec = document.specification
    return RunRecord(
        identity=document.identity,
        status=document.status if readable or not document.is_result else "damaged",
        diverged_at_step=document.diverged_at_step,
        error=document.error,
        readable=readable,
        tables=tuple(document.tables) if readable else (),
        dataset=spec.data.name,
        fingerprint=spec.data.fingerprint,
        canonical_data=document.canonical_data,
        architecture=spec.architecture,
        width=spec.width,
        slots=document.slots,
        epochs=spec.training.epochs,
        batch_size=spec.training.batch_size,
        precision=spec.precision,
        device=_device(document.provenance),
        variant_row=canonical_json(document.spec["variant"]),
        overrides=overrides(document.problem, document.size, spec),
    )


def _device(provenance: Mapping[str, JsonValue]) -> str:
    device = provenance.get("device")
    return device if isinstance(device, str) else "not recorded"


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
