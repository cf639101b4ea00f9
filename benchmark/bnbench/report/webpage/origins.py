"""Where the numbers come from: data and their fingerprints, settings, software and machine, and every run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import JsonValue

from bnbench.analysis.frames import Results
from bnbench.analysis.ranking import Ranking
from bnbench.analysis.records import RunRecord
from bnbench.analysis.table import Cell, Column, Kind, Table, Tone, Value, fixed, rate, short, whole
from bnbench.data.origin import is_evidence, origin_in_words
from bnbench.identity import canonical_json, setting_of
from bnbench.plan import Origin
from bnbench.storage.document import RunDocument

_SETTING_FIELDS = ("architecture", "width", "precision", "split_seed", "numerics")


def data_table(records: Sequence[RunRecord]) -> Table:
    """Every data set that was trained on, told apart by what its pixels and labels are."""
    runs: dict[tuple[str, str | None, Origin | None], int] = {}
    for record in records:
        key = (record.dataset, record.fingerprint, record.data_origin)
        runs[key] = runs.get(key, 0) + 1
    rows = [
        (
            name,
            fingerprint or Cell(None, "not recorded"),
            _origin(name, fingerprint, origin),
            number_of_runs,
        )
        for (name, fingerprint, origin), number_of_runs in sorted(runs.items(), key=lambda item: str(item[0]))
    ]
    return Table(
        name="data",
        title="Data",
        columns=(
            Column("data_set", "data set"),
            Column("fingerprint", "fingerprint", Kind.IDENTIFIER, hint="SHA-256 of pixels and labels"),
            Column("origin", "origin", hint="What kind of copy of the published data these are"),
            Column("runs", "runs", Kind.NUMBER, show=whole),
        ),
        rows=tuple(rows),
        notes=(
            "The fingerprint is the SHA-256 of pixels and labels. Runs on another copy are no evidence of a claim. "
            "Runs on data of different fingerprints are never compared without saying so.",
        ),
    )


def _origin(dataset: str, fingerprint: str | None, origin: Origin | None) -> Cell:
    said = origin_in_words(dataset, origin, fingerprint)
    return Cell(said, tone=None if is_evidence(origin) else Tone.WARNING)


def settings_table(documents: Sequence[RunDocument]) -> Table:
    """What every setting is made of: one column for each, one row for each field."""
    settings: dict[str, dict[str, str]] = {}
    for document in documents:
        settings.setdefault(document.setting_id, _setting(document))
    fields = list(dict.fromkeys(name for own in settings.values() for name in own))
    return Table(
        name="settings",
        title="Settings: only runs that share one are averaged, paired and ranked together",
        columns=(Column("field", "field"), *(Column(each, each, Kind.IDENTIFIER) for each in settings)),
        rows=tuple((name, *(own.get(name) for own in settings.values())) for name in fields),
    )


def environments_table(documents: Sequence[RunDocument]) -> Table:
    """Software, machine and commit: a column for each combination that occurred."""
    found: dict[str, dict[str, str]] = {}
    runs: dict[str, int] = {}
    for document in documents:
        facts = _flat({name: value for name, value in document.provenance.items() if name != "data"})
        key = canonical_json(facts)
        found.setdefault(key, facts)
        runs[key] = runs.get(key, 0) + 1
    fields = list(dict.fromkeys(name for facts in found.values() for name in facts))
    order = sorted(found, key=lambda key: -runs[key])
    headings = [f"environment {place}" if len(order) > 1 else "value" for place in range(1, len(order) + 1)]
    return Table(
        name="environments",
        title="Software and machine",
        columns=(
            Column("fact", "fact"),
            *(
                Column(f"environment_{place}", heading, Kind.IDENTIFIER)
                for place, heading in enumerate(headings, start=1)
            ),
        ),
        rows=(
            ("runs", *(str(runs[key]) for key in order)),
            *((name, *(found[key].get(name) for key in order)) for name in fields),
        ),
    )


_RUN_COLUMNS = (
    Column("run", "run", Kind.IDENTIFIER),
    Column("status", "status"),
    Column("problem", "problem"),
    Column("size", "size"),
    Column("variant", "variant", Kind.SYMBOL),
    Column("placement", "placement"),
    Column("mask", "mask", Kind.IDENTIFIER),
    Column("learning_rate", "learning rate", Kind.NUMBER, show=rate),
    Column("seed", "seed", Kind.NUMBER, show=str),
    Column("epochs", "epochs", Kind.NUMBER, show=whole),
    Column("train_loss", "train loss", Kind.NUMBER, show=short),
    Column("train_accuracy", "train accuracy", Kind.NUMBER, show=fixed(3)),
    Column("test_accuracy", "test accuracy", Kind.NUMBER, show=fixed(3)),
    Column("seconds", "seconds", Kind.NUMBER, show=whole),
    Column("device", "device"),
    Column("changed", "changed"),
)


def every_run_table(results: Results, ranking: Ranking, symbols: Mapping[str, str]) -> Table:
    """One row for each run that ended."""
    timing = results.timing(columns=["run_id", "train_s", "eval_s"])
    seconds = timing.groupby("run_id", observed=True)[["train_s", "eval_s"]].sum().sum(axis=1).to_dict()
    measured = {run.run.run_id: run.measures for group in ranking.groups for row in group.rows for run in row.runs}
    rows: list[tuple[Value | Cell, ...]] = []
    for record in results.records:
        own = record.identity
        values = measured.get(own.run_id)
        status = record.status
        at = "" if record.diverged_at_step is None else f" at step {record.diverged_at_step}"
        rows.append(
            (
                own.run_id,
                Cell(f"{status}{at}", tone=None if status == "finished" else Tone.WARNING),
                own.problem,
                own.size,
                Cell(own.variant, symbols.get(own.variant, own.variant)),
                own.placement,
                own.mask,
                own.learning_rate,
                own.seed,
                record.epochs,
                None if values is None else values.final_train_loss,
                None if values is None else values.final_train_accuracy,
                None if values is None else values.final_test_accuracy,
                seconds.get(own.run_id),
                record.device,
                ", ".join(record.overrides or ()) or None,
            )
        )
    return Table(
        name="runs",
        title="Every run that ended",
        columns=_RUN_COLUMNS,
        rows=tuple(rows),
        notes=("Loss and accuracy: mean over the last tenth of the epochs. Seconds: training and evaluation.",),
    )


def _setting(document: RunDocument) -> dict[str, str]:
    shared = setting_of(document.spec)
    facts = {"problem": document.problem, "size": document.size, "data": document.specification.data.name}
    facts |= {field: str(shared[field]) for field in _SETTING_FIELDS if field in shared}
    for part in ("training", "augmentation", "evaluation"):
        facts |= _flat({part: shared.get(part, {})})
    return facts


def _flat(facts: Mapping[str, JsonValue], prefix: str = "") -> dict[str, str]:
    """Nested facts under dotted names."""
    found: dict[str, str] = {}
    for name, value in facts.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = _plain(value)
    return found


def _plain(value: JsonValue) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "not known" if value is None else str(value)
