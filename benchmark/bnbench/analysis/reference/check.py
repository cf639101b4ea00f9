"""The reference check: recorded runs against stored ones, in three tiers, each of which sees what the others cannot.

- *bits*: under the same circumstances (machine, versions, threads) the same run gives the same bits.
- *start*: what has hardly been through rounding must agree everywhere: the loss before the first step, on every split,
  and the batch loss of the first updates.
- *spread*: what rounding has amplified must still look like another seed: each curve inside a band over the
  reference's seeds, final values by a two-sample test, with a stated false-alarm rate (`spread`).

What none of them sees is listed in docs/reference-check.md.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

import numpy as np
import pandas as pd

from bnbench.analysis.frames import Results, RunRecord
from bnbench.analysis.measures import tenth
from bnbench.analysis.reference.platform import circumstances_that_differ
from bnbench.analysis.reference.spread import FALSE_ALARM_RATE, SEEDS_FOR_SPREAD, Spread, spreads
from bnbench.analysis.reference.stored import (
    CHECKED_STEPS,
    GroupKey,
    Reference,
    ReferenceRun,
    setting_differences,
    shared_setting,
)
from bnbench.analysis.settings import problem_at
from bnbench.architecture import ARCHITECTURES, slot_names
from bnbench.placement import parse_placement
from bnbench.plan import RunIdentity
from bnbench.problem import Metric
from bnbench.storage.digests import REPEATABLE, run_digests
from bnbench.storage.document import RunDocument
from bnbench.storage.store import ResultStore

START_TOLERANCE = 1e-5
"""Relative difference of two losses up to which they agree."""
TOLERANCE_ELSEWHERE = {1: 3e-5, 5: 0.5}
"""The same for the batch loss at these steps where machine or versions differ: a ReLU or a maximum that tips over on
the last bit amplifies rounding at once. What was measured is in docs/reference-check.md."""
METRICS: tuple[Metric, ...] = ("loss", "accuracy")


class Tier(StrEnum):
    """One way of comparing."""

    BITS = "bits"
    START = "start"
    SPREAD = "spread"


@dataclass(frozen=True)
class Difference:
    """One comparison that failed."""

    tier: Tier
    what: str
    """E.g. "batch loss at step 5"."""
    obtained: str
    expected: str
    difference: str


@dataclass(frozen=True)
class TierOutcome:
    """What one tier says of a run."""

    tier: Tier
    compared: int
    """Comparisons made; none where the tier does not apply."""
    why_not: str | None
    """Why the tier does not apply."""
    differences: tuple[Difference, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether anything differs."""
        return bool(self.differences)


@dataclass(frozen=True)
class RunCheck:
    """One recorded run, compared."""

    identity: RunIdentity
    reference: Reference | None
    """What it was compared with; None: nothing to compare with."""
    outcomes: tuple[TierOutcome, ...]
    why_not: str | None = None
    """Why there is nothing to compare with, or why that is wrong."""
    wrong: bool = False
    """Whether that there is nothing to compare with is itself a failure."""

    @property
    def failed(self) -> bool:
        """Whether any tier failed, or a comparison that has to be possible is not."""
        return self.wrong or any(outcome.failed for outcome in self.outcomes)

    @property
    def compared(self) -> bool:
        """Whether anything was compared at all."""
        return any(outcome.compared for outcome in self.outcomes)

    @property
    def differences(self) -> tuple[Difference, ...]:
        """All that failed."""
        return tuple(difference for outcome in self.outcomes for difference in outcome.differences)


@dataclass(frozen=True)
class FinalCheck:
    """The final values of several seeds of one variant against those of the reference's seeds."""

    identity: RunIdentity
    """Of the first of the runs."""
    seeds: int
    reference_seeds: int
    compared: int
    differences: tuple[Difference, ...]

    @property
    def failed(self) -> bool:
        """Whether a final value differs."""
        return bool(self.differences)


