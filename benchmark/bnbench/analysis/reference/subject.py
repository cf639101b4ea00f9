"""A recorded run on its way through the check: what it measured, and the stored seeds that it belongs to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

from bnbench.analysis.comparison import RowKey
from bnbench.analysis.frames import Results
from bnbench.analysis.measures import tenth
from bnbench.analysis.records import RunRecord
from bnbench.analysis.reference.spread import SEEDS_FOR_SPREAD, Spread, spreads
from bnbench.analysis.reference.stored import (
    CHECKED_STEPS,
    Reference,
    ReferenceRun,
    setting_differences,
)
from bnbench.analysis.settings import problem_at
from bnbench.components.architectures import ARCHITECTURES, slot_places
from bnbench.components.placements import parse_placement
from bnbench.identity import setting_of
from bnbench.problem import Metric
from bnbench.storage.document import RunDocument

METRICS: tuple[Metric, ...] = ("loss", "accuracy")

CurvePoint = tuple[str, str, int]
"""(split, statistics, epoch)"""


@dataclass(eq=False)
class ReferenceGroup:
    """The stored seeds of one variant, and how far they spread."""

    reference: Reference
    runs: tuple[ReferenceRun, ...]
    spreads: dict[Metric, dict[CurvePoint, Spread]] = field(default_factory=dict)
    finals: dict[Metric, dict[tuple[str, str], Spread]] = field(default_factory=dict)


@dataclass(eq=False)
class Subject:
    """A recorded run on its way through the check."""

    record: RunRecord
    document: RunDocument
    reference: Reference | None
    why_not: str | None
    wrong: bool
    key: RowKey
    curve: dict[Metric, dict[CurvePoint, float]] = field(default_factory=dict)
    batch_losses: dict[int, float] = field(default_factory=dict)
    group: ReferenceGroup | None = None

    @cached_property
    def twin(self) -> ReferenceRun | None:
        """The stored run of the same seed."""
        runs = () if self.group is None else self.group.runs
        return next((run for run in runs if run.seed == self.record.identity.seed), None)

    @cached_property
    def points(self) -> list[tuple[Metric, CurvePoint, Spread]]:
        """What is compared with a band: every point after epoch 0 that the reference has a spread for."""
        if self.group is None or self.record.status != "finished":
            return []
        return [
            (metric, point, spread) for metric, table in self.group.spreads.items() for point, spread in table.items()
        ]


def as_subject(
    record: RunRecord,
    document: RunDocument,
    references: Sequence[Reference],
    complete: bool,
    disagreement: str | None = None,
) -> Subject:
    """A recorded run beside the reference that it belongs to, or the reason why there is none.

    Args:
        record: the run.
        document: its `run.json`.
        references: all that are stored.
        complete: whether it is wrong that there is none.
        disagreement: what the folders of its training do not agree on: then nothing is compared.
    """
    key = RowKey.of(record.identity, record.variant_row)
    subject = Subject(record, document, None, None, False, key)
    found = next((each for each in references if key in each.groups), None)
    if record.status == "failed":
        subject.why_not = f"training failed: {(record.error or '').strip().splitlines()[-1]}"
        subject.wrong = True
    elif not record.readable:
        subject.why_not, subject.wrong = "its tables are missing or damaged", True
    elif disagreement is not None:
        subject.why_not = disagreement
        found = None
    elif found is None:
        subject.why_not = _no_reference(record, document, references)
        subject.wrong = complete or _stands_for_its_problem(record, references)
    subject.reference = None if subject.wrong else found
    return subject


def _no_reference(record: RunRecord, document: RunDocument, references: Sequence[Reference]) -> str:
    """Why there is nothing to compare with, as exactly as it can be said."""
    identity = record.identity
    same = [each for each in references if (each.problem, each.size) == (identity.problem, identity.size)]
    if not same:
        return f"no reference of {identity.problem} at size {identity.size}"
    differing = setting_differences(setting_of(document.spec), same[0].setting)
    if differing:
        return f"the reference was made with another setting: {'; '.join(differing)}"
    rates = sorted({key.learning_rate for key in same[0].groups})
    if identity.learning_rate not in rates:
        return f"the reference has learning rate {', '.join(f'{rate:g}' for rate in rates)}"
    return "the reference has no such variant and placement"


def _stands_for_its_problem(record: RunRecord, references: Sequence[Reference]) -> bool:
    """Whether a run is exactly what its problem file asks for, and that problem has a reference: an outdated one."""
    identity = record.identity
    problem = problem_at(identity.problem, identity.size)
    if problem is None or record.overrides != () or identity.learning_rate != problem.training.learning_rate:
        return False
    stored = [each for each in references if (each.problem, each.size) == (identity.problem, identity.size)]
    variants = {run.variant for each in stored for runs in each.groups.values() for run in runs}
    layers = ARCHITECTURES.get(problem.architecture).layer_table(2, problem.width)
    default = parse_placement(problem.placements[0], slot_places(layers))
    return identity.variant in variants and identity.mask in {default, "0" * len(default)}


def load_measured(results: Results, subjects: Sequence[Subject]) -> None:
    """Read what the runs measured, and the spread of their references."""
    if not subjects:
        return
    run_ids = [subject.record.identity.run_id for subject in subjects]
    columns = ["run_id", "epoch", "split", "statistics", "loss", "accuracy"]
    curves = _split_by_run(results.curves(columns=columns, run_id=run_ids))
    steps = _split_by_run(
        results.steps(columns=["run_id", "step", "batch_loss"], run_id=run_ids, step=list(CHECKED_STEPS))
    )
    groups: dict[RowKey, ReferenceGroup] = {}
    for reference in {id(subject.reference): subject.reference for subject in subjects}.values():
        assert reference is not None
        groups |= _reference_groups(reference)
    for subject in subjects:
        run_id = subject.record.identity.run_id
        subject.curve = points_of(curves[run_id]) if run_id in curves else {}
        subject.batch_losses = batch_losses_of(steps[run_id]) if run_id in steps else {}
        subject.group = groups[subject.key]


def _split_by_run(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    return {str(run_id): rows for run_id, rows in frame.groupby("run_id", observed=True)}


def points_of(curve: pd.DataFrame) -> dict[Metric, dict[CurvePoint, float]]:
    """The values of one run's curves, by metric and place."""
    places = list(zip(curve["split"], curve["statistics"], curve["epoch"].astype(int), strict=True))
    return {
        metric: {
            (str(split), str(statistics), epoch): float(value)
            for (split, statistics, epoch), value in zip(places, curve[metric], strict=True)
        }
        for metric in METRICS
    }


