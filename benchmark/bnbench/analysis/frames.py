"""Recorded runs as pandas DataFrames, filtered in Arrow before anything is loaded.

    results = bnbench.open_results("results/runs")
    results.curves(problem="cifar10_3c3d", split="test")
    results.affine(problem="cifar100_allcnnc", variant="bn_gamma", slot="conv1", parameter="gamma")

A filter on a column that says which run a row belongs to is answered from the `run.json` files, so the tables of
other runs are not even opened. A filter on what a run measured goes into the Parquet reader, which skips row groups by
their statistics: one trajectory of `affine` is one row group, and that is all that is read of the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from os import PathLike
from pathlib import Path
from typing import Any, TypedDict, Unpack

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from bnbench.analysis.settings import overrides
from bnbench.errors import UserError, unknown
from bnbench.plan import Origin, RunIdentity, canonical_json
from bnbench.storage.document import RunDocument, Status
from bnbench.storage.schema import IDENTITY, SCHEMAS, TableName
from bnbench.storage.store import ResultStore

OneOrMoreTexts = str | Sequence[str]
OneOrMoreNumbers = float | Sequence[float]
OneOrMoreIntegers = int | Sequence[int]


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


class CurveFilters(IdentityFilters, total=False):
    """Which rows of `curves`."""

    epoch: OneOrMoreIntegers
    split: OneOrMoreTexts
    statistics: OneOrMoreTexts


class StepFilters(IdentityFilters, total=False):
    """Which rows of `steps`."""

    step: OneOrMoreIntegers
    epoch: OneOrMoreIntegers


class AffineFilters(IdentityFilters, total=False):
    """Which rows of `affine`."""

    step: OneOrMoreIntegers
    slot: OneOrMoreTexts
    parameter: OneOrMoreTexts


class SparsityFilters(IdentityFilters, total=False):
    """Which rows of `sparsity`."""

    epoch: OneOrMoreIntegers
    step: OneOrMoreIntegers
    slot: OneOrMoreTexts


class TimingFilters(IdentityFilters, total=False):
    """Which rows of `timing`."""

    epoch: OneOrMoreIntegers


@dataclass(frozen=True)
class RunRecord:
    """What `run.json` says of a run, as far as an analysis needs it."""

    identity: RunIdentity
    status: Status
    diverged_at_step: int | None
    error: str | None
    """The traceback of a failed run."""
    readable: bool
    """Whether the run has its tables: not if it failed, nor if a file is missing or cut short."""
    tables: tuple[TableName, ...]
    """Those of them that it has: a probe's table only where the probe was on."""
    dataset: str
    fingerprint: str | None
    """SHA-256 of the pixels and labels it was trained on."""
    data_origin: Origin | None
    """What kind of copy they are (`bnbench.data.origin`)."""
    architecture: str
    width: float
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

    def __init__(self, store: ResultStore) -> None:
        """Look at the store once; tables are read when they are asked for.

        Raises:
            UserError: a `run.json` does not describe a run of this suite.
        """
        contents = store.look()
        readable = {document.run_id for document in contents.finished}
        self._store = store
        self.records = tuple(_record(document, document.run_id in readable) for document in contents.documents)
        """Every run that ended, failed ones included, sorted by run id."""
        self.warnings = contents.warnings
        """What is wrong with single runs, one sentence each."""

    @property
    def path(self) -> Path:
        """The results folder."""
        return self._store.path

    def select(self, **filters: Unpack[IdentityFilters]) -> tuple[RunRecord, ...]:
        """The runs whose identity has these values, failed ones included.

        Raises:
            UserError: a filter is not an identity column.
        """
        return _select(self.records, filters)

    def runs(self, **filters: Unpack[IdentityFilters]) -> pd.DataFrame:
        """One row per run that ended: identity, status, and the circumstances. Failed runs are among them.

        Raises:
            UserError: a filter is not an identity column.
        """
        return _runs_frame(self.select(**filters))

    def curves(self, *, columns: Sequence[str] | None = None, **filters: Unpack[CurveFilters]) -> pd.DataFrame:
        """Loss and accuracy per epoch, split and statistics; of diverged runs what there was, of failed ones nothing.

        Args:
            columns: those wanted; all if None.
            **filters: a value, or several, for any identity column, `epoch`, `split` or `statistics`.

        Raises:
            UserError: a column does not exist, or a table is damaged.
        """
        return self._frame("curves", ("epoch", "split", "statistics"), columns, dict(filters))

    def steps(self, *, columns: Sequence[str] | None = None, **filters: Unpack[StepFilters]) -> pd.DataFrame:
        """Batch loss, batch accuracy and learning rate per update.

        Args:
            columns: those wanted; all if None.
            **filters: a value, or several, for any identity column, `step` or `epoch`.

        Raises:
            UserError: a column does not exist, or a table is damaged.
        """
        return self._frame("steps", ("step", "epoch"), columns, dict(filters))

    def affine(self, *, columns: Sequence[str] | None = None, **filters: Unpack[AffineFilters]) -> pd.DataFrame:
        """γ, β and biases: one row per snapshot, slot and parameter; `values` is an array with a value per channel.

        Args:
            columns: those wanted; all if None.
            **filters: a value, or several, for any identity column, `step`, `slot` or `parameter`. With one run,
                one slot and one parameter, memory is that of the one trajectory.

        Raises:
            UserError: a column does not exist, or a table is damaged.
        """
        return self._frame("affine", ("step", "slot", "parameter"), columns, dict(filters))

    def timing(self, *, columns: Sequence[str] | None = None, **filters: Unpack[TimingFilters]) -> pd.DataFrame:
        """Seconds of training and of evaluation, and throughput, per epoch.

        Args:
            columns: those wanted; all if None.
            **filters: a value, or several, for any identity column or `epoch`.

        Raises:
            UserError: a column does not exist, or a table is damaged.
        """
        return self._frame("timing", ("epoch",), columns, dict(filters))

    def sparsity(self, *, columns: Sequence[str] | None = None, **filters: Unpack[SparsityFilters]) -> pd.DataFrame:
        """The share of activations that the ReLU after each slot zeroed, per epoch. Runs without the probe: nothing.

        Args:
            columns: those wanted; all if None.
            **filters: a value, or several, for any identity column, `epoch`, `step` or `slot`.

        Raises:
            UserError: a column does not exist, or a table is damaged.
        """
        return self._frame("sparsity", ("epoch", "step", "slot"), columns, dict(filters))

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

    def _frame(
        self, table: TableName, measured: tuple[str, ...], columns: Sequence[str] | None, filters: dict[str, Any]
    ) -> pd.DataFrame:
        schema = SCHEMAS[table]
        for name in filters:
            if name not in IDENTITY and name not in measured:
                raise unknown("filter", name, [*IDENTITY, *measured])
        for name in columns or ():
            if name not in schema.names:
                raise unknown("column", name, schema.names)
        chosen = _select(self.records, {name: wanted for name, wanted in filters.items() if name in IDENTITY})
        rows = _row_filter({name: wanted for name, wanted in filters.items() if name in measured})
        pieces = [
            self._store.read(record.identity.run_id, table, columns=columns, filters=rows)
            for record in chosen
            if record.readable and table in record.tables
        ]
        nothing = pa.schema([schema.field(name) for name in columns or schema.names]).empty_table()
        return _to_pandas([piece for piece in pieces if len(piece)] or [nothing])