@dataclass(frozen=True)
class CheckReport:
    """The whole check."""

    tiers: tuple[Tier, ...]
    runs: tuple[RunCheck, ...]
    finals: tuple[FinalCheck, ...]
    bands: int
    """Points of curves that were compared with a band."""
    references: tuple[Reference, ...]
    """Those that were compared with."""

    @property
    def differs(self) -> bool:
        """Whether a run or its final values failed."""
        return any(run.failed for run in self.runs) or any(final.failed for final in self.finals)

    @property
    def failed(self) -> bool:
        """Whether anything failed, or nothing was compared."""
        return self.nothing or self.differs

    @property
    def nothing(self) -> bool:
        """Whether no run could be compared with anything."""
        return not any(run.compared for run in self.runs)

    @property
    def band_level(self) -> float:
        """The chance of a value outside one band."""
        return FALSE_ALARM_RATE / 2 / max(1, self.bands)

    @property
    def final_level(self) -> float:
        """The p below which one two-sample test fails."""
        return FALSE_ALARM_RATE / 2 / max(1, sum(final.compared for final in self.finals))


def check_results(
    results: Results,
    references: Sequence[Reference],
    *,
    tiers: Collection[Tier] = tuple(Tier),
    problems: Collection[str] = (),
    size: str | None = None,
    complete: bool = False,
) -> CheckReport:
    """Compare every recorded run that has a reference.

    Args:
        results: an opened results folder.
        references: stored results; see `read_references`.
        tiers: which comparisons to make.
        problems: only these; all if empty.
        size: only this size; any if None.
        complete: whether a run without a reference is a failure, as it is for runs made in order to be checked.

    Raises:
        UserError: a table or a reference is damaged.
    """
    store = ResultStore(results.path)
    documents = {document.run_id: document for document in store.documents()}
    chosen = [
        record
        for record in results.records
        if (not problems or record.identity.problem in problems) and size in {None, record.identity.size}
    ]
    subjects = [_subject(record, documents[record.identity.run_id], references, complete) for record in chosen]
    _load(results, [subject for subject in subjects if subject.reference is not None])
    bands = sum(len(subject.points) for subject in subjects) if Tier.SPREAD in tiers else 0
    level = FALSE_ALARM_RATE / 2 / max(1, bands)
    runs = [_check_run(subject, store, tiers, level) for subject in subjects]
    finals = _check_finals(subjects) if Tier.SPREAD in tiers else []
    used = {id(subject.reference): subject.reference for subject in subjects if subject.reference is not None}
    return CheckReport(
        tiers=tuple(tier for tier in Tier if tier in tiers),
        runs=tuple(sorted(runs, key=lambda run: _order(run.identity))),
        finals=tuple(sorted(finals, key=lambda final: _order(final.identity))),
        bands=bands,
        references=tuple(sorted(used.values(), key=lambda each: (each.problem, each.size))),
    )


CurvePoint = tuple[str, str, int]
"""(split, statistics, epoch)"""


@dataclass(eq=False)
class _ReferenceGroup:
    """The stored seeds of one variant, and how far they spread."""

    reference: Reference
    runs: tuple[ReferenceRun, ...]
    spreads: dict[Metric, dict[CurvePoint, Spread]] = field(default_factory=dict)
    finals: dict[Metric, dict[tuple[str, str], Spread]] = field(default_factory=dict)


@dataclass(eq=False)
class _Subject:
    """A recorded run on its way through the check."""

    record: RunRecord
    document: RunDocument
    reference: Reference | None
    why_not: str | None
    wrong: bool
    key: GroupKey
    curve: dict[Metric, dict[CurvePoint, float]] = field(default_factory=dict)
    batch_losses: dict[int, float] = field(default_factory=dict)
    group: _ReferenceGroup | None = None

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


