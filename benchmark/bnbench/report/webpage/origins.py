"""Where the numbers come from: data and their fingerprints, settings, software and machine, and every run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import JsonValue

from bnbench.analysis.frames import Results, RunRecord
from bnbench.analysis.ranking import Ranking
from bnbench.data.origin import is_evidence, origin_in_words
from bnbench.plan import Origin, canonical_json
from bnbench.report.webpage.comparisons import Commands
from bnbench.report.webpage.markup import Cell, Column, Table, code, count, empty, number, symbol, tag, text, words
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
            words(name),
            code(fingerprint) if fingerprint else empty("not recorded"),
            _origin(name, fingerprint, origin),
            count(number_of_runs),
        )
        for (name, fingerprint, origin), number_of_runs in sorted(runs.items(), key=lambda item: str(item[0]))
    ]
    return Table(
        name="data",
        caption=text("Data"),
        columns=(
            Column(text("data set"), "data_set"),
            Column(text("fingerprint"), "fingerprint", hint="SHA-256 of pixels and labels"),
            Column(text("origin"), "origin", hint="What kind of copy of the published data these are"),
            Column(text("runs"), "runs", number=True),
        ),
        rows=tuple(rows),
        notes=(
            text(
                "The fingerprint is the SHA-256 of pixels and labels. Runs on another copy are no evidence of a claim. "
                "Runs on data of different fingerprints are never compared without saying so."
            ),
        ),
    )


def _origin(dataset: str, fingerprint: str | None, origin: Origin | None) -> Cell:
    said = origin_in_words(dataset, origin, fingerprint)
    return words(said) if is_evidence(origin) else Cell(tag("span", text(said), class_="warning"), said)


def settings_table(documents: Sequence[RunDocument]) -> Table:
    """What every setting is made of: one column for each, one row for each field."""
    settings: dict[str, dict[str, str]] = {}
    for document in documents:
        settings.setdefault(document.setting_id, _setting(document.spec))
    fields = list(dict.fromkeys(name for own in settings.values() for name in own))
    return Table(
        name="settings",
        caption=text("Settings: only runs that share one are averaged, paired and ranked together"),
        columns=(Column(text("field"), "field"), *(Column(code(each).shown, each) for each in settings)),
        rows=tuple(
            (words(name), *(words(own[name]) if name in own else empty() for own in settings.values()))
            for name in fields
        ),
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
    return Table(
        name="environments",
        caption=text("Software and machine"),
        columns=(
            Column(text("fact"), "fact"),
            *(
                Column(text(f"environment {place}" if len(order) > 1 else "value"), f"environment_{place}")
                for place in range(1, len(order) + 1)
            ),
        ),
        rows=(
            (words("runs"), *(Cell(text(runs[key]), str(runs[key])) for key in order)),
            *(
                (words(name), *(code(found[key][name]) if name in found[key] else empty() for key in order))
                for name in fields
            ),
        ),
    )


def every_run_table(results: Results, ranking: Ranking, symbols: Mapping[str, str], commands: Commands) -> Table:
    """One row for each run that ended."""
    timing = results.timing(columns=["run_id", "train_s", "eval_s"])
    seconds = timing.groupby("run_id", observed=True)[["train_s", "eval_s"]].sum().sum(axis=1).to_dict()
    measured = {run.run.run_id: run.measures for group in ranking.groups for row in group.rows for run in row.runs}
    rows = []
    for record in results.records:
        own = record.identity
        values = measured.get(own.run_id)
        status = record.status if record.readable or record.status == "failed" else "damaged"
        at = "" if record.diverged_at_step is None else f" at step {record.diverged_at_step}"
        changed = ", ".join(record.overrides or ())
        rows.append(
            (
                code(own.run_id),
                Cell(
                    text(f"{status}{at}")
                    if status == "finished"
                    else tag("span", text(f"{status}{at}"), class_="warning"),
                    f"{status}{at}",
                ),
                words(own.problem),
                words(own.size),
                Cell(symbol(symbols.get(own.variant, own.variant)), own.variant),
                words(own.placement),
                code(own.mask),
                Cell(text(f"{own.learning_rate:.4g}"), repr(own.learning_rate), number=True),
                Cell(text(own.seed), str(own.seed), number=True),
                count(record.epochs),
                number(None if values is None else values.final_train_loss),
                number(None if values is None else values.final_train_accuracy),
                number(None if values is None else values.final_test_accuracy),
                number(seconds.get(own.run_id), 0),
                words(record.device),
                words(changed) if changed else Cell(text("–"), ""),
            )
        )
    names = (
        "run",
        "status",
        "problem",
        "size",
        "variant",
        "placement",
        "mask",
        "learning rate",
        "seed",
        "epochs",
        "train loss",
        "train accuracy",
        "test accuracy",
        "seconds",
        "device",
        "changed",
    )
    numbers = {"learning rate", "seed", "epochs", "train loss", "train accuracy", "test accuracy", "seconds"}
    return Table(
        name="runs",
        caption=text("Every run that ended"),
        columns=tuple(Column(text(name), name.replace(" ", "_"), number=name in numbers) for name in names),
        rows=tuple(rows),
        notes=(text("Loss and accuracy: mean over the last tenth of the epochs. Seconds: training and evaluation."),),
        command=commands.line("status", "--runs"),
    )


def _setting(spec: Mapping[str, JsonValue]) -> dict[str, str]:
    data = spec.get("data")
    name = data.get("name") if isinstance(data, dict) else None
    facts = {"problem": str(spec.get("problem")), "size": str(spec.get("size")), "data": str(name)}
    facts |= {field: str(spec[field]) for field in _SETTING_FIELDS if field in spec}
    for part in ("training", "augmentation", "snapshots"):
        inside = spec.get(part)
        facts |= _flat({part: inside}) if isinstance(inside, dict) else {}
    # The learning rate is what the experiments vary: it is not a matter of the setting.
    return {key: value for key, value in facts.items() if key != "training.learning_rate"}


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
