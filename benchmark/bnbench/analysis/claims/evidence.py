"""Which recorded runs count: those at the study's own full settings, on the official data. The others stand apart.

A run counts by what it was, not by what it is called: its setting must be the one the study would run, its variant the
one of the table. Everything else that goes by the name of one of the study's problems (short, tiny, overridden, of
other images) is sorted into bodies of its own, to which the same rules are applied, and which are no evidence.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import get_args

from bnbench.analysis.asked import classes_and_channels, setting_of, versions_of
from bnbench.analysis.comparison import RowKey, rows_of
from bnbench.analysis.frames import Results
from bnbench.analysis.records import RunRecord
from bnbench.claim import Run
from bnbench.components.architectures import ARCHITECTURES, slot_places
from bnbench.components.placements import SlotPlace, parse_placement
from bnbench.data.origin import is_evidence
from bnbench.identity import canonical_json
from bnbench.plan import Origin
from bnbench.problem import Problem, ProblemFile, Size
from bnbench.slot_plan import hashed_variant
from bnbench.study import Study, study_problems

SIZES: tuple[Size, ...] = get_args(Size)

FINGERPRINT_DIGITS = 12
"""Of a data fingerprint, where people read it."""


@dataclass(frozen=True)
class DataUsed:
    """The data that runs were trained on."""

    dataset: str
    fingerprint: str | None
    origin: Origin | None


@dataclass(frozen=True, eq=False)
class Body:
    """Runs that may be looked at together: at most one setting for each problem."""

    label: str
    """What tells them from the study's own full runs; empty for those."""
    size: Size
    problems: Mapping[str, Problem]
    """By the names that the study uses."""
    records: Mapping[str, tuple[RunRecord, ...]]
    """The runs of each problem, by the same names."""
    study: Study
    """Whose runs they are."""

    @property
    def is_evidence(self) -> bool:
        """Whether these are runs at the study's own full settings on the official data."""
        return not self.label

    @property
    def run_count(self) -> int:
        """How many runs there are, each once."""
        return len({record.identity.run_id for records in self.records.values() for record in records})

    def classes(self, problem: str) -> int:
        """C, the number of classes of a problem's data."""
        return classes_and_channels(self.problems[problem])[0]

    def places(self, problem: str) -> tuple[SlotPlace, ...]:
        """The slots of a problem's network, as placements are read with them."""
        layers = ARCHITECTURES.get(self.problems[problem].architecture).layer_table(
            self.classes(problem), self.problems[problem].width
        )
        return slot_places(layers)

    def find(self, run: Run) -> dict[int, RunRecord]:
        """The recorded runs that a claim means, by seed."""
        places = self.places(run.problem)
        variant = self.study.variant(run.variant)
        mask = parse_placement(run.placement, places) if variant.alters_slots else "0" * len(places)
        rate = self.problems[run.problem].training.learning_rate * run.lr_factor
        row = canonical_json(hashed_variant(variant))
        settings = dict.fromkeys(record.identity.setting_id for record in self.records.get(run.problem, ()))
        keys = [RowKey(setting, row, mask, rate) for setting in settings]
        found = [record for key in keys for record in self._rows[run.problem].get(key, ())]
        return {record.identity.seed: record for record in found}

    @cached_property
    def _rows(self) -> dict[str, dict[RowKey, tuple[RunRecord, ...]]]:
        return {problem: rows_of(records) for problem, records in self.records.items()}


def bodies_of_runs(results: Results, study: Study, files: Mapping[str, ProblemFile]) -> tuple[Body, tuple[Body, ...]]:
    """The evidence, which may be empty, and the other bodies of runs of the study's problems, the largest first.

    A training whose folders do not agree on its numbers is in none of them.

    Args:
        results: an opened results folder.
        study: whose problems and settings.
        files: the study's problem files, by the names it uses.

    Raises:
        UserError: a problem's file does not fit the study's overrides.
    """
    ended = [record for record in results.records if record.readable and results.disagreement(record) is None]
    sizes = {
        size: study_problems(study, files, size) for size in SIZES if all(size in file.sizes for file in files.values())
    }
    full = sizes["full"]
    # Setting to its size, and to which of the study's problems it belongs to.
    known: dict[str, Size] = {}
    owners: dict[str, list[str]] = {}
    for size, problems in sizes.items():
        for name, problem in problems.items():
            for data in versions_of(problem, ended):
                setting = setting_of(problem, data)
                known[setting] = size
                owners.setdefault(setting, []).append(name)
    groups: dict[tuple[str, Size], dict[str, list[RunRecord]]] = {}
    names = {problem.name: name for name, problem in full.items()}
    for record in ended:
        setting = record.identity.setting_id
        if setting in known:
            size = known[setting]
            label = _label(size, (), record.data_origin)
        elif record.identity.problem in names and record.identity.size in SIZES:
            size = SIZES[SIZES.index(record.identity.size)]
            label = _label(size, _changes(record), record.data_origin)
        else:
            continue
        for name in owners.get(setting, [names.get(record.identity.problem, "")]):
            groups.setdefault((label, size), {}).setdefault(name, []).append(record)
    bodies = [
        Body((label + more).strip(), size, sizes.get(size, full), part, study)
        for (label, size), by_problem in groups.items()
        for more, part in _one_data_each(by_problem)
    ]
    evidence = next((body for body in bodies if body.is_evidence), Body("", "full", full, {}, study))
    apart = sorted((body for body in bodies if body is not evidence), key=lambda body: (-body.run_count, body.label))
    return evidence, tuple(apart)


def data_used(records: Iterable[RunRecord]) -> tuple[DataUsed, ...]:
    """The data behind some runs, each once, sorted."""
    found = {DataUsed(r.dataset, r.fingerprint, r.data_origin) for r in records}
    return tuple(sorted(found, key=lambda each: (each.dataset, each.fingerprint or "", each.origin or "")))


def _label(size: Size, changes: tuple[str, ...], origin: Origin | None) -> str:
    said: list[str] = [] if size == "full" else [size]
    said += changes
    if not is_evidence(origin):
        said.append("not the official data")
    return ", ".join(said)


def _changes(record: RunRecord) -> tuple[str, ...]:
    """How a run's setting differs from the study's, as far as that is known."""
    if record.overrides is None:
        return (f"setting {record.identity.setting_id}",)
    return record.overrides or ("at the problem file's own settings",)


def _one_data_each(by_problem: Mapping[str, list[RunRecord]]) -> list[tuple[str, dict[str, tuple[RunRecord, ...]]]]:
    """The runs of each problem, apart for each version of the data; what to add to a label where there are several."""
    prints: dict[str, list[str]] = {}
    for record in itertools.chain.from_iterable(by_problem.values()):
        of_dataset = prints.setdefault(record.dataset, [])
        if (record.fingerprint) not in of_dataset:
            of_dataset.append(record.fingerprint)
    parts = []
    for chosen in itertools.product(*(sorted(each) for each in prints.values())):
        version = dict(zip(prints, chosen, strict=True))
        several = [f"{name} {fp[:FINGERPRINT_DIGITS]}" for name, fp in version.items() if len(prints[name]) > 1]
        own = {
            problem: tuple(record for record in records if version[record.dataset] == (record.fingerprint))
            for problem, records in by_problem.items()
        }
        parts.append((f" ({', '.join(several)})" if several else "", own))
    return parts