def _subject(record: RunRecord, document: RunDocument, references: Sequence[Reference], complete: bool) -> _Subject:
    key = GroupKey.of(record.identity, record.variant_row)
    subject = _Subject(record, document, None, None, False, key)
    found = next((each for each in references if key in each.groups), None)
    if record.status == "failed":
        subject.why_not = f"training failed: {(record.error or '').strip().splitlines()[-1]}"
        subject.wrong = True
    elif not record.readable:
        subject.why_not, subject.wrong = "its tables are missing or damaged", True
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
    differing = setting_differences(shared_setting(document.spec), same[0].setting)
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
    layers = ARCHITECTURES.get(problem.architecture).layers(2, problem.width)
    default = parse_placement(problem.placements[0], slot_names(layers))
    return identity.variant in variants and identity.mask in {default, "0" * len(default)}


def _load(results: Results, subjects: Sequence[_Subject]) -> None:
    """Read what the runs measured, and the spread of their references."""
    if not subjects:
        return
    run_ids = [subject.record.identity.run_id for subject in subjects]
    columns = ["run_id", "epoch", "split", "statistics", "loss", "accuracy"]
    curves = _split_by_run(results.curves(columns=columns, run_id=run_ids))
    steps = _split_by_run(
        results.steps(columns=["run_id", "step", "batch_loss"], run_id=run_ids, step=list(CHECKED_STEPS))
    )
    groups: dict[GroupKey, _ReferenceGroup] = {}
    for reference in {id(subject.reference): subject.reference for subject in subjects}.values():
        assert reference is not None
        groups |= _reference_groups(reference)
    for subject in subjects:
        run_id = subject.record.identity.run_id
        subject.curve = _points(curves[run_id]) if run_id in curves else {}
        subject.batch_losses = _batch_losses(steps[run_id]) if run_id in steps else {}
        subject.group = groups[subject.key]


