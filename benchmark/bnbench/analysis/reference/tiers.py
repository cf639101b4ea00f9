"""The three ways of comparing a recorded run with stored ones."""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Sequence

from bnbench.analysis.comparison import RowKey
from bnbench.analysis.reference.outcome import Difference, FinalCheck, Tier, TierOutcome
from bnbench.analysis.reference.spread import FALSE_ALARM_RATE, SEEDS_FOR_SPREAD, Spread
from bnbench.analysis.reference.stored import recording_of
from bnbench.analysis.reference.subject import CurvePoint, Subject, batch_losses_of, final_values, points_of
from bnbench.measurement import EVERY_RUN
from bnbench.problem import Metric
from bnbench.storage.digests import run_digests
from bnbench.storage.schema import TableName
from bnbench.storage.store import ResultStore

START_TOLERANCE = 1e-5
"""Relative difference of two losses up to which they agree."""
TOLERANCE_ELSEWHERE = {1: 3e-5, 5: 0.5}
"""The same for the batch loss at these steps where machine or versions differ: a ReLU or a maximum that tips over on
the last bit amplifies rounding at once. What was measured is in docs/reference-check.md."""


def check_bits(subject: Subject, store: ResultStore, differing: Sequence[str]) -> TierOutcome:
    """Tier (a): identical tables, where the circumstances do not differ."""
    if subject.twin is None:
        return TierOutcome(Tier.BITS, 0, f"the reference has no seed {subject.record.identity.seed}")
    if differing:
        return TierOutcome(Tier.BITS, 0, f"computed under other circumstances: {'; '.join(differing)}")
    if recorded := _recorded_otherwise(subject):
        return TierOutcome(Tier.BITS, 0, f"recorded otherwise: {recorded}")
    stored = subject.twin.digests
    found = run_digests(store, subject.record.identity.run_id, _compared_tables(subject, stored))
    differences = tuple(
        Difference(Tier.BITS, f"SHA-256 of {table}", digest[:16], stored[table][:16], "other bits")
        for table, digest in found.items()
        if digest != stored[table]
    )
    return TierOutcome(Tier.BITS, len(found), None, differences)


def _compared_tables(subject: Subject, stored: Container[str]) -> list[TableName]:
    """The tables that run and reference both have; of probes only where both chose the same of them."""
    ours = recording_of(subject.document)
    theirs = {} if subject.reference is None else subject.reference.recorded
    alike = ours.get("probes") == theirs.get("probes")
    return [table for table in subject.document.tables if table in stored and (alike or table in EVERY_RUN)]


def _recorded_otherwise(subject: Subject) -> str:
    """In what the tables' rows must differ though the training is one, e.g. "snapshots every:100, not every:5"."""
    ours = recording_of(subject.document)
    theirs = {} if subject.reference is None else subject.reference.recorded
    differing = [key for key in ours if key != "probes" and ours[key] != theirs.get(key)]
    return "; ".join(f"{key.replace('_', ' ')} {ours[key]}, not {theirs.get(key)}" for key in differing)


def check_start(subject: Subject, *, same_circumstances: bool) -> TierOutcome:
    """Tier (b): the losses before training and those of the first updates."""
    reference, twin = subject.reference, subject.twin
    if reference is None or twin is None:
        return TierOutcome(Tier.START, 0, f"the reference has no seed {subject.record.identity.seed}")
    pairs: list[tuple[str, float | None, float, float]] = []
    stored = points_of(reference.curves(twin))["loss"]
    ours = subject.curve.get("loss", {})
    for point, expected in stored.items():
        split, statistics, epoch = point
        if epoch == 0:
            name = f"{split} loss before training" + ("" if statistics == "running" else f" ({statistics} statistics)")
            pairs.append((name, ours.get(point), expected, START_TOLERANCE))
    for step, expected in batch_losses_of(reference.batch_losses(twin)).items():
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


def check_spread(subject: Subject, level: float) -> TierOutcome:
    """Tier (c) for one run: every point of its curves inside the band over the reference's seeds.

    Args:
        subject: it has a reference.
        level: the chance of a value outside one band.
    """
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


def _outside(subject: Subject, metric: Metric, point: CurvePoint, spread: Spread, level: float) -> Difference | None:
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


def check_finals(subjects: Iterable[Subject]) -> list[FinalCheck]:
    """Tier (c) for several seeds: two-sample tests of final values. With one seed the band is the test."""
    by_key: dict[RowKey, list[Subject]] = {}
    for subject in subjects:
        if subject.group is not None and subject.group.finals and subject.record.status == "finished":
            by_key.setdefault(subject.key, []).append(subject)
    samples: list[tuple[Subject, list[tuple[str, Spread, list[float]]], int]] = []
    for members in by_key.values():
        group = members[0].group
        if len(members) < 2 or group is None:
            continue
        tests: list[tuple[str, Spread, list[float]]] = []
        for metric, table in group.finals.items():
            finals = [final_values(member.curve[metric]) for member in members]
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