def open_results(path: str | PathLike[str] = "results/runs") -> Results:
    """The results folder at a path, to be read.

    Raises:
        UserError: there are no results, or they are of another schema version.
    """
    return Results(ResultStore.open(Path(path), create=False))


class _Lenient(BaseModel):
    """The fields of a specification that are looked at here; there are more."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


class _Training(_Lenient):
    learning_rate: float
    epochs: int
    batch_size: int


class _Data(_Lenient):
    name: str
    fingerprint: str | None


class _Variant(_Lenient):
    name: str


class _Spec(_Lenient):
    problem: str
    size: str
    placement: str
    mask: str
    seed: int
    data: _Data
    data_origin: Origin | None
    variant: _Variant
    architecture: str
    width: float
    training: _Training
    precision: str


def _record(document: RunDocument, readable: bool) -> RunRecord:
    try:
        spec = _Spec.model_validate(document.spec)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise UserError(
            f"run {document.run_id}: its run.json does not say what was run ({where}: {error.errors()[0]['msg']})",
            hint="Delete the run's folder to repeat the run.",
        ) from error
    return RunRecord(
        identity=RunIdentity(
            run_id=document.run_id,
            setting_id=document.setting_id,
            problem=spec.problem,
            size=spec.size,
            variant=spec.variant.name,
            placement=spec.placement,
            mask=spec.mask,
            learning_rate=spec.training.learning_rate,
            seed=spec.seed,
        ),
        status=document.status,
        diverged_at_step=document.diverged_at_step,
        error=document.error,
        readable=readable,
        tables=tuple(document.tables) if readable else (),
        dataset=spec.data.name,
        fingerprint=spec.data.fingerprint,
        data_origin=spec.data_origin,
        architecture=spec.architecture,
        width=spec.width,
        epochs=spec.training.epochs,
        batch_size=spec.training.batch_size,
        precision=spec.precision,
        device=_device(document.provenance),
        variant_row=canonical_json(document.spec["variant"]),
        overrides=overrides(document.spec),
    )


def _device(provenance: Mapping[str, JsonValue]) -> str:
    device = provenance.get("device")
    return device if isinstance(device, str) else "not recorded"


def _select(records: Iterable[RunRecord], filters: Mapping[str, Any]) -> tuple[RunRecord, ...]:
    wanted: dict[str, set[Any]] = {}
    for name, values in filters.items():
        if name not in IDENTITY:
            raise unknown("filter", name, IDENTITY)
        wanted[name] = set(_several(values))
    return tuple(
        record for record in records if all(getattr(record.identity, name) in values for name, values in wanted.items())
    )


def _several(values: object) -> Iterator[object]:
    if isinstance(values, Iterable) and not isinstance(values, str):
        yield from values
    else:
        yield values


def _row_filter(filters: Mapping[str, object]) -> pc.Expression | None:
    """All conditions as one Arrow expression, None where there is none."""
    expression: pc.Expression | None = None
    for name, values in filters.items():
        condition = pc.field(name).isin(list(_several(values)))
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