def _split_by_run(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    return {str(run_id): rows for run_id, rows in frame.groupby("run_id", observed=True)}


def _points(curve: pd.DataFrame) -> dict[Metric, dict[CurvePoint, float]]:
    places = list(zip(curve["split"], curve["statistics"], curve["epoch"].astype(int), strict=True))
    return {
        metric: {
            (str(split), str(statistics), epoch): float(value)
            for (split, statistics, epoch), value in zip(places, curve[metric], strict=True)
        }
        for metric in METRICS
    }


def _batch_losses(steps: pd.DataFrame) -> dict[int, float]:
    return {int(step): float(loss) for step, loss in zip(steps["step"], steps["batch_loss"], strict=True)}


def _reference_groups(reference: Reference) -> dict[GroupKey, _ReferenceGroup]:
    """Every group of a reference with its spread; variances are moderated over all its curves of one metric."""
    groups = {key: _ReferenceGroup(reference, runs) for key, runs in reference.groups.items()}
    for metric in METRICS:
        rows: list[tuple[_ReferenceGroup, CurvePoint | tuple[str, str], list[float]]] = []
        for group in groups.values():
            if len(group.runs) < SEEDS_FOR_SPREAD or any(run.status != "finished" for run in group.runs):
                continue
            seeds = [_points(reference.curves(run))[metric] for run in group.runs]
            rows += [
                (group, point, [seed[point] for seed in seeds])
                for point in seeds[0]
                if point[2] > 0 and all(math.isfinite(seed.get(point, math.nan)) for seed in seeds)
            ]
            curves = [_final(seed) for seed in seeds]
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


def _final(curve: dict[CurvePoint, float]) -> dict[tuple[str, str], float]:
    """The final value of each curve: the mean over the last tenth of the epochs (docs: `analysis.measures`)."""
    epochs = max(epoch for _, _, epoch in curve)
    first = epochs - tenth(epochs) + 1
    tails: dict[tuple[str, str], list[float]] = {}
    for (split, statistics, epoch), value in curve.items():
        if epoch >= max(first, 1):
            tails.setdefault((split, statistics), []).append(value)
    return {curve_name: float(np.mean(values)) for curve_name, values in tails.items()}


def _check_run(subject: _Subject, store: ResultStore, tiers: Collection[Tier], level: float) -> RunCheck:
    identity = subject.record.identity
    if subject.reference is None:
        return RunCheck(identity, None, (), subject.why_not, subject.wrong)
    differing = circumstances_that_differ(subject.document.provenance, subject.reference.provenance)
    outcomes: list[TierOutcome] = []
    if Tier.BITS in tiers:
        outcomes.append(_check_bits(subject, store, differing))
    if Tier.START in tiers:
        outcomes.append(_check_start(subject, same_circumstances=not differing))
    if Tier.SPREAD in tiers:
        outcomes.append(_check_spread(subject, level))
    return RunCheck(identity, subject.reference, tuple(outcomes))


def _check_bits(subject: _Subject, store: ResultStore, differing: Sequence[str]) -> TierOutcome:
    if subject.twin is None:
        return TierOutcome(Tier.BITS, 0, f"the reference has no seed {subject.record.identity.seed}")
    if differing:
        return TierOutcome(Tier.BITS, 0, f"computed under other circumstances: {'; '.join(differing)}")
    found = run_digests(store, subject.record.identity.run_id)
    differences = tuple(
        Difference(Tier.BITS, f"SHA-256 of {table}", found[table][:16], subject.twin.digests[table][:16], "other bits")
        for table in REPEATABLE
        if found[table] != subject.twin.digests[table]
    )
    return TierOutcome(Tier.BITS, len(REPEATABLE), None, differences)


def _check_start(subject: _Subject, *, same_circumstances: bool) -> TierOutcome:
    reference, twin = subject.reference, subject.twin
    if reference is None or twin is None:
        return TierOutcome(Tier.START, 0, f"the reference has no seed {subject.record.identity.seed}")
    pairs: list[tuple[str, float | None, float, float]] = []
    stored = _points(reference.curves(twin))["loss"]
    ours = subject.curve.get("loss", {})
    for point, expected in stored.items():
        split, statistics, epoch = point
        if epoch == 0:
            name = f"{split} loss before training" + ("" if statistics == "running" else f" ({statistics} statistics)")
            pairs.append((name, ours.get(point), expected, START_TOLERANCE))
    for step, expected in _batch_losses(reference.batch_losses(twin)).items():
        elsewhere = TOLERANCE_ELSEWHERE.get(step, START_TOLERANCE)
        tolerance = START_TOLERANCE if same_circumstances else elsewhere
        pairs.append((f"batch loss at step {step}", subject.batch_losses.get(step), expected, tolerance))
    failed = [_relative(*pair) for pair in pairs]
    return TierOutcome(Tier.START, len(pairs), None, tuple(each for each in failed if each is not None))


def _relative(what: str, obtained: float | None, expected: float, tolerance: float) -> Difference | None:
    """The difference of two losses, where it is more than rounding explains."""
    if obtained is None:
        return Difference(Tier.START, what, "nothing recorded", f"{expected:.7g}", "")
    if _agree(obtained, expected, tolerance):
        return None
    gap = obtained - expected
    relative = abs(gap) / abs(expected) if expected and math.isfinite(gap) else math.inf
    told = f"{gap:+.2g} ({relative:.1e} relative, {tolerance:.0e} allowed)"
    return Difference(Tier.START, what, f"{obtained:.7g}", f"{expected:.7g}", told)


def _agree(obtained: float, expected: float, tolerance: float) -> bool:
    if not math.isfinite(obtained) or not math.isfinite(expected):
        return math.isnan(obtained) == math.isnan(expected) and (math.isnan(obtained) or obtained == expected)
    return abs(obtained - expected) <= tolerance * abs(expected)


def _check_spread(subject: _Subject, level: float) -> TierOutcome:
    assert subject.group is not None
    statuses = [run.status for run in subject.group.runs]
    diverged = statuses.count("diverged")
    if 0 < diverged < len(statuses):
        return TierOutcome(Tier.SPREAD, 0, f"{diverged} of the reference's {len(statuses)} seeds diverged")
    if subject.record.status != statuses[0]:
        ending = Difference(Tier.SPREAD, "how the run ended", subject.record.status, statuses[0], "")
        return TierOutcome(Tier.SPREAD, 1, None, (ending,))
    if diverged:
        return TierOutcome(Tier.SPREAD, 1, None)
    if len(statuses) < SEEDS_FOR_SPREAD:
        return TierOutcome(Tier.SPREAD, 0, f"the reference has {len(statuses)} seeds, a band needs {SEEDS_FOR_SPREAD}")
    outside = [_outside(subject, metric, point, spread, level) for metric, point, spread in subject.points]
    return TierOutcome(Tier.SPREAD, len(outside), None, tuple(each for each in outside if each is not None))


def _outside(subject: _Subject, metric: Metric, point: CurvePoint, spread: Spread, level: float) -> Difference | None:
    split, statistics, epoch = point
    value = subject.curve.get(metric, {}).get(point)
    if value is not None and math.isfinite(value) and spread.contains(value, level):
        return None
    low, high = spread.band(level)
    name = f"{_curve_name(split, statistics, metric)} at epoch {epoch}"
    if value is None:
        return Difference(Tier.SPREAD, name, "nothing recorded", f"{low:.4g} … {high:.4g}", "")
    edge = low if value < low else high
    return Difference(Tier.SPREAD, name, f"{value:.4g}", f"{low:.4g} … {high:.4g}", f"{value - edge:+.2g} outside")


def _curve_name(split: str, statistics: str, metric: str) -> str:
    return f"{split} {metric}" + ("" if statistics == "running" else f" ({statistics} statistics)")


def _check_finals(subjects: Iterable[_Subject]) -> list[FinalCheck]:
    """Two-sample tests, where there are at least two seeds; with one, the band is the test."""
    by_key: dict[GroupKey, list[_Subject]] = {}
    for subject in subjects:
        if subject.group is not None and subject.group.finals and subject.record.status == "finished":
            by_key.setdefault(subject.key, []).append(subject)
    samples: list[tuple[_Subject, list[tuple[str, Spread, list[float]]], int]] = []
    for members in by_key.values():
        group = members[0].group
        if len(members) < 2 or group is None:
            continue
        tests: list[tuple[str, Spread, list[float]]] = []
        for metric, table in group.finals.items():
            finals = [_final(member.curve[metric]) for member in members]
            for (split, statistics), spread in table.items():
                values = [final.get((split, statistics), math.nan) for final in finals]
                tests.append((_curve_name(split, statistics, metric), spread, values))
        samples.append((members[0], tests, len(members)))
    level = FALSE_ALARM_RATE / 2 / max(1, sum(len(tests) for _, tests, _ in samples))
    return [
        FinalCheck(
            identity=first.record.identity,
            seeds=seeds,
            reference_seeds=tests[0][1].seeds,
            compared=len(tests),
            differences=tuple(each for test in tests if (each := _differ(*test, level)) is not None),
        )
        for first, tests, seeds in samples
    ]


def _differ(name: str, spread: Spread, values: list[float], level: float) -> Difference | None:
    if not all(math.isfinite(value) for value in values):
        return Difference(Tier.SPREAD, f"final {name}", "not finite", "finite", "")
    p = spread.p(values)
    if p >= level:
        return None
    obtained, expected = spread.centre(values), spread.level
    told = f"{obtained - expected:+.2g} (p = {p:.1e}, {level:.1e} allowed)"
    return Difference(Tier.SPREAD, f"final {name}", f"{obtained:.4g}", f"{expected:.4g}", told)


def _order(identity: RunIdentity) -> tuple[str, str, str, str, float, int]:
    return (
        identity.problem,
        identity.size,
        identity.variant,
        identity.mask,
        identity.learning_rate,
        identity.seed,
    )
