"""Reference results on disk: five seeds of a problem at one size, compact, with where they come from.

    results/reference/tiny/digits_mlp/curves.parquet     every evaluation of every run
                                      steps.parquet      the batch losses that a check looks at
                                      reference.json     which runs, their digests, their provenance
    results/reference/deepobs/                           what others published (`bnbench.analysis.reference.published`)

A check compares with the runs themselves; bands over the seeds are computed from them when they are needed.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError, model_validator

from bnbench.analysis.comparison import RowKey
from bnbench.analysis.frames import Results
from bnbench.analysis.reference.platform import circumstances_that_differ
from bnbench.disk import parse_json, read_regular, require_regular
from bnbench.errors import UserError
from bnbench.identity import canonical_json, setting_of
from bnbench.measurement import RunIdentity
from bnbench.problem import Size
from bnbench.storage.digests import run_digests
from bnbench.storage.document import RunDocument
from bnbench.storage.files import atomic_file, reported
from bnbench.storage.store import ResultStore

REFERENCE_VERSION = 2
DOCUMENT = "reference.json"
_LIMIT = 16 << 20
"""Bytes of a `reference.json`: some five hundred a run, and ten thousand besides."""
CHECKED_STEPS = (0, 1, 5)
"""The steps whose batch loss is compared closely: before the first update, after it, when every learned parameter has
moved, and a little later. Then rounding takes over: a change of one weight by 1e-6 moves the batch loss by 3e-2 after
20 updates."""

_CURVE_COLUMNS = ["epoch", "split", "statistics", "loss", "accuracy"]
_STEP_COLUMNS = ["step", "batch_loss"]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class ReferenceRun(_Strict):
    """One stored run: who it is within its setting, how it ended, and the digests of its tables."""

    variant: str
    placement: str
    mask: str
    learning_rate: float
    seed: int
    status: Literal["finished", "diverged"]
    diverged_at_step: int | None
    digests: dict[str, str]
    """SHA-256 of the measured values, by table (`bnbench.storage.digests`)."""


class _Document(_Strict):
    version: Literal[2]
    problem: str
    size: Size
    setting_id: str
    setting: dict[str, JsonValue]
    """What the runs share (`bnbench.identity.setting_of`)."""
    recorded: dict[str, JsonValue]
    """How they were recorded (`recording_of`): their digests are those of tables with these rows."""
    variants: dict[str, dict[str, JsonValue]]
    """The rows of the variant table, by name."""
    provenance: dict[str, JsonValue]
    """The same for all runs: they were trained together."""
    runs: tuple[ReferenceRun, ...]

    @model_validator(mode="before")
    @classmethod
    def _as_tuple(cls, raw: Any) -> Any:  # noqa: ANN401 -- whatever the file holds
        return {**raw, "runs": tuple(raw["runs"])} if isinstance(raw, dict) and "runs" in raw else raw


@dataclass(frozen=True, eq=False)
class Reference:
    """The reference results of one problem at one size."""

    folder: Path
    problem: str
    size: str
    setting_id: str
    setting: Mapping[str, JsonValue]
    recorded: Mapping[str, JsonValue]
    provenance: Mapping[str, JsonValue]
    groups: Mapping[RowKey, tuple[ReferenceRun, ...]]

    @cached_property
    def _curves(self) -> dict[tuple[str, str, float, int], pd.DataFrame]:
        return _by_run(self.folder / "curves.parquet", _CURVE_COLUMNS)

    @cached_property
    def _steps(self) -> dict[tuple[str, str, float, int], pd.DataFrame]:
        return _by_run(self.folder / "steps.parquet", _STEP_COLUMNS)

    def curves(self, run: ReferenceRun) -> pd.DataFrame:
        """Epoch, split, statistics, loss and accuracy of a stored run."""
        return self._curves[_key(run)]

    def batch_losses(self, run: ReferenceRun) -> pd.DataFrame:
        """Step and batch loss of a stored run, at `CHECKED_STEPS`."""
        return self._steps[_key(run)]

    @property
    def commit(self) -> str:
        """The commit of the code that trained it, as far as it is known."""
        source = self.provenance.get("source")
        if not isinstance(source, dict):
            return "an installed package"
        changed = " with changes" if source.get("dirty") else ""
        return f"commit {str(source.get('commit'))[:9]}{changed}"


def read_references(folder: Path) -> list[Reference]:
    """Every reference in a folder, sorted by size and problem; curves are read when they are asked for.

    Raises:
        UserError: one of them is damaged.
    """
    return [_read(path.parent) for path in sorted(folder.glob(f"*/*/{DOCUMENT}"))]


def write_reference(folder: Path, results: Results, documents: Sequence[RunDocument]) -> Path:
    """Store runs of one problem, size and setting as its reference; what was stored for it before is replaced.

    Args:
        folder: of all references.
        results: where the runs are.
        documents: the runs, finished or diverged, trained on one machine with the same versions.

    Returns:
        The folder of this reference.

    Raises:
        UserError: a run failed, the runs do not belong together, or the folder cannot be written.
    """
    identities = {record.identity.run_id: record.identity for record in results.records}
    chosen = sorted((identities[document.run_id] for document in documents), key=_order)
    by_id = {document.run_id: document for document in documents}
    _require_one("problem", {identity.problem for identity in chosen})
    _require_one("size", {identity.size for identity in chosen})
    _require_one("setting", {identity.setting_id for identity in chosen})
    _require_one("way of recording", {canonical_json(recording_of(document)) for document in documents})
    _require_one_provenance(documents)
    for document in documents:
        if not document.is_result:
            raise UserError(f"run {document.run_id} failed, so it cannot be a reference", hint=document.error)
    first = by_id[chosen[0].run_id]
    store = ResultStore(results.path)
    text = json.dumps(
        {
            "version": REFERENCE_VERSION,
            "problem": chosen[0].problem,
            "size": chosen[0].size,
            "setting_id": chosen[0].setting_id,
            "setting": setting_of(first.spec),
            "recorded": recording_of(first),
            "variants": {each.variant: by_id[each.run_id].spec["variant"] for each in chosen},
            "provenance": {**first.provenance, "source": _source(documents)},
            "runs": [_stored(identity, by_id[identity.run_id], store) for identity in chosen],
        },
        indent=1,
        sort_keys=True,
        ensure_ascii=False,
    )
    target = folder / chosen[0].size / chosen[0].problem
    run_ids = [identity.run_id for identity in chosen]
    with reported(target, option="--reference"):
        if target.is_dir():
            shutil.rmtree(target)
        target.mkdir(parents=True)
        _write(target / "curves.parquet", results.curves(run_id=run_ids), _CURVE_COLUMNS)
        steps = results.steps(run_id=run_ids, step=CHECKED_STEPS)
        _write(target / "steps.parquet", steps, _STEP_COLUMNS)
        with atomic_file(target / DOCUMENT) as file:
            file.write(f"{text}\n".encode())
    return target


def _without_source(provenance: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    return {key: value for key, value in provenance.items() if key != "source"}


def _source(documents: Sequence[RunDocument]) -> JsonValue:
    """The commit that all runs were made from; with changes, if it changed while they were made."""
    sources = [document.provenance.get("source") for document in documents]
    first = sources[0]
    same = all(source == first for source in sources)
    return {**first, "dirty": True} if isinstance(first, dict) and not same else first


def recording_of(document: RunDocument) -> dict[str, JsonValue]:
    """What decides which tables a run has, and which rows, and none of their numbers; probes where any is on."""
    spec = document.specification
    probes = {"probes": document.spec["probes"]} if spec.probes.on else {}
    return {
        "snapshots": spec.snapshots.schedule,
        "population_statistics": spec.training.population_statistics,
        **probes,
    }


def setting_differences(recorded: Mapping[str, JsonValue], stored: Mapping[str, JsonValue]) -> list[str]:
    """What two settings differ in, e.g. ["training.epochs = 2, not 3"]."""
    ours, theirs = _flat("", dict(recorded)), _flat("", dict(stored))
    return [
        f"{key} = {ours.get(key, 'absent')}, not {theirs.get(key, 'absent')}"
        for key in sorted(ours.keys() | theirs.keys())
        if ours.get(key) != theirs.get(key)
    ]


def _flat(name: str, value: JsonValue) -> dict[str, JsonValue]:
    if not isinstance(value, dict):
        return {name: value}
    prefix = f"{name}." if name else ""
    return {key: each for part, below in value.items() for key, each in _flat(f"{prefix}{part}", below).items()}


def _stored(identity: RunIdentity, document: RunDocument, store: ResultStore) -> dict[str, JsonValue]:
    digests: dict[str, JsonValue] = dict(run_digests(store, identity.run_id, document.tables))
    return {
        "variant": identity.variant,
        "placement": identity.placement,
        "mask": identity.mask,
        "learning_rate": identity.learning_rate,
        "seed": identity.seed,
        "status": document.status,
        "diverged_at_step": document.diverged_at_step,
        "digests": digests,
    }


def _order(identity: RunIdentity) -> tuple[str, str, float, int]:
    return identity.variant, identity.mask, identity.learning_rate, identity.seed


def _require_one_provenance(documents: Sequence[RunDocument]) -> None:
    first = documents[0].provenance if documents else {}
    told = (each for document in documents for each in circumstances_that_differ(document.provenance, first))
    different = "; ".join(dict.fromkeys(told))
    _require_one(
        "provenance",
        {canonical_json(_without_source(document.provenance)) for document in documents},
        f" ({different})" if different else "",
    )


def _require_one(what: str, found: Iterable[str], different: str = "") -> None:
    values = sorted(found)
    if len(values) != 1:
        raise UserError(
            f"a reference is made of runs of one {what}, and these have {len(values)}{different}",
            hint="`bnbench reference update` trains what it needs anew.",
        )


def _write(path: Path, frame: pd.DataFrame, columns: list[str]) -> None:
    who = ["variant", "mask", "learning_rate", "seed"]
    table = pa.Table.from_pandas(frame[who + columns], preserve_index=False).replace_schema_metadata(None)
    with atomic_file(path) as file:
        pq.write_table(table, file, compression="zstd", compression_level=12, write_page_checksum=True)


def _read(folder: Path) -> Reference:
    path = folder / DOCUMENT
    try:
        document = _Document.model_validate(parse_json(read_regular(path, _LIMIT)))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, ValidationError) as error:
        first = str(error).splitlines()[0]
        raise UserError(f"{path} does not describe reference results: {first}", hint=_AGAIN) from error
    rows = {name: canonical_json(row) for name, row in document.variants.items()}
    groups: dict[RowKey, list[ReferenceRun]] = {}
    for run in document.runs:
        key = RowKey(document.setting_id, rows[run.variant], run.mask, run.learning_rate)
        groups.setdefault(key, []).append(run)
    return Reference(
        folder=folder,
        problem=document.problem,
        size=document.size,
        setting_id=document.setting_id,
        setting=document.setting,
        recorded=document.recorded,
        provenance=document.provenance,
        groups={key: tuple(runs) for key, runs in groups.items()},
    )


_AGAIN = "`bnbench reference update` writes it again."


def _by_run(path: Path, columns: list[str]) -> dict[tuple[str, str, float, int], pd.DataFrame]:
    try:
        require_regular(path)
        frame = pq.read_table(path, partitioning=None, page_checksum_verification=True).to_pandas()
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path} cannot be read: {' '.join(str(error).split())}", hint=_AGAIN) from error
    who = frame.loc[:, ["variant", "mask", "learning_rate", "seed"]].drop_duplicates()
    indexed = frame.set_index(list(who.columns)).sort_index(kind="stable")
    return {
        (str(variant), str(mask), float(rate), int(seed)): indexed.loc[(variant, mask, rate, seed), columns]
        for variant, mask, rate, seed in who.itertuples(index=False)
    }


def _key(run: ReferenceRun) -> tuple[str, str, float, int]:
    return run.variant, run.mask, run.learning_rate, run.seed