def batch_losses_of(steps: pd.DataFrame) -> dict[int, float]:
    """Step to batch loss."""
    return {int(step): float(loss) for step, loss in zip(steps["step"], steps["batch_loss"], strict=True)}


def _reference_groups(reference: Reference) -> dict[RowKey, ReferenceGroup]:
    """Every group of a reference with its spread; variances are moderated over all its curves of one metric."""
    groups = {key: ReferenceGroup(reference, runs) for key, runs in reference.groups.items()}
    for metric in METRICS:
        rows: list[tuple[ReferenceGroup, CurvePoint | tuple[str, str], list[float]]] = []
        for group in groups.values():
            if len(group.runs) < SEEDS_FOR_SPREAD or any(run.status != "finished" for run in group.runs):
                continue
            seeds = [points_of(reference.curves(run))[metric] for run in group.runs]
            rows += [
                (group, point, [seed[point] for seed in seeds])
                for point in seeds[0]
                if point[2] > 0 and all(math.isfinite(seed.get(point, math.nan)) for seed in seeds)
            ]
            curves = [final_values(seed) for seed in seeds]
            rows += [
                (group, curve, [seed[curve] for seed in curves])
                for curve in curves[0]
                if all(math.isfinite(seed[curve]) for seed in curves)
            ]
        for count in {len(values) for _, _, values in rows}:
            alike = [row for row in rows if len(row[2]) == count]
            for (group, place, _), spread in zip(alike, spreads(metric, [row[2] for row in alike]), strict=True):
                if len(place) == 3:
                    group.spreads.setdefault(metric, {})[place] = spread
                else:
                    group.finals.setdefault(metric, {})[place] = spread
    return groups


def final_values(curve: dict[CurvePoint, float]) -> dict[tuple[str, str], float]:
    """The final value of each curve: the mean over the last tenth of the epochs (docs: `analysis.measures`)."""
    epochs = max(epoch for _, _, epoch in curve)
    first = epochs - tenth(epochs) + 1
    tails: dict[tuple[str, str], list[float]] = {}
    for (split, statistics, epoch), value in curve.items():
        if epoch >= max(first, 1):
            tails.setdefault((split, statistics), []).append(value)
    return {curve_name: float(np.mean(values)) for curve_name, values in tails.items()}
